//! `volumes:` of a workflow's containers: what can be mapped to the pod's volumes, and why the
//! rest cannot.

use std::path::Path;

use k8s_openapi::api::core::v1::VolumeMount;

use super::pod_view::PodView;
use super::request::Mount;
use super::settings::Settings;
use crate::contract::{Link, mount};

/// Names that the hook's own volumes have in the runner's pod.
pub(super) const OWN: [&str; 5] = ["work", "externals", "github", "ephemon", "ephemon-bin"];

/// What a `volumes:` entry becomes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Mapped {
    /// A mount of one of the pod's volumes.
    Mount(VolumeMount),
    /// A link into the work volume.
    Link(Link),
    /// Nothing: the container's own file system serves.
    Nothing,
}

/// An entry that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("volume {0:?}: its target is not an absolute path")]
    Target(String),
    #[error("volume {0:?}: the job's containers have something of their own at that path")]
    Reserved(String),
    #[error(
        "volume {0:?}: there is no Docker daemon in the runner's pod; build images with a tool that needs none, or add one to the runner's pod template"
    )]
    DockerSocket(String),
    #[error(
        "volume {entry:?}: the runner's pod has no volume {name:?}; declare it in the runner's pod template (an emptyDir, a persistent volume claim or an image)"
    )]
    Unknown { entry: String, name: String },
    #[error("volume {0:?}: this volume of the runner's pod is not for workflows")]
    Forbidden(String),
    #[error(
        "volume {0:?}: a path of the node cannot be mounted into the runner's pod; only paths below the workspace can, and volumes that the runner's pod template declares, by their name"
    )]
    HostPath(String),
    #[error(
        "volume {0:?}: a directory of the workspace can be mapped in job containers and in steps with an entrypoint only; use the path under /__w, or a volume of the runner's pod"
    )]
    NoInit(String),
}

/// Maps one entry.
pub(super) fn map(
    entry: &Mount,
    pod: &PodView,
    settings: &Settings,
    can_link: bool,
) -> Result<Mapped, Error> {
    let shown =
        entry.user_provided_value.clone().unwrap_or_else(|| entry.target_volume_path.clone());
    let target = entry.target_volume_path.trim_end_matches('/');
    let Some(source) = entry.source_volume_path.as_deref() else {
        return Ok(Mapped::Nothing);
    };
    if source.ends_with("docker.sock") {
        return Err(Error::DockerSocket(shown));
    }
    let absolute = target.starts_with('/') && !target.split('/').any(|part| part == "..");
    if !absolute {
        return Err(Error::Target(shown));
    }
    if is_reserved(target) {
        return Err(Error::Reserved(shown));
    }
    if source.contains('/') {
        let inside = settings.in_container(Path::new(source));
        let seen = inside.ok_or_else(|| Error::HostPath(shown.clone()))?;
        if seen == target {
            return Ok(Mapped::Nothing);
        }
        if target.starts_with(mount::WORK) {
            return Err(Error::Reserved(shown));
        }
        if !can_link {
            return Err(Error::NoInit(shown));
        }
        return Ok(Mapped::Link(Link { path: target.to_owned(), target: seen }));
    }
    if OWN.contains(&source) {
        return Err(Error::Forbidden(shown));
    }
    match pod.volume(source) {
        None => Err(Error::Unknown { entry: shown, name: source.to_owned() }),
        Some(volume) if !volume.for_workflows => Err(Error::Forbidden(shown)),
        Some(_) => Ok(Mapped::Mount(VolumeMount {
            name: source.to_owned(),
            mount_path: target.to_owned(),
            read_only: entry.read_only.then_some(true),
            ..VolumeMount::default()
        })),
    }
}

/// The mount of one of the hook's own volumes.
pub(super) fn own_mount(volume: &str) -> VolumeMount {
    let path = match volume {
        "work" => mount::WORK,
        "externals" => mount::EXTERNALS,
        "github" => mount::GITHUB,
        "ephemon-bin" => mount::PROGRAMS,
        _ => mount::EPHEMON,
    };
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: matches!(volume, "externals" | "ephemon-bin").then_some(true),
        ..VolumeMount::default()
    }
}

fn is_reserved(target: &str) -> bool {
    let below = |root: &str| target == root || target.starts_with(&format!("{root}/"));
    target.is_empty()
        || target == mount::WORK
        || [mount::EXTERNALS, mount::GITHUB, mount::EPHEMON, "/proc", "/sys", "/dev"]
            .into_iter()
            .any(below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn mapped(entry: &str, has_init: bool) -> Result<Mapped, Error> {
        let pod = PodView::of(
            &serde_json::from_value(json!({"spec": {"containers": [], "volumes": [
                {"name": "cache", "emptyDir": {}},
                {"name": "ephemon", "emptyDir": {}},
                {"name": "kube-api-access-x", "projected": {}},
                {"name": "node", "hostPath": {"path": "/"}},
            ]}}))
            .unwrap(),
        );
        let settings = Settings::from_env(|name| {
            (name == "RUNNER_TEMP").then(|| "/home/runner/_work/_temp".to_owned())
        });
        let mut parts = entry.split(':');
        let (first, second) = (parts.next().unwrap(), parts.next());
        let mount = Mount {
            user_provided_value: Some(entry.to_owned()),
            source_volume_path: second.map(|_| first.to_owned()),
            target_volume_path: second.unwrap_or(first).to_owned(),
            read_only: parts.next() == Some("ro"),
        };
        map(&mount, &pod, &settings, has_init)
    }

    #[test]
    fn a_volume_of_the_pod_is_mounted_by_its_name() {
        let Ok(Mapped::Mount(mount)) = mapped("cache:/var/cache:ro", false) else { panic!() };
        assert_eq!((mount.name.as_str(), mount.read_only), ("cache", Some(true)));
        assert_eq!(mount.sub_path, None);
    }

    #[test]
    fn a_directory_of_the_workspace_becomes_a_link() {
        let link = Link { path: "/data".into(), target: "/__w/r/r/data".into() };
        assert_eq!(mapped("/home/runner/_work/r/r/data:/data", true), Ok(Mapped::Link(link)));
        assert!(matches!(mapped("/home/runner/_work/r:/d", false), Err(Error::NoInit(_))));
        assert_eq!(mapped("/anonymous", false), Ok(Mapped::Nothing));
    }

    #[test]
    fn secrets_node_paths_and_our_own_volumes_are_refused() {
        assert!(matches!(mapped("kube-api-access-x:/t", true), Err(Error::Forbidden(_))));
        assert!(matches!(mapped("node:/n", true), Err(Error::Forbidden(_))));
        assert!(matches!(mapped("ephemon:/e", true), Err(Error::Forbidden(_))));
        assert!(matches!(mapped("/etc:/host", true), Err(Error::HostPath(_))));
        assert!(matches!(mapped("/home/runner/_work/../..:/host", true), Err(Error::HostPath(_))));
        assert!(matches!(mapped("/var/run/docker.sock:/d", true), Err(Error::DockerSocket(_))));
        assert!(matches!(mapped("nope:/x", true), Err(Error::Unknown { .. })));
        assert!(matches!(mapped("cache:/__w", true), Err(Error::Reserved(_))));
        assert!(matches!(mapped("cache:/github/home", true), Err(Error::Reserved(_))));
        assert!(matches!(mapped("cache:relative", true), Err(Error::Target(_))));
        assert!(matches!(mapped("cache:/a/../github", true), Err(Error::Target(_))));
    }
}
