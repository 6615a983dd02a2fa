//! Containers that do not start, and the kubelet's status for them over time.

use super::Worker;
use crate::api::containers;
use crate::api::object::text;
use crate::kubelet::images::Waiting;
use crate::kubelet::{NodeEvent, images};

// === impl Worker ===

impl Worker {
    /// From now on a container waits for this reason.
    pub(super) fn wait(&mut self, name: &str, reason: &'static str, message: Option<String>) {
        let waiting = Waiting { reason, message };
        if self.waiting.insert(name.to_owned(), waiting).is_none() {
            let (pod, container) = (self.key.1.clone(), name.to_owned());
            self.shared.tell(NodeEvent::Waiting { pod, container, reason });
        }
    }

    /// Changes the reason of failed pulls to back-off once the failure was published.
    pub(super) fn back_off(&mut self) {
        if self.waiting.values().all(|waiting| waiting.reason != images::PULL_FAILED) {
            return;
        }
        let Some(pod) = self.pod() else { return };
        for container in containers::all(&pod) {
            let part = |pointer| text(container, pointer).unwrap_or_default();
            if let Some(waiting) = self.waiting.get_mut(part("/name")) {
                images::back_off(waiting, part("/image"));
            }
        }
    }
}
