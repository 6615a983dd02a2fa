//! Which pods have changed: a bounded set that coalesces, followed by any number of readers.
//!
//! Whoever changes something publishes the pod afterwards and never waits. A reader that is slow is
//! shown each pod once, however often it changed; one that is so far behind that the set has let go of
//! pods is told to look at all of them. A reader takes the set before it looks, so that a change that
//! comes meanwhile is shown again: nothing is missed, and at worst something is looked at twice.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use ephemon_base::lock;
use ephemon_model::PodUid;
use tokio::sync::watch;

/// Most pods held; more than the inventory has.
const MAX_PODS: usize = 2048;
/// Memory of one, bytes: two tables that have just grown, and the UID's text.
pub const CHANGE_BYTES: usize = 256;
/// Memory of all, bytes.
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
    /// The version up to which changes were taken; `None` before the first time.
    seen: Option<u64>,
}

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// Any pod may have.
    All,
    /// These pods.
    Pods(HashSet<PodUid>),
}

/// Each pod by the version of its last change. Every change has a version of its own.
#[derive(Debug)]
struct Changes {
    limit: usize,
    version: u64,
    by_pod: HashMap<PodUid, u64>,
    by_version: BTreeMap<u64, PodUid>,
    /// Which pods changed is not known of this version and those before.
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

    /// Something about this pod has changed, and can be seen by now.
    pub fn publish(&self, pod: &PodUid) {
        self.change(|changes| changes.mark(pod));
    }

    /// Something about any pod may have changed.
    pub fn publish_all(&self) {
        self.change(Changes::mark_all);
    }

    /// A follower, to which everything is new.
    pub fn follow(&self) -> Follower {
        let version_rx = self.0.version_tx.subscribe();
        Follower { feed: self.clone(), version_rx, seen: None }
    }

    fn change(&self, act: impl FnOnce(&mut Changes)) {
        let mut changes = self.changes();
        act(&mut changes);
        // Below the lock, so that versions are sent in order.
        self.0.version_tx.send_replace(changes.version);
    }

    /// A panic elsewhere leaves a whole set behind, so a poisoned lock is still good.
    fn changes(&self) -> MutexGuard<'_, Changes> {
        lock(&self.0.changes)
    }
}

// === impl Follower ===

impl Follower {
    /// What has changed since the last call; everything at the first.
    pub fn take(&mut self) -> Changed {
        let changes = self.feed.changes();
        let seen = self.seen.replace(changes.version);
        seen.map_or(Changed::All, |seen| changes.since(seen))
    }

    /// Resolves when there is something to [`Self::take`], at once where there is already.
    pub async fn changed(&mut self) {
        let seen = self.seen;
        let news = self.version_rx.wait_for(|version| seen.is_none_or(|seen| *version > seen));
        // The sender lives as long as the feed that is held here.
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
