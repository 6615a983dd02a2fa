//! The thread between the log files and the collector: reads what there is room for, sanitizes and
//! packs it, hands it over, and calls delivered what was acknowledged.
//!
//! While the collector takes nothing, nothing is read: the kubelet's files are the first buffer, and
//! the descriptors keep them. Only what is unlinked meanwhile goes to the spool, before it is lost.

mod report;

use std::collections::HashSet;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ephemon_base::{clock::now_ns, warning::Outage};
use ephemon_crilog::{Choice, Follower, Line, LogRef, Woken};
use ephemon_discovery::identity::KnownLog;
use ephemon_discovery::inventory::Inventory;
use ephemon_export::{Fate, Outbox, Receipt};
use ephemon_model::LogRefusal;
use ephemon_otlp::Entry;
use ephemon_sanitize::Sanitized;
use ephemon_self_metrics::{Reason, SelfMetrics, Signal};

use super::in_flight::{BatchBuilder, InFlight, LogBatch};
use super::job_message::JobMessages;
use super::learner::{Learner, Students, is_runner};
use super::ledger::Ledger;
use super::pace::{BUSY_PAUSE, Pace};
use super::pipeline::{LogPipeline, LogPipelines, job_key};
use super::runner_log::{LogLine, Moment, RunnerLog};
use super::selection::{Containers, Purpose};
use super::steps::Steps;
use super::tail::Tail;
use super::told::Told;
use super::volume_masks::VolumeMasks;
use super::wake::Wake;

/// Text read in one turn, by pods that share the thread's time.
const TURN_BYTES: u64 = 256 * 1024;
/// How often checkpoints are written, and figures renewed.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// How long the last batches are waited for when the agent ends.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// What the pump works with.
#[derive(Debug)]
pub(super) struct Pump {
    pub(super) follower: Follower,
    pub(super) learner: Learner,
    pub(super) pipelines: LogPipelines,
    pub(super) inventory: Inventory,
    pub(super) containers: Containers,
    pub(super) steps: Steps,
    pub(super) shared: VolumeMasks,
    /// Who wants to hear what runners say.
    pub(super) runner: RunnerLog,
    /// Which jobs runners have been sent.
    pub(super) job_messages: JobMessages,
    pub(super) outbox: Outbox,
    pub(super) ledger: Ledger,
    /// How long a log that is over stays in the ledger.
    pub(super) retain: Duration,
    pub(super) checkpoints: PathBuf,
    /// `/var/log/pods` of the node.
    pub(super) pods: PathBuf,
    /// What was saved last of what pods told.
    pub(super) told: Option<Told>,
    pub(super) self_metrics: SelfMetrics,
    /// Where the last lines are shown, if they are.
    pub(super) tail: Option<Tail>,
    pub(super) builder: BatchBuilder,
    pub(super) in_flight: InFlight,
    /// A batch that nobody takes now.
    pub(super) waiting: Option<LogBatch>,
    pub(super) said: Said,
}

/// Passes on what a runner, or the script of a stage, says of its job and of steps.
fn hear(
    runner: &mut RunnerLog,
    pipeline: &mut LogPipeline,
    line: &Line<'_>,
    at_ns: u64,
    now: Instant,
    self_metrics: &SelfMetrics,
) {
    let heard = LogLine {
        pod: &line.log.pod.uid,
        container: &line.log.container,
        at_ns,
        number: line.number,
        text: line.text,
        is_rest: line.part > 0,
    };
    let LogPipeline { sanitizer, step_meter, .. } = pipeline;
    runner.hear(heard, sanitizer, step_meter, Moment { now, now_ns: now_ns() }, self_metrics);
}

/// Troubles that are told once.
#[derive(Debug, Default)]
pub(super) struct Said {
    checkpoints: Outage,
    spool: Outage,
    refused: HashSet<LogRefusal>,
}

// === impl Pump ===

impl Pump {
    /// Works until it is to stop. Each answer of the collector ends the pause: what waits for room goes
    /// out at once, and what comes after it is read.
    pub(super) fn run(mut self, wake: &Wake) {
        let mut keep_books = Instant::now();
        let mut pause = Duration::ZERO;
        let mut pace = Pace::new(Instant::now());
        loop {
            let woken = self.follower.wait(pause, Some(wake.as_fd()));
            let now = Instant::now();
            if woken == Woken::Stopped && wake.is_stop() {
                return self.farewell();
            }
            let more = self.turn(now);
            if now >= keep_books {
                keep_books = now + CHECKPOINT_INTERVAL;
                self.keep_books(now);
            }
            pause = pace.pause(more, self.is_busy(), woken == Woken::News, now);
        }
    }

    fn is_busy(&self) -> bool {
        !self.in_flight.is_empty() || self.waiting.is_some() || self.builder.is_ripening()
    }

    /// Whether there is more to read at once.
    fn turn(&mut self, now: Instant) -> bool {
        self.land();
        for log in self.pipelines.refresh(now) {
            self.follower.ended(&log.pod.uid, &log.container);
        }
        self.rescue();
        self.place_waiting();
        let more = self.waiting.is_none() && self.read(now);
        if self.builder.is_ripe(now) || self.builder.is_full() {
            self.hand_over();
        }
        self.close_finished(now);
        more && self.waiting.is_none()
    }

    fn read(&mut self, now: Instant) -> bool {
        let Self { follower, pipelines, builder, inventory, containers, self_metrics, .. } = self;
        let (steps, shared, runner) = (&mut self.steps, &mut self.shared, &mut self.runner);
        let (job_messages, tail) = (&mut self.job_messages, self.tail.as_ref());
        let choice = |log: &LogRef| -> (Choice, Purpose) {
            let known = KnownLog::of(inventory, &log.pod.uid, &log.container);
            let purpose = containers.purpose_of(&log.container, known);
            (containers.choose(&log.container, known), purpose)
        };
        let students = Students { pipelines, job_messages, inventory };
        let learning = self.learner.turn(&choice, students, now);
        let learner = &self.learner;
        let mut choose = |log: &LogRef| match choice(log).0 {
            Choice::Take if learner.holds(&log.pod.uid) => Choice::Unsure,
            choice => choice,
        };
        let observed = now_ns();
        let mut held_back = HashSet::new();
        let mut sink = |line: Line<'_>| {
            let mut pipeline = pipelines.of(line.log, now);
            let time = line.time_unix_ns.and_then(|time| u64::try_from(time).ok());
            if pipeline.purpose.is_heard() {
                if is_runner(line.log) {
                    job_messages.hear(&line, inventory);
                }
                hear(runner, pipeline, &line, time.unwrap_or(observed), now, self_metrics);
            }
            if !pipeline.purpose.is_exported() {
                return builder.passed(line.position, now);
            }
            if let Some(flaw) = line.flaw {
                self_metrics.log_malformed(flaw);
            }
            let stream = line.stream;
            let clock = now_ns;
            let (uid, at) = (&line.log.pod.uid, time.unwrap_or(observed));
            // A pod may tell as much at once as all pods may have together.
            if shared.look(uid, pipeline.sanitizer.masks(), at, now, clock) {
                pipelines.hold_bound();
                pipeline = pipelines.of(line.log, now);
            }
            // Also of a line that is held back: it may tell a secret.
            let sanitized = pipeline.sanitizer.part(stream, line.text, line.part, line.continues);
            if let Some(reason) = pipeline.meter.held_back(now) {
                self_metrics.dropped(Signal::Logs, reason);
                held_back.insert(line.position.log());
                return builder.passed(line.position, now);
            }
            let Sanitized::Record(record) = sanitized else {
                return builder.passed(line.position, now);
            };
            if let Some(why) = record.withheld {
                self_metrics.dropped(Signal::Logs, Reason::Withheld);
                pipeline.say_withheld(line.log, why);
            }
            if let Some(tail) = tail {
                tail.exported(&line, at, &record);
            }
            let span = pipeline.span.map(|own| {
                let job = pipeline.steps_of.as_deref().and_then(job_key);
                let step = job.and_then(|job| steps.span(line.log, job, at, now, clock));
                step.filter(|step| step.trace_id == own.trace_id).unwrap_or(own)
            });
            let entry = Entry {
                time_unix_nano: time.unwrap_or_default(),
                observed_unix_nano: observed,
                stream,
                uid: line.uid.0,
                span,
                sequence: line.number,
                unended: line.unended,
                flaw: line.flaw,
                record: &record,
            };
            builder.add(&pipeline.resource, &entry, line.position, now);
        };
        let more = follower.turn(&mut choose, TURN_BYTES, &mut sink).more;
        for log in held_back {
            // Counted, and in no record: the log does not come through whole.
            follower.spoil(log);
        }
        pipelines.hold_bound();
        more || learning
    }

    /// Hands over what is packed. What nobody takes waits, and reading with it; while one waits, the next
    /// stays open, so that it neither takes its place nor goes before it.
    fn hand_over(&mut self) {
        if self.waiting.is_none()
            && let Some(batch) = self.builder.seal()
        {
            self.place(batch);
        }
    }

    fn place_waiting(&mut self) {
        if let Some(batch) = self.waiting.take() {
            self.place(batch);
        }
    }

    fn place(&mut self, batch: LogBatch) {
        if batch.payload.items == 0 {
            // Nothing to send; what it says is true once all before it is delivered.
            if let Some(batch) = self.in_flight.defer(batch) {
                self.delivered(&batch);
            }
            return;
        }
        match self.outbox.offer(batch.payload.clone()) {
            Ok(receipt) => self.in_flight.add(batch, receipt),
            Err(_) => self.waiting = Some(batch),
        }
    }

    /// Into the spool with what is on its way while the collector takes nothing: of files that are
    /// removed it stands nowhere else.
    fn rescue(&mut self) {
        let failing = self.outbox.is_failing() && self.outbox.has_spool();
        let in_danger = |follower: &mut Follower| {
            !follower.about_to_be_lost().is_empty() || follower.stands_nowhere_else()
        };
        if failing && in_danger(&mut self.follower) {
            self.spool();
        }
    }

    /// What is on its way into the spool. A request that is being sent at this moment follows at the
    /// next turn, if it fails.
    fn spool(&mut self) {
        let mut put = self.outbox.put_away();
        if put.is_ok()
            && let Some(batch) = self.waiting.take()
        {
            put = self.outbox.keep(&batch.payload).map(|()| true);
            match put {
                // Not delivered before those that were handed over before it.
                Ok(_) => self.in_flight.add(batch, Receipt::settled(Fate::Spooled)),
                Err(_) => self.waiting = Some(batch),
            }
        }
        match put {
            Ok(true) => drop(self.said.spool.end()),
            // Nothing was asked of the disk.
            Ok(false) => {}
            Err(error) => {
                if self.said.spool.begins() {
                    tracing::error!(
                        "logs whose files are removed cannot be kept until the collector takes them: \
                         {error}"
                    );
                }
            }
        }
        self.land();
    }

    /// What has come of batches on their way.
    fn land(&mut self) {
        for answered in self.in_flight.answered() {
            if let Fate::Dropped(_) | Fate::Partly = answered.fate {
                // Counted where it was dropped; trying again would change nothing. Whose records a
                // collector left out of a request it does not say.
                for position in &answered.batch.upto {
                    self.follower.spoil(position.log());
                }
            }
            self.delivered(&answered.batch);
        }
    }

    fn delivered(&mut self, batch: &LogBatch) {
        for position in &batch.upto {
            self.follower.ack(position);
        }
    }

    fn keep_books(&mut self, now: Instant) {
        for log in self.follower.accounting().filter(|log| !self.pipelines.listens(&log.log)) {
            self.ledger.enter(log, now);
        }
        self.ledger.forget(self.retain, now);
        self.self_metrics.log_lag(self.follower.lag_bytes());
        self.tell_slowed();
        self.tell_refused();
        self.pipelines.forget_gone(&self.pods, now);
        self.save_checkpoints();
    }

    fn save_checkpoints(&mut self) {
        // What was told first: no line is behind a checkpoint whose masks are not counted.
        let told = self.pipelines.told();
        let saved = if self.told.as_ref() == Some(&told) {
            Ok(())
        } else {
            told.save(&self.checkpoints).map(|()| self.told = Some(told))
        };
        match saved.and_then(|()| self.follower.save_checkpoints(&self.checkpoints)) {
            Ok(()) => drop(self.said.checkpoints.end()),
            Err(error) => {
                if self.said.checkpoints.begins() {
                    tracing::warn!(
                        "cannot write down how far logs were delivered, so that an agent started anew \
                         sends some again: {}: {error}",
                        self.checkpoints.display()
                    );
                }
            }
        }
    }

    /// Hands over what is read, and waits for what is on its way, into the spool if need be; writes
    /// down how far it came. What comes no further is read again by the next agent.
    fn farewell(mut self) {
        self.hand_over();
        let deadline = Instant::now() + SHUTDOWN_TIMEOUT;
        while !self.in_flight.is_empty() || self.waiting.is_some() || self.builder.is_ripening() {
            self.land();
            self.place_waiting();
            self.hand_over();
            let is_late = Instant::now() >= deadline;
            if (is_late || self.outbox.is_failing()) && self.outbox.has_spool() {
                self.spool();
            }
            if is_late || (self.outbox.is_failing() && !self.outbox.has_spool()) {
                break;
            }
            std::thread::sleep(BUSY_PAUSE);
        }
        self.save_checkpoints();
    }
}
