//! Who is captured: places for containers, and the accounting of pods that begin to be captured.

use std::time::Instant;

use ephemon_discovery::inventory::Verdict;
use ephemon_model::PodUid;
use ephemon_self_metrics::{Reason, Signal};

use super::Driver;
use crate::ledger::Ledger;
use crate::life::Event;
use crate::population::Kind;

impl Driver {
    /// A pod is selected that was not, or containers of it wait for a place: with each of its own
    /// that has one the pod's accounting starts again.
    pub(super) fn open_pod(&mut self, uid: &PodUid, now: Instant) {
        let population = &self.held.population;
        let keys = [population.children(uid), population.nested(uid)].concat();
        for key in keys {
            let container = self.held.containers.get(&key);
            if !container.is_some_and(|container| container.life.is_closed()) {
                continue;
            }
            let Some(kind) = self.enter(key, now) else { continue };
            if let Some(pod) = self.held.pods.get_mut(uid).filter(|_| kind == Kind::Own) {
                pod.ledger = Ledger::from_now();
            }
            self.on(key, Event::Opened, now);
            if kind == Kind::Own {
                self.held.begin_beside_again(uid);
            }
        }
    }

    /// Gives a container a place and opens its files. Without a place it is counted as left out, if it
    /// is one that would be shown.
    pub(super) fn enter(&mut self, key: u64, now: Instant) -> Option<Kind> {
        let (kind, pod) = self.held.population.of(key)?;
        let pod = pod.clone();
        if self.take_place(key, kind, &pod, now) {
            self.held.open(key);
            self.reports.entered(self.held.containers.get_mut(&key)?);
            return Some(kind);
        }
        let is_shown =
            || matches!(self.reports.inventory.verdict(&pod), Verdict::Wanted | Verdict::Nameless);
        let container = self.held.containers.get_mut(&key)?;
        if self.held.population.captures(kind) && !container.is_left_out && is_shown() {
            container.is_left_out = true;
            self.reports.self_metrics.dropped(Signal::Metrics, Reason::Cap);
            if let Some(pod) = self.held.pods.get_mut(&pod).filter(|_| kind == Kind::Nested) {
                pod.leave_out(1);
            }
        }
        None
    }

    /// A place for a container; for one of a selected pod, if all are taken, that of a container whose
    /// pod is not selected, or not yet.
    fn take_place(&mut self, key: u64, kind: Kind, pod: &PodUid, now: Instant) -> bool {
        let population = &mut self.held.population;
        if population.take_place(key) {
            return true;
        }
        // No other pod's place is of use to it.
        if kind == Kind::Nested && population.has_its_share(pod) {
            return false;
        }
        let verdict = |pod: &PodUid| self.reports.inventory.verdict(pod);
        if !population.is_full(kind) || verdict(pod) != Verdict::Wanted {
            return false;
        }
        let others = population.holders(kind).filter_map(|(pod, key)| match verdict(pod) {
            Verdict::Unwanted => Some((0, key)),
            Verdict::Open => Some((1, key)),
            Verdict::Wanted | Verdict::Nameless => None,
        });
        let Some((_, other)) = others.min() else { return false };
        self.on(other, Event::Displaced, now);
        self.held.population.take_place(key)
    }
}
