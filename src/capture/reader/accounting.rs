//! A pod's accounting: derives missed final readings, and measures the error of the sums.

use std::time::Instant;

use ephemon_discovery::inventory::Inventory;
use ephemon_model::{Ended, PodUid, Quality};

use super::held::Held;
use crate::additive::Additive;
use crate::container::Container;
use crate::ledger::Ledger;
use crate::life::Phase;
use crate::readings::{PodRecord, Record};

/// A final reading that the pod's counters correct by more than this, or by more than a hundredth
/// of itself, is `residual` and not `exact`: 1 ms. Containers that are not held yet are not searched for
/// less than this either.
pub(super) const EXACT_WITHIN_NS: u64 = 1_000_000;

/// A container that has ended, as it is reported.
pub(super) struct Final {
    pub(super) record: Record,
    pub(super) quality: Quality,
    /// It is the sandbox, or was left out: it is in no readings.
    pub(super) is_hidden: bool,
}

/// The result of closing or balancing a pod's accounting.
#[derive(Default)]
pub(super) struct Closed {
    pub(super) finals: Vec<Final>,
    pub(super) pod: Option<PodRecord>,
}

impl Held {
    /// Handles the removal of a container whose final reading was taken while it was empty. A
    /// process is charged for its last work after it has left its group, so the reading may have
    /// been too early: what the pod has used and no container accounts for belongs to this one.
    pub(super) fn close_exact(
        &mut self,
        mut container: Container,
        mut ended: Ended,
        inventory: &Inventory,
    ) -> Final {
        if container.nested.is_some() {
            return self.close(&container, ended);
        }
        if let (Some(left_ns), Some(read_ns)) =
            (self.cpu_left_over(&container, inventory), container.usage.cpu.usage_ns)
        {
            container.usage.cpu.usage_ns = Some(read_ns.saturating_add(left_ns));
            if left_ns > EXACT_WITHIN_NS.max(read_ns / 100) {
                ended.quality = Quality::Residual;
            }
        }
        self.close(&container, ended)
    }

    /// Adds a container's end to the accounting that it is part of.
    pub(super) fn close(&mut self, container: &Container, ended: Ended) -> Final {
        if container.nested.is_some() {
            self.settle_nested(container);
        } else if let Some(pod) = self.pods.get_mut(&container.pod) {
            pod.ledger.settle(&Additive::of(&container.usage));
        }
        let quality = ended.quality;
        let record = container.record(Some(ended));
        let is_unknown = container.nested.as_ref().is_some_and(|nested| !nested.is_known);
        Final { record, quality, is_hidden: container.life.is_sandbox() || is_unknown }
    }

    /// Adds the end of a container that is still held to its pod's accounting.
    pub(super) fn settle(&mut self, key: u64, ended: Ended) -> Option<Final> {
        let container = self.containers.remove(&key)?;
        let last = self.close(&container, ended);
        self.containers.insert(key, container);
        Some(last)
    }

    /// Removes a container's end, because it has a process again.
    pub(super) fn unsettle(&mut self, key: u64) {
        let Some(container) = self.containers.get(&key) else { return };
        if container.nested.is_some() {
            return self.unsettle_nested(key);
        }
        if let Some(pod) = self.pods.get_mut(&container.pod) {
            pod.ledger.unsettle(&Additive::of(&container.usage));
        }
    }

    /// Whether the pod has used CPU time in a container that was removed, and in which no process was seen.
    pub(super) fn has_left_over(&mut self, container: &Container, inventory: &Inventory) -> bool {
        self.cpu_left_over(container, inventory).is_some_and(|left_ns| left_ns > EXACT_WITHIN_NS)
    }

    /// CPU time of the pod that belongs neither to this container nor to any other. `None` if it
    /// cannot be determined, or if another container was removed whose own handling will determine
    /// it.
    fn cpu_left_over(&mut self, container: &Container, inventory: &Inventory) -> Option<u64> {
        let pod = self.pods.get_mut(&container.pod)?;
        let own_ns = pod.read_cpu_ns(&mut self.buffer)?;
        let settled_ns = pod.ledger.known_cpu_ns()?.checked_add(container.usage.cpu.usage_ns?)?;
        let living_ns = self.living_cpu_ns(&container.pod, inventory)?;
        let left_ns = own_ns.saturating_sub(settled_ns.checked_add(living_ns)?);
        Some(left_ns.saturating_sub(self.unheld_cpu_ns(&container.pod, left_ns)))
    }

    /// Σ CPU time of the pod's containers that are not settled, read now. `None` if one was removed that
    /// may have used more than was read of it.
    fn living_cpu_ns(&mut self, uid: &PodUid, inventory: &Inventory) -> Option<u64> {
        let (mut sum_ns, mut vacant) = (0_u64, None);
        for key in self.population.children(uid) {
            let container = self.containers.get_mut(key)?;
            if container.life.is_reported() {
                continue;
            }
            let is_read = container.read_cpu(&mut self.buffer);
            if !is_read && container.life.exact_end().is_none() {
                if container.life.phase() != Phase::Vacant || vacant.is_some() {
                    return None;
                }
                vacant = Some(*key);
            }
            sum_ns = sum_ns.checked_add(container.usage.cpu.usage_ns.unwrap_or(0))?;
        }
        // Into the group of a sandbox that is made for no process none comes later; in another one may have
        // come and ended since.
        (vacant.is_none() || vacant == self.sandbox(uid, inventory)).then_some(sum_ns)
    }

    /// Handles the removal of a container whose final reading was missed: its usage follows from
    /// the pod's own counters. Others that are found removed at the same time are handled with it.
    pub(super) fn close_missed(&mut self, container: Container) -> Closed {
        if container.nested.is_some() {
            return Closed { finals: self.close_nested_missed(container), pod: None };
        }
        let uid = container.pod.clone();
        let mut missed = vec![container];
        let Some((own, mut living)) = self.read_pod(&uid, &mut missed) else {
            return Closed { finals: self.settle_missed(missed, None), pod: None };
        };
        let mut known = living.clone();
        for container in &missed {
            known.add(&Additive::of(&container.usage));
        }
        let residual = self.pods.get(&uid).and_then(|pod| pod.ledger.residual(&own, &known));
        let residual = residual.map(|residual| {
            let left_ns = residual.cpu_ns().unwrap_or(0);
            let unheld = self.unheld(&uid, left_ns);
            living.add(&Additive::of_cpu(unheld.cpu_ns().unwrap_or(0).min(left_ns)));
            residual.less(&unheld)
        });
        let finals = self.settle_missed(missed, residual);
        self.read_beside(&uid);
        let own_ns = own.cpu_ns();
        let pod = self.pods.get_mut(&uid).zip(own_ns);
        let pod = pod.map(|(pod, own_ns)| pod.balance(own_ns, living.cpu_ns().unwrap_or(0)));
        Closed { finals, pod }
    }

    /// Reads the pod, then its running containers: the parent first, so that version 2 gathers the
    /// whole subtree's counters once, and CPU time before everything else, because it increases.
    /// Containers that were removed without a final reading are moved to `missed`.
    fn read_pod(
        &mut self,
        uid: &PodUid,
        missed: &mut Vec<Container>,
    ) -> Option<(Additive, Additive)> {
        let pod = self.pods.get_mut(uid)?;
        let own = pod.read(&mut self.buffer)?;
        let mut living = Additive::default();
        let (mut running, mut gone) = (Vec::new(), Vec::new());
        let mut closed = false;
        for key in self.population.children(uid) {
            let Some(container) = self.containers.get_mut(key) else {
                continue;
            };
            match container.life.phase() {
                // Already in the readings.
                Phase::Empty { reported: true, .. } => {}
                // A process may have come since. Where it is gone again, its removal tells.
                Phase::Vacant => {
                    if container.read_cpu(&mut self.buffer) {
                        running.push(*key);
                    }
                }
                Phase::Empty { .. } => {
                    // Removed or not, its values are as good as final.
                    container.read_cpu(&mut self.buffer);
                    living.add(&Additive::of(&container.usage));
                }
                Phase::Closed => {
                    closed = true;
                    break;
                }
                Phase::Fresh | Phase::Running if container.read_cpu(&mut self.buffer) => {
                    running.push(*key);
                }
                Phase::Fresh | Phase::Running => gone.push(container.id.clone()),
            }
        }
        missed.extend(gone.iter().filter_map(|id| self.remove(id)));
        if closed {
            return None;
        }
        for key in running {
            if let Some(container) = self.containers.get_mut(&key) {
                container.read_others(&mut self.buffer);
                living.add(&Additive::of(&container.usage));
            }
        }
        Some((own, living))
    }

    /// Settles containers whose final reading was missed, with their share of the remainder.
    pub(super) fn settle_missed(
        &mut self,
        missed: Vec<Container>,
        residual: Option<Additive>,
    ) -> Vec<Final> {
        let now = Instant::now();
        let waits: Vec<u64> = missed.iter().map(|container| container.unread_ns(now)).collect();
        let shares = residual.map(|residual| Ledger::divide(&residual, &waits));
        let mut shares = shares.into_iter().flatten();
        let settled = missed.into_iter().map(|mut container| {
            let quality = if let Some(share) = shares.next() {
                share.figures.add_to(&mut container.usage);
                share.quality
            } else {
                self.count_missed(&container);
                Quality::LastSample
            };
            // The end of its last process was not seen.
            let at = container.gone_at().max(container.life.created());
            self.close(&container, Ended { at, quality })
        });
        settled.collect()
    }

    /// Balances the CPU time of a pod, once its baseline is set.
    pub(super) fn balance(&mut self, uid: &PodUid, inventory: &Inventory) -> Closed {
        if self.pods.get(uid).is_some_and(|pod| pod.ledger.is_open()) {
            Closed { finals: Vec::new(), pod: self.balance_cpu(uid, inventory) }
        } else {
            self.open_accounting(uid)
        }
    }

    fn balance_cpu(&mut self, uid: &PodUid, inventory: &Inventory) -> Option<PodRecord> {
        self.read_beside(uid);
        let own_ns = self.pods.get_mut(uid)?.read_cpu_ns(&mut self.buffer)?;
        let living_ns = self.living_cpu_ns(uid, inventory)?;
        let known_ns = self.pods.get(uid)?.ledger.known_cpu_ns()?.checked_add(living_ns)?;
        let left_ns = own_ns.saturating_sub(known_ns);
        let unheld_ns = self.unheld_cpu_ns(uid, left_ns).min(left_ns);
        Some(self.pods.get_mut(uid)?.balance(own_ns, living_ns.saturating_add(unheld_ns)))
    }

    /// Sets the baseline of a pod that was found running.
    fn open_accounting(&mut self, uid: &PodUid) -> Closed {
        let mut missed = Vec::new();
        let mut closed = Closed::default();
        if let Some((own, mut living)) = self.read_pod(uid, &mut missed) {
            living.add(&self.unheld(uid, u64::MAX));
            if let Some(pod) = self.pods.get_mut(uid) {
                pod.ledger.open(&own, &living);
                closed.pod = Some(pod.record(false));
            }
        }
        for container in missed {
            let Closed { finals, pod } = self.close_missed(container);
            closed.finals.extend(finals);
            closed.pod = pod.or(closed.pod);
        }
        closed
    }
}
