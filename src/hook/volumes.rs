//! `volumes:` of a workflow's containers, as far as an ephemeral container supports them.
//!
//! The API does not allow parts of volumes (`subPath`) in ephemeral containers (kubernetes v1.36.3,
//! `validateEphemeralContainers`), and a container cannot mount anything itself. So a volume of the
//! pod is mounted as a whole, and a directory of the workspace becomes a link, created by init,
//! into the work volume or into its read-only twin.

use std::collections::BTreeSet;
use std::path::Path;

use ephemon_contract::{Link, Present, mount};
use k8s_openapi::api::core::v1::VolumeMount;

use super::pod_view::PodView;
use super::request::{Container, Mount};
use super::settings::Settings;
use super::workspace;

mod error;
pub(super) mod path;
#[cfg(test)]
mod tests;

pub(super) use error::Error;
use path::{absolute, is_below, is_reserved, relative};

/// Names of the hook's own volumes in the runner's pod.
pub(super) const OWN: [&str; 5] = ["work", "externals", "github", "ephemon", "ephemon-bin"];
/// An image volume with the runner's own image: optional, for `externals` that hold links only.
pub(super) const RUNNER_IMAGE: &str = "runner-image";
/// The pod's shared memory, which every container has at the same path.
const SHARED_MEMORY: &str = "/dev/shm";

/// The planned volumes of one container.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Volumes {
    pub(super) mounts: Vec<VolumeMount>,
    pub(super) links: Vec<Link>,
    /// Directories that are created, if missing, before the links.
    pub(super) directories: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// What the plan depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Means<'a> {
    pub(super) pod: &'a PodView,
    pub(super) settings: &'a Settings,
    /// Whether init, which creates the links, runs in the container.
    pub(super) has_init: bool,
    /// Whether the container mounts the work volume and `/github` anyway; services do not.
    pub(super) has_work: bool,
}

/// Where a path of the runner's container is.
enum Place<'a> {
    /// In the work volume, as a path of the job.
    Work(String),
    /// In a volume of the pod: its name, the path in it, and whether it is read-only for the
    /// runner.
    Volume { name: &'a str, below: &'a str, read_only: bool },
    /// In the runner's own file system.
    Nowhere,
}

/// Plans the volumes of a container.
///
/// # Errors
///
/// A volume that Docker supports, that is not supported here, and without which the job would not
/// work.
pub(super) fn plan(asked: &Container, means: Means<'_>) -> Result<Volumes, Error> {
    let mut volumes = Volumes::default();
    let mut targets = BTreeSet::new();
    for entry in &asked.user_mount_volumes {
        let target = absolute(&entry.target_volume_path)
            .filter(|target| target != "/")
            .ok_or_else(|| Error::Target(shown(entry)))?;
        if !targets.insert(target.clone()) {
            return Err(Error::Twice(target));
        }
        volumes.add(entry, &target, means)?;
    }
    for entry in &asked.system_mount_volumes {
        if entry.target_volume_path == mount::TOOLS
            && let Some(source) = entry.source_volume_path.as_deref().and_then(absolute)
        {
            volumes.tools(&source, means);
        }
    }
    Ok(volumes)
}

/// Fails if several containers use a named volume that the pod does not have, because each would
/// get a directory of its own.
pub(super) fn check_shared<'a>(
    all: impl Iterator<Item = &'a Container>,
    pod: &PodView,
) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for container in all {
        let names: BTreeSet<&str> = container
            .user_mount_volumes
            .iter()
            .filter_map(|entry| entry.source_volume_path.as_deref())
            .filter(|source| is_name(source) && pod.volume(source).is_none())
            .collect();
        if let Some(twice) = names.into_iter().find(|name| !seen.insert(*name)) {
            return Err(Error::Shared(twice.to_owned()));
        }
    }
    Ok(())
}

// === impl Volumes ===

impl Volumes {
    fn add(&mut self, entry: &Mount, target: &str, means: Means<'_>) -> Result<(), Error> {
        let Some(source) = entry.source_volume_path.as_deref() else {
            self.directory(target, means);
            return Ok(());
        };
        if is_name(source) {
            return self.named(entry, source, target, means);
        }
        let path = absolute(source).ok_or_else(|| Error::HostPath(shown(entry)))?;
        match means.place(&path) {
            Place::Work(seen) => self.workspace(entry, seen, target, means),
            Place::Volume { name, below, read_only } => {
                means.allowed(name, entry)?;
                let read_only = read_only || entry.read_only;
                if is_reserved(target) {
                    return Err(Error::Reserved(shown(entry)));
                }
                if !below.is_empty() && !means.has_init {
                    return Err(Error::NoInit(shown(entry)));
                }
                self.part(name, below, target, read_only);
                Ok(())
            }
            Place::Nowhere if path == SHARED_MEMORY && target == SHARED_MEMORY => Ok(()),
            Place::Nowhere if path.ends_with("/docker.sock") => {
                self.warnings.push(format!(
                    "volume {:?} is left out: there is no Docker daemon in the runner's pod; build images with a tool that needs none",
                    shown(entry)
                ));
                Ok(())
            }
            Place::Nowhere if !is_below(&path, "/dev") && !means.settings.has(&path) => {
                self.warnings.push(format!(
                    "volume {:?} is a directory of the container's own: there is no {path} in the runner's container, so it begins empty",
                    shown(entry)
                ));
                self.directory(target, means);
                Ok(())
            }
            Place::Nowhere => Err(Error::HostPath(shown(entry))),
        }
    }

    /// A volume of the pod by name. If the pod does not have it, no other container can have
    /// written to it, so an empty directory is equivalent.
    fn named(
        &mut self,
        entry: &Mount,
        name: &str,
        target: &str,
        means: Means<'_>,
    ) -> Result<(), Error> {
        if means.pod.volume(name).is_none() {
            self.warnings.push(format!(
                "volume {:?} is a directory of the container's own: the runner's pod has no volume {name:?}",
                shown(entry)
            ));
            self.directory(target, means);
            return Ok(());
        }
        means.allowed(name, entry)?;
        if is_reserved(target) {
            return Err(Error::Reserved(shown(entry)));
        }
        self.mounts.push(mounted(name, target, entry.read_only));
        Ok(())
    }

    /// A directory of the work volume.
    fn workspace(
        &mut self,
        entry: &Mount,
        seen: String,
        target: &str,
        means: Means<'_>,
    ) -> Result<(), Error> {
        let is_path = seen == target;
        let is_link = means.has_work
            && workspace::links(means.settings)
                .iter()
                .any(|link| link.path == target && link.target == seen);
        if is_path || is_link {
            if !means.has_work {
                self.mount_once("work", mount::WORK, false);
            }
            if entry.read_only {
                self.warnings.push(format!("{target} can be written to: every job has it"));
            }
            return Ok(());
        }
        let is_reserved =
            is_reserved(target) && (means.has_work || !is_below(target, mount::GITHUB));
        // A link cannot replace a directory that contains the link's own target.
        if is_reserved || is_below(&seen, target) {
            return Err(Error::Reserved(shown(entry)));
        }
        if !means.has_init {
            return Err(Error::NoInit(shown(entry)));
        }
        if !means.has_work {
            self.mount_once("work", mount::WORK, false);
        }
        let below = seen.strip_prefix(mount::WORK).unwrap_or_default().to_owned();
        // Docker creates a missing source directory.
        self.directories.push(seen.clone());
        let leads_to = if entry.read_only {
            self.mount_once("work", mount::WORK_READ_ONLY, true);
            format!("{}{below}", mount::WORK_READ_ONLY)
        } else if is_below(target, mount::WORK) {
            // The runner sees that link, too, at another path.
            relative(target, &seen)
        } else {
            seen
        };
        self.link(target, leads_to);
        Ok(())
    }

    /// A volume of the pod, or a directory in one.
    fn part(&mut self, name: &str, below: &str, target: &str, read_only: bool) {
        if below.is_empty() {
            self.mounts.push(mounted(name, target, read_only));
            return;
        }
        let suffix = if read_only { "_ro" } else { "" };
        let whole = format!("{}/{name}{suffix}", mount::VOLUMES);
        self.mount_once(name, &whole, read_only);
        self.link(target, format!("{whole}/{below}"));
    }

    /// The runner's tool cache. Nothing fails without it: tools are downloaded again.
    fn tools(&mut self, source: &str, means: Means<'_>) {
        match means.place(source) {
            Place::Work(seen) => self.link(mount::TOOLS, seen),
            Place::Volume { name, below, read_only }
                if means.pod.volume(name).is_some_and(|volume| volume.for_workflows) =>
            {
                self.part(name, below, mount::TOOLS, read_only);
            }
            Place::Volume { .. } | Place::Nowhere => {
                self.warnings.push(format!(
                    "the runner's tool cache {source} is in no volume of the pod that jobs may have, and {} begins empty",
                    mount::TOOLS
                ));
                let own = format!("{}/_tool", mount::WORK);
                self.directories.push(own.clone());
                self.link(mount::TOOLS, own);
            }
        }
    }

    fn link(&mut self, path: &str, target: String) {
        self.links.push(Link { path: path.to_owned(), target, present: Present::Replace });
    }

    fn mount_once(&mut self, name: &str, path: &str, read_only: bool) {
        if !self.mounts.iter().any(|mount| mount.mount_path == path) {
            self.mounts.push(mounted(name, path, read_only));
        }
    }

    /// The container's own file system is used, with what the image has there.
    fn directory(&mut self, target: &str, means: Means<'_>) {
        if means.has_init && !is_reserved(target) {
            self.directories.push(target.to_owned());
        }
    }
}

// === impl Means ===

impl<'a> Means<'a> {
    fn place(self, path: &'a str) -> Place<'a> {
        if let Some(seen) = self.settings.in_container(Path::new(path)) {
            return Place::Work(seen);
        }
        match self.pod.runners_mount_of(path) {
            Some((mount, below)) => {
                Place::Volume { name: &mount.volume, below, read_only: mount.read_only }
            }
            None => Place::Nowhere,
        }
    }

    fn allowed(self, name: &str, entry: &Mount) -> Result<(), Error> {
        let is_own = OWN.contains(&name) || name == RUNNER_IMAGE;
        match self.pod.volume(name) {
            Some(volume) if volume.for_workflows && !is_own => Ok(()),
            _ => Err(Error::Forbidden(shown(entry))),
        }
    }
}

/// The mount of one of the hook's own volumes.
pub(super) fn own_mount(volume: &str) -> VolumeMount {
    let path = match volume {
        "work" => mount::WORK,
        "externals" => mount::EXTERNALS,
        "github" => mount::GITHUB,
        "ephemon-bin" => mount::PROGRAMS,
        RUNNER_IMAGE => mount::RUNNER_IMAGE,
        _ => mount::EPHEMON,
    };
    mounted(volume, path, matches!(volume, "externals" | "ephemon-bin" | RUNNER_IMAGE))
}

fn mounted(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

/// Docker's rule: text without a slash that does not begin with a dot is the name of a volume.
fn is_name(source: &str) -> bool {
    !source.contains('/') && !source.starts_with(['.', '~'])
}

fn shown(entry: &Mount) -> String {
    entry.user_provided_value.clone().unwrap_or_else(|| entry.target_volume_path.clone())
}
