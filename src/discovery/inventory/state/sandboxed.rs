//! Pods whose containers have no cgroups of their own, because a sandbox runs them all: a virtual machine
//! (Kata Containers) or a kernel in user space (gVisor). The group of the sandbox holds the whole pod.
//!
//! gVisor makes groups for the containers, too, and puts no process into them: those are withdrawn.
//!
//! Source: gVisor `runsc/container/container.go` (`setupCgroupForRoot`, `setupCgroupForSubcontainer`), Kata Containers `src/runtime/virtcontainers/sandbox.go` (`sandbox_cgroup_only`).

use ephemon_model::{ContainerId, PodUid};

use super::State;
use crate::inventory::facts::Container;

impl State {
    /// Whether this sandbox holds all of its pod: another container of it runs, by runtime or API, and
    /// none has ever had a cgroup.
    pub(super) fn holds_its_pod(&self, uid: &PodUid, sandbox: &ContainerId) -> bool {
        let Some(pod) = self.pods.get(uid) else { return false };
        let others = || {
            let ids = pod.ids.iter().filter(|id| *id != sandbox);
            ids.filter_map(|id| self.containers.get(id))
        };
        let has_group = |one: &Container| one.created.is_some();
        let runs = |one: &Container| {
            one.started(uid).is_some() && one.finished(uid).is_none() && one.exit(uid).is_none()
        };
        others().any(runs) && !others().any(has_group)
    }

    /// Whether a source names this container.
    pub(in crate::inventory) fn is_named(&self, uid: &PodUid, id: &ContainerId) -> bool {
        self.containers.get(id).is_some_and(|one| one.name(uid).is_some())
    }

    /// No process is in the group that was created for a container.
    pub(in crate::inventory) fn vacant(&mut self, id: &ContainerId) {
        let Some(container) = self.containers.get_mut(id).filter(|one| one.created.is_some())
        else {
            return;
        };
        (container.created, container.cgroup, container.facts) = (None, None, None);
        let uid = container.pod.clone();
        self.unborn += 1;
        if let Some(uid) = uid {
            if let Some(pod) = self.pods.get_mut(&uid) {
                pod.touch();
            }
            self.touch(&uid);
        }
        self.trim_containers();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant, SystemTime};

    use ephemon_model::{ContainerType, Exit};

    use super::*;
    use crate::inventory::{Evidence, EvidenceSource, Observation};

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn id(digit: &str) -> ContainerId {
        ContainerId::parse(&digit.repeat(64)).unwrap()
    }

    fn told(uid: &PodUid, ended: bool) -> Evidence {
        let exit = Exit { code: 0, reason: "Completed".into() };
        let word = Observation {
            pod: Some(uid.clone()),
            name: "build".into(),
            started: Some(at(12)),
            exit: ended.then_some(exit),
            ..Observation::default()
        };
        Evidence::Container { id: id("b"), word, by: EvidenceSource::Cri }
    }

    #[test]
    fn a_sandbox_is_the_pod_only_where_its_containers_have_no_groups() {
        let now = Instant::now();
        let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
        let mut state = State::default();
        let kind = |state: &mut State| state.container(&uid, &id("a")).unwrap().container_type;
        state.created(&uid, &id("a"), at(10), now);
        state.learn(Evidence::Sandbox { id: id("a"), pod: Some(uid.clone()) }, now);
        assert_eq!(kind(&mut state), ContainerType::Sandbox, "nothing runs in it");
        state.learn(told(&uid, false), now);
        assert_eq!(kind(&mut state), ContainerType::SharedSandbox);
        assert_eq!(&*state.container(&uid, &id("a")).unwrap().name, "POD");
        state.created(&uid, &id("b"), at(11), now);
        assert_eq!(kind(&mut state), ContainerType::Sandbox, "its container has a group");
    }

    #[test]
    fn groups_without_processes_are_none() {
        let now = Instant::now();
        let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
        let mut state = State::default();
        let kind = |state: &mut State| state.container(&uid, &id("a")).unwrap().container_type;
        state.created(&uid, &id("a"), at(10), now);
        state.created(&uid, &id("b"), at(11), now);
        state.learn(Evidence::Sandbox { id: id("a"), pod: Some(uid.clone()) }, now);
        state.learn(told(&uid, false), now);
        assert_eq!(kind(&mut state), ContainerType::Sandbox);
        state.vacant(&id("b"));
        assert_eq!(kind(&mut state), ContainerType::SharedSandbox);
        // Its process was only late.
        state.created(&uid, &id("b"), at(11), now);
        assert_eq!(kind(&mut state), ContainerType::Sandbox);
        assert_eq!(state.unborn, 0);
    }

    #[test]
    fn a_container_that_was_over_before_the_agent_began_says_nothing() {
        let now = Instant::now();
        let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
        let mut state = State::default();
        state.created(&uid, &id("a"), at(10), now);
        state.learn(Evidence::Sandbox { id: id("a"), pod: Some(uid.clone()) }, now);
        state.learn(told(&uid, true), now);
        let kind = state.container(&uid, &id("a")).unwrap().container_type;
        assert_eq!(kind, ContainerType::Sandbox);
    }
}
