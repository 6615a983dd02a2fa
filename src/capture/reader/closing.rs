//! Closing the books: what missed finals are made up from, and how far off the sums are.

use std::time::Instant;

use ephemon_model::{ContainerId, Ended, PodUid, Quality};

use super::Reader;
use super::lifecycle::ended_unseen;
use crate::additive::Additive;
use crate::ledger::Ledger;
use crate::living::{Living, Phase};

/// A final that the pod's counters mend by more than this, or by more than a hundredth of itself, is
/// `residual` and not `exact`: 1 ms.
const EXACT_WITHIN_NS: u64 = 1_000_000;

impl Reader {
    /// A container is gone whose final was read while it was empty. A process is charged for its
    /// last steps after it has left its group, so the final reading may have come too early: what
    /// the pod has and nobody accounts for is this container's.
    pub(super) fn close_exact(&mut self, mut container: Living, mut ended: Ended) {
        if let (Some(left_ns), Some(read_ns)) =
            (self.cpu_left_over(&container), container.usage.cpu.usage_ns)
        {
            container.usage.cpu.usage_ns = Some(read_ns.saturating_add(left_ns));
            if left_ns > EXACT_WITHIN_NS.max(read_ns / 100) {
                ended.quality = Quality::Residual;
            }
        }
        let quality = ended.quality;
        self.finish(container.record(Some(ended)), quality, container.sandbox);
    }

    /// CPU time of the pod that is neither this container's nor any other's. `None` where it cannot
    /// be told, or where another is gone whose own closing will look.
    fn cpu_left_over(&mut self, container: &Living) -> Option<u64> {
        let pod = self.pods.get_mut(&container.pod)?;
        let own_ns = pod.read_cpu_ns(&mut self.buffer)?;
        let settled_ns = pod.ledger.known_cpu_ns()?.checked_add(container.usage.cpu.usage_ns?)?;
        let living_ns = self.living_cpu_ns(&container.pod)?;
        Some(own_ns.saturating_sub(settled_ns.checked_add(living_ns)?))
    }

    /// Σ CPU time of the pod's containers that are not settled, read now.
    fn living_cpu_ns(&mut self, uid: &PodUid) -> Option<u64> {
        let ids = self.pods.get(uid)?.containers.iter();
        let keys: Vec<u64> = ids.filter_map(|id| self.keys.get(id)).copied().collect();
        let mut sum_ns = 0_u64;
        for key in keys {
            let container = self.living.get_mut(&key)?;
            if matches!(container.phase, Phase::Empty { told: true, .. }) {
                continue;
            }
            let read = container.read_cpu(&mut self.buffer);
            if !read && container.exact_end().is_none() {
                return None;
            }
            sum_ns = sum_ns.checked_add(container.usage.cpu.usage_ns.unwrap_or(0))?;
        }
        Some(sum_ns)
    }

    /// A container is gone whose final reading was missed: the pod's own counters tell what it
    /// used. Others found gone by the same look are closed with it.
    pub(super) fn close(&mut self, container: Living) {
        let uid = container.pod.clone();
        let mut missed = vec![container];
        let Some((own, living)) = self.read_pod(&uid, &mut missed) else {
            self.settle_missed(missed, None);
            return;
        };
        let mut known = living.clone();
        for container in &missed {
            known.add(&Additive::of(&container.usage));
        }
        let residual = self.pods.get(&uid).and_then(|pod| pod.ledger.residual(&own, &known));
        self.settle_missed(missed, residual);
        if let (Some(pod), Some(own_ns)) = (self.pods.get_mut(&uid), own.cpu_ns()) {
            self.books.enter_pod(pod.balance(own_ns, living.cpu_ns().unwrap_or(0)));
        }
    }

    /// Reads the pod, then its living containers: the parent first, so that version 2 gathers the
    /// whole subtree's counters once, and CPU time before all else, since it moves on. Containers
    /// found gone without a final are moved to `missed`.
    fn read_pod(&mut self, uid: &PodUid, missed: &mut Vec<Living>) -> Option<(Additive, Additive)> {
        let pod = self.pods.get_mut(uid)?;
        let own = pod.read(&mut self.buffer)?;
        let ids: Vec<ContainerId> = pod.containers.clone();
        let mut living = Additive::default();
        let mut running = Vec::new();
        for id in ids {
            let Some(key) = self.keys.get(&id).copied() else {
                continue;
            };
            let Some(container) = self.living.get_mut(&key) else {
                continue;
            };
            match container.phase {
                // Already in the books.
                Phase::Empty { told: true, .. } => {}
                Phase::Empty { .. } => {
                    // Gone or not, its figures are as good as final.
                    container.read_cpu(&mut self.buffer);
                    living.add(&Additive::of(&container.usage));
                }
                Phase::Fresh | Phase::Running => {
                    if container.asleep() {
                        return None;
                    }
                    if container.read_cpu(&mut self.buffer) {
                        running.push(key);
                    } else if let Some(container) = self.bury(&id) {
                        missed.push(container);
                    }
                }
            }
        }
        for key in running {
            if let Some(container) = self.living.get_mut(&key) {
                container.read_others(&mut self.buffer);
                living.add(&Additive::of(&container.usage));
            }
        }
        Some((own, living))
    }

    /// Settles those whose final was missed, with their share of what was left over.
    fn settle_missed(&mut self, missed: Vec<Living>, residual: Option<Additive>) {
        let now = Instant::now();
        let waits: Vec<u64> = missed
            .iter()
            .map(|container| {
                let waited = now.duration_since(container.sampled_at).as_nanos();
                u64::try_from(waited).unwrap_or(u64::MAX)
            })
            .collect();
        let shares = residual.map(|residual| Ledger::divide(&residual, &waits));
        let mut shares = shares.into_iter().flatten();
        for mut container in missed {
            let quality = shares.next().map_or(Quality::LastSample, |share| {
                share.figures.add_to(&mut container.usage);
                share.quality
            });
            let record = container.record(Some(ended_unseen(container.born, quality)));
            self.finish(record, quality, container.sandbox);
        }
    }

    /// Balances every pod's books: CPU time alone, once they are open.
    pub(super) fn balance_all(&mut self) {
        let uids: Vec<PodUid> = self.pods.keys().cloned().collect();
        for uid in uids {
            if self.pods.get(&uid).is_some_and(|pod| pod.ledger.is_open()) {
                self.balance(&uid);
            } else {
                self.open_books(&uid);
            }
        }
    }

    fn balance(&mut self, uid: &PodUid) {
        let Some(pod) = self.pods.get_mut(uid) else { return };
        let Some(own_ns) = pod.read_cpu_ns(&mut self.buffer) else { return };
        let Some(living_ns) = self.living_cpu_ns(uid) else { return };
        if let Some(pod) = self.pods.get_mut(uid) {
            self.books.enter_pod(pod.balance(own_ns, living_ns));
        }
    }

    /// Sets the baseline of a pod that was found running.
    fn open_books(&mut self, uid: &PodUid) {
        let mut missed = Vec::new();
        if let Some((own, living)) = self.read_pod(uid, &mut missed)
            && let Some(pod) = self.pods.get_mut(uid)
        {
            pod.ledger.open(&own, &living);
            self.books.enter_pod(pod.record(false));
        }
        for container in missed {
            self.close(container);
        }
    }
}
