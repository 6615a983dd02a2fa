//! Why a container cannot be had, with what to do about it.

use ephemon_contract::Senseless;

use crate::{options, ports, volumes};

/// A container that cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "an action that brings a Dockerfile cannot run here: nothing in the runner's pod builds images; publish the image and refer to it as docker://IMAGE in the action"
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
        "{image} is to run as user {user:?}, and a name can be looked up only in job containers and in steps with an entrypoint; use the user's number"
    )]
    UserByName { image: String, user: String },
    #[error(
        "the runner's pod lacks the volume(s) {0}, which the hook needs; add them to the runner's pod template as deploy/hook/values.yaml has them"
    )]
    MissingVolumes(String),
    #[error(
        "the hook's template mounts volume {0:?}, which the runner's pod does not have; declare it in the runner's pod template"
    )]
    TemplateVolume(String),
    #[error("the container's limit {0}; give --cpus, --memory or --pids-limit another value")]
    Limits(#[from] Senseless),
    #[error("two volumes are to be mounted at {0}; give one of them another path")]
    MountedTwice(String),
}
