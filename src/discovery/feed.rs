//! The changed pods: a bounded set that merges changes, with any number of readers.
//!
//! Whoever changes something publishes the pod afterwards, and never waits. A slow reader gets each
//! pod once, however often it changed; a reader so far behind that pods were dropped from the set
//! is told to check all pods. A reader takes the set before it checks the pods, so that a change in
//! the meantime is reported again: no change is missed, and at worst a pod is checked twice.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use ephemon_base::lock;
use ephemon_model::PodUid;
use tokio::sync::watch;

/// Most pods in the set; more than the inventory holds.
const MAX_PODS: usize = 2048;
/// Memory of one pod, in bytes: two tables that have just grown, and the text of the UID.
pub const CHANGE_BYTES: usize = 256;
/// Memory of all pods, in bytes.
pub const FEED_BYTES: usize = MAX_PODS * CHANGE_BYTES;

/// Publishes changes; cheap to clone.
#[derive(Debug, Clone)]
pub struct Feed(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    changes: Mutex<Changes>,
    version_tx: watch::Sender<u64>,
}

/// Follows a [`Feed`].
#[derive(Debug)]
pub struct Follower {
    feed: Feed,
    version_rx: watch::Receiver<u64>,
    /// The version up to which changes were taken; `None` before the first call.
    seen: Option<u64>,
}

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// Any pod may have changed.
    All,
    /// These pods may have changed.
    Pods(HashSet<PodUid>),
}

/// Each pod with the version of its last change. Every change has its own version.
#[derive(Debug)]
struct Changes {
    limit: usize,
    version: u64,
    by_pod: HashMap<PodUid, u64>,
    by_version: BTreeMap<u64, PodUid>,
    /// For this version and earlier ones it is unknown which pods changed.
    forgotten: u64,
}

// === impl Feed ===

impl Default for Feed {
    fn default() -> Self {
        Self::new(MAX_PODS)
    }
}

impl Feed {
    fn new(limit: usize) -> Self {
        let version_tx = watch::Sender::new(0);
        Self(Arc::new(Shared { changes: Mutex::new(Changes::new(limit)), version_tx }))
    }

    /// Reports a change of this pod, which must already be visible.
    pub fn publish(&self, pod: &PodUid) {
        self.change(|changes| changes.mark(pod));
    }

    /// Reports that any pod may have changed.
    pub fn publish_all(&self) {
        self.change(Changes::mark_all);
    }

    /// A reader for which everything is new.
    pub fn follow(&self) -> Follower {
        let version_rx = self.0.version_tx.subscribe();
        Follower { feed: self.clone(), version_rx, seen: None }
    }

    fn change(&self, act: impl FnOnce(&mut Changes)) {
        let mut changes = self.changes();
        act(&mut changes);
        // While the lock is held, so that versions are sent in order.
        self.0.version_tx.send_replace(changes.version);
    }

    /// The set is complete even after a panic of another thread, so a poisoned lock can be used.
    fn changes(&self) -> MutexGuard<'_, Changes> {
        lock(&self.0.changes)
    }
}

// === impl Follower ===

impl Follower {
    /// The changes since the last call; all pods at the first.
    pub fn take(&mut self) -> Changed {
        let changes = self.feed.changes();
        let seen = self.seen.replace(changes.version);
        seen.map_or(Changed::All, |seen| changes.since(seen))
    }

    /// Resolves when [`Self::take`] has something to return, immediately if it already has.
    pub async fn changed(&mut self) {
        let seen = self.seen;
        let news = self.version_rx.wait_for(|version| seen.is_none_or(|seen| *version > seen));
        // The sender exists as long as the feed, to which this holds a reference.
        drop(news.await);
    }
}

// === impl Changed ===

impl Changed {
    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Pods(pods) if pods.is_empty())
    }

    /// Whether this pod may have changed.
    pub fn has(&self, pod: &PodUid) -> bool {
        match self {
            Self::All => true,
            Self::Pods(pods) => pods.contains(pod),
        }
    }
}

// === impl Changes ===

impl Changes {
    fn new(limit: usize) -> Self {
        let (by_pod, by_version) = (HashMap::new(), BTreeMap::new());
        Self { limit, version: 0, by_pod, by_version, forgotten: 0 }
    }

    fn mark(&mut self, pod: &PodUid) {
        self.version += 1;
        if let Some(held) = self.by_pod.get_mut(pod) {
            let before = std::mem::replace(held, self.version);
            self.by_version.remove(&before);
        } else {
            self.by_pod.insert(pod.clone(), self.version);
        }
        self.by_version.insert(self.version, pod.clone());
        if self.by_pod.len() > self.limit
            && let Some((version, pod)) = self.by_version.pop_first()
        {
            self.by_pod.remove(&pod);
            self.forgotten = version;
        }
    }

    fn mark_all(&mut self) {
        self.version += 1;
        self.by_pod.clear();
        self.by_version.clear();
        self.forgotten = self.version;
    }

    fn since(&self, seen: u64) -> Changed {
        if seen < self.forgotten {
            return Changed::All;
        }
        let newer = self.by_version.range(seen.saturating_add(1)..);
        Changed::Pods(newer.map(|(_, pod)| pod.clone()).collect())
    }
}

#[cfg(test)]
mod tests;
