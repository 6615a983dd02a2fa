//! Turns the jobs' wheel: looks at pods that have changed or have something due, and at journals; sends
//! what is due, counts, shows, and saves what must outlive the agent.

mod pace;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use ephemon_base::{Idle, clock, warning::Outage};
use ephemon_capture::readings::Readings;
use ephemon_discovery::feed::Changed;
use ephemon_discovery::inventory::Inventory;
use ephemon_export::{Outbox, Payload};
use ephemon_jobs as jobs;
use ephemon_jobs::tally::Tally;
use ephemon_jobs::{
    Assembler, Dispatch, EvidenceStore, Job, JobsView, LogCount, PodSnapshot, Saved, Shown,
    snapshots,
};
use ephemon_journal as journal;
use ephemon_logs::{Ledger, RunnerLine};
use ephemon_model::{PodRef, PodUid};
use ephemon_otlp::span;
use ephemon_otlp::span::Encoded;
use ephemon_self_metrics::{Notices, Reason, SelfMetrics, Signal};
use tokio::time::{sleep, timeout};

use super::args::{Args, TraceMode, TraceParent};
use super::readiness::Readiness;
use pace::BUSY_INTERVAL;

/// A job that is over is shown for so long, nanoseconds; its counts stay.
const SHOWN_NS: u64 = 300_000_000_000;
/// From the agent's being ready until all of the node was looked at for certain, nanoseconds: log
/// directories, which may be all there is of a pod, are no condition of its being ready.
const LOOKED_ROUND_NS: u64 = 5_000_000_000;
/// All pods are looked at this often at least, nanoseconds, though nothing has changed.
const WHOLE_LOOK_NS: u64 = 30_000_000_000;
/// Most jobs that are over and shown.
const MAX_SHOWN: usize = 256;

/// Takes encoded spans on; whether it did.
pub(super) type SpanSender = Box<dyn FnMut(Encoded) -> bool + Send>;

/// What the wheel needs.
pub(super) struct Parts {
    pub(super) inventory: Inventory,
    pub(super) readings: Readings,
    /// What became of containers' logs.
    pub(super) ledger: Ledger,
    /// What runners say of their jobs.
    pub(super) runner: Receiver<RunnerLine>,
    pub(super) journals: journal::Reader,
    pub(super) jobs_view: JobsView,
    pub(super) self_metrics: SelfMetrics,
    pub(super) readiness: Readiness,
    /// The state directory.
    pub(super) state_dir: PathBuf,
    pub(super) options: jobs::Options,
    /// Where spans go, and how they look; `None` where nobody wants them.
    pub(super) traces: Option<(SpanSender, span::Options)>,
}

struct JobTracker {
    parts: Parts,
    assembler: Assembler,
    tally: Arc<Tally>,
    evidence_store: EvidenceStore,
    /// Pods whose evidence may go once it is saved that their jobs were sent.
    sent: Vec<PodUid>,
    over: VecDeque<Arc<Job>>,
    /// Since when nothing is missing.
    ready_ns: Option<u64>,
    /// When all pods were looked at last, and whether all of the node was there to be seen then.
    whole_look: (u64, bool),
    /// What must outlive the agent is not on the disk.
    unsaved: Outage,
    /// Nor is the evidence of jobs.
    unkept: Outage,
    /// What was said of pods.
    notices: Notices,
}

/// Keeps the jobs of the node, until dropped.
pub(super) async fn keep(parts: Parts) -> Infallible {
    let mut feed = parts.inventory.feed().follow();
    let mut keeper = Box::new(JobTracker::new(parts));
    let mut idle = Idle::new(Instant::now());
    loop {
        let changed = feed.take();
        // Reads files of a disk that may be slow, and never at the cost of the other tasks.
        let turn = tokio::task::spawn_blocking(move || {
            let is_eventful = keeper.turn(changed, clock::now_ns());
            let polls = keeper.polls();
            (keeper, is_eventful, polls)
        });
        let (is_eventful, polls);
        (keeper, is_eventful, polls) = match turn.await {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        if is_eventful {
            idle.event(Instant::now());
        }
        sleep(BUSY_INTERVAL).await;
        if let Some(rest) = pace::rest(&idle, Instant::now(), polls)
            && timeout(rest, feed.changed()).await.is_ok()
        {
            idle.event(Instant::now());
        }
    }
}

/// How jobs are followed.
pub(super) fn options(args: &Args) -> jobs::Options {
    let mode = match args.trace_mode {
        TraceMode::Whole => jobs::TraceMode::Whole,
        TraceMode::Eager => jobs::TraceMode::Eager,
    };
    jobs::Options { mode, has_specs: !args.no_api }
}

/// How a job's spans look.
pub(super) fn looks(args: &Args, node_name: String) -> span::Options {
    let parent = match args.trace_parent {
        TraceParent::None => span::Parent::None,
        TraceParent::GithubRun => span::Parent::GithubRun,
    };
    span::Options { parent, node_name: Some(node_name), ..span::Options::default() }
}

/// Takes spans to the collector: by way of the spool, so that what is counted as sent outlives the
/// agent.
pub(super) fn span_sender(outbox: Outbox) -> SpanSender {
    Box::new(move |Encoded { body, spans }| {
        let items = u64::try_from(spans).unwrap_or(u64::MAX);
        outbox.post(Payload { body: body.into(), items })
    })
}

// === impl JobTracker ===

impl JobTracker {
    fn new(parts: Parts) -> Self {
        let saved = Saved::load(&parts.state_dir);
        let mut assembler = Assembler::new(parts.options, saved.memory);
        let (mut evidence_store, left) = EvidenceStore::open(&parts.state_dir);
        for pod in left {
            if assembler.is_under_way(&pod.uid) {
                let pod = Arc::new(pod);
                assembler.recall(&pod);
                evidence_store.recall(&pod.uid, |piece| assembler.recall_piece(&pod.uid, piece));
            } else {
                evidence_store.clear(&pod.uid);
            }
        }
        let keeper = Self {
            assembler,
            tally: Arc::new(saved.tally),
            evidence_store,
            sent: Vec::new(),
            over: VecDeque::new(),
            ready_ns: None,
            whole_look: (0, false),
            unsaved: Outage::default(),
            unkept: Outage::default(),
            notices: Notices::default(),
            parts,
        };
        keeper.show();
        keeper
    }

    /// Whether something happened, or is about to: then the next turn is to come soon.
    fn turn(&mut self, changed: Changed, now_ns: u64) -> bool {
        let mut is_eventful = !changed.is_empty();
        self.look(changed, now_ns);
        for line in self.parts.runner.try_iter() {
            is_eventful = true;
            self.assembler.runner_line(&line.pod, line.at_ns, &line.text);
        }
        let Self { assembler, evidence_store, parts, .. } = self;
        // Not the turn's beginning: what was written since then would be taken for a lie.
        parts.journals.look(&assembler.wanted(), |entry| {
            is_eventful = true;
            assembler.journal(entry, clock::now_ns());
        });
        assembler.learnt(|pod, piece| evidence_store.add(pod, piece));
        let turn = assembler.turn(now_ns);
        parts.self_metrics.dropped_by(Signal::Traces, Reason::Cap, turn.refused);
        self.say_left_out(&turn.left_out);
        let news = !turn.started.is_empty() || !turn.dispatches.is_empty();
        for job in &turn.started {
            Arc::make_mut(&mut self.tally).started(job);
        }
        for dispatch in turn.dispatches {
            self.dispatch(dispatch);
        }
        self.sent.extend(turn.over);
        if news || self.unsaved.is_on() {
            self.save();
        }
        let shown = self.over.len();
        self.over.retain(|job| {
            let end = job.window.end.map_or(now_ns, |end| end.ns);
            now_ns.saturating_sub(end) < SHOWN_NS
        });
        // After the saving: a count that a scraper has seen does not go back after a restart.
        if news || shown != self.over.len() {
            self.show();
        }
        self.keep_evidence();
        is_eventful || news || self.unsaved.is_on() || self.assembler.is_waiting()
    }

    /// Looks at the pods that have changed or have something due, now and then at all of them: whether
    /// a pod is wanted changes by time alone, too.
    fn look(&mut self, changed: Changed, now_ns: u64) {
        match &changed {
            Changed::All => self.parts.journals.all_changed(),
            Changed::Pods(pods) => self.parts.journals.changed(pods.iter()),
        }
        let all = self.has_looked_round(now_ns);
        let (looked_ns, had_all) = self.whole_look;
        // A clock that was set back must not put it off.
        let is_due = now_ns.saturating_sub(looked_ns) >= WHOLE_LOOK_NS || now_ns < looked_ns;
        let mut pods = match changed {
            Changed::Pods(pods) if !is_due && all == had_all => pods,
            _ => {
                self.whole_look = (now_ns, all);
                self.parts.journals.all_changed();
                let listed = self.parts.inventory.snapshot();
                let snapshots = snapshots(listed, &self.parts.readings.snapshot());
                let counts = self.log_counts(&snapshots);
                self.assembler.snapshots(snapshots, all, now_ns);
                return self.count_logs(counts);
            }
        };
        pods.extend(self.assembler.due().cloned());
        if pods.is_empty() {
            return;
        }
        let listed = self.parts.inventory.snapshot_of(&pods);
        let containers = listed.iter().flat_map(|pod| &pod.runs).map(|run| &run.id);
        let snapshot = self.parts.readings.select(containers, pods.iter());
        let snapshots = snapshots(listed, &snapshot);
        let counts = self.log_counts(&snapshots);
        self.assembler.snapshots_of(&pods, snapshots, now_ns);
        self.count_logs(counts);
    }

    fn count_logs(&mut self, counts: Vec<(PodUid, Arc<str>, LogCount)>) {
        for (pod, container, count) in counts {
            self.assembler.logs(&pod, &container, count);
        }
    }

    /// Whether there is something that no change tells of: journals that may grow, a job that is not
    /// shown for ever, a start that is not over.
    fn polls(&self) -> bool {
        self.parts.journals.has_open() || !self.over.is_empty() || !self.whole_look.1
    }

    /// Whether a pod that was not seen is not there.
    fn has_looked_round(&mut self, now_ns: u64) -> bool {
        if !self.parts.readiness.missing().is_empty() {
            return false;
        }
        let since = *self.ready_ns.get_or_insert(now_ns);
        now_ns.saturating_sub(since) >= LOOKED_ROUND_NS
    }

    /// How much of their logs came through, of containers whose logs are followed.
    fn log_counts(&self, snapshots: &[PodSnapshot]) -> Vec<(PodUid, Arc<str>, LogCount)> {
        let names = |snapshot: &PodSnapshot| {
            let uid = snapshot.pod.uid.clone();
            snapshot
                .spec
                .iter()
                .map(move |entry| (uid.clone(), entry.name.clone()))
                .collect::<Vec<_>>()
        };
        let all = snapshots.iter().flat_map(names);
        all.filter_map(|(pod, container)| {
            let accounting = self.parts.ledger.account(&pod, &container)?.accounting;
            let bytes = accounting.stream_bytes.iter().sum();
            let count = LogCount { lines: accounting.lines, bytes };
            Some((pod, container, count))
        })
        .collect()
    }

    /// Counts what found no room of pods' evidence, and says whose it was.
    fn say_left_out(&mut self, left_out: &[(Arc<PodRef>, u64)]) {
        for (pod, pieces) in left_out {
            self.parts.self_metrics.dropped_by(Signal::Journal, Reason::Cap, *pieces);
            if let Some(unsaid) = self.notices.admit(&pod.uid, Instant::now()) {
                let PodRef { namespace, name, .. } = &**pod;
                tracing::warn!(
                    %namespace, pod = %name, pieces, unsaid,
                    "the pod's journals or spec say more of its job than is held of one: what it said \
                     last is left out of its trace"
                );
            }
        }
    }

    fn dispatch(&mut self, dispatch: Dispatch) {
        let Dispatch { job, which, last } = dispatch;
        let trace_id = job.span.trace_id;
        let span =
            tracing::info_span!("send job", k8s.pod.name = %job.pod.name, job.trace_id = %trace_id);
        let _entered = span.entered();
        if let Some((span_sender, options)) = &mut self.parts.traces {
            span::encode(&job, &which, options, |encoded| {
                if !span_sender(encoded) {
                    tracing::warn!(pod = %job.pod.name, "spans of a job found no room");
                }
            });
        }
        if last {
            Arc::make_mut(&mut self.tally).finished(&job);
            tracing::info!(
                pod = %job.pod.name,
                trace_id = %job.span.trace_id,
                result = job.outcome.result.as_str(),
                steps = job.steps.len(),
                containers = job.containers.len(),
                "a job is over"
            );
            self.over.push_back(Arc::new(job.outline()));
            if self.over.len() > MAX_SHOWN {
                self.over.pop_front();
            }
        }
    }

    fn show(&self) {
        let living = self.assembler.living().cloned();
        let jobs = living.chain(self.over.iter().cloned()).collect();
        self.parts.jobs_view.put(Shown { tally: Arc::clone(&self.tally), jobs });
    }

    fn save(&mut self) {
        match Saved::save(&self.parts.state_dir, self.assembler.memory(), &self.tally) {
            Ok(()) => drop(self.unsaved.end()),
            Err(error) => {
                if self.unsaved.begins() {
                    tracing::warn!("{error}");
                }
            }
        }
    }

    /// After the saving: what is not saved as sent is to be sent by the next agent.
    fn keep_evidence(&mut self) {
        let Self { sent, evidence_store, unsaved, .. } = self;
        sent.retain(|uid| {
            let needed = unsaved.is_on() && evidence_store.holds(uid);
            if !needed {
                evidence_store.clear(uid);
            }
            needed
        });
        match self.evidence_store.write() {
            Ok(()) => drop(self.unkept.end()),
            Err(error) => {
                if self.unkept.begins() {
                    tracing::warn!("{error}");
                }
            }
        }
    }
}
