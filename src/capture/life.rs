//! The state machine of one container: takes events, returns actions.
//!
//! Pure: it reads no files and no clock. Whoever performs an [`Action`] passes its result back as
//! the next [`Event`], until the answer is [`Action::Wait`] or the container has ended.

mod event;

use std::time::{Duration, Instant, SystemTime};

use ephemon_model::{Ended, Quality};

use super::cadence::{Cadence, OVER_AFTER};
pub(crate) use event::{Action, Event};

/// A pod that the API server does not list is captured for this long, because the list may be
/// behind.
const UNWANTED_GRACE: Duration = Duration::from_secs(10);
/// How often the inventory is asked whether a container's pod is selected.
const VERDICT_INTERVAL: Duration = Duration::from_secs(1);
/// The same while the container's files are closed.
const CLOSED_INTERVAL: Duration = Duration::from_secs(5);
/// The sandbox's process is `runc` first, so its name is checked for this long.
const SANDBOX_NAMED_WITHIN: Duration = Duration::from_mins(1);
/// How long a container counts as young.
const YOUNG: Duration = Duration::from_secs(1);
/// A group without a process for this long, in which nothing has used CPU time, is [`Phase::Vacant`]. A
/// runtime makes a container's group and puts its process into it in one step.
const VACANT_AFTER: Duration = Duration::from_secs(1);
/// Without events, how often a young group without a watched process is checked.
const YOUNG_LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// The same for a group that is no longer young.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// After an exit watch fired, the group is checked every millisecond for this long.
const FIRED_WINDOW: Duration = Duration::from_millis(50);
/// No timer is shorter.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// The phase of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its cgroup exists; no process has been seen in it.
    Fresh,
    /// The same for longer than a start takes: a sandbox runs the container elsewhere, or the group only
    /// stands for a sandbox without a process.
    Vacant,
    /// It contains a process.
    Running,
    /// Its last process has ended, and its files have been read since.
    Empty {
        /// By the monotonic clock.
        since: Instant,
        /// By the wall clock.
        at: SystemTime,
        /// Number of readings since.
        rechecks: usize,
        /// Whether its end is in the readings.
        reported: bool,
    },
    /// Its pod is not selected, or there is no place for it: none of its files is open.
    Closed,
}

/// What a timer depends on, in addition to the container.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// How often running containers are sampled.
    pub(crate) cadence: Cadence,
    /// Time until there is budget for samples again; zero if there is.
    pub(crate) credit_wait: Duration,
    /// Whether the kernel reports changes of `cgroup.events`.
    pub(crate) has_events: bool,
    /// Start of the common grid on which long waits end.
    pub(crate) epoch: Instant,
}

/// What to do after the group was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Wait,
    Sample,
    SampleIfDue,
    ReportIfOver,
}

/// The state of one container.
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
    /// A container whose cgroup was created at `created` and seen at `now`.
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

    /// The same, and none of its files is open yet.
    pub(crate) fn waiting(created: SystemTime, now: Instant) -> Self {
        Self { phase: Phase::Closed, ..Self::new(created, now) }
    }

    /// Handles an event and returns the next action.
    pub(crate) fn on(&mut self, event: Event, now: Instant, pace: &Pace) -> Action {
        match event {
            Event::Opened => {
                if matches!(self.phase, Phase::Closed | Phase::Vacant) {
                    self.phase = Phase::Fresh;
                }
                self.look_then(Next::Sample)
            }
            Event::Displaced => self.close(),
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
            // A container too short to be seen leaves CPU time in the pod's counters.
            Event::Looked(Some(false)) if self.has_not_begun() => Action::ReadCpu,
            Event::CpuRead(Some(1..)) | Event::Looked(Some(false)) => Action::ReadFinal,
            Event::CpuRead(Some(0)) if self.age(now) >= VACANT_AFTER => Action::AskVacant,
            Event::IsVacant(vacant) => self.vacated(vacant, now, pace),
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

    /// Whether no process was ever seen in it.
    pub(crate) fn has_not_begun(&self) -> bool {
        matches!(self.phase, Phase::Fresh | Phase::Vacant)
    }

    /// Whether its end is in the readings although its directory exists.
    pub(crate) fn is_reported(&self) -> bool {
        matches!(self.phase, Phase::Empty { reported: true, .. })
    }

    /// Whether it was found to be the pod's sandbox.
    pub(crate) fn is_sandbox(&self) -> bool {
        self.sandbox
    }

    /// When its cgroup was created.
    pub(crate) fn created(&self) -> SystemTime {
        self.created
    }

    /// When its cgroup was first seen.
    pub(crate) fn created_at(&self) -> Instant {
        self.created_at
    }

    /// Its end, if its last process was seen to have ended and its files were read since. If the
    /// clock was set back, the end is not before the creation.
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
            // The exit watch reports the end of the last process.
            Phase::Fresh | Phase::Running if self.watched => {
                self.next = Next::SampleIfDue;
                self.proceed(now, pace)
            }
            Phase::Fresh | Phase::Vacant | Phase::Running => self.look_then(Next::SampleIfDue),
        }
    }

    fn verdict(&mut self, wanted: bool, now: Instant, pace: &Pace) -> Action {
        match (self.is_closed(), wanted) {
            (true, true) => Action::OpenPod,
            (false, false) if self.age(now) >= UNWANTED_GRACE => self.close(),
            _ => self.due(now, pace),
        }
    }

    fn close(&mut self) -> Action {
        let was_reported = self.is_reported();
        self.phase = Phase::Closed;
        self.watched = false;
        Action::Close { was_reported }
    }

    /// It contains a process.
    fn occupied(&mut self, now: Instant, pace: &Pace) -> Action {
        let was_reported = self.is_reported();
        self.phase = Phase::Running;
        if was_reported { Action::Unsettle } else { self.watch(now, pace) }
    }

    fn watch(&mut self, now: Instant, pace: &Pace) -> Action {
        if self.watched { self.proceed(now, pace) } else { Action::WatchExit }
    }

    /// It contains no process, and was read after that.
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

    /// No process was in it for longer than a start takes.
    fn vacated(&mut self, vacant: bool, now: Instant, pace: &Pace) -> Action {
        if !vacant {
            return self.proceed(now, pace);
        }
        self.phase = Phase::Vacant;
        self.next = Next::Wait;
        self.wait(now, pace)
    }

    /// Continues after the group was checked.
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

    /// Waits for the next time at which there is something to do.
    fn wait(&self, now: Instant, pace: &Pace) -> Action {
        let wait = match self.phase {
            Phase::Closed => CLOSED_INTERVAL,
            Phase::Vacant => pace.cadence.interval(self.age(now)).max(pace.credit_wait),
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
