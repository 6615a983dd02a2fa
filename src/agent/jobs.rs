//! The job tracker's task: checks journals, and pods that have changed or are due; sends finished
//! spans, updates the counts and the list of jobs, and saves the state that must survive a restart.

mod ended;
mod heard;
mod pace;
mod rounds;
mod spans;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use ephemon_base::{Idle, clock, warning::Outage};
use ephemon_capture::readings::Readings;
use ephemon_discovery::feed::Changed;
use ephemon_discovery::inventory::Inventory;
use ephemon_jobs as jobs;
use ephemon_jobs::tally::Tally;
use ephemon_jobs::{
    Assembler, Dispatch, EvidenceStore, JobsView, LogCount, PodSnapshot, Saved, Shown, snapshots,
};
use ephemon_journal as journal;
use ephemon_logs::{Ledger, RunnerNews};
use ephemon_model::{PodRef, PodUid, PrePull};
use ephemon_otlp::span;
use ephemon_page::Board;
use ephemon_self_metrics::{Notices, Reason, SelfMetrics, Signal};
use tokio::time::{sleep, timeout};

use super::args::{Args, TraceMode};
use super::page;
use super::readiness::Readiness;
use ended::Ended;
use heard::Heard;
use pace::BUSY_INTERVAL;
use rounds::Rounds;
pub(super) use spans::{SpanSender, looks, span_sender};

/// What the job tracker uses.
pub(super) struct Parts {
    pub(super) inventory: Inventory,
    pub(super) readings: Readings,
    /// How much of containers' logs was delivered.
    pub(super) ledger: Ledger,
    /// What runners' logs say of jobs and steps.
    pub(super) runner: RunnerNews,
    /// Images that were pulled ahead.
    pub(super) pre_pulled: Receiver<(PodUid, PrePull)>,
    pub(super) journals: journal::Reader,
    pub(super) jobs_view: JobsView,
    pub(super) self_metrics: SelfMetrics,
    pub(super) readiness: Readiness,
    pub(super) state_dir: PathBuf,
    pub(super) options: jobs::Options,
    /// Where spans go, and how they are built; `None` if they are not exported.
    pub(super) traces: Option<(SpanSender, span::Options)>,
    /// Where jobs are shown with their parts, if they are.
    pub(super) board: Option<Board>,
}

struct JobTracker {
    parts: Parts,
    assembler: Assembler,
    tally: Arc<Tally>,
    evidence_store: EvidenceStore,
    /// Pods whose evidence can be removed once it is saved that their jobs were sent.
    sent: Vec<PodUid>,
    ended: Ended,
    rounds: Rounds,
    /// The state could not be saved.
    unsaved: Outage,
    /// The evidence of jobs could not be saved.
    unkept: Outage,
    /// Which pods were already mentioned in the log.
    notices: Notices,
}

/// Tracks the jobs of the node until it is dropped.
pub(super) async fn keep(parts: Parts) -> Infallible {
    let mut feed = parts.inventory.feed().follow();
    let mut keeper = Box::new(JobTracker::new(parts));
    let mut idle = Idle::new(Instant::now());
    loop {
        let changed = feed.take();
        // Reads files, which can be slow, so it must not block other tasks.
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

/// How jobs are assembled.
pub(super) fn options(args: &Args) -> jobs::Options {
    let mode = match args.trace_mode {
        TraceMode::Whole => jobs::TraceMode::Whole,
        TraceMode::Eager => jobs::TraceMode::Eager,
    };
    jobs::Options { mode, has_specs: !args.no_api }
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
            ended: Ended::default(),
            rounds: Rounds::default(),
            unsaved: Outage::default(),
            unkept: Outage::default(),
            notices: Notices::default(),
            parts,
        };
        keeper.show();
        keeper
    }

    /// Returns whether something happened or is about to, so that the next turn should come soon.
    fn turn(&mut self, changed: Changed, now_ns: u64) -> bool {
        let heard = Heard::take(&self.parts.runner, &self.parts.pre_pulled);
        let changed = heard.changed(changed);
        let mut is_eventful = !changed.is_empty();
        self.look(changed, now_ns);
        heard.tell(&mut self.assembler, &self.parts.inventory);
        let Self { assembler, evidence_store, parts, .. } = self;
        // The present time, not that of the turn's start: records written since then would be
        // rejected as dated in the future.
        parts.journals.look(&assembler.wanted(), |entry| {
            is_eventful = true;
            assembler.journal(entry, clock::now_ns());
        });
        assembler.learnt(|pod, piece| evidence_store.add(pod, piece));
        let turn = assembler.turn(now_ns);
        page::show(parts.board.as_ref(), &turn, now_ns);
        parts.self_metrics.dropped_by(Signal::Traces, Reason::Cap, turn.refused);
        self.say_left_out(&turn.left_out);
        let expired = self.tally.has_expired(now_ns);
        if expired {
            Arc::make_mut(&mut self.tally).expire(now_ns);
        }
        let news = expired || !turn.started.is_empty() || !turn.dispatches.is_empty();
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
        let has_ended_long_ago = self.ended.expire(now_ns);
        // After saving, because a count that a scraper has seen must not decrease after a restart.
        if news || has_ended_long_ago {
            self.show();
        }
        self.keep_evidence();
        is_eventful || news || self.unsaved.is_on() || self.assembler.is_waiting()
    }

    /// Checks the pods that have changed or are due, and at intervals all of them, because whether
    /// a pod is wanted also changes with time.
    fn look(&mut self, changed: Changed, now_ns: u64) {
        match &changed {
            Changed::All => self.parts.journals.all_changed(),
            Changed::Pods(pods) => self.parts.journals.changed(pods.iter()),
        }
        let all = self.rounds.knows_all(self.parts.readiness.missing().is_empty(), now_ns);
        let mut pods = match changed {
            Changed::Pods(pods) if !self.rounds.is_due(all, now_ns) => pods,
            _ => {
                self.rounds.begin(all, now_ns);
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

    /// Whether something can happen without a change event: a journal can grow, a listed job can
    /// expire, or startup is not complete.
    fn polls(&self) -> bool {
        self.parts.journals.has_open() || !self.ended.is_empty() || !self.rounds.had_all()
    }

    /// How many log lines were delivered, for containers whose logs are followed.
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

    /// Counts and logs evidence of pods that was dropped because it exceeded a limit.
    fn say_left_out(&mut self, left_out: &[(Arc<PodRef>, u64)]) {
        for (pod, pieces) in left_out {
            self.parts.self_metrics.dropped_by(Signal::Journal, Reason::Cap, *pieces);
            if let Some(unsaid) = self.notices.admit(&pod.uid, Instant::now()) {
                let PodRef { namespace, name, .. } = &**pod;
                tracing::warn!(
                    %namespace, pod = %name, pieces, unsaid,
                    "the pod's journals, spec and steps exceed the limit for one job: the last \
                     events are missing from its trace"
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
                    tracing::warn!(pod = %job.pod.name, "spans of a job are dropped: the queue is full");
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
                "job ended"
            );
            self.ended.add(job.outline());
        }
    }

    fn show(&self) {
        let living = self.assembler.living().cloned();
        let jobs = living.chain(self.ended.iter().cloned()).collect();
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

    /// After saving: what is not saved as sent must be sent again after a restart.
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
