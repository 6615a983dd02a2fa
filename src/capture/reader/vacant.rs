//! Groups of containers whose processes are elsewhere.
//!
//! gVisor makes a group for each container of a pod, for tools that look for them, and puts its sandbox,
//! which runs them all, into another one: the pod's own on version 1, that of the pod's sandbox on version 2,
//! where a group with children has no processes. CRI-O makes a group for a sandbox for which it starts no
//! process. Both were seen on a real node with version 1 (`discovery::cgroups::layouts`).
//!
//! Source: gVisor `runsc/container/container.go` (`setupCgroupForRoot`, `setupCgroupForSubcontainer`) and
//! `pkg/shim/v1/runsc/service.go` (`setPodCgroup`); CRI-O `internal/config/cgmgr` (`CreateSandboxCgroup`).

use std::time::Instant;

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

    /// A container is about to be removed: what it has used depends on who stands for its pod.
    pub(super) fn correct_stand_in_beside(&mut self, id: &ContainerId) {
        let population = &self.held.population;
        let pod = population.key(id).and_then(|key| population.of(key));
        let stand_in = pod.and_then(|(_, uid)| self.held.stand_in(uid));
        if let Some(stand_in) = stand_in {
            self.correct_stand_in(stand_in, Instant::now());
        }
    }

    /// Which container is the sandbox may be known only after another was taken for it. That one goes back to
    /// its own group, and the values, which are the pod's, are the sandbox's from then on: as nobody else has
    /// any, nothing of them is lost, nor counted twice.
    pub(super) fn correct_stand_in(&mut self, key: u64, now: Instant) {
        let Some(container) = self.held.containers.get(&key) else { return };
        let sandbox = self.held.sandbox(&container.pod, &self.reports.inventory);
        if sandbox == Some(key) {
            return;
        }
        let next = self.held.replace_stand_in(key, sandbox);
        if let Some(container) = self.held.containers.get_mut(&key) {
            container.group = Group::Vacant;
            self.reports.vacant(container);
        }
        self.on(key, Event::IsVacant(true), now);
        if let Some(next) = next {
            self.on(next, Event::Opened, now);
        }
    }

    /// Whether no process was in a group that was removed, as far as anybody can tell. One that came later
    /// than a start takes, and was gone before the next look, was not seen; but the pod has used more than its
    /// other containers then. In the group of a sandbox none comes later.
    pub(super) fn never_ran(&mut self, container: &Container, is_vacant_sandbox: bool) -> bool {
        is_vacant_sandbox
            || (container.life.phase() == Phase::Vacant
                && !container.has_run()
                && !self.held.has_left_over(container, &self.reports.inventory))
    }
}

impl Held {
    /// The pod's sandbox: of those that no source names as one of the pod's containers the one that a source
    /// says is it; or else the one that stands for the pod, as another guess is no better; or else the
    /// oldest. The age alone does not tell after a start of the agent: the kernel does not keep when a group
    /// was made.
    pub(super) fn sandbox(&self, uid: &PodUid, inventory: &Inventory) -> Option<u64> {
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
        let standing = || nameless.iter().copied().find(|key| self.stands_for_pod(*key));
        told.or_else(standing).or_else(|| self.population.oldest_of(nameless.iter().copied()))
    }

    /// Whether a container's values are those of its pod's own group.
    pub(super) fn stands_for_pod(&self, key: u64) -> bool {
        self.containers.get(&key).is_some_and(Container::stands_for_pod)
    }

    /// The one of a pod's containers whose values are those of the pod's own group.
    fn stand_in(&self, uid: &PodUid) -> Option<u64> {
        self.population.children(uid).iter().copied().find(|key| self.stands_for_pod(*key))
    }

    /// Whether this is the pod's sandbox, and no process is in its group. Asked before it is removed: then it
    /// is still one of the pod's containers.
    pub(super) fn is_vacant_sandbox(&self, id: &ContainerId, inventory: &Inventory) -> bool {
        let key = self.population.key(id);
        let container = key.and_then(|key| self.containers.get(&key));
        let is_vacant = |it: &&Container| it.life.phase() == Phase::Vacant && !it.has_run();
        let vacant = container.filter(is_vacant);
        vacant.is_some_and(|container| self.sandbox(&container.pod, inventory) == key)
    }

    /// Opens the files of the pod's own group for its sandbox, if there are processes in it; returns whether
    /// it has.
    fn move_to_pod(&mut self, key: u64, inventory: &Inventory) -> bool {
        // On version 2 the pod's group is populated when any group in it is.
        let Some(container) = self.containers.get(&key).filter(|_| !self.hierarchy.has_events())
        else {
            return false;
        };
        // One in a pod, or both would have the pod's use. If it is another than the sandbox, that is found
        // with the next that happens to it.
        if self.stand_in(&container.pod).is_some()
            || self.sandbox(&container.pod, inventory) != Some(key)
        {
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

    /// Has the sandbox stand for the pod instead of this container; returns it, unless it has no place, or
    /// has run in its own group.
    fn replace_stand_in(&mut self, key: u64, sandbox: Option<u64>) -> Option<u64> {
        let mut wrong = self.containers.remove(&key)?;
        let next = sandbox.and_then(|key| self.containers.get_mut(&key));
        let next = next.filter(|next| !next.has_run());
        let is_replaced = next.is_some();
        wrong.leave_pod(next, &self.hierarchy);
        let uid = wrong.pod.clone();
        self.containers.insert(key, wrong);
        let stands = self.stand_in(&uid).is_some();
        if let Some(pod) = self.pods.get_mut(&uid) {
            // An end of it that was settled is none.
            pod.ledger = if stands { Ledger::from_birth() } else { Ledger::from_now() };
        }
        sandbox.filter(|_| is_replaced)
    }

    /// Whether no process of this container was seen, and those of its pod's other containers are not in
    /// their groups either. A group for a sandbox without processes says nothing about the others.
    pub(super) fn is_apart(&mut self, container: &Container, inventory: &Inventory) -> bool {
        let uid = &container.pod;
        if container.has_run() || container.nested.is_some() {
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
