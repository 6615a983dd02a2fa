//! The values that capture has read, shared with the parts that report them.
//!
//! Records are replaced, never changed: a reader copies the `Arc`s and releases the lock at once,
//! so that a slow scrape cannot delay a final reading.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use ephemon_base::{clock, lock};
use ephemon_discovery::feed::Feed;
use ephemon_history::{History, Sample};
use ephemon_model::{ContainerId, Ended, NetUsage, PodUid, Usage};
use tokio::sync::Notify;

/// One container's last values.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The runtime's id.
    pub id: ContainerId,
    /// The pod it belongs to.
    pub pod: PodUid,
    /// When its cgroup was created.
    pub created: SystemTime,
    /// Whether it was seen to be created. If not, `created` is the time of its directory, which the
    /// kernel may have made anew: the counters began then or before.
    pub is_birth_seen: bool,
    /// When `usage` was read.
    pub read_at: SystemTime,
    /// The values.
    pub usage: Usage,
    /// Whether an engine in another container made it.
    pub nested: bool,
    /// Set once the container has ended and its values are final.
    pub ended: Option<Ended>,
}

/// What is known of a pod's cgroup and network namespace.
#[derive(Debug, Clone, PartialEq)]
pub struct PodRecord {
    /// The pod.
    pub pod: PodUid,
    /// Its interfaces; empty if no process of the pod could be inspected.
    pub net: Vec<NetUsage>,
    /// |pod's own CPU counter − Σ its containers| ÷ pod's own counter, since the agent has watched
    /// it. With nested containers beside the pod's cgroup their CPU time is part of the divisor, and
    /// what of it may have been missed part of the difference. `None` until the pod has used enough for
    /// the ratio to be meaningful, and once there were more nested containers beside it than are read.
    pub accounting_error: Option<f64>,
    /// CPU time in nanoseconds of nested containers beside the pod's cgroup, which is not in the
    /// pod's own counter. `None` if there was none.
    pub beside_cpu_ns: Option<u64>,
    /// Nested containers that have no values because there were too many at once.
    pub nested_left_out: u64,
    /// Whether the pod's cgroup was removed.
    pub gone: bool,
}

/// All values at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Running and ended containers, in no particular order.
    pub containers: Vec<Arc<Record>>,
    /// Pods.
    pub pods: Vec<Arc<PodRecord>>,
}

/// Most ends that are queued; the oldest is dropped first.
pub const MAX_ENDS: usize = 2048;
/// Most ends of nested containers among them, of which a job can make as many as it likes.
const MAX_NESTED_ENDS: usize = MAX_ENDS / 4;
/// Memory of a record in bytes, with values of a few devices.
pub const RECORD_BYTES: usize = 1536;

/// A container or pod that has ended.
#[derive(Debug, Clone)]
pub enum End {
    /// A container, with its final reading.
    Container(Arc<Record>),
    /// A pod whose cgroup was removed.
    Pod(Arc<PodRecord>),
}

/// The readings; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Readings(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    pages: Mutex<Pages>,
    /// Something is over.
    news: Notify,
    /// Pods with a new container, or with an end.
    feed: Feed,
    /// Where readings are kept over time, if they are.
    history: Option<History>,
}

#[derive(Debug, Default)]
struct Pages {
    containers: HashMap<ContainerId, Arc<Record>>,
    pods: HashMap<PodUid, Arc<PodRecord>>,
    /// Ends since they were last taken; `None` if they are not followed.
    ends: Option<VecDeque<End>>,
    /// How many of them are of nested containers.
    nested_ends: usize,
    /// Number of ends that were dropped.
    lost: u64,
}

// === impl End ===

impl End {
    fn is_nested(&self) -> bool {
        matches!(self, Self::Container(record) if record.nested)
    }
}

// === impl Readings ===

impl Readings {
    /// Readings that publish new containers and ends to this feed. Later readings of a running
    /// container are not published; who needs them reads them.
    pub fn publishing_to(feed: Feed) -> Self {
        Self(Arc::new(Shared { feed, ..Shared::default() }))
    }

    /// The same, and each reading is also added to the history.
    pub fn recorded_in(feed: Feed, history: History) -> Self {
        Self(Arc::new(Shared { feed, history: Some(history), ..Shared::default() }))
    }

    /// Replaces a running container's values. `complete`: all of them were read now.
    pub fn enter_sample(&self, record: Record, complete: bool) {
        let record = Arc::new(record);
        self.put(&record);
        self.record(&record, complete);
    }

    /// Replaces a container's values.
    pub fn enter(&self, record: Record) {
        let record = Arc::new(record);
        self.put(&record);
        self.record(&record, true);
    }

    fn record(&self, record: &Record, complete: bool) {
        let Some(history) = &self.0.history else { return };
        let Record { id, pod, created, read_at, usage, ended, .. } = record;
        let ms = |at| clock::unix_ns(at) / 1_000_000;
        let (created_ms, at_ms, last) = (ms(*created), ms(*read_at), ended.is_some());
        history.add(&Sample { pod, id, created_ms, at_ms, usage, complete, last });
    }

    fn put(&self, record: &Arc<Record>) {
        let mut pages = self.pages();
        let before = pages.containers.insert(record.id.clone(), Arc::clone(record));
        let is_living = before.is_some_and(|before| before.ended.is_none());
        if record.ended.is_some() {
            pages.note(End::Container(Arc::clone(record)));
            self.0.news.notify_one();
        } else if is_living {
            return;
        }
        drop(pages);
        self.0.feed.publish(&record.pod);
    }

    /// Replaces a pod's values.
    pub fn enter_pod(&self, record: PodRecord) {
        let record = Arc::new(record);
        let mut pages = self.pages();
        if record.gone {
            pages.note(End::Pod(Arc::clone(&record)));
            self.0.news.notify_one();
        }
        pages.pods.insert(record.pod.clone(), Arc::clone(&record));
        drop(pages);
        if record.gone {
            self.0.feed.publish(&record.pod);
        }
    }

    /// From now on every end is queued for [`Self::take_ends`], even if the container is forgotten
    /// meanwhile.
    pub fn follow_ends(&self) {
        self.pages().ends.get_or_insert_default();
    }

    /// The ends since the last call, in order, and how many were dropped. For one caller.
    pub fn take_ends(&self) -> (Vec<End>, u64) {
        let mut pages = self.pages();
        let ends = pages.ends.as_mut().map(std::mem::take).unwrap_or_default();
        pages.nested_ends = 0;
        (ends.into(), std::mem::take(&mut pages.lost))
    }

    /// Resolves when something has ended since the last call. For one caller.
    pub async fn ended(&self) {
        self.0.news.notified().await;
    }

    /// Forgets a container that is not reported: the sandbox, or of a pod that is not selected.
    pub fn disown(&self, pod: &PodUid, id: &ContainerId) {
        self.forget(id);
        if let Some(history) = &self.0.history {
            history.forget(pod, id);
        }
    }

    /// Forgets a container that was reported often enough. Its history stays.
    pub fn forget(&self, id: &ContainerId) {
        self.pages().containers.remove(id);
    }

    /// Forgets a pod.
    pub fn forget_pod(&self, uid: &PodUid) {
        self.pages().pods.remove(uid);
    }

    /// The present records of these containers and pods.
    pub fn select<'a>(
        &self,
        containers: impl Iterator<Item = &'a ContainerId>,
        pods: impl Iterator<Item = &'a PodUid>,
    ) -> Snapshot {
        let pages = self.pages();
        Snapshot {
            containers: containers.filter_map(|id| pages.containers.get(id)).cloned().collect(),
            pods: pods.filter_map(|uid| pages.pods.get(uid)).cloned().collect(),
        }
    }

    /// All present records.
    pub fn snapshot(&self) -> Snapshot {
        let pages = self.pages();
        Snapshot {
            containers: pages.containers.values().cloned().collect(),
            pods: pages.pods.values().cloned().collect(),
        }
    }

    /// Records are always complete, so a poisoned lock can be used.
    fn pages(&self) -> MutexGuard<'_, Pages> {
        lock(&self.0.pages)
    }
}

// === impl Pages ===

impl Pages {
    fn note(&mut self, end: End) {
        let Some(ends) = &mut self.ends else { return };
        if end.is_nested() && self.nested_ends >= MAX_NESTED_ENDS {
            self.lost = self.lost.saturating_add(1);
            return;
        }
        if ends.len() >= MAX_ENDS {
            let first = ends.pop_front();
            self.nested_ends -= usize::from(first.is_some_and(|first| first.is_nested()));
            self.lost = self.lost.saturating_add(1);
        }
        self.nested_ends += usize::from(end.is_nested());
        ends.push_back(end);
    }
}

#[cfg(test)]
mod tests {
    use ephemon_model::Quality;

    use super::*;

    fn record(number: usize, over: bool) -> Record {
        let ended = Ended { at: SystemTime::UNIX_EPOCH, quality: Quality::Exact };
        Record {
            id: ContainerId::parse(&format!("{number:064x}")).unwrap(),
            pod: PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap(),
            created: SystemTime::UNIX_EPOCH,
            is_birth_seen: true,
            read_at: SystemTime::UNIX_EPOCH,
            usage: Usage::default(),
            nested: false,
            ended: over.then_some(ended),
        }
    }

    #[test]
    fn an_end_reaches_its_follower_though_the_container_is_forgotten_before() {
        let readings = Readings::default();
        readings.enter(record(1, true));
        assert!(readings.take_ends().0.is_empty(), "nobody follows yet");
        readings.follow_ends();
        readings.enter(record(2, false));
        readings.enter(record(2, true));
        readings.forget(&record(2, true).id);
        let (ends, lost) = readings.take_ends();
        assert_eq!((ends.len(), lost), (1, 0));
        assert!(matches!(&ends[0], End::Container(over) if **over == record(2, true)));
        assert!(readings.take_ends().0.is_empty());
    }

    #[test]
    fn births_and_ends_are_changes_of_the_pod_and_samples_are_not() {
        let feed = Feed::default();
        let readings = Readings::publishing_to(feed.clone());
        let mut follower = feed.follow();
        follower.take();
        let mut is_changed = |act: &dyn Fn()| {
            act();
            !follower.take().is_empty()
        };
        assert!(is_changed(&|| readings.enter(record(1, false))));
        assert!(!is_changed(&|| readings.enter(record(1, false))));
        assert!(is_changed(&|| readings.enter(record(1, true))));
        assert!(is_changed(&|| readings.enter(record(1, false))), "it has come back");
        let pod = |gone| PodRecord {
            pod: record(1, false).pod,
            net: Vec::new(),
            accounting_error: None,
            beside_cpu_ns: None,
            nested_left_out: 0,
            gone,
        };
        assert!(!is_changed(&|| readings.enter_pod(pod(false))));
        assert!(is_changed(&|| readings.enter_pod(pod(true))));
        let (known, other) = (record(1, false).id, record(2, false).id);
        let some = readings.select([&known, &other].into_iter(), [&pod(true).pod].into_iter());
        assert_eq!((some.containers.len(), some.pods.len()), (1, 1));
    }

    #[test]
    fn ends_that_nobody_takes_are_bounded_and_counted() {
        let readings = Readings::default();
        readings.follow_ends();
        (0..MAX_ENDS + 3).for_each(|number| readings.enter(record(number, true)));
        let (ends, lost) = readings.take_ends();
        assert_eq!((ends.len(), lost), (MAX_ENDS, 3));
        assert!(matches!(&ends[0], End::Container(first) if **first == record(3, true)));
    }

    #[test]
    fn ends_of_nested_containers_drop_nobody_elses() {
        let readings = Readings::default();
        readings.follow_ends();
        readings.enter(record(0, true));
        for number in 1..=MAX_ENDS {
            readings.enter(Record { nested: true, ..record(number, true) });
        }
        let (ends, lost) = readings.take_ends();
        assert_eq!((ends.len(), lost), (1 + MAX_NESTED_ENDS, (MAX_ENDS - MAX_NESTED_ENDS) as u64));
        assert!(matches!(&ends[0], End::Container(first) if **first == record(0, true)));
        readings.enter(Record { nested: true, ..record(1, true) });
        assert_eq!(readings.take_ends().0.len(), 1, "there is room again");
    }
}
