//! What is known of each container's log, shared with whoever shows it: lines and bytes seen,
//! delivered, lost, and whether all of it came through.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ephemon_base::lock;
use ephemon_crilog::{Account, ContainerLog};
use ephemon_model::PodUid;

/// Most logs kept: of as many ended containers as the manifests show, and the living, twice over.
pub const MAX_LOGS: usize = 8_192;
/// Memory of one, bytes.
pub const LOG_BYTES: usize = 512;

/// Pod and container; of several starts the last.
type Key = (PodUid, Arc<str>);

/// Shared, cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<HashMap<Key, Entry>>>);

#[derive(Debug)]
struct Entry {
    attempt: u32,
    account: Arc<Account>,
    over: Option<Instant>,
}

// === impl Ledger ===

impl Ledger {
    /// One container's figures, if its log is followed.
    pub fn account(&self, pod: &PodUid, container: &Arc<str>) -> Option<Arc<Account>> {
        self.entries().get(&(pod.clone(), container.clone())).map(|entry| entry.account.clone())
    }

    pub(super) fn enter(&self, log: ContainerLog, now: Instant) {
        let ContainerLog { log, ended, complete, accounting, .. } = log;
        let key = (log.pod.uid.clone(), log.container.clone());
        let mut entries = self.entries();
        if entries.len() >= MAX_LOGS && !entries.contains_key(&key) {
            return;
        }
        let over = ended.then_some(now);
        let account = Account { complete: ended.then_some(complete), accounting };
        let entry = Entry { attempt: log.attempt, account: Arc::new(account), over };
        let known = entries.get(&key);
        if known.is_none_or(|known| known.attempt <= entry.attempt) {
            entries.insert(key, entry);
        }
    }

    /// Forgets logs that have been over for so long.
    pub(super) fn forget(&self, after: Duration, now: Instant) {
        let old = |over: Instant| now.saturating_duration_since(over) > after;
        self.entries().retain(|_, entry| !entry.over.is_some_and(old));
    }

    /// A panic elsewhere leaves whole entries behind.
    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        lock(&self.0)
    }
}
