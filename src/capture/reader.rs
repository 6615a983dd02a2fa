//! The capture thread: hears of births, changes and deaths, samples between them, reads finals
//! first of all. One thread owns every kept file, so nothing here is locked.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;

mod closing;
mod lifecycle;
mod networks;
mod selection;
mod timing;

use ephemon_cgroup::{Detected, Hierarchy, NoHierarchy};
use ephemon_discovery::cgroups::{CgroupEvent, CgroupTree};
use ephemon_discovery::inventory::Inventory;
use ephemon_model::node::NodeRoot;
use ephemon_model::{ContainerId, PodUid};
use ephemon_vitals::{Reason, Signal, Source, Vitals};

use super::books::Books;
use super::cadence::{Budget, Cadence};
use super::living::Living;
use super::pod::Pod;

/// The tree is walked at this interval though every event was told.
const WALK_EVERY: Duration = Duration::from_secs(5);
/// And at this one where inotify is not whole.
const WALK_WITHOUT_EVENTS: Duration = Duration::from_millis(200);
/// A pod's books are balanced at this interval, and at every death in it.
const BALANCE_EVERY: Duration = Duration::from_secs(5);

/// Token of the tree's inotify instance.
const TREE: u64 = 0;
/// Token of the descriptor that wakes the thread to stop it.
const WAKE: u64 = 1;
/// The first token of a container.
const FIRST_KEY: u64 = 2;

/// Wakes that are read at once.
const EPOLL_BATCH: usize = 256;

/// What capture is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node.
    pub node: NodeRoot,
    /// The kubelet's tree below the hierarchy's root, where the known places are not meant.
    pub kubepods: Option<PathBuf>,
    /// The interval between samples of a container that has lived for a while.
    pub sample_interval: Duration,
    /// CPU time that sampling may take, of one CPU.
    pub sample_budget: f64,
    /// Containers captured at once; beyond it new ones are counted as dropped.
    pub max_containers: usize,
}

/// Capture could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No cgroup mount.
    #[error(transparent)]
    NoHierarchy(#[from] NoHierarchy),
    /// The kernel refused what the thread waits on.
    #[error("cannot make the capture thread's {what}: {source}")]
    Descriptor {
        /// Which.
        what: &'static str,
        /// Why.
        source: Errno,
    },
    /// The thread did not start.
    #[error("cannot start the capture thread: {0}")]
    Thread(#[source] io::Error),
}

/// Held: stops the thread when dropped and waits for it.
#[derive(Debug)]
pub struct CaptureHandle {
    stop: Arc<AtomicBool>,
    wake: Arc<OwnedFd>,
    walked: tokio::sync::watch::Receiver<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What the kernel woke the thread for.
#[derive(Default)]
struct Wakes {
    tokens: Vec<u64>,
    events: Vec<epoll::Event>,
}

/// Runs: the thread's whole state. Births, deaths and readings are in `reader/lifecycle.rs`.
pub(super) struct Reader {
    pub(super) options: Options,
    pub(super) hierarchy: Hierarchy,
    pub(super) books: Books,
    pub(super) inventory: Inventory,
    pub(super) vitals: Vitals,
    pub(super) cadence: Cadence,
    pub(super) budget: Budget,
    pub(super) epoll: OwnedFd,
    pub(super) living: HashMap<u64, Living>,
    pub(super) keys: HashMap<ContainerId, u64>,
    pub(super) pods: HashMap<PodUid, Pod>,
    pub(super) timers: BTreeSet<(Instant, u64)>,
    pub(super) buffer: Vec<u8>,
    /// Pods of which a container has processes now, to be looked at for their network.
    pub(super) networks_due: Vec<PodUid>,
    tree: CgroupTree,
    pub(super) epoch: Instant,
    next_key: u64,
    started: bool,
}

// === impl CaptureHandle ===

/// Starts the capture thread.
pub fn start(
    options: Options,
    books: Books,
    inventory: Inventory,
    vitals: Vitals,
) -> Result<CaptureHandle, StartError> {
    let hierarchy = Hierarchy::detect(&options.node.cgroup())?;
    tracing::info!("reading {}", Detected(&hierarchy));
    let failed = |what| move |source| StartError::Descriptor { what, source };
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed("epoll instance"))?;
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let wake = Arc::new(eventfd(0, flags).map_err(failed("eventfd"))?);
    let (walked_tx, walked) = tokio::sync::watch::channel(false);
    let stop = Arc::new(AtomicBool::new(false));

    let root = hierarchy.watched_root().map(ToOwned::to_owned).unwrap_or_default();
    let tree = CgroupTree::new(root, options.kubepods.clone(), hierarchy.has_events());
    let watch = |fd: std::os::fd::BorrowedFd<'_>, token| {
        epoll::add(&epoll, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN)
            .map_err(failed("epoll entry"))
    };
    watch(wake.as_fd(), WAKE)?;
    if let Some(fd) = tree.as_fd() {
        watch(fd, TREE)?;
    }
    let mut reader = Reader {
        cadence: Cadence { steady: options.sample_interval },
        budget: Budget::new(options.sample_budget),
        options,
        hierarchy,
        books,
        inventory,
        vitals,
        epoll,
        living: HashMap::new(),
        keys: HashMap::new(),
        pods: HashMap::new(),
        timers: BTreeSet::new(),
        buffer: Vec::new(),
        networks_due: Vec::new(),
        tree,
        epoch: Instant::now(),
        next_key: FIRST_KEY,
        started: false,
    };
    let thread = std::thread::Builder::new()
        .name("ephemon-capture".into())
        .spawn({
            let stop = Arc::clone(&stop);
            move || {
                super::priority::raise();
                reader.run(&stop, &walked_tx);
            }
        })
        .map_err(StartError::Thread)?;
    Ok(CaptureHandle { stop, wake, walked, thread: Some(thread) })
}

impl CaptureHandle {
    /// Turns true when the first walk of the tree is done; an error means the thread has ended.
    pub fn walked(&self) -> tokio::sync::watch::Receiver<bool> {
        self.walked.clone()
    }
}

impl Drop for CaptureHandle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Err(error) = rustix::io::write(&*self.wake, &1u64.to_ne_bytes()) {
            tracing::warn!(%error, "cannot wake the capture thread to stop it");
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the capture thread panicked");
        }
    }
}

// === impl Reader ===

impl Reader {
    fn run(&mut self, stop: &AtomicBool, walked_tx: &tokio::sync::watch::Sender<bool>) {
        let mut wakes = Wakes::default();
        let mut next_walk = Instant::now();
        let mut next_balance = Instant::now();
        let mut filled = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            self.budget.fill(now.duration_since(filled));
            filled = now;
            if now >= next_walk {
                self.walk();
                let pause = if self.tree.is_whole() { WALK_EVERY } else { WALK_WITHOUT_EVENTS };
                next_walk = Instant::now() + pause;
                walked_tx.send_replace(true);
            }
            if now >= next_balance {
                self.balance_all();
                next_balance = Instant::now() + BALANCE_EVERY;
            }
            let until = self.timers.first().map_or(next_walk, |(due, _)| (*due).min(next_walk));
            self.wait(until.min(next_balance), &mut wakes);
            for token in std::mem::take(&mut wakes.tokens) {
                match token {
                    TREE => self.hear(),
                    WAKE => {}
                    key => self.rung(key),
                }
            }
            self.run_due(&mut wakes);
        }
        // What is known at the end is shown until the process goes; nothing is settled by leaving.
    }

    /// Waits until something happens or the time has come.
    fn wait(&self, until: Instant, wakes: &mut Wakes) {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).ok();
        wakes.events.clear();
        wakes.events.reserve(EPOLL_BATCH);
        let spare = rustix::buffer::spare_capacity(&mut wakes.events);
        match epoll::wait(&self.epoll, spare, timeout.as_ref()) {
            Ok(_) => wakes.tokens.extend(wakes.events.iter().map(|event| event.data.u64())),
            Err(Errno::INTR) => {}
            Err(error) => {
                tracing::error!(%error, "cannot wait for events; looking at the tree instead");
                std::thread::sleep(left.min(WALK_WITHOUT_EVENTS));
            }
        }
    }

    /// Runs what is due. Deaths do not wait behind samples: between any two containers the
    /// kernel is asked for news.
    fn run_due(&mut self, wakes: &mut Wakes) {
        loop {
            let now = Instant::now();
            let Some((due, key)) = self.timers.first().copied() else {
                return;
            };
            if due > now {
                return;
            }
            self.timers.pop_first();
            self.on_timer(key, now);
            self.adopt_networks();
            self.wait(now, wakes);
            for token in std::mem::take(&mut wakes.tokens) {
                match token {
                    TREE => self.hear(),
                    WAKE => return,
                    key => self.rung(key),
                }
            }
        }
    }

    /// Reads the tree's events.
    fn hear(&mut self) {
        let mut events = Vec::new();
        self.tree.read(&mut events);
        self.apply(events, if self.started { Source::Inotify } else { Source::Startup });
        self.report_trouble();
    }

    /// Walks the tree; the events that are waiting come first, so that a walk does not take the
    /// credit for them.
    fn walk(&mut self) {
        if self.started {
            self.hear();
        }
        let mut events = Vec::new();
        self.tree.walk(&mut events);
        if !events.is_empty() && self.started {
            tracing::debug!(count = events.len(), "a walk found what no event had told");
        }
        self.apply(events, if self.started { Source::Rescan } else { Source::Startup });
        self.started = true;
        self.report_trouble();
    }

    fn apply(&mut self, events: Vec<CgroupEvent>, source: Source) {
        for event in events {
            match event {
                CgroupEvent::PodBorn(uid, path) => self.pod_born(uid, &path, source),
                CgroupEvent::Born(id, pod, path) => {
                    let key = self.next_key;
                    self.next_key += 1;
                    self.born(key, id, &pod, path, source);
                }
                CgroupEvent::Changed(id) => {
                    if let Some(key) = self.keys.get(&id).copied() {
                        self.look(key, Instant::now());
                    }
                }
                CgroupEvent::Died(id) => self.died(&id),
                CgroupEvent::PodDied(uid) => self.pod_died(&uid),
                CgroupEvent::Overflow => {
                    self.vitals.dropped(Signal::Events, Reason::Overflow);
                    tracing::warn!(
                        "the kernel's inotify queue overflowed; walking the tree \
                         (sysctl fs.inotify.max_queued_events makes it longer)"
                    );
                    let mut found = Vec::new();
                    self.tree.walk(&mut found);
                    self.apply(found, Source::Rescan);
                }
            }
        }
        self.adopt_networks();
    }

    fn report_trouble(&mut self) {
        for trouble in self.tree.take_trouble() {
            tracing::warn!("{trouble}");
        }
    }

    /// Sets a container's one timer.
    pub(super) fn set_timer(&mut self, key: u64, due: Instant) {
        if let Some(container) = self.living.get_mut(&key) {
            self.timers.remove(&(container.due, key));
            container.due = due;
            self.timers.insert((due, key));
        }
    }

    /// When a directory was made, as far as the file system tells.
    pub(super) fn made(&self, path: &std::path::Path) -> SystemTime {
        let root = self.hierarchy.watched_root().unwrap_or(std::path::Path::new("/"));
        let metadata = std::fs::metadata(root.join(path));
        metadata.and_then(|metadata| metadata.modified()).unwrap_or_else(|_| SystemTime::now())
    }
}

#[cfg(test)]
mod tests;
