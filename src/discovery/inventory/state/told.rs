//! What the runtime's events say, beside what sources say that are asked: bounded per pod, and never more
//! than the kernel says.

use std::collections::HashSet;
use std::time::Instant;

use ephemon_model::{ContainerId, PodRef, PodUid};

use super::State;
use super::lone_ends::LoneEnd;
use crate::inventory::facts::Container;
use crate::inventory::{Evidence, EvidenceSource, Observation, RuntimeWord, Verdict};

/// Most containers of a pod of which only the runtime's events tell. The oldest is dropped first.
const MAX_TOLD_PER_POD: usize = 64;

const BY: EvidenceSource = EvidenceSource::Nri;

impl State {
    /// Enters what the runtime tells of a container, unless its pod is known not to be selected.
    pub(in crate::inventory) fn told(&mut self, told: RuntimeWord, now: Instant) {
        let RuntimeWord { id, mut word, pod, sandbox, is_new, is_over } = told;
        self.join_lone_end(&id, &mut word, is_new);
        let known = self.containers.get(&id);
        let earlier = known.and_then(|known| known.observations.get(BY));
        let is_born = known.is_some_and(|known| known.created.is_some());
        let finished = earlier.and_then(|word| word.finished);
        let has_run = word.started.or(earlier.and_then(|word| word.started)).is_some();
        let earlier_pod = || earlier.and_then(|word| word.pod.clone());
        let of_kernel = known.and_then(|known| known.pod.clone());
        let told_pod = word.pod.clone().or_else(earlier_pod);
        let Some(uid) = of_kernel.or_else(|| told_pod.clone()) else {
            return self.keep_lone_end(is_over, id, None, word, now);
        };
        // The kernel knows better whose it is.
        let is_its = told_pod.is_none_or(|pod| pod == uid);
        if !is_its {
            return;
        }
        if self.verdict(&uid, now) == Verdict::Unwanted {
            return;
        }
        if is_over && !is_born && !has_run && word.exit.is_none() {
            // Its creation, or its start, has failed; or its start is told later.
            self.unsay(&id);
            return self.keep_lone_end(is_over, id, Some(uid), word, now);
        }
        if is_new {
            self.unsay(&id);
        } else {
            // The time of a start that is told after the end may be the time at which it was told.
            let finished = word.finished.or(finished);
            word.started = word.started.map(|at| finished.map_or(at, |finished| at.min(finished)));
        }
        self.enter_pod(pod, sandbox, &uid, now);
        self.make_room(&uid, &id);
        word.pod.get_or_insert(uid);
        self.learn(Evidence::Container { id, word, by: BY }, now);
    }

    /// Enters the runtime's list.
    pub(in crate::inventory) fn told_all(
        &mut self,
        pods: Vec<(PodRef, ContainerId)>,
        containers: Vec<RuntimeWord>,
        is_complete: bool,
        now: Instant,
    ) {
        for (pod, sandbox) in pods {
            let uid = pod.uid.clone();
            if self.verdict(&uid, now) != Verdict::Unwanted {
                self.enter_pod(Some(pod), Some(sandbox), &uid, now);
            }
        }
        let listed: HashSet<ContainerId> = containers.iter().map(|told| told.id.clone()).collect();
        for told in containers {
            self.told(told, now);
        }
        if is_complete {
            let is_stale = |(id, container): &(&ContainerId, &Container)| {
                let word = container.observations.get(BY);
                container.created.is_none()
                    && word.is_some_and(|word| word.finished.is_none())
                    && !listed.contains(*id)
            };
            let all = self.containers.iter().filter(is_stale);
            let stale: Vec<ContainerId> = all.map(|(id, _)| id.clone()).collect();
            for id in &stale {
                self.unsay(id);
            }
        }
    }

    pub(in crate::inventory) fn sources(&self, id: &ContainerId) -> Vec<EvidenceSource> {
        let container = self.containers.get(id);
        container.into_iter().flat_map(|one| one.observations.iter()).map(|(by, _)| by).collect()
    }

    fn enter_pod(
        &mut self,
        pod: Option<PodRef>,
        sandbox: Option<ContainerId>,
        uid: &PodUid,
        now: Instant,
    ) {
        if let Some(pod) = pod {
            self.learn(Evidence::Pod { pod, by: BY }, now);
        }
        if let Some(id) = sandbox {
            self.learn(Evidence::Sandbox { id, pod: Some(uid.clone()) }, now);
        }
    }

    /// Keeps an end of which nothing is entered, because nothing else is known of the container, until its
    /// start is told.
    fn keep_lone_end(
        &mut self,
        is_over: bool,
        id: ContainerId,
        pod: Option<PodUid>,
        word: Observation,
        now: Instant,
    ) {
        if is_over {
            let end = LoneEnd { finished: word.finished, exit: word.exit };
            self.dropped += u64::from(self.lone_ends.push(id, pod, end, now));
        }
    }

    /// Adds the end of a container that was told before its start.
    fn join_lone_end(&mut self, id: &ContainerId, word: &mut Observation, is_new: bool) {
        if is_new {
            // Of another container with this id.
            self.lone_ends.take(id);
        } else if word.started.is_some()
            && let Some(LoneEnd { finished, exit }) = self.lone_ends.take(id)
        {
            word.finished = word.finished.or(finished);
            word.exit = word.exit.take().or(exit);
        }
    }

    /// Forgets what the runtime's events said of a container, and the container if nobody else knows it.
    fn unsay(&mut self, id: &ContainerId) {
        let Some(container) = self.containers.get_mut(id) else { return };
        if !container.observations.remove(BY) {
            return;
        }
        if is_unknown(container) {
            return self.forget(id);
        }
        container.facts = None;
        if let Some(uid) = container.pod.clone() {
            if let Some(pod) = self.pods.get_mut(&uid) {
                pod.touch();
            }
            self.touch(&uid);
        }
    }

    /// Drops the oldest container of the pod of which only events tell, if there are too many and this
    /// one is another.
    fn make_room(&mut self, uid: &PodUid, id: &ContainerId) {
        if self.containers.contains_key(id) {
            return;
        }
        let Some(pod) = self.pods.get(uid) else { return };
        let told = pod.ids.iter().filter_map(|id| {
            let container = self.containers.get(id)?;
            let is_told = container.observations.get(BY).is_some();
            let is_only = container.observations.values().count() == 1;
            (container.created.is_none() && is_told && is_only).then_some((container.seq, id))
        });
        let told: Vec<_> = told.collect();
        if told.len() < MAX_TOLD_PER_POD {
            return;
        }
        let Some((_, oldest)) = told.into_iter().min() else { return };
        let oldest = oldest.clone();
        self.forget(&oldest);
        self.dropped += 1;
    }
}

/// Whether no source knows of it.
fn is_unknown(container: &Container) -> bool {
    let is_named = container.observations.values().next().is_some();
    !is_named && container.created.is_none() && !container.sandbox
}

#[cfg(test)]
mod tests;
