//! The thread between the log files and the collector: reads what there is room for, refines and
//! packs it, hands it over, and calls delivered what was acknowledged.
//!
//! While the collector takes nothing, nothing is read: the kubelet's files are the first buffer, and
//! the descriptors keep them. Only what is unlinked meanwhile goes to the spool, before it is lost.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ephemon_base::{clock::now_ns, warning::Outage};
use ephemon_crilog::{Choice, Follower, Line, LogRef, Slowed, Woken};
use ephemon_discovery::identity::KnownLog;
use ephemon_discovery::inventory::Inventory;
use ephemon_export::{Fate, Outbox};
use ephemon_model::LogLoss;
use ephemon_model::PodRef;
use ephemon_otlp::Entry;
use ephemon_refine::Refined;
use ephemon_vitals::{Reason, Signal, Vitals};

use super::closing::{end_of, say_incomplete};
use super::desk::{Desk, Desks, job_key};
use super::learner::Learner;
use super::ledger::Ledger;
use super::pace::{BUSY_PAUSE, Pace};
use super::parcel::{Flights, Packing, Parcel};
use super::runner_log::RunnerLog;
use super::selection::{Containers, Purpose};
use super::steps::Steps;
use super::told::Told;
use super::volume_masks::VolumeMasks;

/// Text read in one turn, by pods that share the thread's time.
const TURN_BYTES: u64 = 256 * 1024;
/// How often checkpoints are written, and figures renewed.
const BOOKKEEPING: Duration = Duration::from_secs(1);
/// How long the last parcels are waited for when the agent ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// What the pump works with.
#[derive(Debug)]
pub(super) struct Pump {
    pub(super) follower: Follower,
    pub(super) learner: Learner,
    pub(super) desks: Desks,
    pub(super) inventory: Inventory,
    pub(super) containers: Containers,
    pub(super) steps: Steps,
    pub(super) shared: VolumeMasks,
    /// Who wants to hear what runners say.
    pub(super) runner: RunnerLog,
    pub(super) outbox: Outbox,
    pub(super) ledger: Ledger,
    /// How long a log that is over stays in the ledger.
    pub(super) retain: Duration,
    pub(super) checkpoints: PathBuf,
    /// `/var/log/pods` of the node.
    pub(super) pods: PathBuf,
    /// What was saved last of what pods told.
    pub(super) told: Option<Told>,
    pub(super) vitals: Vitals,
    pub(super) packing: Packing,
    pub(super) flights: Flights,
    /// A parcel that nobody takes now.
    pub(super) waiting: Option<Parcel>,
    pub(super) said: Said,
}

/// Troubles that are told once.
#[derive(Debug, Default)]
pub(super) struct Said {
    checkpoints: Outage,
    spool: Outage,
}

// === impl Pump ===

impl Pump {
    /// Works until `stop` can be read.
    pub(super) fn run(mut self, stop: &OwnedFd) {
        use std::os::fd::AsFd;
        let mut keep_books = Instant::now();
        let mut pause = Duration::ZERO;
        let mut pace = Pace::new(Instant::now());
        loop {
            let woken = self.follower.wait(pause, Some(stop.as_fd()));
            let now = Instant::now();
            if woken == Woken::Stopped {
                return self.farewell();
            }
            let more = self.turn(now);
            if now >= keep_books {
                keep_books = now + BOOKKEEPING;
                self.keep_books(now);
            }
            pause = pace.pause(more, self.is_busy(), woken == Woken::News, now);
        }
    }

    fn is_busy(&self) -> bool {
        !self.flights.is_empty() || self.waiting.is_some() || self.packing.is_ripening()
    }

    /// Whether there is more to read at once.
    fn turn(&mut self, now: Instant) -> bool {
        self.land();
        for log in self.desks.refresh(now) {
            self.follower.ended(&log.pod.uid, &log.container);
        }
        self.rescue();
        self.place_waiting();
        let more = self.waiting.is_none() && self.read(now);
        if self.packing.is_ripe(now) || self.packing.is_full() {
            self.hand_over();
        }
        self.close_finished(now);
        more && self.waiting.is_none()
    }

    fn read(&mut self, now: Instant) -> bool {
        let Self { follower, desks, packing, inventory, containers, vitals, .. } = self;
        let (steps, shared, runner) = (&mut self.steps, &mut self.shared, &self.runner);
        let choice = |log: &LogRef| -> (Choice, Purpose) {
            let known = KnownLog::of(inventory, &log.pod.uid, &log.container);
            let purpose = containers.purpose(&log.container, known.container_type);
            (containers.choose(&log.container, known), purpose)
        };
        let mut learn = |log: &LogRef| match choice(log) {
            (Choice::Take, Purpose::Heard) => Choice::Leave,
            (choice, _) => choice,
        };
        let learning = self.learner.turn(&mut learn, desks, now);
        let learner = &self.learner;
        let mut choose = |log: &LogRef| match choice(log).0 {
            Choice::Take if learner.holds(&log.pod.uid) => Choice::Unsure,
            choice => choice,
        };
        let observed = now_ns();
        let mut sink = |line: Line<'_>| {
            let mut desk = desks.of(line.log, now);
            let time = line.time_unix_ns.and_then(|time| u64::try_from(time).ok());
            if desk.purpose != Purpose::Exported {
                runner.hear(&line.log.pod.uid, time.unwrap_or(observed), line.text, vitals);
            }
            if desk.purpose == Purpose::Heard {
                return packing.passed(line.position, now);
            }
            let stream = line.stream;
            let clock = now_ns;
            let (uid, at) = (&line.log.pod.uid, time.unwrap_or(observed));
            // A pod may tell as much at once as all pods may have together.
            if shared.look(uid, desk.refiner.masks(), at, now, clock) {
                desks.hold_bound();
                desk = desks.of(line.log, now);
            }
            // Also of a line that is held back: it may tell a secret.
            let refined = desk.refiner.part(stream, line.text, line.part, line.continues);
            if let Some(reason) = desk.meter.held_back(now) {
                vitals.dropped(Signal::Logs, reason);
                return packing.passed(line.position, now);
            }
            let Refined::Record(record) = refined else {
                return packing.passed(line.position, now);
            };
            if let Some(why) = record.withheld {
                vitals.dropped(Signal::Logs, Reason::Withheld);
                desk.say_withheld(line.log, why);
            }
            let span = desk.span.map(|own| {
                let job = desk.steps_of.as_deref().and_then(job_key);
                let step = job.and_then(|job| steps.span(line.log, job, at, now, clock));
                step.filter(|step| step.trace_id == own.trace_id).unwrap_or(own)
            });
            let entry = Entry {
                time_unix_nano: time.unwrap_or_default(),
                observed_unix_nano: observed,
                stream,
                uid: line.uid.0,
                span,
                record: &record,
            };
            packing.add(&desk.resource, &entry, line.position, now);
        };
        let more = follower.turn(&mut choose, TURN_BYTES, &mut sink).more;
        desks.hold_bound();
        more || learning
    }

    /// Hands over what is packed. What nobody takes waits, and reading with it.
    fn hand_over(&mut self) {
        if let Some(parcel) = self.packing.seal() {
            self.place(parcel);
        }
    }

    fn place_waiting(&mut self) {
        if let Some(parcel) = self.waiting.take() {
            self.place(parcel);
        }
    }

    fn place(&mut self, parcel: Parcel) {
        if parcel.payload.items == 0 {
            // Nothing to send; what it says is true once all before it is delivered.
            if let Some(parcel) = self.flights.defer(parcel) {
                self.delivered(&parcel);
            }
            return;
        }
        match self.outbox.offer(parcel.payload.clone()) {
            Ok(receipt) => self.flights.add(parcel, receipt),
            Err(_) => self.waiting = Some(parcel),
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
            self.hand_over();
            self.spool();
        }
    }

    /// Everything on its way into the spool.
    fn spool(&mut self) {
        for flight in self.flights.recall() {
            if self.keep(flight.parcel()) {
                self.delivered(flight.parcel());
            } else {
                flight.go_on(&mut self.flights);
            }
        }
        if let Some(parcel) = self.waiting.take() {
            if self.keep(&parcel) {
                self.delivered(&parcel);
            } else {
                self.waiting = Some(parcel);
            }
        }
    }

    fn keep(&mut self, parcel: &Parcel) -> bool {
        match self.outbox.keep(&parcel.payload) {
            Ok(()) => {
                self.said.spool.end();
                true
            }
            Err(error) => {
                if self.said.spool.begins() {
                    tracing::error!(
                        "logs whose files are removed cannot be kept until the collector takes them: \
                         {error}"
                    );
                }
                false
            }
        }
    }

    /// What has come of parcels on their way.
    fn land(&mut self) {
        for landed in self.flights.landed() {
            if let Fate::Dropped(_) | Fate::Partly = landed.fate {
                // Counted where it was dropped; trying again would change nothing. Whose records a
                // collector left out of a request it does not say.
                for position in &landed.parcel.upto {
                    self.follower.spoil(position.log());
                }
            }
            self.delivered(&landed.parcel);
        }
    }

    fn delivered(&mut self, parcel: &Parcel) {
        for position in &parcel.upto {
            self.follower.ack(position);
        }
    }

    /// Tells of each log that is over what became of it.
    ///
    /// A log may go on after that: its closing event cannot wait until nothing can be written any
    /// more, for that is when the pod is gone. It is then read on and closed again. The second event
    /// has the uid of the first and figures of the whole log, so that it takes the first one's place;
    /// losses are counted once, by what is new of them.
    fn close_finished(&mut self, now: Instant) {
        for finished in self.follower.finished() {
            if self.desks.listens(&finished.log) {
                self.close(&finished.log);
                continue;
            }
            for (loss, bytes) in LogLoss::ALL.into_iter().zip(finished.newly_lost_bytes) {
                self.vitals.log_lost(loss, bytes);
            }
            if !finished.complete {
                say_incomplete(&finished);
            }
            if let Some(desk) = self.close(&finished.log) {
                self.packing.close(&desk.resource, &end_of(&finished, desk.span), now);
            }
            self.ledger.enter(finished, now);
        }
    }

    fn close(&mut self, log: &LogRef) -> Option<Desk> {
        let desk = self.desks.close(log);
        if !self.desks.knows(&log.pod.uid) {
            self.steps.forget(&log.pod.uid);
            self.shared.forget(&log.pod.uid);
        }
        desk
    }

    fn keep_books(&mut self, now: Instant) {
        for log in self.follower.books().filter(|log| !self.desks.listens(&log.log)) {
            self.ledger.enter(log, now);
        }
        self.ledger.forget(self.retain, now);
        self.vitals.log_lag(self.follower.lag_bytes());
        self.tell_slowed();
        self.desks.forget_gone(&self.pods, now);
        self.save_checkpoints();
    }

    fn tell_slowed(&mut self) {
        let Slowed { waited, pods } = self.follower.slowed();
        self.vitals.log_waited(waited);
        for PodRef { namespace, name, .. } in pods {
            tracing::warn!(
                %namespace, pod = %name,
                "reading and masking the pod's logs takes more than its share of the agent's time: they \
                 come later, those of others do not. Said once"
            );
        }
    }

    fn save_checkpoints(&mut self) {
        // What was told first: no line is behind a checkpoint whose masks are not counted.
        let told = self.desks.told();
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
        let deadline = Instant::now() + FAREWELL;
        while !self.flights.is_empty() || self.waiting.is_some() {
            self.land();
            self.place_waiting();
            if self.outbox.is_failing() || Instant::now() >= deadline {
                if self.outbox.has_spool() {
                    self.spool();
                }
                break;
            }
            std::thread::sleep(BUSY_PAUSE);
        }
        self.save_checkpoints();
    }
}
