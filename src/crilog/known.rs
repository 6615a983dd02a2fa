//! The logs this follower knows: those being read, those at rest, those nobody wants.

mod aside;
mod live;
mod refused;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::ErrorKind::{NotADirectory, NotFound};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ephemon_base::warning::Outage;
use ephemon_discovery::logs::names;
use ephemon_model::PodUid;
use tracing::warn;

use super::accounting::ContainerLog;
use super::births::Home;
use super::checkpoint::{Checkpoints, MAX_LIVE, MAX_LOGS, Saved};
use super::files::LogFiles;
use super::links::LinkDirectories;
use super::log::Log;
use super::place::{LogId, LogRef};
use aside::{restore, save};
use ephemon_model::LogLoss;
pub(super) use live::Live;
use refused::RefusedLogs;
pub use refused::{MAX_REFUSED, RefusedLog};

/// Most of them of one pod.
const MAX_LIVE_OF_POD: usize = MAX_LIVE / 4;

/// Most logs kept in mind of which nothing is to be read.
pub const MAX_LEFT: usize = 8_192;

/// Most finished logs of one pod that are kept in mind with how far they were delivered.
const MAX_LOGS_OF_POD: usize = MAX_LOGS / 4;

/// Most starts of one container whose logs are there; the kubelet keeps the last two.
const MAX_ATTEMPTS: usize = 16;

/// What the caller wants with a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Its lines.
    Take,
    /// Nothing: its files are closed.
    Leave,
    /// It cannot say yet: files are opened and kept, no line is handed over.
    Unsure,
}

/// A deleted file that waits to be read.
#[derive(Debug, Clone, Copy)]
struct Deleted {
    since: Instant,
    log: LogId,
    number: u32,
    bytes: u64,
}

/// All logs.
#[derive(Debug)]
pub(super) struct Known {
    pods: PathBuf,
    pub(super) live: BTreeMap<LogId, Live>,
    names: HashMap<LogRef, LogId>,
    /// Those of the last life that were not seen yet, and those that are finished.
    resting: HashMap<LogRef, Saved>,
    left: HashSet<LogRef>,
    links: LinkDirectories,
    refused: RefusedLogs,
    /// Most logs that one pod has open, while that is known.
    crowd: Option<usize>,
    next: u64,
    unopened: Outage,
}

// === impl Known ===

impl Known {
    pub(super) fn new(pods: PathBuf, links: LinkDirectories, checkpoints: Checkpoints) -> Self {
        Self {
            pods,
            live: BTreeMap::new(),
            names: HashMap::new(),
            resting: checkpoints.logs,
            left: HashSet::new(),
            links,
            refused: RefusedLogs::default(),
            crowd: None,
            next: 0,
            unopened: Outage::default(),
        }
    }

    /// Opens what is new in a container's directory. Returns other directories in which files of its
    /// logs come and go.
    pub(super) fn meet(&mut self, home: &Home, now: Instant) -> Vec<PathBuf> {
        let mut elsewhere = Vec::new();
        let opened = home.open(&self.pods).and_then(|opened| Ok((opened.entries()?, opened)));
        let (entries, directory) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                // One that is gone, or has a link in its place, is no fault of the node's.
                if !matches!(error.kind(), NotFound | NotADirectory) {
                    self.warn_once(home, &error);
                }
                return elsewhere;
            }
        };
        let attempts: BTreeSet<u32> = entries
            .iter()
            .filter_map(|entry| {
                let rotated = || names::rotated_log(&entry.name).map(|rotated| rotated.attempt);
                names::log_file(&entry.name).or_else(rotated)
            })
            .collect();
        self.miss(home, &attempts, now);
        let newest = attempts.last().copied();
        let beyond = attempts.len().saturating_sub(MAX_ATTEMPTS);
        for attempt in attempts.into_iter().skip(beyond) {
            let log =
                LogRef { pod: (*home.pod).clone(), container: home.container.clone(), attempt };
            let files = match LogFiles::of(&directory, attempt, &self.links) {
                Ok(files) => files,
                Err(why) => {
                    if !self.names.contains_key(&log) && !self.left.contains(&log) {
                        self.refused.add(log, why);
                    }
                    continue;
                }
            };
            self.refused.remove(&log);
            elsewhere.extend(files.elsewhere());
            let id = self.meet_log(home, &log, &files, now);
            if let Some(live) = id.and_then(|id| self.live.get_mut(&id)) {
                // The kubelet starts a container anew only when it has ended.
                live.log.ended |= Some(attempt) != newest;
            }
        }
        elsewhere
    }

    fn meet_log(
        &mut self,
        home: &Home,
        name: &LogRef,
        files: &LogFiles<'_>,
        now: Instant,
    ) -> Option<LogId> {
        if self.left.contains(name) {
            return None;
        }
        if let Some(id) = self.names.get(name) {
            let met = self.live.get_mut(id).map(|live| live.meet(files, now));
            if let Some(Err(error)) = met {
                self.warn_once(home, &error);
            }
            return Some(*self.names.get(name)?);
        }
        let of_pod = self.live.values().filter(|live| live.log.name.pod.uid == name.pod.uid);
        let of_pod = of_pod.count();
        if of_pod >= MAX_LIVE_OF_POD || (self.live.len() >= MAX_LIVE && !self.make_room(of_pod)) {
            self.warn_once(home, &"more logs than can be followed at once");
            return None;
        }
        if self.left.len() >= MAX_LEFT {
            // Nobody could say of it later that it was read.
            self.warn_once(home, &"more logs on the node than can be kept in mind");
            return None;
        }
        let saved = self.resting.get(name);
        if saved.is_some_and(|saved| saved.finished && unchanged(saved, files)) {
            return None;
        }
        let restored = saved.is_some();
        let id = LogId(self.next);
        let mut log = match saved {
            Some(saved) => restore(id, name.clone(), saved, now),
            None => Log::new(id, name.clone()),
        };
        if let Err(error) = log.meet(files, now) {
            self.warn_once(home, &error);
            return None;
        }
        log.give_up_missing(LogLoss::Rotated);
        self.add(log, Choice::Unsure, restored, home.clone());
        Some(id)
    }

    fn add(&mut self, log: Log, choice: Choice, restored: bool, home: Home) {
        self.crowd = None;
        let id = LogId(self.next);
        self.next = self.next.saturating_add(1);
        self.resting.remove(&*log.name);
        self.names.insert((*log.name).clone(), id);
        self.live.insert(id, Live::new(log, choice, restored, home, Instant::now()));
    }

    /// After a rescan: what is not there any more is finished with what is held of it.
    pub(super) fn compare(&mut self, all: &HashSet<Home>, now: Instant) {
        for live in self.live.values_mut() {
            live.log.gone = !all.contains(&live.home);
        }
        let undecidable: Vec<LogId> = self
            .live
            .iter_mut()
            .filter(|(_, live)| live.log.gone && live.choice == Choice::Unsure)
            .filter_map(|(id, live)| live.log.chain.current().is_none().then_some(*id))
            .collect();
        for id in undecidable {
            self.remove(id);
        }
        self.left.retain(|log| all.contains(&home_of(log)));
        self.refused.retain(|log| all.contains(&home_of(log)));
        let gone = self.resting.keys().filter(|log| !all.contains(&home_of(log)));
        for name in gone.cloned().collect::<Vec<_>>() {
            self.take_up_gone(name, now);
        }
    }

    /// Asks what to do with logs that are not decided upon.
    pub(super) fn choose(&mut self, choose: &mut dyn FnMut(&LogRef) -> Choice) {
        let mut leave = Vec::new();
        for (id, live) in &mut self.live {
            if live.choice == Choice::Unsure {
                live.choice = choose(&live.log.name);
                live.may_grow(Instant::now());
                if live.choice == Choice::Leave {
                    leave.push(*id);
                }
            }
        }
        self.leave_all(&leave);
        self.refused.choose(choose);
    }

    /// Logs that are wanted and cannot be read, each once.
    pub(super) fn refused(&mut self) -> Vec<RefusedLog> {
        self.refused.take()
    }

    /// Lets go of the logs of a pod; they are not opened again.
    pub(super) fn leave(&mut self, pod: &PodUid) {
        let live = self.live.iter().filter(|(_, live)| live.log.name.pod.uid == *pod);
        let ids: Vec<LogId> = live.map(|(id, _)| *id).collect();
        self.leave_all(&ids);
    }

    fn leave_all(&mut self, ids: &[LogId]) {
        for id in ids {
            if let Some(live) = self.remove(*id) {
                self.left.insert((*live.log.name).clone());
            }
        }
    }

    fn remove(&mut self, id: LogId) -> Option<Live> {
        self.crowd = None;
        let live = self.live.remove(&id)?;
        self.names.remove(&*live.log.name);
        Some(live)
    }

    /// The logs of a container.
    pub(super) fn of<'a>(
        &'a mut self,
        pod: &'a str,
        container: &'a str,
    ) -> impl Iterator<Item = &'a mut Log> {
        self.live.values_mut().map(|live| &mut live.log).filter(move |log| {
            log.name.pod.uid.as_str() == pod && &*log.name.container == container
        })
    }

    /// Takes out the logs that are read and acknowledged to the end; they are kept in mind until
    /// their directory is gone.
    pub(super) fn finished(&mut self) -> Vec<ContainerLog> {
        let done: Vec<LogId> =
            self.live.iter().filter_map(|(id, live)| live.log.finished().then_some(*id)).collect();
        let mut reports = Vec::new();
        for id in done {
            let Some(mut live) = self.remove(id) else {
                continue;
            };
            reports.push(live.log.report());
            live.log.told_bytes = live.log.lost_bytes;
            if !live.log.gone {
                self.lay_down(&live.log);
            }
        }
        reports
    }

    /// Keeps a finished log in mind. One of a pod that has very many is not read again by this agent,
    /// and all of it by the next one.
    fn lay_down(&mut self, log: &Log) {
        let name = &*log.name;
        let of_pod = || self.resting.keys().filter(|other| other.pod.uid == name.pod.uid);
        if self.resting.len() < MAX_LOGS && of_pod().count() < MAX_LOGS_OF_POD {
            self.resting.insert(name.clone(), save(log));
        } else {
            self.left.insert(name.clone());
        }
    }

    pub(super) fn checkpoints(&self) -> Checkpoints {
        let logs = self.saved().map(|(name, saved)| (name.clone(), saved)).collect();
        Checkpoints { logs }
    }

    /// How far every log is delivered, one after the other.
    pub(super) fn saved(&self) -> impl Iterator<Item = (&LogRef, Saved)> {
        let read = |live: &&Live| live.choice == Choice::Take || live.restored;
        let live = self.live.values().filter(read);
        let resting = self.resting.iter().map(|(name, saved)| (name, saved.clone()));
        resting.chain(live.map(|live| (&*live.log.name, save(&live.log))))
    }

    /// Looks at every file that waits to be read, and gives up the oldest of the deleted ones
    /// beyond the bounds. Returns the logs with deleted files, and how many bytes wait in them.
    pub(super) fn deleted(
        &mut self,
        now: Instant,
        max_files: usize,
        max_bytes: u64,
    ) -> Vec<(Arc<LogRef>, u64)> {
        let mut deleted = Vec::new();
        for (id, live) in &mut self.live {
            for file in live.log.chain.segments_mut().filter(|file| !file.passed) {
                // Learnt while it is there: after a restart it says which file this was.
                file.learn_head().ok();
                // What else a look shows is left to the reading, which counts it.
                file.look_for_name(now);
                if let Some(since) = file.unlinked_since {
                    let (number, bytes) = (file.number, file.unread());
                    deleted.push(Deleted { since, log: *id, number, bytes });
                }
            }
        }
        deleted.sort_by_key(|file| file.since);
        let mut bytes = deleted.iter().fold(0_u64, |sum, file| sum.saturating_add(file.bytes));
        let mut files = deleted.len();
        let mut risks: BTreeMap<LogId, u64> = BTreeMap::new();
        for file in deleted {
            if files > max_files || bytes > max_bytes {
                (files, bytes) = (files - 1, bytes.saturating_sub(file.bytes));
                if let Some(live) = self.live.get_mut(&file.log) {
                    live.log.give_up_deleted(file.number);
                }
            } else if file.bytes > 0 {
                *risks.entry(file.log).or_default() += file.bytes;
            }
        }
        let named = |(id, bytes)| Some((self.live.get(&id)?.log.name.clone(), bytes));
        risks.into_iter().filter_map(named).collect()
    }

    fn warn_once(&mut self, home: &Home, error: &dyn std::fmt::Display) {
        if self.unopened.begins() {
            warn!(
                pod = %home.pod.uid, container = %home.container, %error,
                "cannot open a log yet; trying again every few seconds. Said once"
            );
        }
    }
}

fn home_of(log: &LogRef) -> Home {
    Home { pod: Arc::new(log.pod.clone()), container: log.container.clone() }
}

/// Whether nothing was written to a finished log.
fn unchanged(saved: &Saved, files: &LogFiles<'_>) -> bool {
    files.live_status().is_none_or(|(ino, size)| {
        saved.files.last().is_some_and(|file| (file.ino, file.size) == (ino, size))
    })
}
