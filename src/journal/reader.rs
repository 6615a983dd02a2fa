//! Keeps every wanted pod's journals open and reads what was added since the last look.
//!
//! A look is a short poll by whoever calls: `fstat` of the directory and of each open file, and
//! nothing more where nothing was added. That needs no inotify limits, which jobs of other users
//! could use up.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use ephemon_base::clock::now_ns;
use ephemon_contract::JOURNAL_MAX_BYTES;
use ephemon_model::PodUid;
use ephemon_model::node::NodeRoot;
use ephemon_vitals::{Reason, Signal, Vitals};

use super::Entry;
use super::lines::Lines;
use super::volume::{Directory, JOURNALS};

/// Most journals of one pod: one a container, and a pod of 300 container steps is a rare one.
pub const MAX_FILES_PER_POD: usize = 512;
/// Most journals open at once; descriptors are few, and capture needs them more.
pub const MAX_FILES: usize = 4096;
/// Memory of one, bytes: its name, its place, and the tree's.
pub const FILE_BYTES: usize = 256;
/// Bytes read of one pod in one look: a pod that writes much waits for the next one.
const MAX_LOOK_BYTES: usize = 256 * 1024;
/// Bytes read of all pods in one look: what looks four times a second takes in so much, and no more.
const MAX_LOOK_BYTES_IN_ALL: usize = 2 * 1024 * 1024;
/// Bytes read of a pod before the next one has its turn.
const TURN_BYTES: usize = 16 * 1024;
/// Names of one pod that are no journals, remembered so that each is counted once.
const MAX_REFUSED: usize = 64;
/// The volume's name in the pod's spec.
pub const VOLUME: &str = "ephemon";

/// Reads journals; blocking, and quick where nothing is new.
#[derive(Debug)]
pub struct Reader {
    node: NodeRoot,
    kubelet_root: PathBuf,
    vitals: Vitals,
    pods: HashMap<PodUid, Pod>,
    buffer: Vec<u8>,
    /// Whose turn it was when a look had read enough: the next one begins there.
    next: Option<PodUid>,
}

#[derive(Debug, Default)]
struct Pod {
    directory: Option<Directory>,
    /// When the directory had last changed, as of the last listing.
    listed: Option<(i64, u64)>,
    journals: BTreeMap<Arc<str>, Journal>,
    /// The journal that was read last when the pod's turn was over: the others come before it.
    last: Option<Arc<str>>,
    /// Names that are no journals, counted once.
    refused: HashSet<String>,
    crowded: bool,
}

#[derive(Debug)]
struct Journal {
    file: Option<File>,
    lines: Lines,
    /// Up to where it was looked at: the beginning of a record may stand there.
    seen: u64,
}

// === impl Reader ===

impl Reader {
    /// Reads below the node's root; `kubelet_root` as the node has it, usually `/var/lib/kubelet`.
    pub fn new(node: NodeRoot, kubelet_root: impl Into<PathBuf>, vitals: Vitals) -> Self {
        let kubelet_root = kubelet_root.into();
        let (pods, buffer) = (HashMap::new(), vec![0; TURN_BYTES]);
        Self { node, kubelet_root, vitals, pods, buffer, next: None }
    }

    /// Tells what was added to these pods' journals since the last look. A pod that is not named any
    /// more is let go. Every pod has its turn before another has a second one, and what is too much
    /// for one look waits for the next.
    pub fn look(&mut self, wanted: &[PodUid], mut tell: impl FnMut(Entry)) {
        let named: HashSet<_> = wanted.iter().collect();
        self.pods.retain(|uid, _| named.contains(uid));
        for uid in wanted {
            self.find(uid);
        }
        let first = self.next.take().and_then(|next| wanted.iter().position(|uid| *uid == next));
        let (before, after) = wanted.split_at(first.unwrap_or(0));
        let mut queue: VecDeque<_> =
            after.iter().chain(before).map(|uid| (uid, MAX_LOOK_BYTES)).collect();
        let mut left = MAX_LOOK_BYTES_IN_ALL;
        while let Some((uid, left_of_pod)) = queue.pop_front() {
            if left == 0 {
                self.next = Some(uid.clone());
                break;
            }
            let read = self.read(uid, TURN_BYTES, &mut tell);
            left = left.saturating_sub(read);
            let left_of_pod = left_of_pod.saturating_sub(read);
            if read >= TURN_BYTES && left_of_pod > 0 {
                queue.push_back((uid, left_of_pod));
            }
        }
    }

    /// Tells what was added to this pod's journals since the last look at it; other pods' stay open.
    pub fn look_at(&mut self, pod: &PodUid, mut tell: impl FnMut(Entry)) {
        self.find(pod);
        self.read(pod, MAX_LOOK_BYTES, &mut tell);
    }

    /// Lets a pod go.
    pub fn forget(&mut self, pod: &PodUid) {
        self.pods.remove(pod);
    }

    /// Opens what is new of a pod.
    fn find(&mut self, uid: &PodUid) {
        let open: usize = self.pods.values().map(|pod| pod.journals.len()).sum();
        let pod = self.pods.entry(uid.clone()).or_default();
        let room = MAX_FILES.saturating_sub(open).saturating_add(pod.journals.len());
        pod.find(
            || Directory::open(&self.node.empty_dir(&self.kubelet_root, uid, VOLUME), JOURNALS),
            room,
            &self.vitals,
        );
    }

    fn read(&mut self, uid: &PodUid, most: usize, tell: &mut impl FnMut(Entry)) -> usize {
        let Some(pod) = self.pods.get_mut(uid) else { return 0 };
        pod.read(uid, &mut self.buffer, most, tell, &self.vitals)
    }
}

// === impl Pod ===

impl Pod {
    /// Opens journals that are new.
    fn find(&mut self, open: impl Fn() -> io::Result<Directory>, room: usize, vitals: &Vitals) {
        if self.directory.is_none() {
            // Not there before the first container that writes one.
            self.directory = open().ok();
        }
        let Some(directory) = &self.directory else { return };
        let Ok(changed) = directory.changed() else { return };
        if self.listed == Some(changed) {
            return;
        }
        let Ok(names) = directory.names() else { return };
        // A file system's clock ticks in milliseconds: what comes within a tick of the listing
        // changes nothing.
        let settled = i64::try_from(now_ns() / 1_000_000_000)
            .is_ok_and(|now| now.saturating_sub(changed.0) > 1);
        self.listed = settled.then_some(changed);
        if names.cut && !std::mem::replace(&mut self.crowded, true) {
            vitals.dropped(Signal::Journal, Reason::Cap);
        }
        for name in names.all {
            if self.journals.contains_key(name.as_str()) || self.refused.contains(&name) {
                continue;
            }
            if self.journals.len() >= MAX_FILES_PER_POD.min(room) {
                if !std::mem::replace(&mut self.crowded, true) {
                    vitals.dropped(Signal::Journal, Reason::Cap);
                }
                break;
            }
            match directory.open_journal(&name) {
                Ok(opened) => {
                    let journal =
                        Journal { file: Some(opened.file), lines: Lines::default(), seen: 0 };
                    self.journals.insert(name.into(), journal);
                }
                // Removed again in between; a later listing shows it if it comes back.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::debug!(name, %error, "a journal is passed over");
                    vitals.dropped(Signal::Journal, Reason::Unreadable);
                    if self.refused.len() < MAX_REFUSED {
                        self.refused.insert(name);
                    }
                }
            }
        }
    }

    /// Reads what was added, up to about so many bytes: how many it were.
    fn read(
        &mut self,
        uid: &PodUid,
        buffer: &mut [u8],
        most: usize,
        tell: &mut impl FnMut(Entry),
        vitals: &Vitals,
    ) -> usize {
        let mut taken = 0_usize;
        let last = self.last.take();
        let comes_first = |name: &Arc<str>| last.as_ref().is_none_or(|last| name > last);
        for first in [true, false] {
            let some = self.journals.iter_mut().filter(|(name, _)| comes_first(name) == first);
            for (name, journal) in some {
                loop {
                    if taken >= most {
                        self.last = Some(Arc::clone(name));
                        return taken;
                    }
                    let (read, bad) = journal.read(buffer, |at, record| {
                        tell(Entry { pod: uid.clone(), file: Arc::clone(name), at, record });
                    });
                    if bad > 0 {
                        vitals.dropped_by(Signal::Journal, Reason::Unreadable, bad);
                    }
                    if read == 0 {
                        break;
                    }
                    taken = taken.saturating_add(read);
                }
            }
        }
        taken
    }
}

// === impl Journal ===

impl Journal {
    /// Reads one buffer's worth: bytes read, and how many lines of them made no sense.
    fn read(
        &mut self,
        buffer: &mut [u8],
        mut record: impl FnMut(u64, ephemon_contract::Record),
    ) -> (usize, u64) {
        let Some(file) = &self.file else { return (0, 0) };
        let offset = self.lines.offset();
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        if length < self.seen || offset >= JOURNAL_MAX_BYTES {
            // Cut short by somebody, or as long as a journal can be: nothing more is taken of it.
            self.file = None;
            return (0, u64::from(length != offset));
        }
        if length == self.seen {
            return (0, 0);
        }
        match file.read_at(buffer, offset) {
            Ok(count) => {
                let found = self.lines.take(buffer.get(..count).unwrap_or_default());
                for (at, one) in found.records {
                    record(at, one);
                }
                self.seen = offset.saturating_add(count as u64);
                (count, found.bad)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (0, 0),
            Err(_) => {
                self.file = None;
                (0, 1)
            }
        }
    }
}

#[cfg(test)]
mod tests;
