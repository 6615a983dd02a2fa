//! Keeps the journals of every wanted pod open, and reads what was added since the last look.
//!
//! A look is a short poll by the caller: `fstat` of the directory and of each open file, and
//! nothing more if nothing was added. It does not depend on inotify limits, which jobs of other
//! users could exhaust. A pod without a volume of the hook is not checked again until it has
//! changed.
//!
//! Several readers can read the same journals, each from the beginning and at its own pace; a file
//! is opened only once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use ephemon_base::lock;
use ephemon_model::PodUid;
use ephemon_model::node::NodeRoot;
use ephemon_self_metrics::SelfMetrics;

use super::Entry;
use super::pod::Pod;

/// Most journals of one pod: one per container, and a pod with 300 container steps is rare.
pub const MAX_FILES_PER_POD: usize = 512;
/// Most open journals; descriptors are limited, and capture needs them more.
pub const MAX_FILES: usize = 4096;
/// Memory of one journal in bytes: its name, its positions, and its share of the tree.
pub const FILE_BYTES: usize = 384;
/// Bytes that are read from one pod per look; a pod that writes more is continued at the next one.
const MAX_LOOK_BYTES: usize = 256 * 1024;
/// Bytes that are read from all pods per look; there are up to four looks a second.
const MAX_TOTAL_LOOK_BYTES: usize = 2 * 1024 * 1024;
/// Bytes that are read from a pod before the next one has its turn.
const TURN_BYTES: usize = 16 * 1024;
/// The volume's name in the pod's spec.
pub const VOLUME: &str = "ephemon";

/// Reads journals; blocking, but fast if there is nothing new.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Mutex<Shared>>,
    /// The number of this reader.
    number: usize,
    /// The pod at which the next look begins, because the last one had read enough.
    next: Option<PodUid>,
}

/// The state that all readers share.
#[derive(Debug)]
struct Shared {
    node: NodeRoot,
    kubelet_root: PathBuf,
    self_metrics: SelfMetrics,
    readers: usize,
    pods: HashMap<PodUid, Pod>,
    buffer: Vec<u8>,
}

// === impl Reader ===

impl Reader {
    /// Reads below the node's root; `kubelet_root` is a path of the node, usually
    /// `/var/lib/kubelet`.
    pub fn new(
        node: NodeRoot,
        kubelet_root: impl Into<PathBuf>,
        self_metrics: SelfMetrics,
    ) -> Self {
        let kubelet_root = kubelet_root.into();
        let (pods, buffer) = (HashMap::new(), vec![0; TURN_BYTES]);
        let shared = Shared { node, kubelet_root, self_metrics, readers: 1, pods, buffer };
        Self { shared: Arc::new(Mutex::new(shared)), number: 0, next: None }
    }

    /// Another reader of the same journals, which starts from the beginning.
    #[must_use]
    pub fn another(&self) -> Self {
        let mut shared = self.shared();
        let number = shared.readers;
        shared.readers += 1;
        Self { shared: Arc::clone(&self.shared), number, next: None }
    }

    /// Passes what was added to these pods' journals since the last look to `tell`. A pod that is
    /// no longer listed is dropped. Every pod has a turn before another has a second one, and what
    /// exceeds the limits of one look waits for the next.
    pub fn look(&mut self, wanted: &[PodUid], mut tell: impl FnMut(Entry)) {
        let first = self.next.take().and_then(|next| wanted.iter().position(|uid| *uid == next));
        let (before, after) = wanted.split_at(first.unwrap_or(0));
        let named: HashSet<_> = wanted.iter().collect();
        let mut shared = self.shared();
        shared.keep(self.number, |uid| named.contains(uid));
        for uid in wanted {
            shared.find(uid, self.number, false);
        }
        let mut queue: VecDeque<_> =
            after.iter().chain(before).map(|uid| (uid, MAX_LOOK_BYTES)).collect();
        let mut left = MAX_TOTAL_LOOK_BYTES;
        let mut next = None;
        while let Some((uid, left_of_pod)) = queue.pop_front() {
            if left == 0 {
                next = Some(uid.clone());
                break;
            }
            let read = shared.read(uid, self.number, TURN_BYTES, &mut tell);
            left = left.saturating_sub(read);
            let left_of_pod = left_of_pod.saturating_sub(read);
            if read >= TURN_BYTES && left_of_pod > 0 {
                queue.push_back((uid, left_of_pod));
            }
        }
        drop(shared);
        self.next = next;
    }

    /// Passes what was added to this pod's journals to `tell`; other pods' journals stay open. The
    /// caller knows of a change, so a volume that did not exist is looked for again.
    pub fn look_at(&mut self, pod: &PodUid, mut tell: impl FnMut(Entry)) {
        let mut shared = self.shared();
        shared.find(pod, self.number, true);
        shared.read(pod, self.number, MAX_LOOK_BYTES, &mut tell);
    }

    /// These pods have changed: a volume that did not exist may exist now.
    pub fn changed<'a>(&self, pods: impl Iterator<Item = &'a PodUid>) {
        let mut shared = self.shared();
        for uid in pods {
            if let Some(pod) = shared.pods.get_mut(uid) {
                pod.ask_again();
            }
        }
    }

    /// Any pod may have changed.
    pub fn all_changed(&self) {
        self.shared().pods.values_mut().for_each(Pod::ask_again);
    }

    /// Whether any of these pods has a volume that may get more data.
    pub fn has_open(&self) -> bool {
        let shared = self.shared();
        shared.pods.values().any(|pod| pod.is_wanted_by(self.number) && pod.has_volume())
    }

    /// Drops a pod.
    pub fn forget(&mut self, pod: &PodUid) {
        self.shared().keep(self.number, |uid| uid != pod);
    }

    /// The state is complete even after a panic of another thread, so a poisoned lock can be used.
    fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

// === impl Shared ===

impl Shared {
    /// Drops pods of a reader; other readers keep theirs.
    fn keep(&mut self, reader: usize, keep: impl Fn(&PodUid) -> bool) {
        self.pods.retain(|uid, pod| keep(uid) || pod.let_go(reader));
    }

    /// Opens new journals of a pod.
    fn find(&mut self, uid: &PodUid, reader: usize, again: bool) {
        let open: usize = self.pods.values().map(Pod::files).sum();
        let pod = self.pods.entry(uid.clone()).or_default();
        pod.want(reader);
        if again {
            pod.ask_again();
        }
        let room = MAX_FILES.saturating_sub(open).saturating_add(pod.files());
        let Self { node, kubelet_root, .. } = self;
        let path = || node.empty_dir(kubelet_root, uid, VOLUME);
        pod.find(path, room.min(MAX_FILES_PER_POD), &self.self_metrics);
    }

    fn read(
        &mut self,
        uid: &PodUid,
        reader: usize,
        most: usize,
        tell: &mut impl FnMut(Entry),
    ) -> usize {
        let Some(pod) = self.pods.get_mut(uid) else { return 0 };
        pod.read(reader, &mut self.buffer, most, &self.self_metrics, |file, at, record| {
            tell(Entry { pod: uid.clone(), file: Arc::clone(file), at, record });
        })
    }
}

#[cfg(test)]
mod tests;
