//! Whether a container's pod is wanted: those of others sleep, their files closed.

use std::time::{Duration, Instant};

use ephemon_discovery::inventory::Verdict;
use ephemon_model::PodUid;
use ephemon_vitals::{Reason, Signal};

use super::Reader;
use crate::ledger::Ledger;

/// A pod that the API does not list is captured this long all the same: the list may be behind.
const UNWANTED_AFTER: Duration = Duration::from_secs(10);
/// How often a container's pod is asked about.
const JUDGE_EVERY: Duration = Duration::from_secs(1);

impl Reader {
    /// Asks now and then whether a container's pod is wanted.
    pub(super) fn judge(&mut self, key: u64, now: Instant) {
        let Some(container) = self.living.get_mut(&key) else { return };
        if now.duration_since(container.judged_at) < JUDGE_EVERY {
            return;
        }
        container.judged_at = now;
        let uid = container.pod.clone();
        let age = now.duration_since(container.born_at);
        let asleep = container.asleep();
        let wanted = self.inventory.verdict(&uid) != Verdict::Unwanted;
        if asleep && wanted {
            self.wake_pod(&uid, now);
        } else if !asleep && !wanted && age >= UNWANTED_AFTER {
            self.vitals.dropped(Signal::Metrics, Reason::Unselected);
            self.put_to_sleep(key);
        }
    }

    fn put_to_sleep(&mut self, key: u64) {
        if let Some(container) = self.living.get_mut(&key) {
            container.sleep();
            self.books.forget(&container.id);
            self.books.forget_pod(&container.pod);
        }
    }

    /// A sleeping pod is wanted after all: its books start anew.
    fn wake_pod(&mut self, uid: &PodUid, now: Instant) {
        let Some(pod) = self.pods.get_mut(uid) else {
            return;
        };
        pod.ledger = Ledger::from_now();
        let keys: Vec<u64> =
            pod.containers.iter().filter_map(|id| self.keys.get(id)).copied().collect();
        for key in keys {
            if let Some(container) = self.living.get_mut(&key) {
                container.wake(&self.hierarchy);
            }
            self.look(key, now);
            self.sample(key, now);
            self.reset_timer(key, now);
        }
    }
}
