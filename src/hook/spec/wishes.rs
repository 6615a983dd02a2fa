//! Options that init, or a volume of the pod, implements; and warnings about those that neither
//! can.

use ephemon_contract::Setup;
use k8s_openapi::api::core::v1::VolumeMount;

use super::{Role, security};
use crate::options::Options;
use crate::pod_view::PodView;

/// A volume of the runner's pod for `/dev/shm`: an emptyDir of medium Memory.
pub(super) const SHM_VOLUME: &str = "ephemon-shm";
/// Path of POSIX shared memory.
const SHM: &str = "/dev/shm";
/// Default size of a pod's `/dev/shm` in bytes (containerd, `defaultShmSize`).
const USUAL_SHM_BYTES: u64 = 64 << 20;
/// Address at which the containers of a pod reach each other.
const LOOPBACK: &str = "127.0.0.1";

/// What init must set up.
pub(super) fn setup(role: Role, options: &Options) -> Setup {
    let user = match security::User::parse(options.user.as_deref()) {
        // For job and steps the user is sent with each step.
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

/// Names for `/etc/hosts`. Those of a service itself are handled elsewhere; those of the job are
/// sent to its services.
pub(super) fn hosts(role: Role, options: &Options) -> Vec<(String, String)> {
    let mut hosts = options.hosts.clone();
    if role == Role::Job {
        let own = options.names.iter().filter(|name| crate::names::is_host_name(name));
        hosts.extend(own.map(|name| (name.clone(), LOOPBACK.to_owned())));
    }
    hosts
}

/// A mount of the pod's own volume for `/dev/shm`, if another size than the default is requested.
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

/// Whether it is that volume, while the operator mounts another one there, which takes precedence.
pub(super) fn is_shm_beside(known: &VolumeMount, operators: &VolumeMount) -> bool {
    known.name == SHM_VOLUME && known.mount_path == operators.mount_path
}

fn wants_shm(options: &Options) -> bool {
    options.shm.is_hosts || options.shm.bytes.is_some_and(|bytes| bytes > USUAL_SHM_BYTES)
}

fn left(option: &str, image: &str, why: &str) -> String {
    format!("option {option} of {image} is ignored: {why}")
}

/// The warning about shared memory of another size, which only a volume of the pod can be.
fn without_shm(option: &str, options: &Options, image: &str, pod: &PodView) -> Option<String> {
    let why = "declare the volume `ephemon-shm`, an emptyDir of medium Memory, in the runner's pod template";
    let is_left = wants_shm(options) && shared_memory(options, pod).is_none();
    is_left.then(|| left(option, image, why))
}

/// Options that are ignored, one sentence each.
pub(super) fn warnings(role: Role, options: &Options, image: &str, pod: &PodView) -> Vec<String> {
    let known = options.left.iter().map(|known| left(&known.option, image, known.why));
    // Init itself reports how much there is, where there is one.
    let shm = Some("--ipc").filter(|_| options.shm.is_hosts);
    let shm = shm.and_then(|option| without_shm(option, options, image, pod));
    known.chain(shm).chain(trailing(role, options, image)).collect()
}

/// Options that are ignored because the image's own entrypoint is the first process.
pub(super) fn warnings_without_init(
    role: Role,
    options: &Options,
    image: &str,
    pod: &PodView,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let no_init = "the image's own entrypoint is the first process; set `entrypoint:`, and ephemon-init applies it";
    let needs_init = [
        ("--ulimit", !options.ulimits.is_empty()),
        ("--tmpfs", !options.tmpfs.is_empty()),
        ("--init", options.init == Some(true)),
    ];
    for (option, _) in needs_init.iter().filter(|(_, asked)| *asked) {
        warnings.push(left(option, image, no_init));
    }
    let named = matches!(security::User::parse(options.user.as_deref()), security::User::Named(_));
    if named && role == Role::Service {
        warnings.push(left(
            "--user",
            image,
            "user names are resolved only inside the image; it runs as the image's own user (use the numeric user ID, or set `entrypoint:`)",
        ));
    }
    if !options.shm.is_hosts {
        warnings.extend(without_shm("--shm-size", options, image, pod));
    }
    warnings
}

/// The warning about an image in the options.
fn trailing(role: Role, options: &Options, image: &str) -> Option<String> {
    let trailing = options.trailing.as_ref()?;
    Some(match (role, trailing.command.is_empty()) {
        (Role::Job, false) => format!(
            "the options of {image} contain an image and a command; the command is not run, because the job container waits for its steps"
        ),
        (_, false) => format!(
            "the options of {image} contain an image and a command; they are used as Docker would use them; set `entrypoint:` and `command:` in the workflow instead"
        ),
        (_, true) => format!("the options of {image} contain an image; set it in `image:` instead"),
    })
}

/// The warning about a volume of the options that is not supported. It does not fail the job,
/// because the runner does not know the volume either.
pub(super) fn volume_left(image: &str, why: &dyn std::fmt::Display) -> String {
    format!("option --volume of {image} is ignored: {why}")
}
