//! Ephemeral containers that somebody attached to a pod by hand, as `kubectl debug` does: which, to
//! what, with what, and how they ended.
//!
//! An ephemeral container whose environment names its role in a job is the hook's and not listed.
//! What is listed comes from the API server alone; the number is bounded, and each change is queued
//! for whoever reports it.

mod parse;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use ephemon_base::lock;
use ephemon_model::{PodRef, PodUid};
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::Notify;

/// Most containers that are listed. For a further one the oldest of a deleted pod goes; if there is
/// none, the further one is not listed.
pub const MAX_LISTED: usize = 128;
/// Most containers of one pod that are listed. Nobody can remove one from a pod.
pub const MAX_LISTED_PER_POD: usize = 32;
/// Most changes that are queued; the oldest is dropped first.
const MAX_CHANGES: usize = 128;
/// Memory of one listed container in bytes: its texts are bounded.
const LISTED_BYTES: usize = 1536;
/// Memory of the list and the queue.
pub const DEBUG_BYTES: usize = (MAX_LISTED + MAX_CHANGES) * LISTED_BYTES;
/// How long the containers of a deleted pod stay listed.
const DELETED_RETENTION: Duration = Duration::from_mins(5);

/// A container that was attached by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebugContainer {
    /// Its pod.
    pub pod: Arc<PodRef>,
    /// Its name.
    pub container: Arc<str>,
    /// Its image, as the spec names it.
    pub image: Option<Arc<str>>,
    /// The container whose processes it sees (`--target`).
    pub target: Option<Arc<str>>,
    /// The first word of its command; its arguments, which may have secrets, are never read.
    pub command: Option<Arc<str>>,
    /// The field manager that added it: the name of a program, not of a person.
    pub field_manager: Option<Arc<str>>,
    /// When that was, to the second; not after its start.
    pub attached: Option<SystemTime>,
    /// When it started, to the second.
    pub started: Option<SystemTime>,
    /// When it ended, to the second.
    pub finished: Option<SystemTime>,
    /// Its exit code.
    pub exit_code: Option<i32>,
}

/// What happened to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DebugChange {
    /// It was added to the pod.
    Attached,
    /// It runs.
    Started,
    /// It ended.
    Ended,
}

/// The list; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct DebugContainers(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    listed: HashMap<(PodUid, Arc<str>), Listed>,
    changes: VecDeque<(DebugChange, Arc<DebugContainer>)>,
    /// Containers of a pod that are not listed because it has too many, as far as they are counted.
    left_out: HashMap<PodUid, u64>,
    /// Containers that are not listed because there are too many in all.
    refused: HashSet<(PodUid, Arc<str>)>,
    next: u64,
    dropped: u64,
}

#[derive(Debug)]
struct Listed {
    seq: u64,
    container: Arc<DebugContainer>,
    /// When its pod was deleted.
    deleted: Option<Instant>,
}

// === impl DebugContainer ===

impl DebugContainer {
    /// How long it ran; `None` until it ended.
    pub fn duration(&self) -> Option<Duration> {
        let (started, finished) = self.started.zip(self.finished)?;
        finished.duration_since(started).ok()
    }

    fn changes_since(&self, before: Option<&Self>) -> impl Iterator<Item = DebugChange> + use<> {
        let had = |of: fn(&Self) -> bool| before.is_some_and(of);
        let is_over = |one: &Self| one.finished.is_some() || one.exit_code.is_some();
        let has_run = |one: &Self| one.started.is_some();
        let changes = [
            (before.is_none(), DebugChange::Attached),
            (has_run(self) && !had(has_run), DebugChange::Started),
            (is_over(self) && !had(is_over), DebugChange::Ended),
        ];
        changes.into_iter().filter_map(|(is_new, change)| is_new.then_some(change))
    }
}

// === impl DebugChange ===

impl DebugChange {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::Started => "started",
            Self::Ended => "ended",
        }
    }
}

// === impl DebugContainers ===

impl DebugContainers {
    /// Takes in a pod as the API server shows it.
    pub fn apply(&self, pod: &Pod) {
        let mut state = self.state();
        let is_listed =
            |pod: &PodUid, name: &str| state.listed.contains_key(&(pod.clone(), name.into()));
        let found = parse::debug_containers(pod, MAX_LISTED_PER_POD, is_listed);
        if found.containers.is_empty() {
            return;
        }
        state.left_out(&found.containers, found.left_out);
        let before = state.changes.len();
        found.containers.into_iter().for_each(|container| state.enter(container));
        let is_news = state.changes.len() > before;
        drop(state);
        if is_news {
            self.0.news.notify_one();
        }
    }

    /// The pod was deleted.
    pub fn deleted(&self, uid: &PodUid) {
        let mut state = self.state();
        let of_pod = state.listed.iter_mut().filter(|((pod, _), _)| pod == uid);
        of_pod.for_each(|(_, listed)| listed.deleted = Some(Instant::now()));
    }

    /// A list is complete: pods that are not in it were deleted.
    pub fn list_complete(&self, uids: &HashSet<PodUid>) {
        let now = Instant::now();
        for ((pod, _), listed) in &mut self.state().listed {
            if !uids.contains(pod) {
                listed.deleted.get_or_insert(now);
            }
        }
    }

    /// Those that are listed, in the order of their names.
    pub fn shown(&self) -> Vec<Arc<DebugContainer>> {
        let mut state = self.state();
        state.forget_deleted(Instant::now());
        let mut shown: Vec<_> =
            state.listed.values().map(|listed| Arc::clone(&listed.container)).collect();
        drop(state);
        shown.sort_by(|a, b| {
            let key = |one: &DebugContainer| {
                (one.pod.namespace.clone(), one.pod.name.clone(), one.container.clone())
            };
            (key(a), &a.pod.uid).cmp(&(key(b), &b.pod.uid))
        });
        // A pod made again under its name: one of them is shown.
        shown.dedup_by(|b, a| {
            a.container == b.container
                && (&a.pod.namespace, &a.pod.name) == (&b.pod.namespace, &b.pod.name)
        });
        shown
    }

    /// Resolves when something changed since the last call. For one caller.
    pub async fn news(&self) {
        self.0.news.notified().await;
    }

    /// The changes since the last call, in order, and how many entries and changes were dropped.
    pub fn take_changes(&self) -> (Vec<(DebugChange, Arc<DebugContainer>)>, u64) {
        let mut state = self.state();
        (std::mem::take(&mut state.changes).into(), std::mem::take(&mut state.dropped))
    }

    /// The list is complete even after a panic of another thread.
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }
}

// === impl State ===

impl State {
    fn left_out(&mut self, of_pod: &[DebugContainer], count: u64) {
        let Some(uid) = of_pod.first().map(|one| one.pod.uid.clone()).filter(|_| count > 0) else {
            return;
        };
        // Pods of this kind are rare; those of long ago need no place.
        if self.left_out.len() >= MAX_LISTED {
            self.left_out.clear();
        }
        let counted = self.left_out.insert(uid, count).unwrap_or_default();
        self.dropped += count.saturating_sub(counted);
    }

    fn enter(&mut self, mut container: DebugContainer) {
        let key = (container.pod.uid.clone(), container.container.clone());
        let before = self.listed.get(&key).map(|listed| Arc::clone(&listed.container));
        if let Some(before) = &before {
            // Later ones of the same manager change its entry's time.
            container.attached = before.attached.or(container.attached);
            container.field_manager = before.field_manager.clone().or(container.field_manager);
        }
        // It is there, whatever was said of its pod before.
        if let Some(listed) = self.listed.get_mut(&key) {
            listed.deleted = None;
        }
        if before.as_deref() == Some(&container) {
            return;
        }
        if before.is_none() && !self.has_room() {
            self.refuse(key);
            return;
        }
        self.refused.remove(&key);
        let container = Arc::new(container);
        for change in container.changes_since(before.as_deref()) {
            if self.changes.len() >= MAX_CHANGES {
                self.changes.pop_front();
                self.dropped += 1;
            }
            self.changes.push_back((change, Arc::clone(&container)));
        }
        self.next += 1;
        let seq = self.listed.get(&key).map_or(self.next, |listed| listed.seq);
        self.listed.insert(key, Listed { seq, container, deleted: None });
    }

    /// Whether there is room for one more, for which one of a deleted pod goes. One of a living pod
    /// would be entered again, as a new one, at its next change.
    fn has_room(&mut self) -> bool {
        if self.listed.len() < MAX_LISTED {
            return true;
        }
        self.forget_deleted(Instant::now());
        let deleted = self.listed.iter().filter(|(_, one)| one.deleted.is_some());
        let oldest = deleted.min_by_key(|(_, one)| one.seq).map(|(key, _)| key.clone());
        if self.listed.len() >= MAX_LISTED
            && let Some(key) = oldest
        {
            self.listed.remove(&key);
            self.dropped += 1;
        }
        self.listed.len() < MAX_LISTED
    }

    /// Counts one that is not listed, once as far as those are remembered.
    fn refuse(&mut self, key: (PodUid, Arc<str>)) {
        if self.refused.len() >= MAX_LISTED {
            self.refused.clear();
        }
        self.dropped += u64::from(self.refused.insert(key));
    }

    fn forget_deleted(&mut self, now: Instant) {
        self.listed.retain(|_, listed| {
            listed.deleted.is_none_or(|at| now.saturating_duration_since(at) < DELETED_RETENTION)
        });
    }
}

#[cfg(test)]
mod tests;
