//! Groups of containers whose processes are elsewhere.
//!
//! gVisor makes a group for each container of a pod, for tools that look for them, and puts its sandbox,
//! which runs them all, into another one: the pod's own on version 1, that of the pod's sandbox on version 2,
//! where a group with children has no processes. CRI-O makes a group for a sandbox for which it starts no
//! process. Both were seen on a real node with version 1 (`discovery::cgroups::layouts`).
//!
//! Source: gVisor `runsc/container/container.go` (`setupCgroupForRoot`, `setupCgroupForSubcontainer`) and
//! `pkg/shim/v1/runsc/service.go` (`setPodCgroup`); CRI-O `internal/config/cgmgr` (`CreateSandboxCgroup`).

use ephemon_discovery::inventory::Inventory;
use ephemon_model::{ContainerId, ContainerType, PodUid};

use super::driver::Driver;
use super::held::Held;
use super::reports::Reports;
use crate::container::{Container, Group, Place};
use crate::ledger::Ledger;
use crate::life::{Event, Phase};

impl Driver {
    /// No process has been in a container's group for longer than a start takes, and none has used CPU time
    /// in it. If the processes are in the pod's own group, the values of its sandbox are those of the pod.
    pub(super) fn ask_vacant(&mut self, key: u64) -> Option<Event> {
        if self.held.move_to_pod(key, &self.reports.inventory) {
            return Some(Event::Opened);
        }
        let container = self.held.containers.get_mut(&key)?;
        // An engine's group may be for others than processes.
        if container.nested.is_some() {
            return Some(Event::IsVacant(false));
        }
        let uid = container.pod.clone();
        if !container.is_vacant() {
            container.group = Group::Vacant;
            self.reports.vacant(container);
            // The next one stands for the pod's network.
            self.networks_due.push(uid);
        }
        Some(Event::IsVacant(true))
    }
}

impl Held {
    /// The pod's sandbox: of those that no source names as one of the pod's containers the one that a source
    /// says is it, or else the oldest. The age alone does not tell after a start of the agent: the kernel
    /// does not keep when a group was made.
    fn sandbox(&self, uid: &PodUid, inventory: &Inventory) -> Option<u64> {
        let is_named = |id: &ContainerId| inventory.is_named(uid, id);
        let keys = self.population.children(uid).iter().copied();
        let nameless: Vec<u64> =
            keys.filter(|key| self.population.id(*key).is_some_and(|id| !is_named(id))).collect();
        let is_told = |key: &u64| {
            let id = self.population.id(*key);
            let facts = id.and_then(|id| inventory.container(uid, id));
            let kind = facts.map(|facts| facts.container_type);
            matches!(kind, Some(ContainerType::Sandbox | ContainerType::SharedSandbox))
        };
        let told = self.population.oldest_of(nameless.iter().copied().filter(is_told));
        told.or_else(|| self.population.oldest_of(nameless.iter().copied()))
    }

    /// Whether this is the pod's sandbox, and no process is in its group. Asked before it is removed: then it
    /// is still one of the pod's containers.
    pub(super) fn is_vacant_sandbox(&self, id: &ContainerId, inventory: &Inventory) -> bool {
        let key = self.population.key(id);
        let container = key.and_then(|key| self.containers.get(&key));
        let vacant = container.filter(|container| container.life.phase() == Phase::Vacant);
        vacant.is_some_and(|container| self.sandbox(&container.pod, inventory) == key)
    }

    /// Whether no process was in a group that was removed, as far as anybody can tell. One that came later
    /// than a start takes, and was gone before the next look, was not seen; but the pod has used more than its
    /// other containers then. In the group of a sandbox none comes later.
    pub(super) fn never_ran(&mut self, container: &Container, is_vacant_sandbox: bool) -> bool {
        is_vacant_sandbox
            || (container.life.phase() == Phase::Vacant && !self.has_left_over(container))
    }

    /// Opens the files of the pod's own group for its sandbox, if there are processes in it; returns whether
    /// it has.
    fn move_to_pod(&mut self, key: u64, inventory: &Inventory) -> bool {
        // On version 2 the pod's group is populated when any group in it is.
        let Some(container) = self.containers.get(&key).filter(|_| !self.hierarchy.has_events())
        else {
            return false;
        };
        // One in a pod, or both would have the pod's use: without names it may have been another than the
        // sandbox.
        let mut others = self.population.children(&container.pod).iter();
        let stands =
            |other: &u64| self.containers.get(other).is_some_and(|it| it.place == Place::Pods);
        if others.any(stands) || self.sandbox(&container.pod, inventory) != Some(key) {
            return false;
        }
        let Some(pod) = self.pods.get_mut(&container.pod) else { return false };
        if !pod.has_processes(&mut self.buffer) {
            return false;
        }
        let path = pod.path.clone();
        // The sandbox has all of the pod's use from here on, what was used before included.
        pod.ledger = Ledger::from_birth();
        if let Some(container) = self.containers.get_mut(&key) {
            container.move_to_pod(path, &self.hierarchy);
        }
        true
    }

    /// Whether no process of this container was seen, and those of its pod's other containers are not in
    /// their groups either. A group for a sandbox without processes says nothing about the others.
    pub(super) fn is_apart(&mut self, container: &Container, inventory: &Inventory) -> bool {
        let uid = &container.pod;
        if !matches!(container.life.phase(), Phase::Fresh | Phase::Vacant)
            || container.nested.is_some()
        {
            return false;
        }
        if !self.hierarchy.has_events()
            && let Some(pod) = self.pods.get_mut(uid)
        {
            return pod.has_processes(&mut self.buffer);
        }
        let sandbox = self.sandbox(uid, inventory);
        let is_vacant = |key: &u64| self.containers.get(key).is_some_and(Container::is_vacant);
        let mut keys = self.population.children(uid).iter();
        keys.any(|key| Some(*key) != sandbox && is_vacant(key))
    }
}

impl Reports {
    /// No process of the container is in its group: it has no values.
    pub(super) fn vacant(&self, container: &Container) {
        self.inventory.vacant(&container.id);
        self.readings.disown(&container.pod, &container.id);
    }

    /// A process is, or was, in the container's group.
    pub(super) fn begun(&self, container: &mut Container) {
        if container.is_vacant() {
            container.group = Group::Counted;
            self.inventory.created(&container.pod, &container.id, container.life.created());
            // The pod's own group is not one beside which the pod's next container will be.
            if container.place == Place::Own {
                self.inventory.stands_at(&container.id, &container.path);
            }
        }
    }
}
