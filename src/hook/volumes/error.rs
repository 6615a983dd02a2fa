//! Why a volume cannot be used, and the remedy.

/// A volume that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("volume {0:?}: its target is not an absolute path below the root directory")]
    Target(String),
    #[error("two volumes have the target {0}; change one of them")]
    Twice(String),
    #[error("volume {0:?}: the hook uses that path itself")]
    Reserved(String),
    #[error(
        "volume {0:?} is used by several containers, and the runner's pod has no volume of that name; declare it in the runner's pod template (an emptyDir or a persistent volume claim)"
    )]
    Shared(String),
    #[error("volume {0:?}: workflows cannot use this volume of the runner's pod")]
    Forbidden(String),
    #[error(
        "volume {0:?}: paths of the node cannot be mounted into the runner's pod; use a path below the workspace, or a volume that the runner's pod template declares, by its name or by its path in the runner's container"
    )]
    HostPath(String),
    #[error(
        "volume {0:?}: a directory of the workspace can be mounted only where ephemon-init runs; set an entrypoint for the service or the step, or use a volume of the runner's pod"
    )]
    NoInit(String),
}
