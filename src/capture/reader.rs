//! The capture thread: waits for the kernel's events and for timers, and passes each event to the
//! `driver`, exits before all others.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

mod accounting;
mod created;
mod driver;
mod held;
mod missed;
mod monitors;
mod nested;
mod poller;
mod reports;
mod unheld;
mod vacant;

use ephemon_base::Heartbeat;
use ephemon_cgroup::{Detected, Hierarchy, NoHierarchy};
use ephemon_discovery::cgroups::{CgroupEvent, CgroupTree};
use ephemon_discovery::inventory::Inventory;
use ephemon_discovery::nested::NestedNames;
use ephemon_model::node::NodeRoot;
use ephemon_self_metrics::{Reason, SelfMetrics, Signal, Source};

use super::cadence::{Budget, Cadence};
use super::life::Event;
use super::population::{Places, Population};
use super::readings::Readings;
use driver::Driver;
use held::Held;
pub use missed::MISSED_BYTES;
use poller::{PollEvents, Poller};
use reports::Reports;

/// How often the tree is walked even if every event was reported.
const WALK_INTERVAL: Duration = Duration::from_secs(5);
/// The same if inotify does not report every change.
const EVENTLESS_WALK_INTERVAL: Duration = Duration::from_millis(200);
/// How often a pod's accounting is balanced, in addition to every container's end.
const BALANCE_INTERVAL: Duration = Duration::from_secs(5);

/// How long short samples may keep the kernel's events waiting: no longer than one complete reading
/// does. A wait that is over at once costs a third of an idle container's sample.
const EVENTS_INTERVAL: Duration = Duration::from_micros(200);

/// Token of the tree's inotify instance.
const TREE: u64 = 0;
/// Token of the descriptor that wakes the thread to stop it.
const WAKE: u64 = 1;
/// The first token of a container.
const FIRST_KEY: u64 = 2;

/// The configuration of capture.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node.
    pub node: NodeRoot,
    /// Path of the kubelet's tree below the hierarchy's root, if it is not one of the usual ones.
    pub kubepods: Option<PathBuf>,
    /// The interval between samples of a container that has run for a while.
    pub sample_interval: Duration,
    /// CPU time that sampling may use, as a ratio of one CPU.
    pub sample_budget: f64,
    /// Most containers captured at once; further ones of selected pods are counted as dropped.
    pub max_containers: usize,
    /// Most nested containers captured at once, likewise; 0 if none is to be.
    pub max_nested: usize,
    /// Where the thread shows that it makes progress.
    pub heartbeat: Heartbeat,
}

/// Why capture cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No cgroup mount.
    #[error(transparent)]
    NoHierarchy(#[from] NoHierarchy),
    /// The kernel refused a descriptor that the thread waits for.
    #[error("cannot create the capture thread's {what}: {source}")]
    Descriptor {
        /// Its kind.
        what: &'static str,
        /// The kernel's error.
        source: Errno,
    },
    /// The thread cannot be started.
    #[error("cannot start the capture thread: {0}")]
    Thread(#[source] io::Error),
}

/// Stops the thread when dropped, and waits for its end.
#[derive(Debug)]
pub struct CaptureHandle {
    stop: Arc<AtomicBool>,
    wake: Arc<OwnedFd>,
    walked: tokio::sync::watch::Receiver<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// The thread's whole state.
struct Reader {
    driver: Driver,
    tree: CgroupTree,
    heartbeat: Heartbeat,
    started: bool,
}

// === impl CaptureHandle ===

/// Starts the capture thread.
pub fn start(
    options: Options,
    readings: Readings,
    inventory: Inventory,
    self_metrics: SelfMetrics,
) -> Result<CaptureHandle, StartError> {
    let hierarchy = Hierarchy::detect(&options.node.cgroup())?;
    tracing::info!("reading {}", Detected(&hierarchy));
    let failed = |what| move |source| StartError::Descriptor { what, source };
    let poller = Poller::new().map_err(failed("epoll instance"))?;
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let wake = Arc::new(eventfd(0, flags).map_err(failed("eventfd"))?);
    let (walked_tx, walked) = tokio::sync::watch::channel(false);
    let stop = Arc::new(AtomicBool::new(false));

    let root = hierarchy.watched_root().map(ToOwned::to_owned).unwrap_or_default();
    let tree = CgroupTree::new(root.clone(), options.kubepods, hierarchy.has_events());
    let names = NestedNames::new(root, options.node.proc(), inventory.clone());
    poller.add(&*wake, WAKE).map_err(failed("epoll entry"))?;
    if let Some(fd) = tree.as_fd() {
        poller.add(fd, TREE).map_err(failed("epoll entry"))?;
    }
    let places = Places { own: options.max_containers, nested: options.max_nested };
    let driver = Driver {
        held: Held::new(hierarchy, Population::new(places, FIRST_KEY)),
        reports: Reports { readings, inventory, self_metrics, names },
        poller,
        cadence: Cadence { steady: options.sample_interval },
        budget: Budget::new(options.sample_budget),
        epoch: Instant::now(),
        proc: options.node.proc(),
        networks_due: Vec::new(),
    };
    let mut reader = Reader { driver, tree, heartbeat: options.heartbeat, started: false };
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
    /// Becomes true when the first walk of the tree is done; an error means that the thread has
    /// ended.
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
        let mut poll_events = PollEvents::default();
        let mut next_walk = Instant::now();
        let mut next_balance = Instant::now();
        let mut filled = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            self.driver.budget.fill(now.duration_since(filled));
            filled = now;
            if now >= next_walk {
                self.walk();
                let wait =
                    if self.tree.is_whole() { WALK_INTERVAL } else { EVENTLESS_WALK_INTERVAL };
                next_walk = Instant::now() + wait;
                // Only the first walk notifies the receivers.
                walked_tx.send_if_modified(|walked| !std::mem::replace(walked, true));
            }
            if now >= next_balance {
                self.driver.balance_all();
                next_balance = Instant::now() + BALANCE_INTERVAL;
            }
            self.driver.settle_missed();
            let held = &self.driver.held;
            let missed_due = held.missed.next_due(Instant::now());
            let due = [held.population.next_due(), self.tree.next_check(), missed_due];
            let until = due.into_iter().flatten().fold(next_walk.min(next_balance), Instant::min);
            self.wait(until, &mut poll_events);
            self.read_events(&mut poll_events);
            self.check_beside();
            self.run_due(&mut poll_events);
        }
        // The values at the end are reported until the process exits; no container is ended by the
        // stop.
    }

    /// Waits until an event occurs or the time has come.
    fn wait(&self, until: Instant, poll_events: &mut PollEvents) {
        let left = until.saturating_duration_since(Instant::now());
        self.heartbeat.wait();
        if let Err(error) = self.driver.poller.wait(left, poll_events) {
            tracing::error!(%error, "cannot wait for events; walking the cgroup tree instead");
            std::thread::sleep(left.min(EVENTLESS_WALK_INTERVAL));
        }
        self.heartbeat.work(Instant::now());
    }

    /// Handles the kernel's events; returns whether the thread was woken to stop.
    fn read_events(&mut self, poll_events: &mut PollEvents) -> bool {
        let mut woken = false;
        for token in poll_events.tokens.drain(..) {
            match token {
                TREE => self.read_tree(),
                WAKE => woken = true,
                key => self.driver.exit_watch_fired(key),
            }
        }
        woken
    }

    /// Runs what is due. Ends of containers wait for one sample, or for [`EVENTS_INTERVAL`] of short
    /// ones.
    fn run_due(&mut self, poll_events: &mut PollEvents) {
        let mut read_at = Instant::now();
        loop {
            let now = Instant::now();
            let Some(key) = self.driver.held.population.pop_due(now) else { return };
            self.driver.on(key, Event::Due, now);
            self.driver.adopt_networks();
            if read_at.elapsed() < EVENTS_INTERVAL {
                continue;
            }
            self.wait(now, poll_events);
            if self.read_events(poll_events) {
                return;
            }
            read_at = Instant::now();
        }
    }

    /// Looks at groups beside the kubelet's tree whose container is not known.
    fn check_beside(&mut self) {
        let now = Instant::now();
        if self.tree.next_check().is_some_and(|due| due <= now) {
            let mut events = Vec::new();
            self.tree.check(&self.driver.proc, now, &mut events);
            self.apply(events, Source::Inotify);
            self.report_trouble();
        }
    }

    /// Reads the tree's events.
    fn read_tree(&mut self) {
        let mut events = Vec::new();
        self.tree.read(&mut events);
        self.apply(events, if self.started { Source::Inotify } else { Source::Startup });
        self.report_trouble();
    }

    /// Walks the tree. Pending events are handled first, so that the walk counts only what no event
    /// reported.
    fn walk(&mut self) {
        if self.started {
            self.read_tree();
        }
        let mut events = Vec::new();
        self.tree.walk(&mut events);
        if !events.is_empty() && self.started {
            tracing::debug!(count = events.len(), "a walk found containers without an event");
        }
        self.apply(events, if self.started { Source::Rescan } else { Source::Startup });
        self.driver.reports.names.check();
        self.started = true;
        self.report_trouble();
    }

    fn apply(&mut self, events: Vec<CgroupEvent>, source: Source) {
        // Those that are about to be held are others until then.
        let found = events.iter().filter_map(|event| match event {
            CgroupEvent::Nested(group) => Some(group.path.clone()),
            _ => None,
        });
        let pending = self.tree.pending().into_iter().chain(found).collect();
        self.driver.held.engines.set_pending(pending);
        for event in events {
            match event {
                CgroupEvent::PodCreated(uid, path) => self.driver.pod_created(uid, &path, source),
                CgroupEvent::Created(id, pod, path) => {
                    self.driver.created(&id, &pod, &path, source);
                }
                CgroupEvent::Nested(group) => self.driver.nested(&group, source),
                CgroupEvent::Foreign(group) => self.driver.held.engines.is_foreign(group),
                CgroupEvent::Monitors { group, from_birth } => {
                    self.driver.held.monitors.add(group, from_birth);
                }
                CgroupEvent::ForeignGone(group) => {
                    self.driver.held.monitors.is_gone(&group);
                    self.driver.held.engines.is_gone(&group);
                }
                CgroupEvent::Unseen(directory) => self.driver.held.engines.disturb(&directory),
                CgroupEvent::LeftOut { pod, count, beside } => {
                    self.driver.nested_left_out(&pod, count, beside);
                }
                CgroupEvent::Changed(id) => {
                    if let Some(key) = self.driver.held.population.key(&id) {
                        self.driver.changed(key, Instant::now());
                    }
                }
                CgroupEvent::Removed(id) => self.driver.removed(&id),
                CgroupEvent::PodRemoved(uid) => self.driver.pod_removed(&uid),
                CgroupEvent::Overflow => {
                    self.driver.reports.self_metrics.dropped(Signal::Events, Reason::Overflow);
                    tracing::warn!(
                        "the kernel's inotify queue overflowed; walking the tree \
                         (raise sysctl fs.inotify.max_queued_events)"
                    );
                    let mut found = Vec::new();
                    self.tree.walk(&mut found);
                    self.apply(found, Source::Rescan);
                }
            }
        }
        self.driver.adopt_networks();
    }

    fn report_trouble(&mut self) {
        for trouble in self.tree.take_errors() {
            tracing::warn!("{trouble}");
        }
        let self_metrics = &self.driver.reports.self_metrics;
        for _ in 0..self.tree.take_dropped() {
            self_metrics.dropped(Signal::Metrics, Reason::Cap);
        }
        for _ in 0..self.tree.take_unattributed() {
            self_metrics.dropped(Signal::Metrics, Reason::Unattributed);
        }
    }
}

#[cfg(test)]
mod tests;
