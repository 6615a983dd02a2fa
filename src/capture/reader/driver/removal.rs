//! Containers and pods whose directory was removed.

use std::time::Instant;

use ephemon_model::{ContainerId, PodUid};

use super::Driver;
use crate::ledger::Ledger;
use crate::life::{Action, Event};
use crate::reader::accounting::Closed;

impl Driver {
    /// A container's directory was removed.
    pub(in crate::reader) fn removed(&mut self, id: &ContainerId) {
        self.remove(id);
        self.settle_missed();
    }

    /// Derives the final values of nested containers that were missed, as many as may be now.
    pub(in crate::reader) fn settle_missed(&mut self) {
        let finals = self.held.settle_nested_missed(Instant::now());
        self.reports.closed(Closed { finals, pod: None });
    }

    /// The same of all.
    pub(in crate::reader) fn settle_all_missed(&mut self) {
        let finals = self.held.settle_all_missed();
        self.reports.closed(Closed { finals, pod: None });
    }

    fn remove(&mut self, id: &ContainerId) {
        self.correct_stand_in_beside(id);
        let is_vacant_sandbox = self.held.is_vacant_sandbox(id, &self.reports.inventory);
        let Some(mut container) = self.held.remove(id) else { return };
        self.reports.inventory.ended(id);
        let was_closed = container.life.is_closed();
        match container.life.on(Event::Removed, Instant::now(), &self.pace()) {
            Action::SettleExact(ended) => {
                let over = self.held.close_exact(container, ended, &self.reports.inventory);
                self.reports.ended(over);
            }
            // Too short to tell, in a pod whose processes are elsewhere.
            Action::SettleMissed if self.held.is_apart(&container, &self.reports.inventory) => {
                self.reports.vacant(&container);
            }
            Action::SettleMissed if self.never_ran(&container, is_vacant_sandbox) => {}
            Action::SettleMissed => {
                self.reports.begun(&mut container);
                let closed = self.held.close_missed(container);
                self.reports.closed(closed);
            }
            // It is in no readings, but what it used is in the counters of pod or directory.
            _ if was_closed && self.held.captures(&container.pod) => {
                if container.nested.is_some() {
                    let closed = self.held.close_missed(container);
                    self.reports.closed(closed);
                } else if let Some(pod) = self.held.pods.get_mut(&container.pod) {
                    pod.ledger = Ledger::from_now();
                    self.held.begin_beside_again(&container.pod);
                }
            }
            // Its end is not derived: the directory may be that of other pods too. What was known of it
            // stays in the pod's counter.
            _ if was_closed && container.nested.is_some() => {
                self.held.engines.disturb(&container.path);
                self.held.settle_beside(&container);
            }
            _ => {}
        }
    }

    /// A pod's directory was removed, and with it those of its containers.
    pub(in crate::reader) fn pod_removed(&mut self, uid: &PodUid) {
        if !self.held.pods.contains_key(uid) {
            return;
        }
        // With its containers, as long as they are held.
        self.held.count_monitors();
        // Those beside the pod are in its books as long as it is held.
        let nested = self.held.population.nested(uid).iter();
        let nested: Vec<_> =
            nested.filter_map(|key| self.held.population.id(*key)).cloned().collect();
        for id in nested {
            self.remove(&id);
        }
        self.settle_all_missed();
        self.held.read_beside(uid);
        let Some(pod) = self.held.pods.remove(uid) else { return };
        let population = &self.held.population;
        let children = population.nested(uid).iter().chain(population.children(uid));
        let ids: Vec<_> =
            children.filter_map(|key| self.held.population.id(*key)).cloned().collect();
        for id in ids {
            self.remove(&id);
        }
        self.settle_all_missed();
        self.reports.readings.enter_pod(pod.record(true));
    }
}
