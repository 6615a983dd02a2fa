//! The evidence of jobs under way, kept on disk: what node and API no longer show when the agent is
//! started anew. One file a pod, only ever added to, gone when its job was sent.
//!
//! It is there for an agent that is killed, not for a machine that dies, which takes its jobs along:
//! nothing waits for the disk.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ephemon_model::{PodRef, PodUid};

use super::assembler::MAX_JOBS;
use super::evidence::Evidence;
use super::stored_evidence::StoredEvidence;

/// The directory's name below the state directory.
const NAME: &str = "jobs";
/// What a file's name ends in.
const SUFFIX: &str = ".jsonl";
/// Most that is kept of one pod: 1300 steps and their containers, twice over.
const MAX_POD_BYTES: u64 = 4 * 1024 * 1024;
/// Most that is kept of all pods together.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Most that waits in memory for the disk, of all pods together.
pub const MAX_OWED_BYTES: usize = 1024 * 1024;

/// Evidence could not be kept.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot keep what is known of jobs under way in {path}: {source}; after a restart their traces \
     lack figures of containers that ended before"
)]
pub struct EvidenceStoreError {
    path: PathBuf,
    source: io::Error,
}

/// All files.
#[derive(Debug)]
pub struct EvidenceStore {
    directory: PathBuf,
    pod_files: HashMap<PodUid, PodFile>,
    /// In files and owed to them.
    bytes: u64,
    /// Owed to them: in memory.
    owed: usize,
    /// The last attempt to write failed.
    stuck: bool,
}

/// One pod's file.
#[derive(Debug, Default)]
struct PodFile {
    /// Whole lines in the file. What a failed write left behind them is written over.
    written: u64,
    /// Lines still to be written.
    owed: Vec<u8>,
    /// Something found no room: said once.
    full: bool,
}

// === impl EvidenceStore ===

impl EvidenceStore {
    /// Opens the one in the state directory; whose evidence an earlier agent left there.
    pub fn open(state: &Path) -> (Self, Vec<PodRef>) {
        let directory = state.join(NAME);
        let (pod_files, stuck) = (HashMap::new(), false);
        let mut evidence_store = Self { directory, pod_files, bytes: 0, owed: 0, stuck };
        let mut left = Vec::new();
        // Where there is no directory yet, nothing was left.
        for entry in fs::read_dir(&evidence_store.directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let uid = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
            let Some(uid) = uid.and_then(|uid| PodUid::parse(uid).ok()) else { continue };
            match read(&entry.path(), |_| {}).ok().flatten() {
                Some((pod, written)) if pod.uid == uid && left.len() < MAX_JOBS => {
                    evidence_store.bytes = evidence_store.bytes.saturating_add(written);
                    evidence_store.pod_files.insert(uid, PodFile { written, ..PodFile::default() });
                    left.push(pod);
                }
                _ => {
                    tracing::warn!("{} makes no sense and is removed", entry.path().display());
                    remove(&entry.path());
                }
            }
        }
        (evidence_store, left)
    }

    /// Tells what an earlier agent left of this pod, piece by piece: all of it at once may be more
    /// than there is memory for.
    pub fn recall(&self, uid: &PodUid, tell: impl FnMut(Evidence)) {
        // It could be read when the evidence store was opened; what cannot be read now is not known.
        if let Err(error) = read(&self.path(uid), tell) {
            tracing::warn!("cannot read {}: {error}", self.path(uid).display());
        }
    }

    /// Takes a piece in; it is on its way with the next [`EvidenceStore::write`], or at once where much
    /// is owed to the disk already.
    pub fn add(&mut self, pod: &Arc<PodRef>, piece: &Evidence) {
        let Some(line) =
            StoredEvidence::of(piece).and_then(|stored_evidence| stored_evidence.to_line())
        else {
            return;
        };
        if !self.pod_files.contains_key(&pod.uid) {
            let owed = StoredEvidence::of_pod(pod).to_line().unwrap_or_default();
            self.bytes = self.bytes.saturating_add(owed.len() as u64);
            self.owed = self.owed.saturating_add(owed.len());
            self.pod_files.insert(pod.uid.clone(), PodFile { owed, ..PodFile::default() });
        }
        if self.owed.saturating_add(line.len()) > MAX_OWED_BYTES && !self.stuck {
            // Why it cannot is said by the next call.
            drop(self.write());
        }
        let Some(pod_file) = self.pod_files.get_mut(&pod.uid) else { return };
        let more = line.len() as u64;
        let of_pod = pod_file.written.saturating_add(pod_file.owed.len() as u64);
        let fits = |held: u64, most: u64| held.saturating_add(more) <= most;
        let room = self.owed.saturating_add(line.len()) <= MAX_OWED_BYTES;
        if room && fits(of_pod, MAX_POD_BYTES) && fits(self.bytes, MAX_BYTES) {
            self.bytes = self.bytes.saturating_add(more);
            self.owed = self.owed.saturating_add(line.len());
            pod_file.owed.extend_from_slice(&line);
        } else if !std::mem::replace(&mut pod_file.full, true) {
            tracing::warn!(
                namespace = %pod.namespace, pod = %pod.name,
                "no more is kept on disk of what is known of a job"
            );
        }
    }

    /// Writes what was taken in. What cannot be written now is tried again with the next call.
    pub fn write(&mut self) -> Result<(), EvidenceStoreError> {
        let mut trouble = None;
        for (uid, pod_file) in self.pod_files.iter_mut().filter(|(_, it)| !it.owed.is_empty()) {
            let path = self.directory.join(format!("{uid}{SUFFIX}"));
            let owed = pod_file.owed.len();
            match pod_file.write(&self.directory, &path) {
                Ok(()) => self.owed = self.owed.saturating_sub(owed),
                Err(source) => trouble = Some(EvidenceStoreError { path, source }),
            }
        }
        self.stuck = trouble.is_some();
        trouble.map_or(Ok(()), Err)
    }

    /// Whether anything of the pod is on disk.
    pub fn holds(&self, uid: &PodUid) -> bool {
        self.pod_files.get(uid).is_some_and(|pod_file| pod_file.written > 0)
    }

    /// The pod's job was sent: nothing of it is needed any more.
    pub fn clear(&mut self, uid: &PodUid) {
        let Some(pod_file) = self.pod_files.remove(uid) else { return };
        let held = pod_file.written.saturating_add(pod_file.owed.len() as u64);
        self.bytes = self.bytes.saturating_sub(held);
        self.owed = self.owed.saturating_sub(pod_file.owed.len());
        remove(&self.path(uid));
    }

    fn path(&self, uid: &PodUid) -> PathBuf {
        self.directory.join(format!("{uid}{SUFFIX}"))
    }
}

// === impl PodFile ===

impl PodFile {
    fn write(&mut self, directory: &Path, path: &Path) -> io::Result<()> {
        if self.written == 0 {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.write_all_at(&self.owed, self.written)?;
        self.written = self.written.saturating_add(self.owed.len() as u64);
        self.owed = Vec::new();
        Ok(())
    }
}

/// Reads a pod's file line by line: whose it is, how many bytes of whole lines there are, and what
/// of them makes sense. The last line may have been under way when the agent was killed.
fn read(path: &Path, mut tell: impl FnMut(Evidence)) -> io::Result<Option<(PodRef, u64)>> {
    let mut file = BufReader::new(File::open(path)?.take(MAX_POD_BYTES));
    let (mut pod, mut whole, mut line) = (None, 0_u64, Vec::new());
    while file.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
        whole = whole.saturating_add(line.len() as u64);
        let stored_evidence = serde_json::from_slice::<StoredEvidence>(&line).ok();
        if pod.is_some() {
            stored_evidence.and_then(StoredEvidence::evidence).into_iter().for_each(&mut tell);
        } else {
            pod = stored_evidence.and_then(StoredEvidence::pod);
            if pod.is_none() {
                return Ok(None);
            }
        }
        line.clear();
    }
    Ok(pod.map(|pod| (pod, whole)))
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // The next agent finds it, and that its job was sent.
        Err(error) => tracing::warn!("cannot remove {}: {error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Story, pod};

    /// What an agent that is started now finds.
    fn left(state: &Path) -> (EvidenceStore, Vec<(PodRef, Vec<Evidence>)>) {
        let (evidence_store, pods) = EvidenceStore::open(state);
        let read = |pod: PodRef| {
            let mut pieces = Vec::new();
            evidence_store.recall(&pod.uid, |piece| pieces.push(piece));
            (pod, pieces)
        };
        let left = pods.into_iter().map(read).collect();
        (evidence_store, left)
    }

    fn add(evidence_store: &mut EvidenceStore, pieces: &[Evidence]) {
        for piece in pieces {
            evidence_store.add(&pod(), piece);
        }
    }

    fn filled(state: &Path) -> Vec<Evidence> {
        let pieces = Story::whole().pieces;
        let (mut evidence_store, none) = EvidenceStore::open(state);
        assert_eq!(none, []);
        let (some, rest) = pieces.split_at(7);
        for part in [some, rest] {
            add(&mut evidence_store, part);
            evidence_store.write().unwrap();
        }
        pieces
    }

    #[test]
    fn what_is_put_in_is_there_for_the_next_agent_until_it_is_cleared() {
        let state = tempfile::tempdir().unwrap();
        let pieces = filled(state.path());
        let (mut evidence_store, left) = left(state.path());
        assert_eq!(left, [((*pod()).clone(), pieces)]);
        evidence_store.clear(&pod().uid);
        assert_eq!(evidence_store.bytes, 0);
        assert_eq!(EvidenceStore::open(state.path()).1, []);
    }

    #[test]
    fn a_file_cut_anywhere_gives_what_was_whole_and_is_written_on() {
        let state = tempfile::tempdir().unwrap();
        let pieces = filled(state.path());
        let path = state.path().join(NAME).join(format!("{}{SUFFIX}", pod().uid));
        let whole = fs::read(&path).unwrap();
        let first = memchr::memchr(b'\n', &whole).unwrap() + 1;
        for length in first..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let (mut evidence_store, left) = left(state.path());
            let lines = memchr::memchr_iter(b'\n', &whole[..length]).count() - 1;
            assert_eq!(left, [((*pod()).clone(), pieces[..lines].to_vec())], "{length}");
            add(&mut evidence_store, &pieces[lines..]);
            evidence_store.write().unwrap();
            assert_eq!(fs::read(&path).unwrap(), whole, "{length}");
        }
    }

    #[test]
    fn a_file_that_makes_no_sense_is_removed() {
        let state = tempfile::tempdir().unwrap();
        filled(state.path());
        let path = state.path().join(NAME).join(format!("{}{SUFFIX}", pod().uid));
        for spoilt in ["", "{}\n", "not json"] {
            fs::write(&path, spoilt).unwrap();
            assert_eq!(EvidenceStore::open(state.path()).1, [], "{spoilt}");
            assert!(!path.exists(), "{spoilt}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_written_later_and_there_is_an_end_to_it() {
        let state = tempfile::tempdir().unwrap();
        let blocked = state.path().join(NAME);
        fs::write(&blocked, "").unwrap();
        let (mut evidence_store, _) = EvidenceStore::open(state.path());
        let pieces = Story::whole().pieces;
        add(&mut evidence_store, &pieces);
        let error = evidence_store.write().unwrap_err().to_string();
        assert!(!evidence_store.holds(&pod().uid));
        assert!(error.contains(&format!("{}{SUFFIX}", pod().uid)), "{error}");
        fs::remove_file(&blocked).unwrap();
        evidence_store.write().unwrap();
        assert!(evidence_store.holds(&pod().uid));
        assert_eq!(left(state.path()).1, [((*pod()).clone(), pieces.clone())]);
        for _ in 0..2000 {
            add(&mut evidence_store, &pieces);
        }
        assert!(evidence_store.bytes <= MAX_POD_BYTES, "{}", evidence_store.bytes);
        evidence_store.write().unwrap();
        assert_eq!(evidence_store.owed, 0);
    }

    #[test]
    fn what_waits_for_a_disk_that_takes_nothing_is_bounded() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join(NAME), "").unwrap();
        let (mut evidence_store, _) = EvidenceStore::open(state.path());
        let pieces = Story::whole().pieces;
        for _ in 0..2000 {
            add(&mut evidence_store, &pieces);
        }
        let owed: usize =
            evidence_store.pod_files.values().map(|pod_file| pod_file.owed.len()).sum();
        assert!(
            evidence_store.stuck && owed == evidence_store.owed && owed <= MAX_OWED_BYTES,
            "{owed}"
        );
        assert!(evidence_store.write().is_err());
        evidence_store.clear(&pod().uid);
        assert_eq!((evidence_store.owed, evidence_store.bytes), (0, 0));
    }
}
