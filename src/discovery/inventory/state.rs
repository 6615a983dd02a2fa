//! The inventory's state and its bounds. Pure: the time is a parameter, and the lock is outside.
//!
//! The reports of all sources are stored side by side and compared when an answer is needed, so
//! that their order does not matter.

mod bounds;
mod limited;
mod lone_ends;
mod nested;
mod sandboxed;
mod standing;
mod told;
mod touched;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ephemon_model::{ContainerId, ContainerType, PodRef, PodUid};

use super::facts::{Container, Pod};
use super::nested::Nested;
use super::order::{Creation, Found, Order};
use super::watched::{ApiState, Standing, judge};
use super::{ContainerFacts, Evidence, EvidenceSource, Observation, Verdict};
pub use lone_ends::LONE_ENDS_BYTES;
use lone_ends::LoneEnds;
pub(super) use touched::Touched;

/// Most containers: those that the agent reports after their end (`--max-ended`, 10 000) and those
/// that run. The oldest ended one is dropped first.
pub const MAX_CONTAINERS: usize = 12_000;

/// Memory of one container in bytes: with reports of three sources, in a table that has just grown.
pub const CONTAINER_BYTES: usize = 832;

/// Most containers whose cgroups were never seen: they ran before the agent's start, or belong to
/// pods that are not selected.
pub const MAX_UNSEEN: usize = 2_000;

/// Most pods; a kubelet runs 110 by default. The oldest that is not listed and has no containers is
/// dropped first.
pub const MAX_PODS: usize = 2_000;

/// The name of a sandbox, as in the kubelet's own metrics.
const SANDBOX_NAME: &str = "POD";

#[derive(Debug)]
pub(super) struct State {
    pub(super) line: ApiState,
    pub(super) pods: HashMap<PodUid, Pod>,
    pub(super) containers: HashMap<ContainerId, Container>,
    pub(super) nested: Nested,
    unborn: usize,
    lone_ends: LoneEnds,
    /// Memory of all specs in bytes, after the last one was added.
    spec_bytes: usize,
    next: u64,
    dropped: u64,
    touched: Touched,
    /// Whether a runner's controller may have something to say.
    pub(super) asks: bool,
}

// === impl State ===

impl Default for State {
    fn default() -> Self {
        Self::new(ApiState::None)
    }
}

impl State {
    pub(super) fn new(line: ApiState) -> Self {
        Self {
            line,
            pods: HashMap::new(),
            containers: HashMap::new(),
            nested: Nested::default(),
            unborn: 0,
            lone_ends: LoneEnds::default(),
            spec_bytes: 0,
            next: 0,
            dropped: 0,
            touched: Touched::Pods(Vec::new()),
            asks: false,
        }
    }

    pub(super) fn verdict(&mut self, uid: &PodUid, now: Instant) -> Verdict {
        if self.line == ApiState::None {
            return Verdict::Wanted;
        }
        self.pod_mut(uid, now);
        let Some(pod) = self.pods.get(uid) else {
            return Verdict::Open;
        };
        let held = pod
            .ids
            .iter()
            .any(|id| self.containers.get(id).is_some_and(|container| container.created.is_some()));
        judge(self.line, pod.standing, held, now)
    }

    pub(super) fn created(&mut self, uid: &PodUid, id: &ContainerId, at: SystemTime, now: Instant) {
        let container = self.container_mut(id);
        let first = container.created.is_none();
        let elsewhere = container.pod.replace(uid.clone());
        container.created = Some(at);
        // An id that ended exists again.
        container.ended = false;
        if first {
            self.unborn = self.unborn.saturating_sub(1);
        }
        if let Some(elsewhere) = elsewhere.filter(|elsewhere| elsewhere != uid) {
            self.part(&elsewhere, id);
        }
        self.join(uid, id, now);
        self.trim_containers();
    }

    pub(super) fn ended(&mut self, id: &ContainerId) {
        self.nested_ended(id);
        if let Some(container) = self.containers.get_mut(id)
            && !container.ended
        {
            container.ended = true;
            container.cgroup = None;
            // Now the runtime's events may say how.
            container.facts = None;
            if let Some(uid) = container.pod.clone() {
                self.touch(&uid);
            }
        }
    }

    pub(super) fn learn(&mut self, evidence: Evidence, now: Instant) {
        match evidence {
            Evidence::Pod { pod, by } => {
                let held = self.pod_mut(&pod.uid, now);
                if held.refs.get(&by).is_none_or(|known| **known != pod) {
                    let uid = pod.uid.clone();
                    held.refs.insert(by, Arc::new(pod));
                    self.touch(&uid);
                }
            }
            Evidence::Spec { pod, entries } => {
                let of_all = self.spec_bytes;
                let held = self.pod_mut(&pod, now);
                // A container that was once in a spec stays known: containers are never removed
                // from a pod's spec, and the containers of a deleted pod are still reported.
                let (mut left_out, mut is_news) = (0, false);
                for entry in entries {
                    if held.spec.get(&entry.name) != Some(&entry) {
                        is_news = true;
                        left_out += u64::from(!held.enter(entry, of_all));
                    }
                }
                if !is_news {
                    return;
                }
                held.touch();
                self.touch(&pod);
                self.dropped += left_out;
                self.spec_bytes = self.pods.values().map(|pod| pod.spec_bytes).sum();
            }
            Evidence::Origin { pod, origin } => self.asks |= self.learn_origin(&pod, origin, now),
            Evidence::Job { pod, job } => self.learn_job(&pod, job),
            Evidence::Message { pod, job } => self.learn_message(&pod, job),
            Evidence::Container { id, word, by } => self.hear(&id, word, by, now),
            Evidence::Sandbox { id, pod } => {
                let container = self.container_mut(&id);
                let is_known = std::mem::replace(&mut container.sandbox, true);
                let uid = container.pod.clone().or_else(|| pod.clone());
                let is_joined = uid
                    .is_none_or(|uid| self.pods.get(&uid).is_some_and(|pod| pod.ids.contains(&id)));
                if is_known && is_joined {
                    return;
                }
                let container = self.container_mut(&id);
                container.facts = None;
                // `join` reports the change of its pod.
                if let Some(uid) = container.pod.clone().or(pod) {
                    self.join(&uid, &id, now);
                }
                self.trim_containers();
            }
            Evidence::Log { pod, container, attempt, made } => {
                if self.pod_mut(&pod, now).log(container, attempt, made) {
                    self.touch(&pod);
                }
            }
        }
    }

    fn hear(&mut self, id: &ContainerId, word: Observation, by: EvidenceSource, now: Instant) {
        let container = self.container_mut(id);
        let told = word.pod.clone();
        let changed = if let Some(known) = container.observations.get_mut(by) {
            known.update(word)
        } else {
            container.observations.insert(by, word);
            true
        };
        if !changed {
            return;
        }
        container.facts = None;
        if let Some(uid) = container.pod.clone().or(told) {
            self.join(&uid, id, now);
        }
        self.trim_containers();
    }

    pub(super) fn pod(&self, uid: &PodUid) -> Option<Arc<PodRef>> {
        self.pods.get(uid)?.refs.values().next().cloned()
    }

    pub(super) fn is_called(&self, uid: &PodUid, namespace: &str, name: &str) -> Option<bool> {
        let refs = &self.pods.get(uid)?.refs;
        let pod = refs.iter().find(|(by, _)| **by != EvidenceSource::Api)?.1;
        Some(&*pod.namespace == namespace && &*pod.name == name)
    }

    pub(super) fn container(
        &mut self,
        uid: &PodUid,
        id: &ContainerId,
    ) -> Option<Arc<ContainerFacts>> {
        let container = self.containers.get(id)?;
        if container.pod.as_ref().is_some_and(|pod| pod != uid) {
            return None;
        }
        let version = self.pods.get(uid).map_or(0, |pod| pod.version);
        if let Some((at, facts)) = &container.facts
            && *at == version
        {
            return Some(facts.clone());
        }
        let (said, told) = (container.name(uid), container.sandbox);
        let nameless_sandbox =
            said.is_none() && (told || self.order(uid).is_some_and(|order| order.is_sandbox(id)));
        let name = match said {
            Some(name) => name,
            None if nameless_sandbox => SANDBOX_NAME.into(),
            None => self.name_by_order(uid, id)?.name,
        };
        let holds_pod = nameless_sandbox && self.holds_its_pod(uid, id);
        let container = self.containers.get_mut(id)?;
        let entry = self.pods.get(uid).and_then(|pod| pod.spec.get(&name));
        let facts = Arc::new(ContainerFacts {
            container_type: match entry {
                _ if holds_pod => ContainerType::SharedSandbox,
                _ if nameless_sandbox => ContainerType::Sandbox,
                Some(entry) => entry.container_type,
                None => ContainerType::Unknown,
            },
            image: entry
                .filter(|_| !nameless_sandbox)
                .and_then(|entry| entry.image.clone())
                .or_else(|| container.observations(uid).find_map(|word| word.image.clone())),
            engine_id: None,
            exit: container.exit(uid),
            name,
        });
        container.facts = Some((version, facts.clone()));
        Some(facts)
    }

    fn name_by_order(&mut self, uid: &PodUid, id: &ContainerId) -> Option<Found> {
        self.order(uid)?.name(id).cloned()
    }

    /// The names that follow from the order of the pod's logs.
    fn order(&mut self, uid: &PodUid) -> Option<&Order> {
        let pod = self.pods.get_mut(uid)?;
        if pod.by_order.is_none() {
            let creations = pod.ids.iter().filter_map(|id| {
                let container = self.containers.get(id)?;
                let named = container.name(uid);
                (named.is_some() || !container.sandbox).then_some(Creation {
                    id: id.clone(),
                    at: container.created?,
                    named,
                })
            });
            pod.by_order = Some(Order::of(creations.collect(), &pod.logs));
        }
        pod.by_order.as_ref()
    }

    pub(super) fn is_unexplained(&self, id: &ContainerId) -> bool {
        self.containers.get(id).is_some_and(|container| {
            container.created.is_some()
                && !container.sandbox
                // The runtime's events do not say why, which it can be asked.
                && container.observations.iter().all(|(by, word)| {
                    by == EvidenceSource::Nri || word.exit.is_none()
                })
        })
    }

    pub(super) fn forget(&mut self, id: &ContainerId) {
        self.forget_nested(id);
        if let Some(container) = self.containers.remove(id) {
            if container.created.is_none() {
                self.unborn = self.unborn.saturating_sub(1);
            }
            let told = container.observations.values().filter_map(|word| word.pod.clone());
            let pods: Vec<_> = container.pod.into_iter().chain(told).collect();
            for uid in pods {
                self.part(&uid, id);
            }
        }
    }

    pub(super) fn forget_pod(&mut self, uid: &PodUid) {
        let Some(pod) = self.pods.get_mut(uid) else {
            return;
        };
        self.touched.add(uid);
        let ids: Vec<_> = pod.ids.drain().collect();
        if pod.standing == Standing::Listed {
            pod.logs.clear();
            pod.touch();
        } else {
            self.pods.remove(uid);
        }
        for id in ids {
            self.forget(&id);
        }
    }

    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// The pods that changed since the last call.
    pub(super) fn take_touched(&mut self) -> Touched {
        std::mem::replace(&mut self.touched, Touched::Pods(Vec::new()))
    }

    pub(super) fn touch(&mut self, uid: &PodUid) {
        self.touched.add(uid);
    }

    pub(super) fn pod_mut(&mut self, uid: &PodUid, now: Instant) -> &mut Pod {
        if self.pods.len() >= MAX_PODS && !self.pods.contains_key(uid) {
            self.trim_pods();
        }
        let seq = self.next;
        self.next += 1;
        self.pods.entry(uid.clone()).or_insert_with(|| Pod::new(seq, now))
    }

    fn container_mut(&mut self, id: &ContainerId) -> &mut Container {
        let seq = self.next;
        self.next += 1;
        self.containers.entry(id.clone()).or_insert_with(|| {
            self.unborn += 1;
            Container { seq, ..Container::default() }
        })
    }

    fn join(&mut self, uid: &PodUid, id: &ContainerId, now: Instant) {
        let pod = self.pod_mut(uid, now);
        pod.ids.insert(id.clone());
        pod.touch();
        self.touch(uid);
    }

    fn part(&mut self, uid: &PodUid, id: &ContainerId) {
        if let Some(pod) = self.pods.get_mut(uid)
            && pod.ids.remove(id)
        {
            pod.touch();
            self.touch(uid);
        }
    }
}

#[cfg(test)]
mod tests;
