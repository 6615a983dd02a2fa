//! One container's life: what happened goes in, what is to be done comes out.
//!
//! Pure: no file is read here and no clock. Whoever performs an [`Action`] hands its result back as
//! the next [`Event`], until the answer is [`Action::Wait`] or the container is done with.

mod event;

use std::time::{Duration, Instant, SystemTime};

use ephemon_model::{Ended, Quality};

use super::cadence::{Cadence, OVER_AFTER};
pub(crate) use event::{Action, Event};

/// A pod that the API does not list is captured this long all the same: the list may be behind.
const UNWANTED_GRACE: Duration = Duration::from_secs(10);
/// How often the inventory is asked whether a container's pod is wanted.
const VERDICT_INTERVAL: Duration = Duration::from_secs(1);
/// The same while the container's files are closed.
const CLOSED_INTERVAL: Duration = Duration::from_secs(5);
/// The sandbox's process is `runc` first; its name is looked at for this long.
const SANDBOX_NAMED_WITHIN: Duration = Duration::from_mins(1);
/// A container is young for this long.
const YOUNG: Duration = Duration::from_secs(1);
/// Without events, a young group with no process that can be watched is looked at this often.
const YOUNG_LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// Likewise one that is not young any more.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// After an exit watch fired, the group is looked at every millisecond for this long.
const FIRED_WINDOW: Duration = Duration::from_millis(50);
/// No timer is shorter.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// Where a container stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its cgroup is there; no process has been seen in it.
    Fresh,
    /// A process is in it.
    Running,
    /// Its last process is gone, and its files have been read since.
    Empty {
        /// On the monotonic clock.
        since: Instant,
        /// On the wall clock.
        at: SystemTime,
        /// Readings since.
        rechecks: usize,
        /// Its end is in the readings.
        reported: bool,
    },
    /// Its pod is not wanted: none of its files is open.
    Closed,
}

/// What a timer depends on beside the container.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// How often the living are sampled.
    pub(crate) cadence: Cadence,
    /// Until there is CPU time for samples again; zero when there is.
    pub(crate) credit_wait: Duration,
    /// Whether the kernel reports changes of `cgroup.events`.
    pub(crate) has_events: bool,
    /// Long waits end on a common grid that begins here.
    pub(crate) epoch: Instant,
}

/// What is to be done once the group was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Wait,
    Sample,
    SampleIfDue,
    ReportIfOver,
}

/// One container's state.
#[derive(Debug)]
pub(crate) struct Life {
    created: SystemTime,
    created_at: Instant,
    phase: Phase,
    next: Next,
    sampled_at: Instant,
    verdict_at: Instant,
    /// An exit watch is set.
    watched: bool,
    /// When the last exit watch fired: the group is about to be empty, or has another process.
    fired_at: Option<Instant>,
    sandbox: bool,
}

// === impl Life ===

impl Life {
    /// A container whose cgroup was made at `created` and seen at `now`.
    pub(crate) fn new(created: SystemTime, now: Instant) -> Self {
        Self {
            created,
            created_at: now,
            phase: Phase::Fresh,
            next: Next::Wait,
            sampled_at: now,
            verdict_at: now,
            watched: false,
            fired_at: None,
            sandbox: false,
        }
    }

    /// Takes in what happened and says what is to be done.
    pub(crate) fn on(&mut self, event: Event, now: Instant, pace: &Pace) -> Action {
        match event {
            Event::Opened => {
                if self.is_closed() {
                    self.phase = Phase::Fresh;
                }
                self.look_then(Next::Sample)
            }
            Event::Changed => self.look_then(Next::Wait),
            Event::ExitWatchFired => {
                self.watched = false;
                self.fired_at = Some(now);
                self.look_then(Next::Wait)
            }
            Event::Due if now.duration_since(self.verdict_at) >= VERDICT_INTERVAL => {
                self.verdict_at = now;
                Action::AskVerdict
            }
            Event::Due => self.due(now, pace),
            Event::Verdict(wanted) => self.verdict(wanted, now, pace),
            Event::Looked(Some(true)) => self.occupied(now, pace),
            // A life too short to be seen leaves CPU time behind.
            Event::Looked(Some(false)) if self.phase == Phase::Fresh => Action::ReadCpu,
            Event::CpuRead(Some(1..)) | Event::Looked(Some(false)) => Action::ReadFinal,
            Event::FinalRead(Some(at)) => self.emptied(at, now, pace),
            Event::Looked(None) | Event::CpuRead(_) | Event::FinalRead(None) => {
                self.proceed(now, pace)
            }
            Event::Unsettled => self.watch(now, pace),
            Event::ExitWatched(watched) => {
                self.watched = watched;
                self.proceed(now, pace)
            }
            Event::Sampled(read) => self.sampled(read, now, pace),
            Event::IsSandbox(true) => {
                self.sandbox = true;
                Action::HideSandbox
            }
            Event::IsSandbox(false) => Action::Show,
            Event::Nested(nested) => self.nested(nested, now, pace),
            Event::Done => self.wait(now, pace),
            Event::Removed => self.removed(),
        }
    }

    /// Where it stands.
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether its files are closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Whether its end is in the readings though its directory is there.
    pub(crate) fn is_reported(&self) -> bool {
        matches!(self.phase, Phase::Empty { reported: true, .. })
    }

    /// Whether it was found to be the pod's sandbox.
    pub(crate) fn is_sandbox(&self) -> bool {
        self.sandbox
    }

    /// When its cgroup was made.
    pub(crate) fn created(&self) -> SystemTime {
        self.created
    }

    /// When its cgroup was seen for the first time.
    pub(crate) fn created_at(&self) -> Instant {
        self.created_at
    }

    /// When its values were read last.
    pub(crate) fn sampled_at(&self) -> Instant {
        self.sampled_at
    }

    /// Its end, if its last process was seen gone and its files were read since. A clock that was set
    /// back must not end a container before its birth.
    pub(crate) fn exact_end(&self) -> Option<Ended> {
        let Phase::Empty { at, .. } = self.phase else { return None };
        Some(Ended { at: at.max(self.created), quality: Quality::Exact })
    }

    fn age(&self, now: Instant) -> Duration {
        now.duration_since(self.created_at)
    }

    fn look_then(&mut self, next: Next) -> Action {
        self.next = next;
        Action::Look
    }

    fn due(&mut self, now: Instant, pace: &Pace) -> Action {
        match self.phase {
            Phase::Closed => self.wait(now, pace),
            Phase::Empty { .. } => self.look_then(Next::ReportIfOver),
            // Where an exit watch is set it reports the end of the last process.
            Phase::Fresh | Phase::Running if self.watched => {
                self.next = Next::SampleIfDue;
                self.proceed(now, pace)
            }
            Phase::Fresh | Phase::Running => self.look_then(Next::SampleIfDue),
        }
    }

    fn verdict(&mut self, wanted: bool, now: Instant, pace: &Pace) -> Action {
        match (self.is_closed(), wanted) {
            (true, true) => Action::OpenPod,
            (false, false) if self.age(now) >= UNWANTED_GRACE => {
                self.phase = Phase::Closed;
                self.watched = false;
                Action::Close
            }
            _ => self.due(now, pace),
        }
    }

    /// A process is in it.
    fn occupied(&mut self, now: Instant, pace: &Pace) -> Action {
        let was_reported = self.is_reported();
        self.phase = Phase::Running;
        if was_reported { Action::Unsettle } else { self.watch(now, pace) }
    }

    fn watch(&mut self, now: Instant, pace: &Pace) -> Action {
        if self.watched { self.proceed(now, pace) } else { Action::WatchExit }
    }

    /// No process is in it, and it was read after that.
    fn emptied(&mut self, at: SystemTime, now: Instant, pace: &Pace) -> Action {
        self.sampled_at = now;
        self.watched = false;
        self.phase = match self.phase {
            Phase::Empty { since, at, rechecks, reported } => {
                Phase::Empty { since, at, rechecks: rechecks + 1, reported }
            }
            _ => Phase::Empty { since: now, at, rechecks: 0, reported: false },
        };
        self.proceed(now, pace)
    }

    /// Goes on after the group was looked at.
    fn proceed(&mut self, now: Instant, pace: &Pace) -> Action {
        let is_empty = matches!(self.phase, Phase::Empty { .. });
        match std::mem::replace(&mut self.next, Next::Wait) {
            Next::Sample if !is_empty => Action::Sample,
            Next::SampleIfDue if !is_empty && self.is_sample_due(now, pace) => Action::Sample,
            Next::ReportIfOver if self.is_newly_over(now) => Action::AskNested,
            _ => self.wait(now, pace),
        }
    }

    fn is_sample_due(&self, now: Instant, pace: &Pace) -> bool {
        let since_sample = now.duration_since(self.sampled_at);
        pace.credit_wait.is_zero() && pace.cadence.is_due(self.age(now), since_sample)
    }

    fn is_newly_over(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Empty { since, reported: false, .. }
            if now.duration_since(since) >= OVER_AFTER)
    }

    fn sampled(&mut self, read: bool, now: Instant, pace: &Pace) -> Action {
        if read {
            self.sampled_at = now;
        }
        match self.sandbox {
            true => self.wait(now, pace),
            false if self.age(now) < SANDBOX_NAMED_WITHIN => Action::AskSandbox,
            false => Action::Show,
        }
    }

    fn nested(&mut self, nested: bool, now: Instant, pace: &Pace) -> Action {
        let ended = self.exact_end();
        match (&mut self.phase, ended) {
            (phase, _) if nested => *phase = Phase::Running,
            (Phase::Empty { reported, .. }, Some(ended)) => {
                *reported = true;
                return Action::ReportEnd(ended);
            }
            _ => {}
        }
        self.wait(now, pace)
    }

    fn removed(&self) -> Action {
        match self.exact_end() {
            _ if self.is_closed() || self.is_reported() => Action::Forget,
            Some(ended) => Action::SettleExact(ended),
            None => Action::SettleMissed,
        }
    }

    /// Waits for the next thing there is to do.
    fn wait(&self, now: Instant, pace: &Pace) -> Action {
        let wait = match self.phase {
            Phase::Closed => CLOSED_INTERVAL,
            Phase::Empty { since, rechecks, .. } => {
                let recheck = Cadence::recheck(now.duration_since(since), rechecks);
                recheck.unwrap_or(CLOSED_INTERVAL)
            }
            Phase::Fresh | Phase::Running => self.living_wait(now, pace),
        };
        let due = (now + wait).duration_since(pace.epoch);
        Action::Wait(pace.epoch + Cadence::on_grid(due, wait))
    }

    fn living_wait(&self, now: Instant, pace: &Pace) -> Duration {
        let age = self.age(now);
        let due = self.sampled_at + pace.cadence.interval(age);
        let wait = due.saturating_duration_since(now).max(pace.credit_wait).max(SHORTEST_WAIT);
        if self.watched {
            return wait;
        }
        let fired = self.fired_at.is_some_and(|at| now < at + FIRED_WINDOW);
        match pace.has_events {
            _ if fired => SHORTEST_WAIT,
            false if age < YOUNG => wait.min(YOUNG_LOOK_INTERVAL),
            false => wait.min(LOOK_INTERVAL),
            true => wait,
        }
    }
}

#[cfg(test)]
mod tests;
