//! What capture has read, shared with whoever shows it.
//!
//! Records are replaced, never changed: a reader takes the `Arc`s and lets go of the lock at once,
//! so that a slow scrape cannot hold up a final reading.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::model::{ContainerId, Ended, NetUsage, PodUid, Usage};

/// One container's figures as last read.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The runtime's id.
    pub id: ContainerId,
    /// The pod it belongs to.
    pub pod: PodUid,
    /// When its cgroup was made.
    pub born: SystemTime,
    /// When `usage` was read.
    pub read_at: SystemTime,
    /// The figures.
    pub usage: Usage,
    /// Set once, when the container is over and its figures are settled.
    pub ended: Option<Ended>,
}

/// What is known of a pod's cgroup and network namespace.
#[derive(Debug, Clone, PartialEq)]
pub struct PodRecord {
    /// The pod.
    pub pod: PodUid,
    /// Its interfaces; empty where no process of the pod could be looked at.
    pub net: Vec<NetUsage>,
    /// |pod's own CPU counter − Σ its containers| ÷ pod's own counter, since the agent has watched.
    /// Absent until the pod has used enough for a ratio to mean something.
    pub accounting_error: Option<f64>,
    /// Whether the pod's cgroup is gone.
    pub gone: bool,
}

/// Everything at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Containers, living and ended, in no order.
    pub containers: Vec<Arc<Record>>,
    /// Pods.
    pub pods: Vec<Arc<PodRecord>>,
}

/// Shared, cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Books(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    containers: HashMap<ContainerId, Arc<Record>>,
    pods: HashMap<PodUid, Arc<PodRecord>>,
}

// === impl Books ===

impl Books {
    /// Enters a container's figures in place of the earlier ones.
    pub fn enter(&self, record: Record) {
        self.pages().containers.insert(record.id.clone(), Arc::new(record));
    }

    /// Enters a pod's figures in place of the earlier ones.
    pub fn enter_pod(&self, record: PodRecord) {
        self.pages().pods.insert(record.pod.clone(), Arc::new(record));
    }

    /// Forgets a container: it was shown often enough, or is none of ours.
    pub fn forget(&self, id: &ContainerId) {
        self.pages().containers.remove(id);
    }

    /// Forgets a pod.
    pub fn forget_pod(&self, uid: &PodUid) {
        self.pages().pods.remove(uid);
    }

    /// Everything as it is now.
    pub fn snapshot(&self) -> Snapshot {
        let pages = self.pages();
        Snapshot {
            containers: pages.containers.values().cloned().collect(),
            pods: pages.pods.values().cloned().collect(),
        }
    }

    /// A panic elsewhere leaves whole records behind, so a poisoned lock is still good.
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
