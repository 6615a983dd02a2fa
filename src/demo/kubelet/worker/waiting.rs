//! Containers that do not start, and what the kubelet says of them as time goes by.

use super::Worker;
use crate::api::object::{items, text};
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

    /// Goes over to waiting for the next try of pulls that failed, once that was published.
    pub(super) fn back_off(&mut self) {
        if self.waiting.values().all(|waiting| waiting.reason != images::PULL_FAILED) {
            return;
        }
        let Some(pod) = self.pod() else { return };
        let lists = ["/spec/initContainers", "/spec/containers", "/spec/ephemeralContainers"];
        for container in lists.iter().flat_map(|list| items(&pod, list)) {
            let part = |pointer| text(container, pointer).unwrap_or_default();
            if let Some(waiting) = self.waiting.get_mut(part("/name")) {
                images::back_off(waiting, part("/image"));
            }
        }
    }
}
