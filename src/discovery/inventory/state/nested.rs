//! Nested containers beside those of the pods' specs.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ephemon_model::{ContainerId, PodUid};

use super::State;
use crate::cgroups::NestedGroup;
use crate::inventory::ContainerFacts;
use crate::inventory::nested::EngineNames;

impl State {
    pub(in crate::inventory) fn nested_created(
        &mut self,
        group: &NestedGroup,
        at: SystemTime,
        now: Instant,
    ) -> Option<ContainerId> {
        let evicted = self.nested.created(group, at, now);
        self.dropped += u64::from(evicted.is_some());
        self.touch(&group.pod);
        evicted
    }

    pub(in crate::inventory) fn nested_named(
        &mut self,
        key: &ContainerId,
        names: Option<EngineNames>,
    ) {
        if let Some(uid) = self.nested.named(key, names.unwrap_or_default()) {
            self.touch(&uid);
        }
    }

    pub(super) fn nested_ended(&mut self, key: &ContainerId) {
        if let Some(uid) = self.nested.ended(key) {
            self.touch(&uid);
        }
    }

    pub(super) fn forget_nested(&mut self, key: &ContainerId) {
        if let Some(uid) = self.nested.forget(key) {
            self.touch(&uid);
        }
    }

    /// Whether it is a nested container of this pod.
    pub(in crate::inventory) fn is_nested(&self, uid: &PodUid, key: &ContainerId) -> bool {
        self.nested.outer(uid, key).is_some()
    }

    /// What is known of a nested container; `None` while a name may still be found.
    pub(in crate::inventory) fn nested_facts(
        &mut self,
        uid: &PodUid,
        key: &ContainerId,
        now: Instant,
    ) -> Option<Arc<ContainerFacts>> {
        let outer = self.nested.outer(uid, key)?.clone();
        let outers_name = self.container(uid, &outer).map(|facts| facts.name.clone());
        self.nested.facts(key, outers_name, now)
    }
}
