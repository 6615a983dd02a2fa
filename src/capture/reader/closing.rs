//! Closing the books: what missed finals are made up from, and how far off the sums are.

use std::time::Instant;

use super::Reader;
use super::lifecycle::ended_unseen;
use crate::capture::additive::Additive;
use crate::capture::ledger::Ledger;
use crate::capture::living::{Living, Phase};
use crate::model::{ContainerId, PodUid, Quality};

impl Reader {
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
        if let Some(pod) = self.pods.get_mut(&uid) {
            self.books.enter_pod(pod.balance(&own, &living));
        }
    }

    /// Reads the pod, then its living containers: the parent first, so that version 2 gathers the
    /// whole subtree's counters once, and CPU time before all else, since it moves on. Containers found gone without a final are moved to `missed`.
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
                Phase::Empty { .. } => living.add(&Additive::of(&container.usage)),
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

    /// Balances every pod's books.
    pub(super) fn balance_all(&mut self) {
        let uids: Vec<PodUid> = self.pods.keys().cloned().collect();
        for uid in uids {
            let mut missed = Vec::new();
            let Some((own, living)) = self.read_pod(&uid, &mut missed) else {
                continue;
            };
            if !missed.is_empty() {
                for container in missed {
                    self.close(container);
                }
            } else if let Some(pod) = self.pods.get_mut(&uid) {
                self.books.enter_pod(pod.balance(&own, &living));
            }
        }
    }
}
