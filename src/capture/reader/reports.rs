//! Where capture reports to: the readings, the inventory, and the agent's own metrics.

use std::time::SystemTime;

use ephemon_discovery::cgroups::NestedGroup;
use ephemon_discovery::inventory::{Inventory, Verdict};
use ephemon_discovery::nested::NestedNames;
use ephemon_model::{PodUid, Quality};
use ephemon_self_metrics::{Reason, SelfMetrics, Signal, Source};

use super::accounting::{Closed, Final};
use crate::container::Container;
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
    pub(super) fn created(&self, container: &Container, at: SystemTime, source: Source) {
        let source = if container.is_open() { source } else { Source::Residual };
        self.self_metrics.discovered(source);
        self.inventory.created(&container.pod, &container.id, at);
        self.inventory.stands_at(&container.id, &container.path);
    }

    /// The group of a nested container was found. Its name is found by another thread.
    pub(super) fn nested(
        &self,
        container: &Container,
        group: &NestedGroup,
        at: SystemTime,
        source: Source,
    ) {
        let source = if container.is_open() { source } else { Source::Residual };
        self.self_metrics.discovered(source);
        // What is forgotten there has no name any more.
        if let Some(evicted) = self.inventory.nested_created(group, at) {
            self.readings.forget(&evicted);
        }
        // Files of a pod that is not selected are not read.
        if self.is_wanted(&group.pod) {
            self.names.ask(group.clone());
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
    pub(super) fn ended(&self, Final { record, quality, sandbox }: Final) {
        if sandbox {
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
