//! Keeps every wanted pod's journals open and reads what was added since the last look.
//!
//! A look is a short poll by whoever calls: `fstat` of the directory and of each open file, and
//! nothing more where nothing was added. That needs no inotify limits, which jobs of other users
//! could use up.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::Entry;
use super::lines::Lines;
use super::volume::{Directory, JOURNALS};
use crate::contract::JOURNAL_MAX_BYTES;
use crate::model::PodUid;
use crate::node::NodeRoot;
use crate::vitals::{Reason, Signal, Vitals};

/// Most journals of one pod: one a container, and a pod of 300 container steps is a rare one.
pub const MAX_FILES_PER_POD: usize = 512;
/// Most journals open at once; descriptors are few, and capture needs them more.
const MAX_FILES: usize = 8192;
/// Bytes read of one pod in one look: a pod that writes much waits for the next one.
const MAX_LOOK_BYTES: usize = 256 * 1024;
/// The volume's name in the pod's spec.
pub(crate) const VOLUME: &str = "ephemon";

/// Reads journals; blocking, and quick where nothing is new.
#[derive(Debug)]
pub struct Reader {
    node: NodeRoot,
    kubelet_root: PathBuf,
    vitals: Vitals,
    pods: HashMap<PodUid, Pod>,
    buffer: Vec<u8>,
}

#[derive(Debug, Default)]
struct Pod {
    directory: Option<Directory>,
    /// When the directory had last changed, as of the last listing.
    listed: Option<(i64, u64)>,
    journals: BTreeMap<Arc<str>, Journal>,
    /// Names that are no journals, said once.
    refused: HashSet<String>,
    crowded: bool,
}

#[derive(Debug)]
struct Journal {
    file: Option<File>,
    lines: Lines,
}

// === impl Reader ===

impl Reader {
    /// Reads below the node's root; `kubelet_root` as the node has it, usually `/var/lib/kubelet`.
    pub fn new(node: NodeRoot, kubelet_root: impl Into<PathBuf>, vitals: Vitals) -> Self {
        let kubelet_root = kubelet_root.into();
        Self { node, kubelet_root, vitals, pods: HashMap::new(), buffer: vec![0; 16 * 1024] }
    }

    /// What was added to these pods' journals since the last look. A pod that is not named any
    /// more is let go.
    pub fn look(&mut self, wanted: &[PodUid]) -> Vec<Entry> {
        let named: HashSet<_> = wanted.iter().collect();
        self.pods.retain(|uid, _| named.contains(uid));
        let mut entries = Vec::new();
        for uid in wanted {
            self.read(uid, &mut entries);
        }
        entries
    }

    /// What was added to this pod's journals since the last look at it; other pods' stay open.
    pub fn look_at(&mut self, pod: &PodUid) -> Vec<Entry> {
        let mut entries = Vec::new();
        self.read(pod, &mut entries);
        entries
    }

    /// Lets a pod go.
    pub fn forget(&mut self, pod: &PodUid) {
        self.pods.remove(pod);
    }

    fn read(&mut self, uid: &PodUid, entries: &mut Vec<Entry>) {
        let open: usize = self.pods.values().map(|pod| pod.journals.len()).sum();
        let mut pod = self.pods.remove(uid).unwrap_or_default();
        pod.find(
            || Directory::open(&self.node.empty_dir(&self.kubelet_root, uid, VOLUME), JOURNALS),
            MAX_FILES.saturating_sub(open),
            &self.vitals,
        );
        pod.read(uid, &mut self.buffer, entries, &self.vitals);
        self.pods.insert(uid.clone(), pod);
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
        let settled = i64::try_from(now_s()).is_ok_and(|now| now.saturating_sub(changed.0) > 1);
        self.listed = settled.then_some(changed);
        for name in names {
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
                    let journal = Journal { file: Some(opened.file), lines: Lines::default() };
                    self.journals.insert(name.into(), journal);
                }
                // Removed again in between; a later listing shows it if it comes back.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::debug!(name, %error, "a journal is passed over");
                    vitals.dropped(Signal::Journal, Reason::Unreadable);
                    if self.refused.len() < MAX_FILES_PER_POD {
                        self.refused.insert(name);
                    }
                }
            }
        }
    }

    /// Reads what was added.
    fn read(&mut self, uid: &PodUid, buffer: &mut [u8], entries: &mut Vec<Entry>, vitals: &Vitals) {
        let mut left = MAX_LOOK_BYTES;
        for (name, journal) in &mut self.journals {
            while left > 0 {
                let (read, bad) = journal.read(buffer, |at, record| {
                    entries.push(Entry { pod: uid.clone(), file: name.clone(), at, record });
                });
                for _ in 0..bad {
                    vitals.dropped(Signal::Journal, Reason::Unreadable);
                }
                left = left.saturating_sub(read);
                if read == 0 {
                    break;
                }
            }
        }
    }
}

// === impl Journal ===

impl Journal {
    /// Reads one buffer's worth: bytes read, and how many lines of them made no sense.
    fn read(
        &mut self,
        buffer: &mut [u8],
        mut record: impl FnMut(u64, crate::contract::Record),
    ) -> (usize, u64) {
        let Some(file) = &self.file else { return (0, 0) };
        let offset = self.lines.offset();
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        if length < offset || offset >= JOURNAL_MAX_BYTES {
            // Cut short by somebody, or as long as a journal can be: nothing more is taken of it.
            self.file = None;
            return (0, u64::from(length != offset));
        }
        if length == offset {
            return (0, 0);
        }
        match file.read_at(buffer, offset) {
            Ok(count) => {
                let found = self.lines.take(buffer.get(..count).unwrap_or_default());
                for (at, one) in found.records {
                    record(at, one);
                }
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

/// Seconds since 1970.
fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
