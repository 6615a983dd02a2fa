//! Nested containers: kept apart from the pod's own, which have a place in its spec, a log, limits
//! and a name that the kubelet gave them. A nested one has nothing of that, and its names are a
//! job's choice. Pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ephemon_model::{ContainerId, ContainerType, PodUid};

use super::ContainerFacts;
use crate::cgroups::NestedGroup;

/// Most nested containers that are known, ended ones included. The oldest is dropped first.
pub const MAX_NESTED_KNOWN: usize = 1_000;
/// Memory of one in bytes.
pub const NESTED_BYTES: usize = 768;

/// How long the names of a nested container and of its outer one are awaited.
pub(crate) const NAMES_TIMEOUT: Duration = Duration::from_secs(5);

/// What an engine calls a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineNames {
    /// Its name.
    pub name: Option<String>,
    /// Its image, as it was asked for.
    pub image: Option<String>,
}

/// The nested containers.
#[derive(Debug, Default)]
pub(super) struct Nested {
    known: HashMap<ContainerId, NestedContainer>,
    next: u64,
}

/// One of them.
#[derive(Debug)]
pub(super) struct NestedContainer {
    seq: u64,
    pod: PodUid,
    outer: ContainerId,
    container_type: ContainerType,
    engine_id: Arc<str>,
    pub(super) created: SystemTime,
    since: Instant,
    /// The engine's files were read, or cannot be.
    is_asked: bool,
    name: Option<Arc<str>>,
    image: Option<Arc<str>>,
    pub(super) ended: bool,
}

// === impl Nested ===

impl Nested {
    /// Adds one; returns which other one had to go.
    pub(super) fn created(
        &mut self,
        group: &NestedGroup,
        at: SystemTime,
        now: Instant,
    ) -> Option<ContainerId> {
        let oldest = (self.known.len() >= MAX_NESTED_KNOWN)
            .then(|| self.known.iter().min_by_key(|(_, one)| (!one.ended, one.seq)))
            .flatten()
            .map(|(key, _)| key.clone());
        let oldest = oldest.filter(|key| self.known.remove(key).is_some());
        self.next += 1;
        let container = NestedContainer {
            seq: self.next,
            pod: group.pod.clone(),
            outer: group.outer.clone(),
            container_type: if group.beside {
                ContainerType::NestedBeside
            } else {
                ContainerType::Nested
            },
            engine_id: group.id.clone(),
            created: at,
            since: now,
            is_asked: false,
            name: None,
            image: None,
            ended: false,
        };
        self.known.insert(group.key.clone(), container);
        oldest
    }

    /// Sets what its engine calls it; returns its pod.
    pub(super) fn named(&mut self, key: &ContainerId, names: EngineNames) -> Option<PodUid> {
        let EngineNames { name, image } = names;
        let container = self.known.get(key)?;
        // Two engines in one container may use a name twice, and a job may write anything, another
        // one's id included.
        let is_free = |shown: &String| {
            !self.known.iter().any(|(other, one)| {
                let is_rival = other != key && one.outer == container.outer && !one.ended;
                is_rival && *one.name() == **shown
            })
        };
        let short = container.short_id();
        let with =
            |id: &str| name.as_ref().map_or_else(|| id.to_owned(), |name| format!("{name}-{id}"));
        let shown = name.clone().into_iter().chain([with(short), with(&container.engine_id)]);
        let name = shown.into_iter().find(is_free).unwrap_or_else(|| key.to_string());
        let container = self.known.get_mut(key)?;
        container.is_asked = true;
        container.name = Some(name.into());
        container.image = image.map(Arc::from);
        Some(container.pod.clone())
    }

    /// Its group was removed; returns its pod.
    pub(super) fn ended(&mut self, key: &ContainerId) -> Option<PodUid> {
        let container = self.known.get_mut(key)?;
        container.ended = true;
        Some(container.pod.clone())
    }

    /// Forgets it; returns its pod.
    pub(super) fn forget(&mut self, key: &ContainerId) -> Option<PodUid> {
        self.known.remove(key).map(|container| container.pod)
    }

    /// The container in which it is, if it is one of this pod.
    pub(super) fn outer(&self, uid: &PodUid, key: &ContainerId) -> Option<&ContainerId> {
        let container = self.known.get(key).filter(|container| container.pod == *uid)?;
        Some(&container.outer)
    }

    /// One of them.
    pub(super) fn get(&self, key: &ContainerId) -> Option<&NestedContainer> {
        self.known.get(key)
    }

    /// Those of a pod, in the order in which they were found.
    pub(super) fn of_pod(&self, uid: &PodUid) -> Vec<ContainerId> {
        let known = self.known.iter().filter(|(_, one)| one.pod == *uid);
        let mut keys: Vec<_> = known.map(|(key, one)| (one.seq, key)).collect();
        keys.sort_unstable();
        keys.into_iter().map(|(_, key)| key.clone()).collect()
    }

    /// What is known of it; `None` while a name may still be found.
    pub(super) fn facts(
        &self,
        key: &ContainerId,
        outers_name: Option<Arc<str>>,
        now: Instant,
    ) -> Option<Arc<ContainerFacts>> {
        let container = self.known.get(key)?;
        let is_late = now.saturating_duration_since(container.since) >= NAMES_TIMEOUT;
        let is_whole = container.is_asked && outers_name.is_some();
        if !(is_late || is_whole) {
            return None;
        }
        let outers_name = outers_name.unwrap_or_else(|| container.outer.short().into());
        Some(Arc::new(ContainerFacts {
            name: format!("{outers_name}/{}", container.name()).into(),
            container_type: container.container_type,
            image: container.image.clone(),
            engine_id: Some(container.engine_id.clone()),
            exit: None,
        }))
    }
}

// === impl NestedContainer ===

impl NestedContainer {
    /// Its name in its outer container: the engine's, or the first digits of the engine's id.
    fn name(&self) -> Arc<str> {
        match &self.name {
            Some(name) => name.clone(),
            None => self.short_id().into(),
        }
    }

    fn short_id(&self) -> &str {
        self.engine_id.get(..12).unwrap_or(&self.engine_id)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use ephemon_cgroup::nested_name::Engine;

    use super::*;
    use crate::inventory::state::State;

    fn id(number: usize) -> ContainerId {
        ContainerId::parse(&format!("{number:064x}")).unwrap()
    }

    fn pod() -> PodUid {
        PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap()
    }

    fn group(number: usize) -> NestedGroup {
        NestedGroup {
            key: id(number),
            pod: pod(),
            outer: id(0),
            outer_path: PathBuf::from("outer"),
            path: PathBuf::from("outer/docker/x"),
            engine: Engine::Docker,
            id: id(number).as_str().into(),
            beside: false,
            engines_directory: None,
            from_birth: false,
        }
    }

    #[test]
    fn a_nested_container_has_no_part_in_what_is_said_of_the_pods_own() {
        let (now, at) = (Instant::now(), SystemTime::UNIX_EPOCH);
        let mut state = State::default();
        state.created(&pod(), &id(0), at, now);
        state.nested_created(&group(1), at, now);
        let names = EngineNames { name: Some("runner".to_owned()), image: None };
        state.nested_named(&id(1), Some(names));
        assert!(state.named(&pod(), "runner").is_none());
        assert!(state.limited(now).is_empty());
        assert!(!state.is_unexplained(&id(1)));
        assert_eq!(state.nested_facts(&pod(), &id(1), now), None, "its outer has no name");
        let late = state.nested_facts(&pod(), &id(1), now + NAMES_TIMEOUT).unwrap();
        assert_eq!(&*late.name, format!("{}/runner", id(0).short()));
        assert!(state.is_nested(&pod(), &id(1)) && !state.is_nested(&pod(), &id(0)));
        let other = PodUid::parse("1e269fa4-f505-4963-9096-958063077203").unwrap();
        assert_eq!(state.nested_facts(&other, &id(1), now + NAMES_TIMEOUT), None);
        state.forget(&id(1));
        assert_eq!(state.nested_facts(&pod(), &id(1), now + NAMES_TIMEOUT), None);
    }

    #[test]
    fn no_two_living_ones_are_shown_by_one_name() {
        let (now, at) = (Instant::now(), SystemTime::UNIX_EPOCH);
        let mut state = State::default();
        state.created(&pod(), &id(0), at, now);
        let late = now + NAMES_TIMEOUT;
        let mut shown = std::collections::HashSet::new();
        // The engine's ids begin alike.
        for (number, name) in
            [(1, None), (2, Some(id(1).short())), (3, None), (4, Some("a")), (5, Some("a"))]
        {
            state.nested_created(&group(number), at, now);
            let names = name.map(|name| EngineNames { name: Some(name.to_owned()), image: None });
            state.nested_named(&id(number), names);
            let facts = state.nested_facts(&pod(), &id(number), late).unwrap();
            assert!(shown.insert(facts.name.clone()), "{}", facts.name);
        }
    }

    #[test]
    fn of_too_many_the_oldest_that_has_ended_goes_first() {
        let (now, at) = (Instant::now(), SystemTime::UNIX_EPOCH);
        let mut state = State::default();
        for number in 1..=MAX_NESTED_KNOWN {
            assert_eq!(state.nested_created(&group(number), at, now), None);
        }
        state.ended(&id(7));
        let evicted = state.nested_created(&group(MAX_NESTED_KNOWN + 1), at, now);
        assert_eq!(evicted, Some(id(7)));
        let late = now + NAMES_TIMEOUT;
        assert_eq!(state.nested_facts(&pod(), &id(7), late), None);
        assert!(state.nested_facts(&pod(), &id(1), late).is_some());
        assert_eq!(state.take_dropped(), 1);
    }
}
