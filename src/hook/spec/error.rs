//! Why a container cannot be created, and the remedy.

use ephemon_contract::InvalidLimits;

use crate::{options, ports, volumes};

/// A container that cannot be created.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "actions with a Dockerfile are not supported, because nothing in the runner's pod builds images; publish the image and use docker://IMAGE in the action"
    )]
    Dockerfile,
    #[error("the {0} container has no image")]
    NoImage(&'static str),
    #[error(transparent)]
    Options(#[from] options::Error),
    #[error(transparent)]
    Ports(#[from] ports::Error),
    #[error(transparent)]
    Volumes(#[from] volumes::Error),
    #[error(
        "cannot run {image} as user {user:?}: user names are resolved only in job containers and in steps with an entrypoint; use the numeric user ID"
    )]
    UserByName { image: String, user: String },
    #[error(
        "the runner's pod lacks the volume(s) {0}, which the hook needs; add them to the runner's pod template, as in deploy/hook/values.yaml"
    )]
    MissingVolumes(String),
    #[error(
        "the hook's template mounts volume {0:?}, which the runner's pod does not have; declare it in the runner's pod template"
    )]
    TemplateVolume(String),
    #[error("the container's limit {0}; change --cpus, --memory or --pids-limit")]
    Limits(#[from] InvalidLimits),
    #[error("two volumes have the mount path {0}; change one of them")]
    MountedTwice(String),
}
