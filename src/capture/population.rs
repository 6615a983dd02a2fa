//! The captured containers, their keys, and their timers. Pure.

use std::collections::{BTreeSet, HashMap};
use std::time::{Instant, SystemTime};

use ephemon_model::{ContainerId, PodUid};

/// The captured containers. A key is never reused, so a late event for an old one has no effect.
#[derive(Debug)]
pub(crate) struct Population {
    limit: usize,
    /// Members that are not nested.
    own: usize,
    next_key: u64,
    members: HashMap<u64, Member>,
    keys: HashMap<ContainerId, u64>,
    children: HashMap<PodUid, Vec<u64>>,
    /// Nested containers, which are in no pod's sums.
    nested: HashMap<PodUid, Vec<u64>>,
    timers: BTreeSet<(Instant, u64)>,
}

#[derive(Debug)]
struct Member {
    id: ContainerId,
    pod: PodUid,
    created: SystemTime,
    /// Time of its timer, to find the entry again.
    due: Option<Instant>,
}

/// The result of adding a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It was added with this key.
    Admitted(u64),
    /// One with the same id exists: its directory was created again, and the removal of the former
    /// was not reported.
    Known,
    /// The limit is reached.
    Full,
}

// === impl Population ===

impl Population {
    /// At most `limit` containers, with keys from `first_key` on.
    pub(crate) fn new(limit: usize, first_key: u64) -> Self {
        Self {
            limit,
            own: 0,
            next_key: first_key,
            members: HashMap::new(),
            keys: HashMap::new(),
            children: HashMap::new(),
            nested: HashMap::new(),
            timers: BTreeSet::new(),
        }
    }

    /// Adds a container, without a timer.
    pub(crate) fn admit(
        &mut self,
        id: &ContainerId,
        pod: &PodUid,
        created: SystemTime,
    ) -> Admission {
        if self.keys.contains_key(id) {
            return Admission::Known;
        }
        if self.own >= self.limit {
            return Admission::Full;
        }
        self.own += 1;
        let key = self.insert(id, pod, created);
        self.children.entry(pod.clone()).or_default().push(key);
        Admission::Admitted(key)
    }

    /// Adds a nested container, of which the tree that finds them bounds the number.
    pub(crate) fn admit_nested(
        &mut self,
        id: &ContainerId,
        pod: &PodUid,
        created: SystemTime,
    ) -> Admission {
        if self.keys.contains_key(id) {
            return Admission::Known;
        }
        let key = self.insert(id, pod, created);
        self.nested.entry(pod.clone()).or_default().push(key);
        Admission::Admitted(key)
    }

    fn insert(&mut self, id: &ContainerId, pod: &PodUid, created: SystemTime) -> u64 {
        let key = self.next_key;
        self.next_key += 1;
        let member = Member { id: id.clone(), pod: pod.clone(), created, due: None };
        self.members.insert(key, member);
        self.keys.insert(id.clone(), key);
        key
    }

    /// Removes a container with its timer; returns its key.
    pub(crate) fn remove(&mut self, id: &ContainerId) -> Option<u64> {
        let key = self.keys.remove(id)?;
        let member = self.members.remove(&key)?;
        if let Some(due) = member.due {
            self.timers.remove(&(due, key));
        }
        if remove_child(&mut self.children, &member.pod, key) {
            self.own -= 1;
        } else {
            remove_child(&mut self.nested, &member.pod, key);
        }
        Some(key)
    }

    /// A container's key.
    pub(crate) fn key(&self, id: &ContainerId) -> Option<u64> {
        self.keys.get(id).copied()
    }

    /// A container's id.
    pub(crate) fn id(&self, key: u64) -> Option<&ContainerId> {
        self.members.get(&key).map(|member| &member.id)
    }

    /// The keys of a pod's containers.
    pub(crate) fn children(&self, pod: &PodUid) -> &[u64] {
        self.children.get(pod).map(Vec::as_slice).unwrap_or_default()
    }

    /// The keys of a pod's nested containers.
    pub(crate) fn nested(&self, pod: &PodUid) -> &[u64] {
        self.nested.get(pod).map(Vec::as_slice).unwrap_or_default()
    }

    /// The pod's container that was created first; if several were, the one that was seen first.
    pub(crate) fn oldest_container(&self, pod: &PodUid) -> Option<u64> {
        let children = self.children(pod).iter().copied();
        children.min_by_key(|key| (self.members.get(key).map(|member| member.created), *key))
    }

    /// Sets a container's only timer.
    pub(crate) fn set_timer(&mut self, key: u64, due: Instant) {
        let Some(member) = self.members.get_mut(&key) else { return };
        if let Some(before) = member.due.replace(due) {
            self.timers.remove(&(before, key));
        }
        self.timers.insert((due, key));
    }

    /// When the first timer is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// A container whose timer is due; the timer is cleared.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<u64> {
        self.timers.first().filter(|(due, _)| *due <= now)?;
        let (_, key) = self.timers.pop_first()?;
        if let Some(member) = self.members.get_mut(&key) {
            member.due = None;
        }
        Some(key)
    }
}

/// Returns whether it was there.
fn remove_child(children: &mut HashMap<PodUid, Vec<u64>>, pod: &PodUid, key: u64) -> bool {
    let Some(of_pod) = children.get_mut(pod) else { return false };
    let before = of_pod.len();
    of_pod.retain(|child| *child != key);
    let is_removed = of_pod.len() < before;
    if of_pod.is_empty() {
        children.remove(pod);
    }
    is_removed
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn id(number: u32) -> ContainerId {
        ContainerId::parse(&format!("{number:064x}")).unwrap()
    }

    fn pod() -> PodUid {
        PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap()
    }

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    #[test]
    fn beyond_the_limit_nobody_is_admitted_until_one_has_left() {
        let mut population = Population::new(2, 5);
        let admit =
            |population: &mut Population, number| population.admit(&id(number), &pod(), at(0));
        assert_eq!(admit(&mut population, 1), Admission::Admitted(5));
        assert_eq!(admit(&mut population, 2), Admission::Admitted(6));
        assert_eq!(admit(&mut population, 3), Admission::Full);
        assert_eq!(population.remove(&id(1)), Some(5));
        assert_eq!(population.remove(&id(1)), None);
        assert_eq!(admit(&mut population, 3), Admission::Admitted(7));
        assert_eq!(population.children(&pod()), [6, 7]);
    }

    #[test]
    fn nested_containers_take_nobodys_place_and_are_nobodys_eldest() {
        let mut population = Population::new(1, 0);
        let now = Instant::now();
        assert_eq!(population.admit_nested(&id(1), &pod(), at(1)), Admission::Admitted(0));
        assert_eq!(population.admit_nested(&id(1), &pod(), at(1)), Admission::Known);
        assert_eq!(population.admit(&id(2), &pod(), at(2)), Admission::Admitted(1));
        assert_eq!(population.admit(&id(3), &pod(), at(2)), Admission::Full);
        assert_eq!(population.oldest_container(&pod()), Some(1));
        assert_eq!((population.children(&pod()), population.nested(&pod())), (&[1][..], &[0][..]));
        population.set_timer(0, now);
        assert_eq!(population.pop_due(now), Some(0));
        assert_eq!(population.remove(&id(1)), Some(0));
        assert!(population.nested(&pod()).is_empty());
        population.remove(&id(2));
        assert_eq!(population.admit(&id(3), &pod(), at(2)), Admission::Admitted(2));
    }

    #[test]
    fn an_id_that_comes_back_has_another_key_and_is_never_there_twice() {
        let mut population = Population::new(1, 0);
        let now = Instant::now();
        assert_eq!(population.admit(&id(1), &pod(), at(0)), Admission::Admitted(0));
        population.set_timer(0, now);
        assert_eq!(population.admit(&id(1), &pod(), at(9)), Admission::Known);
        population.remove(&id(1));
        assert_eq!(population.next_due(), None, "its timer goes with it");
        assert_eq!(population.admit(&id(1), &pod(), at(9)), Admission::Admitted(1));
        assert_eq!((population.id(0), population.key(&id(1))), (None, Some(1)));
        population.set_timer(0, now);
        assert_eq!(population.next_due(), None, "an old key has no timer");
    }

    #[test]
    fn the_eldest_is_the_one_that_was_created_first_whenever_it_was_seen() {
        let mut population = Population::new(9, 0);
        assert_eq!(population.oldest_container(&pod()), None);
        for (number, second) in [(1, 30), (2, 10), (3, 10), (4, 20)] {
            population.admit(&id(number), &pod(), at(second));
        }
        assert_eq!(population.oldest_container(&pod()), population.key(&id(2)));
        population.remove(&id(2));
        assert_eq!(population.oldest_container(&pod()), population.key(&id(3)));
    }

    #[test]
    fn a_container_has_one_timer_and_the_first_that_is_due_goes_off_first() {
        let mut population = Population::new(9, 0);
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        (0..3).for_each(|number| {
            population.admit(&id(number), &pod(), at(0));
        });
        for (key, due) in [(0, 30), (1, 20), (2, 50), (0, 10)] {
            population.set_timer(key, ms(due));
        }
        assert_eq!(population.next_due(), Some(ms(10)));
        assert_eq!(population.pop_due(ms(9)), None);
        let order: Vec<_> = std::iter::from_fn(|| population.pop_due(ms(40))).collect();
        assert_eq!(order, [0, 1]);
        assert_eq!(population.next_due(), Some(ms(50)));
        population.set_timer(0, ms(60));
        population.remove(&id(2));
        assert_eq!(population.next_due(), Some(ms(60)));
    }
}
