//! Finds a container by its name, for callers that know only its log's directory.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use ephemon_model::{ContainerId, ContainerType, JobEnv, PodUid};

use super::state::State;

/// What is known of a container with a given name; of several starts, the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The runtime's id, if its cgroup was seen.
    pub id: Option<ContainerId>,
    /// Its type in the spec.
    pub container_type: ContainerType,
    /// The image as the spec names it.
    pub image: Option<Arc<str>>,
    /// The job that its environment identifies, else its pod's.
    pub job: Option<Arc<JobEnv>>,
    /// Whether its cgroup was removed.
    pub ended: bool,
}

/// When it was created, if known, and the order in which containers were seen.
type Rank = (Option<SystemTime>, u64);

// === impl State ===

impl State {
    /// The container with this name, if a source has reported it.
    pub(super) fn named(&mut self, uid: &PodUid, name: &str) -> Option<Named> {
        let pod = self.pods.get(uid)?;
        let entry = pod.spec.get(name).cloned();
        let own = entry.as_ref().and_then(|entry| entry.job.clone());
        // What a runner or its controller has said goes before an operator's mapping.
        let job = match own {
            Some(own) if own.ci.is_none() => Some(own),
            own => self.runner_facts(uid).job.or(own),
        };
        let ids: Vec<ContainerId> = pod.ids.iter().cloned().collect();
        let mut newest = None;
        for id in ids {
            let Some(facts) = self.container(uid, &id).filter(|facts| &*facts.name == name) else {
                continue;
            };
            let Some(container) = self.containers.get(&id) else { continue };
            let rank = (container.created, container.seq);
            if newest.as_ref().is_none_or(|(best, ..): &(Rank, _, _, _)| *best < rank) {
                newest = Some((rank, id, facts, container.ended));
            }
        }
        match (entry, newest) {
            (None, None) => None,
            (Some(entry), None) => Some(Named {
                id: None,
                container_type: entry.container_type,
                image: entry.image,
                job,
                ended: false,
            }),
            (_, Some((_, id, facts, ended))) => Some(Named {
                id: Some(id),
                container_type: facts.container_type,
                image: facts.image.clone(),
                job,
                ended,
            }),
        }
    }

    /// Where the newest container with this name has its cgroup, while it runs.
    pub(super) fn cgroup_of(&mut self, uid: &PodUid, name: &str) -> Option<Arc<Path>> {
        let id = self.named(uid, name)?.id?;
        self.containers.get(&id)?.cgroup.clone()
    }

    /// The type of the container with this name, without building the whole answer.
    pub(super) fn type_of(&mut self, uid: &PodUid, name: &str) -> Option<ContainerType> {
        let entry = self.pods.get(uid)?.spec.get(name);
        entry.map(|entry| entry.container_type)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::inventory::{Evidence, EvidenceSource, Observation, SpecEntry};

    #[test]
    fn of_several_starts_the_newest_is_told_and_a_spec_alone_is_enough() {
        let now = Instant::now();
        let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
        let mut state = State::default();
        assert_eq!(state.named(&uid, "job"), None);
        let entry = SpecEntry {
            name: "job".into(),
            container_type: ContainerType::Ephemeral,
            image: Some("image".into()),
            limits: None,
            wants_init: false,
            job: Some(Arc::default()),
        };
        state.learn(Evidence::Spec { pod: uid.clone(), entries: vec![entry] }, now);
        assert_eq!(state.named(&uid, "job").unwrap().id, None);
        assert_eq!(state.type_of(&uid, "job"), Some(ContainerType::Ephemeral));
        let ids = ["a", "b"].map(|digit| ContainerId::parse(&digit.repeat(64)).unwrap());
        for (second, id) in ids.iter().enumerate() {
            let created = SystemTime::UNIX_EPOCH + Duration::from_secs(second as u64);
            state.created(&uid, id, created, now);
            let word = Observation {
                pod: Some(uid.clone()),
                name: "job".into(),
                image: None,
                exit: None,
                started: None,
                finished: None,
            };
            state.learn(Evidence::Container { id: id.clone(), word, by: EvidenceSource::Cri }, now);
        }
        state.ended(&ids[0]);
        let named = state.named(&uid, "job").unwrap();
        assert_eq!(
            (named.id, named.ended, named.job.is_some()),
            (Some(ids[1].clone()), false, true)
        );
        assert_eq!(named.image.as_deref(), Some("image"));
        assert_eq!(state.named(&uid, "other"), None);
    }

    #[test]
    fn a_container_that_names_no_job_has_its_pods() {
        let now = Instant::now();
        let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
        let named =
            |name: &str| Arc::new(JobEnv { run_id: Some(name.into()), ..JobEnv::default() });
        let entry = |name: &str, job| SpecEntry {
            name: name.into(),
            container_type: ContainerType::Container,
            image: None,
            limits: None,
            wants_init: false,
            job,
        };
        let mut state = State::default();
        let entries = vec![entry("own", Some(named("7"))), entry("other", None)];
        state.learn(Evidence::Spec { pod: uid.clone(), entries }, now);
        state.learn(Evidence::Job { pod: uid.clone(), job: named("8") }, now);
        let run =
            |state: &mut State, name| state.named(&uid, name).unwrap().job.unwrap().run_id.clone();
        assert_eq!(run(&mut state, "own").as_deref(), Some("7"));
        assert_eq!(run(&mut state, "other").as_deref(), Some("8"));
        let ci = Some(Arc::default());
        let mapped = Arc::new(JobEnv { ci, ..JobEnv::clone(&named("9")) });
        let entries = vec![entry("mapped", Some(mapped))];
        state.learn(Evidence::Spec { pod: uid.clone(), entries }, now);
        assert_eq!(run(&mut state, "mapped").as_deref(), Some("8"));
    }
}
