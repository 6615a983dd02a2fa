//! Why a volume cannot be had, with what to do about it.

/// A volume that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("volume {0:?}: its target is not an absolute path below the root directory")]
    Target(String),
    #[error("two volumes have the target {0}; give one of them another path")]
    Twice(String),
    #[error("volume {0:?}: the job's containers have something of their own at that path")]
    Reserved(String),
    #[error(
        "volume {0:?} is used by several containers, and the runner's pod has no volume of that name; declare it in the runner's pod template (an emptyDir or a persistent volume claim)"
    )]
    Shared(String),
    #[error("volume {0:?}: this volume of the runner's pod is not for workflows")]
    Forbidden(String),
    #[error(
        "volume {0:?}: a path of the node cannot be mounted into the runner's pod; only paths below the workspace can, and volumes that the runner's pod template declares, by their name or by their path in the runner's container"
    )]
    HostPath(String),
    #[error(
        "volume {0:?}: a directory of the workspace can be mapped only where ephemon-init runs; give the service or the step an entrypoint, or use a volume of the runner's pod"
    )]
    NoInit(String),
}
