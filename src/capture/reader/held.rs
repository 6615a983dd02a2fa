//! The containers and pods of the node with their open files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use ephemon_cgroup::Hierarchy;
use ephemon_model::{ContainerId, PodUid};

use super::missed::Missed;
use crate::container::Container;
use crate::engines_directories::EnginesDirectories;
use crate::exit_watch;
use crate::life::Life;
use crate::monitors::Monitors;
use crate::pod::Pod;
use crate::population::{Admission, Kind, Population};

/// Containers and pods. One thread owns every open file, so there are no locks.
pub(super) struct Held {
    pub(super) hierarchy: Hierarchy,
    pub(super) population: Population,
    pub(super) containers: HashMap<u64, Container>,
    pub(super) pods: HashMap<PodUid, Pod>,
    pub(super) engines: EnginesDirectories,
    pub(super) monitors: Monitors,
    pub(super) missed: Missed,
    pub(super) buffer: Vec<u8>,
}

// === impl Held ===

impl Held {
    pub(super) fn new(hierarchy: Hierarchy, population: Population) -> Self {
        let (containers, pods) = (HashMap::new(), HashMap::new());
        let engines = EnginesDirectories::default();
        let monitors = Monitors::default();
        let (missed, buffer) = (Missed::new(Instant::now()), Vec::new());
        Self { hierarchy, population, containers, pods, engines, monitors, missed, buffer }
    }

    /// Adds a container, without a place.
    pub(super) fn admit(
        &mut self,
        id: &ContainerId,
        pod: &PodUid,
        path: &Path,
        created: SystemTime,
        now: Instant,
    ) -> Admission {
        let admission = self.population.admit(id, pod, created, Kind::Own);
        if let Admission::Admitted(key) = admission {
            let life = Life::waiting(created, now);
            let container = Container::new(id.clone(), pod.clone(), path.to_owned(), life);
            self.containers.insert(key, container);
        }
        admission
    }

    /// Opens the files of a container that has a place.
    pub(super) fn open(&mut self, key: u64) {
        if let Some(container) = self.containers.get_mut(&key) {
            container.open(&self.hierarchy);
        }
    }

    /// Whether a container of the pod is captured.
    pub(super) fn captures(&self, uid: &PodUid) -> bool {
        let is_open = |key: &u64| {
            self.containers.get(key).is_some_and(|container| !container.life.is_closed())
        };
        self.population.children(uid).iter().any(is_open)
    }

    /// Removes a container.
    pub(super) fn remove(&mut self, id: &ContainerId) -> Option<Container> {
        let key = self.population.remove(id)?;
        let container = self.containers.remove(&key)?;
        if container.is_beside() {
            self.monitors.ended(&container.path, Some(&container.pod));
        }
        Some(container)
    }

    /// A group's directory in the watched hierarchy.
    pub(super) fn watched(&self, path: &Path) -> PathBuf {
        self.hierarchy.watched_root().unwrap_or(Path::new("/")).join(path)
    }

    /// When a directory was created, as far as the file system stores it.
    pub(super) fn made(&self, path: &Path) -> SystemTime {
        let metadata = std::fs::metadata(self.watched(path));
        metadata.and_then(|metadata| metadata.modified()).unwrap_or_else(|_| SystemTime::now())
    }

    /// Whether a container is its pod's sandbox: the pod's first container, if its process is named
    /// `pause`. Only the first, so that a job cannot hide a container by that name.
    pub(super) fn is_sandbox(&mut self, key: u64, proc: &Path) -> bool {
        let Some(container) = self.containers.get_mut(&key) else { return false };
        if self.population.oldest_container(&container.pod) != Some(key) {
            return false;
        }
        let pids = container.pids(&mut self.buffer);
        pids.first().and_then(|pid| exit_watch::comm(*pid, proc)).as_deref() == Some("pause")
    }

    /// Opens the sandbox's network file for a pod that has none yet. Must be called after all new
    /// containers of a walk are known: a job's process may be in a network namespace that it
    /// created itself, with any values, and its container may be found before the sandbox.
    pub(super) fn adopt_network(&mut self, uid: &PodUid, proc: &Path) {
        // The sandbox is the oldest container: it exists before all others, and ends after them. CRI-O's
        // has no process; then it is the pod's first container that is not over, whose group is there for
        // longer than its processes.
        let containers = self.population.children(uid).iter();
        let containers = containers.filter_map(|key| self.containers.get(key));
        let sandbox = containers
            .filter(|container| !container.is_vacant() && !container.is_over())
            .min_by_key(|container| (container.life.created(), &container.id));
        let process = sandbox.and_then(|container| container.exit_watch.as_ref());
        if let (Some(process), Some(pod)) = (process, self.pods.get_mut(uid)) {
            pod.adopt_network(process.pid, proc);
        }
    }
}
