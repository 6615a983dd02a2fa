//! The snapshot: every selected pod, with its spec and its containers as reported by all sources.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ephemon_model::{ContainerId, ContainerType, Exit, PodRef, PodUid};

use super::state::State;
use super::watched::{ApiState, Standing};
use super::{RunnerFacts, SpecEntry, Verdict};

/// A pod in the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPod {
    /// Namespace, name, UID.
    pub pod: Arc<PodRef>,
    /// Whether it exists: the API server lists it, or there is no API server. `false` once it was
    /// deleted.
    pub listed: bool,
    /// The containers of its spec.
    pub spec: Vec<SpecEntry>,
    /// The GitHub runner that it belongs to.
    pub runner: RunnerFacts,
    /// Its containers that run or ran on the node and have a name, nested ones last.
    pub runs: Vec<ListedContainer>,
}

/// A container in the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedContainer {
    /// The runtime's id.
    pub id: ContainerId,
    /// Its name.
    pub name: Arc<str>,
    /// Its type in the spec.
    pub container_type: ContainerType,
    /// The image as the spec names it.
    pub image: Option<Arc<str>>,
    /// When its cgroup was created, if it was seen.
    pub created: Option<SystemTime>,
    /// Whether its cgroup was removed.
    pub ended: bool,
    /// How it ended.
    pub exit: Option<Exit>,
    /// When it started, from the runtime or the API.
    pub started: Option<SystemTime>,
    /// When it ended, from the runtime or the API.
    pub finished: Option<SystemTime>,
}

impl State {
    /// Every selected pod that has a name.
    pub(super) fn snapshot(&mut self, now: Instant) -> Vec<ListedPod> {
        let uids: Vec<PodUid> = self.pods.keys().cloned().collect();
        uids.iter().filter_map(|uid| self.wanted_sight(uid, now)).collect()
    }

    /// Those of these pods that are selected and have a name.
    pub(super) fn snapshot_of(&mut self, pods: &HashSet<PodUid>, now: Instant) -> Vec<ListedPod> {
        pods.iter().filter_map(|uid| self.wanted_sight(uid, now)).collect()
    }

    fn wanted_sight(&mut self, uid: &PodUid, now: Instant) -> Option<ListedPod> {
        // A lookup must not create an entry for an unknown pod.
        self.pods.get(uid)?;
        (self.verdict(uid, now) == Verdict::Wanted).then(|| self.sight(uid, now))?
    }

    fn sight(&mut self, uid: &PodUid, now: Instant) -> Option<ListedPod> {
        let reference = self.pod(uid)?;
        let held = self.pods.get(uid)?;
        let listed = self.line == ApiState::None || held.standing == Standing::Listed;
        let mut spec: Vec<_> = held.spec.values().cloned().collect();
        spec.sort_by(|a, b| a.name.cmp(&b.name));
        let mut ids: Vec<_> = held.ids.iter().cloned().collect();
        ids.sort();
        let mut runs: Vec<_> = ids.iter().filter_map(|id| self.run(uid, id)).collect();
        runs.extend(self.nested_runs(uid, now));
        let runner = self.runner_facts(uid);
        Some(ListedPod { pod: reference, listed, spec, runner, runs })
    }

    fn nested_runs(&mut self, uid: &PodUid, now: Instant) -> Vec<ListedContainer> {
        let keys = self.nested.of_pod(uid).into_iter();
        let run = |key: ContainerId| {
            let facts = self.nested_facts(uid, &key, now)?;
            let container = self.nested.get(&key)?;
            Some(ListedContainer {
                id: key,
                name: facts.name.clone(),
                container_type: facts.container_type,
                image: facts.image.clone(),
                created: Some(container.created),
                ended: container.ended,
                exit: None,
                started: None,
                finished: None,
            })
        };
        keys.filter_map(run).collect()
    }

    fn run(&mut self, uid: &PodUid, id: &ContainerId) -> Option<ListedContainer> {
        let facts = self.container(uid, id)?;
        let container = self.containers.get(id)?;
        if facts.container_type == ContainerType::Sandbox {
            return None;
        }
        Some(ListedContainer {
            id: id.clone(),
            name: facts.name.clone(),
            container_type: facts.container_type,
            image: facts.image.clone(),
            created: container.created,
            ended: container.ended,
            exit: facts.exit.clone(),
            started: container.started(uid),
            finished: container.finished(uid),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::inventory::{Evidence, EvidenceSource, Observation};

    #[test]
    fn the_roll_has_named_containers_with_the_runtimes_times_before_the_apis() {
        let now = Instant::now();
        let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
        let ids = ["a", "b"].map(|digit| ContainerId::parse(&digit.repeat(64)).unwrap());
        let mut state = State::default();
        for id in &ids {
            state.created(&uid, id, at(10), now);
        }
        assert_eq!(state.snapshot(now), [], "a pod without a name is nobody's");
        let pod = PodRef { namespace: "ci".into(), name: "r".into(), uid: uid.clone() };
        state.learn(Evidence::Pod { pod, by: EvidenceSource::Api }, now);
        for (by, second) in [(EvidenceSource::Api, 11), (EvidenceSource::Cri, 12)] {
            let word = Observation {
                pod: Some(uid.clone()),
                name: "job".into(),
                image: None,
                exit: None,
                started: Some(at(second)),
                finished: None,
            };
            state.learn(Evidence::Container { id: ids[0].clone(), word, by }, now);
        }
        let snapshot = state.snapshot(now);
        assert_eq!(snapshot.len(), 1);
        assert!(snapshot[0].listed);
        let run = &snapshot[0].runs[0];
        assert_eq!((snapshot[0].runs.len(), &*run.name, run.started), (1, "job", Some(at(12))));
        assert_eq!((run.created, run.ended), (Some(at(10)), false));
    }
}
