//! Options that init, or a volume of the pod, carries out; and what is said of those that neither
//! can.

use ephemon_contract::Setup;
use k8s_openapi::api::core::v1::VolumeMount;

use super::{Role, security};
use crate::options::Options;
use crate::pod_view::PodView;

/// A volume of the runner's pod for `/dev/shm`: an emptyDir of medium Memory.
pub(super) const SHM_VOLUME: &str = "ephemon-shm";
/// Where POSIX shared memory is.
const SHM: &str = "/dev/shm";
/// What a pod's `/dev/shm` has (containerd, `defaultShmSize`).
const USUAL_SHM_BYTES: u64 = 64 << 20;
/// Where every container of a pod finds every other.
const LOOPBACK: &str = "127.0.0.1";

/// What init is told.
pub(super) fn setup(role: Role, options: &Options) -> Setup {
    let user = match security::User::parse(options.user.as_deref()) {
        // Job and steps are told with each step.
        security::User::Named(name) if role == Role::Service => Some(name),
        _ => None,
    };
    Setup {
        ulimits: options.ulimits.clone(),
        tmpfs: options.tmpfs.clone(),
        shm_bytes: options.shm.bytes,
        user,
    }
}

/// Names for `/etc/hosts`. A service's own are known elsewhere; a job's are told to its services.
pub(super) fn hosts(role: Role, options: &Options) -> Vec<(String, String)> {
    let mut hosts = options.hosts.clone();
    if role == Role::Job {
        let own = options.names.iter().filter(|name| crate::names::is_host_name(name));
        hosts.extend(own.map(|name| (name.clone(), LOOPBACK.to_owned())));
    }
    hosts
}

/// `/dev/shm` of the size of the pod's own volume, where one is asked for that the usual is not.
pub(super) fn shared_memory(options: &Options, pod: &PodView) -> Option<VolumeMount> {
    if !wants_shm(options) || !pod.volume(SHM_VOLUME).is_some_and(|volume| volume.is_memory) {
        return None;
    }
    Some(VolumeMount {
        name: SHM_VOLUME.to_owned(),
        mount_path: SHM.to_owned(),
        ..VolumeMount::default()
    })
}

/// Whether it is that volume where the operator mounts another: his counts.
pub(super) fn is_shm_beside(known: &VolumeMount, operators: &VolumeMount) -> bool {
    known.name == SHM_VOLUME && known.mount_path == operators.mount_path
}

fn wants_shm(options: &Options) -> bool {
    options.shm.is_hosts || options.shm.bytes.is_some_and(|bytes| bytes > USUAL_SHM_BYTES)
}

/// What is not carried out, one sentence each.
pub(super) fn warnings(
    role: Role,
    has_init: bool,
    options: &Options,
    image: &str,
    pod: &PodView,
) -> Vec<String> {
    let left =
        |option: &str, why: &str| format!("option {option} of {image} is not carried out: {why}");
    let mut warnings: Vec<String> =
        options.left.iter().map(|known| left(&known.option, known.why)).collect();
    let no_init = "the image's own entrypoint is its first process; give `entrypoint:`, and ephemon-init carries it out";
    let needs_init = [
        ("--ulimit", !options.ulimits.is_empty()),
        ("--tmpfs", !options.tmpfs.is_empty()),
        ("--init", options.init),
    ];
    for (option, _) in needs_init.iter().filter(|(_, asked)| *asked && !has_init) {
        warnings.push(left(option, no_init));
    }
    let named = matches!(security::User::parse(options.user.as_deref()), security::User::Named(_));
    if named && !has_init && role == Role::Service {
        warnings.push(left(
            "--user",
            "only the image knows users by name; it runs as the image's own user (give the user's number, or `entrypoint:`)",
        ));
    }
    // Init says itself how much there is.
    let shm =
        if options.shm.is_hosts { Some("--ipc") } else { Some("--shm-size").filter(|_| !has_init) };
    if let Some(option) = shm.filter(|_| wants_shm(options))
        && shared_memory(options, pod).is_none()
    {
        warnings.push(left(
            option,
            "declare the volume `ephemon-shm`, an emptyDir of medium Memory, in the runner's pod template",
        ));
    }
    warnings.extend(trailing(role, options, image));
    warnings
}

/// What becomes of an image in the options.
fn trailing(role: Role, options: &Options, image: &str) -> Option<String> {
    let trailing = options.trailing.as_ref()?;
    Some(match (role, trailing.command.is_empty()) {
        (Role::Job, false) => format!(
            "the options of {image} hold an image and a command; the command is not run, for the job container waits for its steps"
        ),
        (_, false) => format!(
            "the options of {image} hold an image and a command; they are run as Docker would run them, and `entrypoint:` and `command:` of the workflow are the place for them"
        ),
        (_, true) => format!("the options of {image} hold an image; `image:` is the place for it"),
    })
}

/// What is said of a volume of the options that cannot be had: it is not what the runner was told
/// of, so it fails nothing.
pub(super) fn volume_left(image: &str, why: &dyn std::fmt::Display) -> String {
    format!("option --volume of {image} is not carried out: {why}")
}
