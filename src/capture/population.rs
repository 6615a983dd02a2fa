//! The containers of the node, their keys and timers, and which of them have a place: are captured.
//! Pure.

use std::collections::{BTreeSet, HashMap};
use std::time::{Instant, SystemTime};

use ephemon_discovery::cgroups::MAX_FOLLOWED;
use ephemon_model::{ContainerId, PodUid};

/// Most nested containers that are captured at once.
pub const MAX_NESTED: usize = 256;
/// Most of the pods' own containers that are known beyond the number of places: a node has fewer.
const MAX_WAITING: usize = 640;
/// Memory of one that has no place, in bytes.
const WAITING_CONTAINER_BYTES: usize = 1376;
/// Memory of all nested containers that have no place, in bytes. One of the pods' own takes less than its
/// open files would.
pub const WAITING_BYTES: usize = (MAX_FOLLOWED - MAX_NESTED) * WAITING_CONTAINER_BYTES;
/// Of how many nested containers there is always a place in one pod, which otherwise has a quarter of
/// all places.
const MIN_NESTED_PER_POD: usize = 8;

/// The containers that are known: those that are captured have a place each, the others wait for one. A
/// key is never reused, so a late event for an old one has no effect.
#[derive(Debug)]
pub(crate) struct Population {
    places: Places,
    taken: Places,
    /// With a place or without.
    known: Places,
    next_key: u64,
    members: HashMap<u64, Member>,
    keys: HashMap<ContainerId, u64>,
    children: HashMap<PodUid, Vec<u64>>,
    /// Nested containers, which are in no pod's sums.
    nested: HashMap<PodUid, Vec<u64>>,
    /// How many of a pod's nested containers have a place.
    nested_taken: HashMap<PodUid, usize>,
    timers: BTreeSet<(Instant, u64)>,
}

/// How many containers are captured at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Places {
    /// Of the pods' own.
    pub(crate) own: usize,
    /// Nested ones; 0 if none is to be captured.
    pub(crate) nested: usize,
}

/// What a container is to its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One of the pod's own.
    Own,
    /// An engine in one of those made it.
    Nested,
}

#[derive(Debug)]
struct Member {
    id: ContainerId,
    pod: PodUid,
    kind: Kind,
    has_place: bool,
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
    /// Too many of the pods' own are known.
    Full,
}

// === impl Places ===

impl Places {
    fn of(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Own => &mut self.own,
            Kind::Nested => &mut self.nested,
        }
    }
}

// === impl Population ===

impl Population {
    /// So many places, and keys from `first_key` on.
    pub(crate) fn new(places: Places, first_key: u64) -> Self {
        Self {
            places,
            taken: Places::default(),
            known: Places::default(),
            next_key: first_key,
            members: HashMap::new(),
            keys: HashMap::new(),
            children: HashMap::new(),
            nested: HashMap::new(),
            nested_taken: HashMap::new(),
            timers: BTreeSet::new(),
        }
    }

    /// Adds a container, without a timer and without a place. Of nested ones the tree that finds them
    /// bounds the number.
    pub(crate) fn admit(
        &mut self,
        id: &ContainerId,
        pod: &PodUid,
        created: SystemTime,
        kind: Kind,
    ) -> Admission {
        if self.keys.contains_key(id) {
            return Admission::Known;
        }
        let most = self.places.own.saturating_add(MAX_WAITING);
        if kind == Kind::Own && self.known.own >= most {
            return Admission::Full;
        }
        let key = self.next_key;
        self.next_key += 1;
        let (id, pod) = (id.clone(), pod.clone());
        self.keys.insert(id.clone(), key);
        self.by_pod(kind).entry(pod.clone()).or_default().push(key);
        let member = Member { id, pod, kind, has_place: false, created, due: None };
        self.members.insert(key, member);
        *self.known.of(kind) += 1;
        Admission::Admitted(key)
    }

    fn by_pod(&mut self, kind: Kind) -> &mut HashMap<PodUid, Vec<u64>> {
        match kind {
            Kind::Own => &mut self.children,
            Kind::Nested => &mut self.nested,
        }
    }

    /// Gives a container a place; returns whether it has one.
    pub(crate) fn take_place(&mut self, key: u64) -> bool {
        let Some(member) = self.members.get(&key) else { return false };
        if member.has_place {
            return true;
        }
        let kind = member.kind;
        if self.is_full(kind) || (kind == Kind::Nested && self.has_its_share(&member.pod)) {
            return false;
        }
        let Some(member) = self.members.get_mut(&key) else { return false };
        member.has_place = true;
        *self.taken.of(member.kind) += 1;
        if member.kind == Kind::Nested {
            *self.nested_taken.entry(member.pod.clone()).or_default() += 1;
        }
        true
    }

    /// Takes a container's place.
    pub(crate) fn leave_place(&mut self, key: u64) {
        let member = self.members.get_mut(&key).filter(|member| member.has_place);
        let Some(member) = member else { return };
        member.has_place = false;
        let (kind, pod) = (member.kind, member.pod.clone());
        self.free_place(kind, &pod);
    }

    fn free_place(&mut self, kind: Kind, pod: &PodUid) {
        *self.taken.of(kind) -= 1;
        let Some(taken) = self.nested_taken.get_mut(pod).filter(|_| kind == Kind::Nested) else {
            return;
        };
        *taken -= 1;
        if *taken == 0 {
            self.nested_taken.remove(pod);
        }
    }

    /// Whether all places of a kind are taken.
    pub(crate) fn is_full(&self, kind: Kind) -> bool {
        let (mut taken, mut places) = (self.taken, self.places);
        taken.of(kind) >= places.of(kind)
    }

    /// Whether a pod's nested containers have as many places as one pod may have.
    pub(crate) fn has_its_share(&self, pod: &PodUid) -> bool {
        let taken = self.nested_taken.get(pod).copied().unwrap_or(0);
        taken >= (self.places.nested / 4).max(MIN_NESTED_PER_POD)
    }

    /// Whether containers of this kind are to be captured at all.
    pub(crate) fn captures(&self, kind: Kind) -> bool {
        let mut places = self.places;
        *places.of(kind) > 0
    }

    /// How many are known of a kind, with a place or without.
    pub(crate) fn known(&self, kind: Kind) -> usize {
        let mut known = self.known;
        *known.of(kind)
    }

    /// A container's kind and pod.
    pub(crate) fn of(&self, key: u64) -> Option<(Kind, &PodUid)> {
        self.members.get(&key).map(|member| (member.kind, &member.pod))
    }

    /// Of each pod with places of this kind one container that has a place.
    pub(crate) fn holders(&self, kind: Kind) -> impl Iterator<Item = (&PodUid, u64)> {
        let by_pod = if kind == Kind::Own { &self.children } else { &self.nested };
        by_pod.iter().filter_map(|(pod, keys)| {
            let has_place = |key: &&u64| self.members.get(key).is_some_and(|one| one.has_place);
            Some((pod, *keys.iter().find(has_place)?))
        })
    }

    /// Removes a container with its timer; returns its key.
    pub(crate) fn remove(&mut self, id: &ContainerId) -> Option<u64> {
        let key = self.keys.remove(id)?;
        let member = self.members.remove(&key)?;
        if let Some(due) = member.due {
            self.timers.remove(&(due, key));
        }
        *self.known.of(member.kind) -= 1;
        if member.has_place {
            self.free_place(member.kind, &member.pod);
        }
        let by_pod = self.by_pod(member.kind);
        if let Some(of_pod) = by_pod.get_mut(&member.pod) {
            of_pod.retain(|child| *child != key);
            if of_pod.is_empty() {
                by_pod.remove(&member.pod);
            }
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
        self.oldest_of(self.children(pod).iter().copied())
    }

    /// The one of these that was created first; if several were, the one that was seen first.
    pub(crate) fn oldest_of(&self, keys: impl Iterator<Item = u64>) -> Option<u64> {
        keys.min_by_key(|key| (self.members.get(key).map(|member| member.created), *key))
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

#[cfg(test)]
mod tests;
