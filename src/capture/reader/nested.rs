//! Nested containers: their ends, and their part in a pod's accounting. Those below their outer
//! container are part of it, and of no sum; those beside the pod are added to it. Of one without a place
//! only the CPU time is read, and only for these sums.

use std::path::Path;
use std::time::{Instant, SystemTime};

use ephemon_discovery::cgroups::NestedGroup;
use ephemon_model::{ContainerId, Ended, PodUid, Quality};

use super::accounting::Final;
use super::held::Held;
use crate::additive::Additive;
use crate::container::{Container, Reading};
use crate::life::{Life, Phase};
use crate::nested::Nested;
use crate::population::{Admission, Kind};

/// Nested containers in one directory.
#[derive(Default)]
struct Living {
    /// Σ of those that are not settled, read now.
    used: Additive,
    /// Those whose group was removed before their end was seen.
    gone: Vec<ContainerId>,
    /// How many were read.
    reads: usize,
}

impl Held {
    /// Adds a nested container, without a place.
    pub(super) fn admit_nested(
        &mut self,
        group: &NestedGroup,
        created: SystemTime,
        now: Instant,
    ) -> Admission {
        let admission = self.population.admit(&group.key, &group.pod, created, Kind::Nested);
        let Admission::Admitted(key) = admission else { return admission };
        let life = Life::waiting(created, now);
        let (id, pod, path) = (group.key.clone(), group.pod.clone(), group.path.clone());
        let mut container = Container::new(id, pod, path, life);
        container.nested = Some(Nested { group: Box::new(group.clone()), is_known: false });
        self.containers.insert(key, container);
        if let Some(pod) = self.pods.get_mut(&group.pod).filter(|_| group.beside) {
            pod.beside.is_used = true;
        }
        self.engines.is_captured(&group.path);
        if let Some(directory) = &group.engines_directory {
            let (hierarchy, buffer) = (&self.hierarchy, &mut self.buffer);
            if self.engines.add(directory, group.from_birth, hierarchy, buffer) {
                self.open_directory(directory);
            }
        }
        admission
    }

    /// Sets the baseline of an engine's directory, unless something in it cannot be read now.
    fn open_directory(&mut self, directory: &Path) {
        let Living { used, gone, reads } = self.living_in(directory);
        self.missed.spend(reads);
        let mut waiting = self.missed.waiting().iter();
        if gone.is_empty() && !waiting.any(|container| container.path.starts_with(directory)) {
            self.engines.open(directory, &used, &self.hierarchy, &mut self.buffer);
        }
    }

    /// Sets the baselines again of directories in which something was used by nobody who is captured.
    pub(super) fn balance_directories(&mut self) {
        let nested = self.containers.values().filter(|container| container.nested.is_some());
        let held = nested.map(|container| &*container.path).collect();
        for directory in self.engines.disturbed(&self.hierarchy, &held) {
            self.open_directory(&directory);
        }
    }

    fn living_in(&mut self, directory: &Path) -> Living {
        let mut living = Living::default();
        let root = self.hierarchy.watched_root().unwrap_or(Path::new("/")).to_owned();
        for container in self.containers.values_mut() {
            let is_in = container.nested.is_some() && container.path.starts_with(directory);
            if !is_in || container.life.is_reported() {
                continue;
            }
            living.reads += 1;
            let is_there = root.join(&container.path).is_dir();
            let is_read = is_there && container.count_cpu(&self.hierarchy, &mut self.buffer);
            let is_final = matches!(container.life.phase(), Phase::Empty { .. });
            if is_read || is_final {
                living.used.add(&Additive::of(&container.usage));
            } else {
                living.gone.push(container.id.clone());
            }
        }
        living
    }

    /// Handles the removal of a nested container whose final reading was missed: what its engine's
    /// directory has used, and no other container in it, was used by this one. It waits until that is
    /// derived, together with others that wait: see [`settle_nested_missed`](Self::settle_nested_missed).
    pub(super) fn close_nested_missed(&mut self, mut container: Container) -> Vec<Final> {
        let now = Instant::now();
        // Its outer container is gone, and nobody removes its group.
        if container.populated(&mut self.buffer) == Some(false)
            && let Reading::Read(_) = container.read_final(now, &mut self.buffer)
        {
            let at = SystemTime::now().max(container.life.created());
            return vec![self.close(&container, Ended { at, quality: Quality::Exact })];
        }
        let group = container.nested.as_ref().map(|nested| &nested.group);
        let directory = group.and_then(|group| group.engines_directory.as_deref());
        if !directory.is_some_and(|directory| self.engines.tells(directory)) {
            return self.settle_missed(vec![container], None);
        }
        // One beside a pod may be there still when its pod is not.
        let root = self.hierarchy.watched_root().unwrap_or(Path::new("/"));
        if root.join(&container.path).is_dir() {
            container.count_cpu(&self.hierarchy, &mut self.buffer);
        }
        container.remove(now);
        self.missed.push(container);
        Vec::new()
    }

    /// Derives what nested containers have used whose final reading was missed, if there are any and as
    /// many readings may be made now. Others of their directories that are found removed at the same time
    /// are handled with them.
    pub(super) fn settle_nested_missed(&mut self, now: Instant) -> Vec<Final> {
        let others = self.population.known(Kind::Nested);
        if self.missed.is_due(others, now) { self.settle_all_missed() } else { Vec::new() }
    }

    /// The same, however many readings that takes.
    pub(super) fn settle_all_missed(&mut self) -> Vec<Final> {
        let mut finals = Vec::new();
        while let Some((directory, mut missed)) = self.missed.take_innermost() {
            let residual = self.residual_in(&directory, &mut missed);
            finals.extend(self.settle_missed(missed, residual));
        }
        finals
    }

    /// What was used in a directory and is in no container's values. Containers that are found removed
    /// are moved to `missed`.
    fn residual_in(&mut self, directory: &Path, missed: &mut Vec<Container>) -> Option<Additive> {
        let Living { used: mut known, gone, reads } = self.living_in(directory);
        self.missed.spend(reads);
        missed.extend(gone.iter().filter_map(|id| self.remove(id)));
        for container in &*missed {
            known.add(&Additive::of(&container.usage));
        }
        let (hierarchy, buffer) = (&self.hierarchy, &mut self.buffer);
        // Of the others only CPU time was read now.
        Some(self.engines.residual(directory, &known, hierarchy, buffer)?.only_cpu())
    }

    /// Beside the pod, what was used after the last sample is in no counter of the pod. What it would
    /// have been at the average rate until then is the error of the pod's accounting.
    pub(super) fn count_missed(&mut self, container: &Container) {
        let is_beside = container.is_beside();
        let Some(pod) = self.pods.get_mut(&container.pod).filter(|_| is_beside) else { return };
        let cpus = rustix::thread::sched_getaffinity(None).map_or(1, |cpus| cpus.count());
        let estimate = container.missed_cpu_ns(Instant::now(), cpus.into());
        pod.beside.miss(estimate);
    }

    /// Adds a nested container's end to the accounting that it is part of.
    pub(super) fn settle_nested(&mut self, container: &Container) {
        let Some(Nested { group, .. }) = &container.nested else { return };
        let last = Additive::of(&container.usage);
        if let Some(directory) = &group.engines_directory {
            self.engines.settle(directory, &last);
        }
        self.settle_beside(container);
    }

    /// Adds the CPU time of a container that is over to that beside its pod, if it is beside it.
    pub(super) fn settle_beside(&mut self, container: &Container) {
        let is_beside = container.is_beside();
        if let Some(pod) = self.pods.get_mut(&container.pod).filter(|_| is_beside) {
            pod.beside.settle(container.usage.cpu.usage_ns.unwrap_or(0));
        }
    }

    /// Removes a nested container's end, because it has a process again.
    pub(super) fn unsettle_nested(&mut self, key: u64) {
        let Some(container) = self.containers.get(&key) else { return };
        let Some(Nested { group, .. }) = &container.nested else { return };
        let last = Additive::of(&container.usage);
        if let Some(directory) = &group.engines_directory {
            self.engines.unsettle(directory, &last);
        }
        if let Some(pod) = self.pods.get_mut(&container.pod).filter(|_| group.beside) {
            pod.beside.unsettle(container.usage.cpu.usage_ns.unwrap_or(0));
        }
    }

    /// A pod's accounting has begun again: what was used beside it until now is no part of it. The pod's
    /// counter of that goes on, because its series before and after are read as one.
    pub(super) fn begin_beside_again(&mut self, uid: &PodUid) {
        self.read_beside(uid);
        if let Some(pod) = self.pods.get_mut(uid) {
            pod.beside.begin_again();
        }
    }

    /// Reads the CPU time of the nested containers beside a captured pod.
    pub(super) fn read_beside(&mut self, uid: &PodUid) {
        let is_used = self.pods.get(uid).is_some_and(|pod| pod.beside.is_used);
        if !is_used || !self.captures(uid) {
            return;
        }
        let mut living_ns = self.missed.beside_ns(uid);
        for key in self.population.nested(uid) {
            let Some(container) = self.containers.get_mut(key) else { continue };
            if container.is_beside() && !container.life.is_reported() {
                container.count_cpu(&self.hierarchy, &mut self.buffer);
                let cpu_ns = container.usage.cpu.usage_ns.unwrap_or(0);
                living_ns = living_ns.saturating_add(cpu_ns);
            }
        }
        if let Some(pod) = self.pods.get_mut(uid) {
            pod.beside.read(living_ns);
        }
    }
}
