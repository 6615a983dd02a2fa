//! Containers that were attached to pods by hand, as shown.

use std::sync::Arc;

use ephemon_discovery::debug_containers::{DebugContainer, DebugContainers};

use super::label::push_label;

/// One of them.
#[derive(Debug)]
pub struct DebugView {
    container: Arc<DebugContainer>,
    labels: String,
}

// === impl DebugView ===

impl DebugView {
    /// All that are listed.
    pub fn all(list: &DebugContainers) -> Vec<Self> {
        let view = |container: Arc<DebugContainer>| {
            let mut labels = String::with_capacity(96);
            push_label(&mut labels, "namespace", &container.pod.namespace);
            push_label(&mut labels, "pod", &container.pod.name);
            push_label(&mut labels, "container", &container.container);
            Self { container, labels }
        };
        list.shown().into_iter().map(view).collect()
    }

    pub(super) fn container(&self) -> &DebugContainer {
        &self.container
    }

    pub(super) fn labels(&self) -> &str {
        &self.labels
    }
}
