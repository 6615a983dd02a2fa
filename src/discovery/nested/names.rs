//! Asks the files of engines in containers for the names of nested containers.
//!
//! The files are those of jobs, in the root directory of the engine's process. A file system there
//! can be a process of the job (FUSE), which answers when it likes, so that they are read by a
//! thread of their own. If it hangs, the pod's containers are not asked again, and another thread takes
//! over; [`MAX_THREADS`] hanging ones are the end of names, not of the agent. The thread ends when
//! there is nothing to do; the one that starts it waits.

use std::collections::{HashSet, VecDeque};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ephemon_base::lock;
use ephemon_contract::plain_file;
use ephemon_model::PodUid;
use rustix::fs::{CWD, Mode, OFlags, openat};

use super::engine_files::{files, parse};
use crate::cgroups::NestedGroup;
use crate::cgroups::ancestry::{Owner, is_within, namespace_depth, owner, processes};
use crate::inventory::{EngineNames, Inventory};

/// Largest file that is read: a list of several hundred containers.
const MAX_FILE_BYTES: usize = 256 * 1024;
/// Most questions that wait, and most pods whose files hang.
const MAX_REQUESTS: usize = 256;
/// Memory of a question in bytes.
const REQUEST_BYTES: usize = 1024;
/// Memory of names in bytes: the questions, and a file as bytes and parsed for each thread.
pub const NAMES_BYTES: usize = MAX_REQUESTS * REQUEST_BYTES + MAX_THREADS * 2 * MAX_FILE_BYTES;
/// A thread that reads for so long hangs.
const HANGS_AFTER: Duration = Duration::from_secs(5);
/// Most threads, hanging ones included.
const MAX_THREADS: usize = 2;
/// How long a thread waits for the next question.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause before a group without a process is looked at again; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// How often it is looked at.
const MAX_TRIES: u32 = 10;

/// Finds names; cheap to clone.
#[derive(Debug, Clone)]
pub struct NestedNames {
    shared: Arc<Shared>,
    /// Has threads started by one of ordinary priority. One that the capture thread started would
    /// inherit its priority, which is for final readings alone.
    starter: SyncSender<u64>,
}

#[derive(Debug)]
struct Shared {
    /// The tree that `cgroups` watches.
    root: PathBuf,
    /// The node's `/proc`.
    proc: PathBuf,
    inventory: Inventory,
    work: Mutex<Work>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    requests: VecDeque<Request>,
    /// The pod whose container is being asked, and since when.
    asking: Option<(PodUid, Instant)>,
    /// Pods with a container whose files hang.
    hanging: HashSet<PodUid>,
    /// Number of the thread whose turn it is; an older one hung, and ends when it returns.
    turn: u64,
    threads: usize,
    is_running: bool,
    is_warned: bool,
}

#[derive(Debug)]
struct Request {
    group: NestedGroup,
    due: Instant,
    tries: u32,
}

/// The result of one look.
enum Look {
    Found(EngineNames),
    /// There is none, or it may not be read.
    Nothing,
    /// The group has no process yet.
    NotYet,
}

// === impl NestedNames ===

impl NestedNames {
    /// Names go to this inventory. To be called by a thread of ordinary priority: the threads that read
    /// files of jobs have the caller's.
    pub fn new(root: PathBuf, proc: PathBuf, inventory: Inventory) -> Self {
        let (work, news) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { root, proc, inventory, work, news });
        let (starter, turns) = mpsc::sync_channel(MAX_THREADS);
        let thread = std::thread::Builder::new().name("ephemon-nested".into()).spawn({
            let shared = Arc::clone(&shared);
            move || start_threads(&shared, &turns)
        });
        if let Err(error) = thread {
            tracing::warn!(%error, "nested containers have no names: cannot start a thread");
        }
        Self { shared, starter }
    }

    /// Finds the name of a nested container. Does not block.
    pub fn ask(&self, group: NestedGroup) {
        self.check();
        let mut work = self.shared.work();
        let is_off = !work.is_running && work.threads >= MAX_THREADS;
        if is_off || work.hanging.contains(&group.pod) || work.requests.len() >= MAX_REQUESTS {
            drop(work);
            return self.shared.inventory.nested_named(&group.key, None);
        }
        work.requests.push_back(Request { group, due: Instant::now(), tries: 0 });
        if !work.is_running {
            self.start(&mut work);
        }
        self.shared.news.notify_one();
    }

    /// Takes the turn from a thread that hangs. What the same pod asks has no answer; another thread
    /// takes over the other questions, or nobody if too many hang.
    pub fn check(&self) {
        let mut work = self.shared.work();
        let unanswered = work.give_up_hanging(Instant::now());
        if !work.is_running && !work.requests.is_empty() {
            self.start(&mut work);
        }
        drop(work);
        for group in unanswered {
            self.shared.inventory.nested_named(&group.key, None);
        }
    }

    fn start(&self, work: &mut Work) {
        // There is room for as many as may be counted.
        if self.starter.try_send(work.turn).is_ok() {
            work.is_running = true;
            work.threads += 1;
        }
    }
}

/// Starts a thread for each turn, until nobody asks any more.
fn start_threads(shared: &Arc<Shared>, turns: &Receiver<u64>) {
    while let Ok(turn) = turns.recv() {
        let at_work = Arc::clone(shared);
        let thread = std::thread::Builder::new()
            .name("ephemon-nested".into())
            .spawn(move || at_work.run(turn));
        if let Err(error) = thread {
            tracing::debug!(%error, "cannot start the thread for nested names");
            let mut work = shared.work();
            work.threads -= 1;
            work.is_running &= work.turn != turn;
        }
    }
}

// === impl Work ===

impl Work {
    /// The questions that nobody answers because a thread hangs.
    fn give_up_hanging(&mut self, now: Instant) -> Vec<NestedGroup> {
        let hangs = |since: Instant| now.saturating_duration_since(since) >= HANGS_AFTER;
        let Some((pod, _)) = self.asking.take_if(|(_, since)| hangs(*since)) else {
            return Vec::new();
        };
        self.is_running = false;
        self.turn += 1;
        if !std::mem::replace(&mut self.is_warned, true) {
            let pod = pod.as_str();
            tracing::warn!(
                %pod,
                "a file of a container does not answer; the nested containers of its pod have no \
                 names (logged once)"
            );
        }
        let is_off = self.threads >= MAX_THREADS;
        let requests = std::mem::take(&mut self.requests).into_iter();
        let (given_up, kept): (Vec<_>, Vec<_>) =
            requests.partition(|request| is_off || request.group.pod == pod);
        self.requests = kept.into();
        if self.hanging.len() < MAX_REQUESTS {
            self.hanging.insert(pod);
        }
        given_up.into_iter().map(|request| request.group).collect()
    }
}

// === impl Shared ===

impl Shared {
    fn work(&self) -> MutexGuard<'_, Work> {
        lock(&self.work)
    }

    fn run(&self, turn: u64) {
        while let Some(mut request) = self.next(turn) {
            let look = self.look(&request.group);
            let mut work = self.work();
            if work.turn != turn {
                break;
            }
            work.asking = None;
            let names = match look {
                Look::Found(names) => Some(names),
                Look::NotYet if request.tries < MAX_TRIES => {
                    request.due = Instant::now() + FIRST_PAUSE * 2_u32.pow(request.tries);
                    request.tries += 1;
                    work.requests.push_back(request);
                    continue;
                }
                Look::NotYet | Look::Nothing => None,
            };
            drop(work);
            self.inventory.nested_named(&request.group.key, names);
        }
        self.work().threads -= 1;
    }

    /// The next question that is due; `None` if there was none for a while, or another thread has
    /// taken over.
    fn next(&self, turn: u64) -> Option<Request> {
        let mut work = self.work();
        let since = Instant::now();
        loop {
            if work.turn != turn {
                return None;
            }
            let now = Instant::now();
            let first = work.requests.iter().enumerate().min_by_key(|(_, request)| request.due);
            let (at, due) =
                first.map_or((0, since + IDLE_TIMEOUT), |(at, request)| (at, request.due));
            if due > now {
                let waited = self.news.wait_timeout(work, due - now);
                work = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
                continue;
            }
            let Some(request) = work.requests.remove(at) else {
                work.is_running = false;
                return None;
            };
            work.asking = Some((request.group.pod.clone(), now));
            return Some(request);
        }
    }

    fn look(&self, group: &NestedGroup) -> Look {
        let directory = self.root.join(&group.path);
        let Some(process) = processes(&directory).first().copied() else {
            return if directory.is_dir() { Look::NotYet } else { Look::Nothing };
        };
        let depth = namespace_depth(&self.proc);
        let is_engines = |shown: &[&str]| {
            let is_in = |path: &Path| shown.iter().any(|shown| is_within(shown, path, depth));
            (is_in(&group.outer_path) && !is_in(&group.path)).then_some(())
        };
        match owner(&self.proc, process, is_engines) {
            Owner::Container((), engine) => match self.names(engine, group) {
                Ok(Some(names)) => Look::Found(names),
                Ok(None) => Look::Nothing,
                // The runtime's process that made the group; the engine's own comes after it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Look::NotYet,
                Err(error) => {
                    tracing::debug!(%error, "cannot read an engine's names");
                    Look::Nothing
                }
            },
            Owner::Foreign => Look::Nothing,
            Owner::Unknown => Look::NotYet,
        }
    }

    /// Reads the first of the engine's files that names the container. `engine`: a process of the
    /// outer container. An error: its root directory cannot be opened, and it has ended if that is not
    /// found.
    fn names(&self, engine: u32, group: &NestedGroup) -> io::Result<Option<EngineNames>> {
        let process = self.proc.join(engine.to_string());
        let root = root_of(&process)?;
        for (format, path) in files(group.engine, &group.id) {
            let Ok(file) = plain_file::read_in_root(&root, &path) else { continue };
            let mut text = Vec::new();
            let read = file.take(MAX_FILE_BYTES as u64).read_to_end(&mut text);
            if read.is_ok()
                && let Some(names) = parse(format, &group.id, &text)
            {
                return Ok(Some(names));
            }
        }
        Ok(None)
    }
}

/// A process's root directory. The link leads to it whatever its path is (`proc_pid_root(5)`).
fn root_of(process: &Path) -> io::Result<std::os::fd::OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, process.join("root"), flags, Mode::empty())?)
}

#[cfg(test)]
mod tests;
