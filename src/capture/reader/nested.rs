//! Nested containers: their ends, and their part in a pod's accounting. Those below their outer
//! container are part of it, and of no sum; those beside the pod are added to it.

use std::path::Path;
use std::time::{Instant, SystemTime};

use ephemon_discovery::cgroups::NestedGroup;
use ephemon_model::{Ended, PodUid, Quality};

use super::accounting::Final;
use super::held::Held;
use crate::additive::Additive;
use crate::container::{Container, Reading};
use crate::life::Life;
use crate::nested::Nested;
use crate::population::Admission;

impl Held {
    /// Adds a nested container and opens its files.
    pub(super) fn admit_nested(
        &mut self,
        group: &NestedGroup,
        created: SystemTime,
        now: Instant,
    ) -> Admission {
        let admission = self.population.admit_nested(&group.key, &group.pod, created);
        let Admission::Admitted(key) = admission else { return admission };
        let life = Life::new(created, now);
        let (id, pod, path) = (group.key.clone(), group.pod.clone(), group.path.clone());
        let mut container = Container::new(id, pod, path, life);
        let engines_directory = group.engines_directory.clone();
        container.nested = Some(Nested { beside: group.beside, engines_directory });
        container.open(&self.hierarchy);
        self.containers.insert(key, container);
        if let Some(pod) = self.pods.get_mut(&group.pod).filter(|_| group.beside) {
            pod.beside.is_used = true;
        }
        if let Some(directory) = &group.engines_directory {
            let (hierarchy, buffer) = (&self.hierarchy, &mut self.buffer);
            if self.engines.add(directory, group.from_birth, hierarchy, buffer) {
                let living = self.living_in(directory);
                self.engines.open(directory, &living, &mut self.buffer);
            }
        }
        admission
    }

    /// Σ of the nested containers in a directory that are not settled, read now.
    fn living_in(&mut self, directory: &Path) -> Additive {
        let mut living = Additive::default();
        for container in self.containers.values_mut() {
            let is_in = container.nested.is_some() && container.path.starts_with(directory);
            if is_in && !container.life.is_reported() {
                container.read_cpu(&mut self.buffer);
                living.add(&Additive::of(&container.usage));
            }
        }
        living
    }

    /// Handles the removal of a nested container whose final reading was taken.
    pub(super) fn close_nested(&mut self, container: &Container, ended: Ended) -> Final {
        self.settle_nested(container);
        let quality = ended.quality;
        let record = container.record(Some(ended));
        Final { record, quality, sandbox: false }
    }

    /// Handles the removal of a nested container whose final reading was missed: what its engine's
    /// directory has used, and no other container in it, was used by this one.
    pub(super) fn close_nested_missed(&mut self, mut container: Container) -> Final {
        // Its outer container is gone, and nobody removes its group.
        if container.populated(&mut self.buffer) == Some(false)
            && let Reading::Read(_) = container.read_final(Instant::now(), &mut self.buffer)
        {
            let at = SystemTime::now().max(container.life.created());
            return self.close_nested(&container, Ended { at, quality: Quality::Exact });
        }
        let directory = container.nested.as_ref().and_then(|one| one.engines_directory.clone());
        let residual = directory.and_then(|directory| self.residual_in(&directory, &container));
        let quality = if let Some(residual) = residual {
            residual.add_to(&mut container.usage);
            Quality::Residual
        } else {
            self.count_missed(&container);
            Quality::LastSample
        };
        let at = SystemTime::now().max(container.life.created());
        self.close_nested(&container, Ended { at, quality })
    }

    fn residual_in(&mut self, directory: &Path, container: &Container) -> Option<Additive> {
        let mut known = self.living_in(directory);
        known.add(&Additive::of(&container.usage));
        // Of the others only CPU time was read now.
        let residual = self.engines.residual(directory, &known, &mut self.buffer)?;
        Some(residual.only_cpu())
    }

    /// Beside the pod, what was used after the last sample is in no counter of the pod. What it would
    /// have been at the average rate until then is the error of the pod's accounting.
    fn count_missed(&mut self, container: &Container) {
        let is_beside = container.nested.as_ref().is_some_and(|nested| nested.beside);
        let Some(pod) = self.pods.get_mut(&container.pod).filter(|_| is_beside) else { return };
        let cpus = rustix::thread::sched_getaffinity(None).map_or(1, |cpus| cpus.count());
        let estimate = container.missed_cpu_ns(Instant::now(), cpus.into());
        pod.beside.missed_ns = pod.beside.missed_ns.saturating_add(estimate);
    }

    /// Adds a nested container's end to the accounting that it is part of.
    pub(super) fn settle_nested(&mut self, container: &Container) {
        let Some(nested) = &container.nested else { return };
        let last = Additive::of(&container.usage);
        if let Some(directory) = &nested.engines_directory {
            self.engines.settle(directory, &last);
        }
        if let Some(pod) = self.pods.get_mut(&container.pod).filter(|_| nested.beside) {
            let cpu_ns = container.usage.cpu.usage_ns.unwrap_or(0);
            pod.beside.settled_ns = pod.beside.settled_ns.saturating_add(cpu_ns);
        }
    }

    /// Removes a nested container's end, because it has a process again.
    pub(super) fn unsettle_nested(&mut self, key: u64) {
        let Some(container) = self.containers.get(&key) else { return };
        let Some(nested) = &container.nested else { return };
        let last = Additive::of(&container.usage);
        if let Some(directory) = &nested.engines_directory {
            self.engines.unsettle(directory, &last);
        }
        if let Some(pod) = self.pods.get_mut(&container.pod).filter(|_| nested.beside) {
            let cpu_ns = container.usage.cpu.usage_ns.unwrap_or(0);
            pod.beside.settled_ns = pod.beside.settled_ns.saturating_sub(cpu_ns);
        }
    }

    /// Reads the CPU time of the nested containers beside a pod.
    pub(super) fn read_beside(&mut self, uid: &PodUid) {
        let Some(pod) = self.pods.get_mut(uid).filter(|pod| pod.beside.is_used) else { return };
        let mut living_ns = 0_u64;
        for key in self.population.nested(uid) {
            let Some(container) = self.containers.get_mut(key) else { continue };
            let is_beside = container.nested.as_ref().is_some_and(|nested| nested.beside);
            if is_beside && !container.life.is_reported() {
                container.read_cpu(&mut self.buffer);
                let cpu_ns = container.usage.cpu.usage_ns.unwrap_or(0);
                living_ns = living_ns.saturating_add(cpu_ns);
            }
        }
        pod.beside.living_ns = living_ns;
    }
}
