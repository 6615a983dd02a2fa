//! Where capture reports to: the readings, the inventory, and the agent's own metrics.

use ephemon_discovery::cgroups::NestedGroup;
use ephemon_discovery::inventory::{Inventory, Verdict};
use ephemon_discovery::nested::NestedNames;
use ephemon_model::{PodUid, Quality};
use ephemon_self_metrics::{Reason, SelfMetrics, Signal, Source};

use super::accounting::{Closed, Final};
use crate::container::Container;
use crate::nested::Nested;
use crate::readings::{Readings, Record};

pub(super) struct Reports {
    pub(super) readings: Readings,
    pub(super) inventory: Inventory,
    pub(super) self_metrics: SelfMetrics,
    pub(super) names: NestedNames,
}

// === impl Reports ===

impl Reports {
    /// A container's cgroup was seen for the first time.
    pub(super) fn created(&self, container: &Container, source: Source) {
        self.discovered(container, source);
        self.inventory.created(&container.pod, &container.id, container.life.created());
        self.inventory.stands_at(&container.id, &container.path);
    }

    /// Counts it.
    pub(super) fn discovered(&self, container: &Container, source: Source) {
        let is_there = container.is_open() || container.life.is_closed();
        self.self_metrics.discovered(if is_there { source } else { Source::Residual });
    }

    /// A container has a place. A nested one is known from then on; its name is found by another thread.
    pub(super) fn entered(&self, container: &mut Container) {
        let created = container.life.created();
        let nested = container.nested.as_mut().filter(|nested| !nested.is_known);
        let Some(Nested { group, is_known }) = nested else { return };
        *is_known = true;
        // What is forgotten there has no name any more.
        if let Some(evicted) = self.inventory.nested_created(group, created) {
            self.readings.forget(&evicted);
        }
        // Files of a pod that is not selected are not read.
        if self.is_wanted(&group.pod) {
            self.names.ask(NestedGroup::clone(group));
        } else {
            self.inventory.nested_named(&group.key, None);
        }
    }

    /// Whether the pod's containers are captured.
    pub(super) fn is_wanted(&self, pod: &PodUid) -> bool {
        self.inventory.verdict(pod) != Verdict::Unwanted
    }

    /// Reports a container's values, unless it is the sandbox.
    pub(super) fn show(&self, container: &Container) {
        self.readings.enter_sample(container.record(None), container.is_complete());
    }

    /// The container was found to be the sandbox.
    pub(super) fn hide_sandbox(&self, container: &Container) {
        self.inventory.is_sandbox(&container.id);
        self.readings.disown(&container.pod, &container.id);
    }

    /// Its pod is not selected: nothing of it is reported.
    pub(super) fn unselected(&self, container: &Container) {
        self.self_metrics.dropped(Signal::Metrics, Reason::Unselected);
        self.readings.disown(&container.pod, &container.id);
        self.readings.forget_pod(&container.pod);
    }

    /// A container has ended, whether or not its directory exists.
    pub(super) fn ended(&self, Final { record, quality, is_hidden }: Final) {
        if is_hidden {
            return;
        }
        if self.is_wanted(&record.pod) {
            self.settled(record, quality);
        } else {
            self.self_metrics.dropped(Signal::Metrics, Reason::Unselected);
            self.readings.disown(&record.pod, &record.id);
        }
    }

    fn settled(&self, record: Record, quality: Quality) {
        self.self_metrics.final_settled(quality);
        self.readings.enter(record);
    }

    /// A pod's accounting was closed or balanced. Every container in it was removed from the node.
    pub(super) fn closed(&self, Closed { finals, pod }: Closed) {
        for over in finals {
            self.inventory.ended(&over.record.id);
            self.ended(over);
        }
        if let Some(pod) = pod {
            self.readings.enter_pod(pod);
        }
    }
}
