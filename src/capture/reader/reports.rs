//! Whom capture reports to: the books, the inventory, the agent's counters of itself.

use std::time::SystemTime;

use ephemon_discovery::inventory::{Inventory, Verdict};
use ephemon_model::{PodUid, Quality};
use ephemon_vitals::{Reason, Signal, Source, Vitals};

use super::accounting::{Closed, Final};
use crate::books::{Books, Record};
use crate::container::Container;

pub(super) struct Reports {
    pub(super) books: Books,
    pub(super) inventory: Inventory,
    pub(super) vitals: Vitals,
}

// === impl Reports ===

impl Reports {
    /// A container's cgroup was seen for the first time.
    pub(super) fn created(&self, container: &Container, at: SystemTime, source: Source) {
        let source = if container.is_open() { source } else { Source::Residual };
        self.vitals.discovered(source);
        self.inventory.born(&container.pod, &container.id, at);
        self.inventory.stands_at(&container.id, &container.path);
    }

    /// Whether the pod's containers are to be captured.
    pub(super) fn is_wanted(&self, pod: &PodUid) -> bool {
        self.inventory.verdict(pod) != Verdict::Unwanted
    }

    /// A container's values, unless they are the sandbox's.
    pub(super) fn show(&self, container: &Container) {
        self.books.enter(container.record(None));
    }

    /// It was found to be the sandbox.
    pub(super) fn hide_sandbox(&self, container: &Container) {
        self.inventory.is_sandbox(&container.id);
        self.books.forget(&container.id);
    }

    /// Its pod is not wanted: nothing of it is shown.
    pub(super) fn unselected(&self, container: &Container) {
        self.vitals.dropped(Signal::Metrics, Reason::Unselected);
        self.books.forget(&container.id);
        self.books.forget_pod(&container.pod);
    }

    /// A container is over, its directory there or not.
    pub(super) fn ended(&self, Final { record, quality, sandbox }: Final) {
        if sandbox {
            return;
        }
        if self.is_wanted(&record.pod) {
            self.settled(record, quality);
        } else {
            self.vitals.dropped(Signal::Metrics, Reason::Unselected);
            self.books.forget(&record.id);
        }
    }

    fn settled(&self, record: Record, quality: Quality) {
        self.vitals.final_settled(quality);
        self.books.enter(record);
    }

    /// A pod's accounting was closed or balanced. Every container in it is gone from the node.
    pub(super) fn closed(&self, Closed { finals, pod }: Closed) {
        for over in finals {
            self.inventory.ended(&over.record.id);
            self.ended(over);
        }
        if let Some(pod) = pod {
            self.books.enter_pod(pod);
        }
    }
}
