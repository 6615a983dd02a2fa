//! The follower: hears of logs, reads them in turn, takes acknowledgements.
//!
//! It is driven by one thread and does nothing by itself. When nobody asks for lines nothing is
//! read: the kubelet's files are the buffer, and their descriptors are kept.

mod turn;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, ErrorKind::NotFound};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ephemon_base::clock;
use ephemon_model::PodUid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tracing::warn;

use super::accounting::ContainerLog;
use super::births::Births;
use super::checkpoint::{self, Checkpoints};
use super::known::{Choice, Known, RefusedLog};
use super::links::LinkDirectories;
use super::log::{Line, Log, Rules};
use super::place::{LogId, LogRef, Position};
use super::shares::{Shares, Slowed};

/// Read at once; a record that is longer is read in pieces.
const BUFFER_BYTES: usize = 256 * 1024;

/// See [`Options::max_held_bytes`].
pub const MAX_HELD_BYTES: usize = 4 * 1024 * 1024;

/// Compressed files being read at once.
pub const MAX_UNPACKED: usize = 2;

/// Memory of one: the decoder's, and a window of two buffers.
pub const UNPACKED_BYTES: usize = 3 * BUFFER_BYTES;

/// How the follower reads.
#[derive(Debug, Clone)]
pub struct Options {
    /// `/var/log/pods` of the node.
    pub pods_dir: PathBuf,
    /// Longest line handed over whole; a longer one comes in parts.
    pub max_line_bytes: usize,
    /// Memory that all unfinished lines together may take. Beyond it lines come in parts, first those
    /// of the pod that has most.
    pub max_held_bytes: usize,
    /// How often all directories are read anew while inotify works; it repairs what was missed.
    pub rescan: Duration,
    /// How often without inotify.
    pub rescan_alone: Duration,
    /// How long a file must be quiet to be taken for finished, once a newer one is there or its
    /// container has ended.
    pub settle: Duration,
    /// How long a deleted file must be quiet for its container to be taken for ended.
    pub orphaned: Duration,
    /// Most deleted files held because they are not read.
    pub max_unlinked_files: usize,
    /// Most bytes in them: disk space that cannot be freed.
    pub max_unlinked_bytes: u64,
    /// Whether to use inotify.
    pub use_inotify: bool,
    /// Directories that a log's link may lead into.
    pub links: LinkDirectories,
}

/// What a turn did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turn {
    /// Bytes of files taken.
    pub read_bytes: u64,
    /// Lines, and parts of lines, handed over.
    pub lines: u64,
    /// More can be read at once.
    pub more: bool,
}

/// Why [`Follower::wait`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// The caller's descriptor is readable.
    Stopped,
    /// Something is new in a directory.
    News,
    /// The time is up: files may have grown.
    Timeout,
}

/// A log whose file is deleted and not yet read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtRisk {
    /// Whose.
    pub log: Arc<LogRef>,
    /// Bytes that are lost if the agent ends now.
    pub bytes: u64,
}

/// Follows the logs of a node's containers.
#[derive(Debug)]
pub struct Follower {
    options: Options,
    births: Births,
    known: Known,
    buffer: Vec<u8>,
    shares: Shares,
    /// How long the thread has worked: nanoseconds.
    worked: fn() -> u64,
    /// The present time, nanoseconds since 1970.
    now_ns: fn() -> u64,
    /// Whose compressed files are being read. The others' wait.
    unpacking: BTreeMap<LogId, PodUid>,
    rescan_at: Instant,
    written: checkpoint::Written,
}

// === impl Options ===

impl Options {
    /// What suits a node.
    pub fn new(pods_dir: impl Into<PathBuf>) -> Self {
        Self {
            pods_dir: pods_dir.into(),
            max_line_bytes: 1024 * 1024,
            max_held_bytes: MAX_HELD_BYTES,
            rescan: Duration::from_secs(5),
            rescan_alone: Duration::from_secs(1),
            settle: Duration::from_secs(1),
            orphaned: Duration::from_secs(10),
            max_unlinked_files: 1024,
            max_unlinked_bytes: 1024 * 1024 * 1024,
            use_inotify: true,
            links: LinkDirectories::default(),
        }
    }
}

// === impl Follower ===

impl Follower {
    /// Reads every log that is there from where `checkpoints` says it is delivered.
    pub fn new(options: Options, checkpoints: Checkpoints) -> Self {
        Self {
            births: Births::new(options.pods_dir.clone(), options.use_inotify),
            known: Known::new(options.pods_dir.clone(), options.links.clone(), checkpoints),
            buffer: vec![0; BUFFER_BYTES],
            shares: Shares::default(),
            worked: turn::thread_time,
            now_ns: clock::now_ns,
            unpacking: BTreeMap::new(),
            rescan_at: Instant::now(),
            written: checkpoint::Written::default(),
            options,
        }
    }

    /// Waits for a new log, `stop`, or the time. New logs are opened here, so it is to be called
    /// also while no lines are wanted.
    pub fn wait(&mut self, timeout: Duration, stop: Option<BorrowedFd<'_>>) -> Woken {
        let start = Instant::now();
        let due = self.rescan_at.saturating_duration_since(start);
        let mut fds = Vec::new();
        fds.extend(stop.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        fds.extend(self.births.descriptor().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let limit = Timespec::try_from(timeout.min(due)).ok();
        let ready = match poll(&mut fds, limit.as_ref()) {
            Ok(ready) => ready,
            Err(Errno::INTR) => 0,
            Err(error) => {
                warn!(%error, "cannot wait for inotify; rescanning only");
                std::thread::sleep(timeout.min(self.options.rescan_alone));
                0
            }
        };
        let stopped = fds.first().is_some_and(|fd| stop.is_some() && !fd.revents().is_empty());
        drop(fds);
        self.hear();
        match (stopped, ready) {
            (true, _) => Woken::Stopped,
            (false, 0) => Woken::Timeout,
            (false, _) => Woken::News,
        }
    }

    /// Opens what is new now.
    fn hear(&mut self) {
        let now = Instant::now();
        let due = now >= self.rescan_at;
        let news = self.births.take(due);
        for home in &news.homes {
            for directory in self.known.meet(home, now) {
                self.births.watch_linked(home, &directory);
            }
        }
        if let Some(all) = &news.all {
            self.known.compare(all, now);
            self.hold_within_bounds();
        }
        if due {
            let alone = self.births.descriptor().is_none() || news.all.is_none();
            let pause = if alone { self.options.rescan_alone } else { self.options.rescan };
            self.rescan_at = now + pause;
        }
    }

    /// Whether the pod may have more to read than the last turn has read.
    pub fn is_unread(&self, pod: &PodUid) -> bool {
        self.shares.is_unread(pod)
    }

    /// Pods that had to wait since the last call, because they had used their share of the thread's
    /// time.
    pub fn slowed(&mut self) -> Slowed {
        self.shares.slowed()
    }

    fn rules(&self) -> Rules {
        let Options { max_line_bytes, settle, orphaned, .. } = self.options;
        let now_ns = self.now_ns;
        Rules { max_line_bytes: max_line_bytes.max(1), settle, orphaned, now_ns }
    }

    /// Holds the bound for unfinished lines: of the pod that has most, the longest first.
    fn hold_lines(&mut self, sink: &mut dyn FnMut(Line<'_>)) {
        let mut all: usize = self.logs().map(Log::held).fold(0, usize::saturating_add);
        if all <= self.options.max_held_bytes {
            return;
        }
        let mut pods: HashMap<PodUid, (usize, BTreeSet<(usize, LogId)>)> = HashMap::new();
        for (id, live) in self.known.live.iter().filter(|(_, live)| live.log.held() > 0) {
            let held = live.log.held();
            let (sum, logs) = pods.entry(live.log.name.pod.uid.clone()).or_default();
            *sum = sum.saturating_add(held);
            logs.insert((held, *id));
        }
        // Somewhat below the bound: this is not to be done at every turn.
        while all > self.options.max_held_bytes / 4 * 3 {
            let most = pods.values_mut().max_by_key(|(sum, _)| *sum);
            let Some((sum, (held, id))) =
                most.and_then(|(sum, logs)| Some((sum, logs.pop_last()?)))
            else {
                return;
            };
            *sum = sum.saturating_sub(held);
            all = all.saturating_sub(held);
            if let Some(live) = self.known.live.get_mut(&id) {
                live.log.relieve(sink);
            }
        }
    }

    /// The container has exited: its logs are finished when they are read and quiet.
    pub fn ended(&mut self, pod: &PodUid, container: &str) {
        self.hear();
        for log in self.known.of(pod.as_str(), container) {
            log.ended = true;
        }
    }

    /// Everything of this log up to here is safe. Of several acknowledgements of a log the furthest
    /// counts, in whatever order they come.
    pub fn ack(&mut self, position: &Position) {
        if let Some(live) = self.known.live.get_mut(&position.log) {
            live.log.ack(&position.mark);
        }
    }

    /// Nothing more is wanted of the pod's logs that are known: their files are closed.
    pub fn leave(&mut self, pod: &PodUid) {
        self.known.leave(pod);
    }

    /// Something of this log that was handed over is lost for good: it will not be complete.
    pub fn spoil(&mut self, log: LogId) {
        if let Some(live) = self.known.live.get_mut(&log) {
            live.log.spoilt = true;
        }
    }

    /// Wanted logs that stand for something that is not read, each once.
    pub fn refused(&mut self) -> Vec<RefusedLog> {
        self.known.refused()
    }

    /// Logs whose container has ended, read and acknowledged to the end since the last call. One whose
    /// files grow after that is read on from where it was, and is among them again when it is done.
    pub fn finished(&mut self) -> Vec<ContainerLog> {
        self.known.finished()
    }

    /// The figures of the logs being read, as of now.
    pub fn accounting(&self) -> impl Iterator<Item = ContainerLog> {
        let taken = self.known.live.values().filter(|live| live.choice == Choice::Take);
        taken.map(|live| live.log.report())
    }

    /// Logs with deleted files that are not yet read: what a spool should save first. Gives up the
    /// oldest of them beyond the bounds, which counts as lost.
    pub fn about_to_be_lost(&mut self) -> Vec<AtRisk> {
        let risks = self.hold_within_bounds();
        risks.into_iter().map(|(log, bytes)| AtRisk { log, bytes }).collect()
    }

    /// Whether of any log that is gone from the node something is not acknowledged, read or not: it
    /// stands in no file that a next agent could find.
    pub fn stands_nowhere_else(&self) -> bool {
        let taken = self.known.live.values().filter(|live| live.choice == Choice::Take);
        taken.map(|live| &live.log).any(|log| {
            let gone = || {
                let path = log.name.path(&self.options.pods_dir);
                std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == NotFound)
            };
            log.lag_bytes() > 0 && gone()
        })
    }

    fn hold_within_bounds(&mut self) -> Vec<(Arc<LogRef>, u64)> {
        let Options { max_unlinked_files, max_unlinked_bytes, .. } = self.options;
        self.known.deleted(Instant::now(), max_unlinked_files, max_unlinked_bytes)
    }

    /// Bytes in the files of chosen logs that are not acknowledged.
    pub fn lag_bytes(&self) -> u64 {
        self.known
            .live
            .values()
            .filter(|live| live.choice == Choice::Take)
            .fold(0, |sum, live| sum.saturating_add(live.log.lag_bytes()))
    }

    /// How far every log is delivered, to be saved.
    pub fn checkpoints(&self) -> Checkpoints {
        self.known.checkpoints()
    }

    /// Saves the same in `directory`, without a copy of it in memory, and only if it has changed.
    pub fn save_checkpoints(&mut self, directory: &Path) -> io::Result<()> {
        let Self { known, written, .. } = self;
        written.renew(directory, || known.saved())
    }

    fn logs(&self) -> impl Iterator<Item = &Log> {
        self.known.live.values().map(|live| &live.log)
    }
}

#[cfg(test)]
mod tests;
