//! The task that exports metrics over OTLP: final readings as soon as a container has ended and its
//! name is known, counts of jobs when they change, and the values of running containers at each
//! interval.

mod finals;
mod names;
mod waiting;
mod windows;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ephemon_base::clock::now_ns;
use ephemon_capture::readings::{End, PodRecord, Readings, Record};
use ephemon_catalogue as catalogue;
use ephemon_discovery::feed::Changed;
use ephemon_export::Outbox;
use ephemon_jobs::JobsView;
use ephemon_jobs::tally::Tally;
use ephemon_model::PodUid;
use ephemon_otel::config::Temporality;
use ephemon_otlp::metric::{Container, JOBS, Jobs, Owner, Pod};
use ephemon_self_metrics::{Reason, SelfMetrics, Signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval_at, sleep, sleep_until};

use finals::Finals;
use names::Answer;
pub(super) use names::Names;
use waiting::Waiting;
use windows::WindowStore;

/// Ends that happen within this time of the first are sent together.
const GATHER_INTERVAL: Duration = Duration::from_millis(50);
/// How often an unknown name is looked up again without a change event, because some waits end by
/// time alone.
const ASK_AGAIN_INTERVAL: Duration = Duration::from_secs(1);
/// Most pods whose start time is remembered.
const MAX_PODS: usize = 4096;

/// What the task uses.
pub(super) struct Parts {
    pub(super) readings: Readings,
    pub(super) jobs_view: JobsView,
    pub(super) self_metrics: SelfMetrics,
    pub(super) outbox: Outbox,
    pub(super) names: Names,
    /// Interval between exports of running containers.
    pub(super) interval: Duration,
    /// Since when counters count.
    pub(super) temporality: Temporality,
}

/// A handle to the running task.
pub(super) struct Wheel {
    stop_tx: Option<oneshot::Sender<()>>,
    turning: JoinHandle<()>,
}

/// What a turn exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// New values only: ended containers, and jobs whose counts have changed.
    News,
    /// All values.
    Everything,
}

struct JobTracker {
    parts: Parts,
    agent: Owner,
    finals: Finals,
    waiting: Waiting,
    windows: WindowStore,
    /// When the first container of each pod was created.
    pods: HashMap<PodUid, SystemTime>,
    /// Counts of jobs as last sent.
    sent: Arc<Tally>,
    started_ns: u64,
}

// === impl Wheel ===

impl Wheel {
    /// Subscribes to ends of containers and starts the task, which runs until [`Self::stop`].
    /// `state`: the agent's state directory.
    pub(super) fn start(parts: Parts, state: &Path) -> Self {
        parts.readings.follow_ends();
        let keeper = Box::new(JobTracker::new(parts, state));
        let (stop_tx, stop_rx) = oneshot::channel();
        Self { stop_tx: Some(stop_tx), turning: tokio::spawn(turn(keeper, stop_rx)) }
    }

    /// Resolves when the task has ended, which before [`Self::stop`] happens only by a panic.
    pub(super) async fn over(&mut self) {
        if let Err(error) = (&mut self.turning).await {
            tracing::error!("metrics are no longer exported: {error}");
        }
    }

    /// Exports all values once more, and ends the task.
    pub(super) async fn stop(mut self) {
        drop(self.stop_tx.take());
        self.over().await;
    }
}

async fn turn(mut keeper: Box<JobTracker>, mut stop_rx: oneshot::Receiver<()>) {
    let (readings, jobs_view) = (keeper.parts.readings.clone(), keeper.parts.jobs_view.clone());
    let mut feed = keeper.parts.names.inventory.feed().follow();
    let mut ask_again = tokio::time::Instant::now();
    let every = keeper.parts.interval;
    let mut ticks = interval_at(tokio::time::Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let asks = !keeper.waiting.is_empty();
        let (about, last) = tokio::select! {
            biased;
            _ = &mut stop_rx => (Turn::Everything, true),
            _ = ticks.tick() => (Turn::Everything, false),
            () = readings.ended() => {
                sleep(GATHER_INTERVAL).await;
                (Turn::News, false)
            }
            () = jobs_view.news() => (Turn::News, false),
            () = feed.changed(), if asks => {
                sleep(GATHER_INTERVAL).await;
                (Turn::News, false)
            }
            () = sleep_until(ask_again), if asks => (Turn::News, false),
        };
        let now = tokio::time::Instant::now();
        let mut changed = feed.take();
        // At the end each waiting container is looked up once more: its grace period may be over.
        if last || now >= ask_again {
            (changed, ask_again) = (Changed::All, now + ASK_AGAIN_INTERVAL);
        }
        // Sending final readings writes files, which can be slow, so it must not block other tasks.
        let turned = tokio::task::spawn_blocking(move || {
            keeper.turn(about, &changed);
            keeper
        });
        keeper = match turned.await {
            Ok(keeper) => keeper,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is shutting down.
            Err(_) => return,
        };
        if last {
            return;
        }
    }
}

// === impl JobTracker ===

impl JobTracker {
    fn new(parts: Parts, state: &Path) -> Self {
        let started_ns = now_ns();
        Self {
            agent: parts.names.agent(),
            windows: WindowStore::open(parts.temporality, state, started_ns),
            finals: Finals::open(state),
            waiting: Waiting::default(),
            pods: HashMap::new(),
            sent: Arc::default(),
            started_ns,
            parts,
        }
    }

    fn turn(&mut self, about: Turn, changed: &Changed) {
        self.ends(changed);
        self.jobs(about);
        if about == Turn::Everything {
            self.living();
        }
    }

    /// Sends the final reading of each ended container whose name is known, once. `changed`: pods
    /// about which more may be known.
    fn ends(&mut self, changed: &Changed) {
        let (ends, lost) = self.parts.readings.take_ends();
        let now = Instant::now();
        let mut refused = lost;
        for end in ends {
            if let End::Container(record) = &end {
                if self.finals.has(&record.id) {
                    continue;
                }
                self.meet(record);
            }
            refused += u64::from(!self.waiting.push(end, now));
        }
        self.parts.self_metrics.dropped_by(Signal::Metrics, Reason::Cap, refused);
        let mut requests = self.windows.requests();
        let mut sent = HashSet::new();
        let names = &self.parts.names;
        let settled = self.waiting.settle(now, changed, |end, waited| match end {
            End::Container(record) => names.container(record, waited),
            End::Pod(record) => names.pod(record, waited),
        });
        for (end, who) in settled.known {
            match end {
                End::Container(record) => {
                    if sent.insert(record.id.clone()) {
                        requests.container(&container(who, record));
                    }
                }
                End::Pod(record) => {
                    let since = self.pods.remove(&record.pod);
                    requests.pod(&pod(who, record, since));
                }
            }
        }
        self.parts.self_metrics.dropped_by(Signal::Metrics, Reason::Expired, settled.expired);
        let batches = requests.into_batches();
        self.windows.send(batches, &self.parts.outbox, Outbox::post);
        // Recorded after they were queued: sending one twice is better than losing it.
        self.finals.enter(sent.into_iter().collect());
    }

    fn jobs(&mut self, about: Turn) {
        let tally = self.parts.jobs_view.shown().tally;
        let only_new = about == Turn::News;
        if only_new && Arc::ptr_eq(&tally, &self.sent) {
            return;
        }
        let jobs = Jobs {
            tally: &tally,
            before: Some(&self.sent),
            only_new,
            since_ns: self.started_ns,
            at_ns: now_ns(),
        };
        let mut requests = self.windows.requests();
        requests.jobs(&self.agent, &jobs);
        let batches = requests.into_batches();
        self.windows.send(batches, &self.parts.outbox, Outbox::offer_or_drop);
        self.sent = tally;
    }

    /// Sends the values of running containers whose names are known.
    fn living(&mut self) {
        let snapshot = self.parts.readings.snapshot();
        snapshot.containers.iter().for_each(|record| self.meet(record));
        let mut requests = self.windows.requests();
        for record in &snapshot.containers {
            if record.ended.is_some() || self.finals.has(&record.id) {
                continue;
            }
            let waited = SystemTime::now().duration_since(record.created).unwrap_or_default();
            if let Answer::Known(known) = self.parts.names.container(record, waited) {
                requests.container(&container(known, Arc::clone(record)));
            }
        }
        for record in snapshot.pods.iter().filter(|record| !record.gone) {
            let since = self.pods.get(&record.pod).copied();
            if let Answer::Known(known) = self.parts.names.pod(record, Duration::ZERO) {
                requests.pod(&pod(known, Arc::clone(record), since));
            }
        }
        let batches = requests.into_batches();
        self.windows.send(batches, &self.parts.outbox, Outbox::offer_or_drop);
        let there: Vec<_> = snapshot.pods.iter().map(|record| &record.pod).collect();
        self.pods.retain(|uid, _| there.contains(&uid) || self.waiting.has_pod(uid));
        // Of one whose final was sent nothing more is.
        let owed = |record: &&Arc<Record>| record.ended.is_none() || !self.finals.has(&record.id);
        let containers = snapshot.containers.iter().filter(owed).map(|record| record.id.as_str());
        let pods = there.iter().map(|uid| uid.as_str());
        let owners = containers.chain(pods).chain(self.waiting.owners()).chain([JOBS]);
        self.windows.retain(&owners.collect());
    }

    /// Remembers when the container's pod started.
    fn meet(&mut self, record: &Record) {
        if let Some(since) = self.pods.get_mut(&record.pod) {
            *since = record.created.min(*since);
        } else if self.pods.len() < MAX_PODS {
            self.pods.insert(record.pod.clone(), record.created);
        }
    }
}

fn container((owner, facts): names::Known, record: Arc<Record>) -> Container {
    Container { owner, container: catalogue::Container { record, facts, log: None } }
}

fn pod((owner, _): names::Known, record: Arc<PodRecord>, since: Option<SystemTime>) -> Pod {
    let at = SystemTime::now();
    Pod { owner, record, since: since.unwrap_or(at), at }
}
