//! A log that is being read: what is wanted of it, and when its files are to be looked at.

use std::io;
use std::time::{Duration, Instant};

use ephemon_base::Idle;
use ephemon_base::idle::IDLE_INTERVAL;

use super::Choice;
use crate::births::Home;
use crate::files::LogFiles;
use crate::log::Log;

/// From one look to the next at a log that is idle. A little less than between two rounds of a thread
/// that is idle itself, so that each of its rounds looks.
const IDLE_LOOK_INTERVAL: Duration = IDLE_INTERVAL.saturating_sub(Duration::from_millis(100));

/// A log being read, or held for a decision.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) log: Log,
    pub(crate) choice: Choice,
    /// It was read before the agent was started anew.
    pub(super) restored: bool,
    pub(super) home: Home,
    /// When it grew last, or might have: another file of it came, or somebody wanted it.
    grew: Idle,
    looked: Instant,
}

// === impl Live ===

impl Live {
    pub(super) fn new(log: Log, choice: Choice, restored: bool, home: Home, now: Instant) -> Self {
        Self { log, choice, restored, home, grew: Idle::new(now), looked: now }
    }

    /// Looks for files of it that are new. A rescan, which shows the same ones, is no event.
    pub(super) fn meet(&mut self, files: &LogFiles<'_>, now: Instant) -> io::Result<()> {
        let seen = |log: &Log| {
            let open = log.chain.segments().filter(|file| file.source.is_some()).count();
            (log.chain.next_number(), open)
        };
        let before = seen(&self.log);
        let met = self.log.meet(files, now);
        if seen(&self.log) != before {
            self.grew.event(now);
        }
        met
    }

    /// Somebody wants it now.
    pub(super) fn may_grow(&mut self, now: Instant) {
        self.grew.event(now);
    }

    /// Whether its files are to be looked at now. Of one that ends every look counts: it is over when
    /// it was quiet for long enough.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let is_idle = self.grew.is_idle(now);
        let is_looked_at = now.saturating_duration_since(self.looked) < IDLE_LOOK_INTERVAL;
        let is_ending = self.log.ended || self.log.gone;
        !(is_idle && is_looked_at) || is_ending || self.log.is_packed()
    }

    /// As if it had been quiet since `grew`.
    #[cfg(test)]
    pub(crate) fn pretend(&mut self, grew: Instant, looked: Instant) {
        (self.grew, self.looked) = (Idle::new(grew), looked);
    }

    /// It was looked at, and had something or nothing to read.
    pub(crate) fn looked(&mut self, now: Instant, has_grown: bool) {
        self.looked = now;
        if has_grown {
            self.grew.event(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use ephemon_base::idle::IDLE_AFTER;
    use ephemon_model::{PodRef, PodUid};

    use super::*;
    use crate::place::{LogId, LogRef};

    fn live(now: Instant) -> Live {
        let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
        let pod = PodRef { namespace: "ci".into(), name: "runner-1".into(), uid };
        let home = Home { pod: Arc::new(pod.clone()), container: "job".into() };
        let name = LogRef { pod, container: "job".into(), attempt: 0 };
        assert!(home.open(Path::new("/nowhere")).is_err());
        Live::new(Log::new(LogId(0), name), Choice::Take, false, home, now)
    }

    #[test]
    fn a_quiet_log_is_looked_at_rarely_until_it_grows() {
        let start = Instant::now();
        let mut log = live(start);
        let soon = start + IDLE_AFTER / 2;
        log.looked(soon, false);
        assert!(log.is_due(soon), "it has not been quiet for long");
        let quiet = start + IDLE_AFTER;
        log.looked(quiet, false);
        assert!(!log.is_due(quiet + IDLE_LOOK_INTERVAL / 2));
        assert!(log.is_due(quiet + IDLE_LOOK_INTERVAL));
        log.looked(quiet, true);
        assert!(log.is_due(quiet));
    }

    #[test]
    fn a_log_that_ends_or_has_another_file_is_looked_at_at_once() {
        let start = Instant::now();
        let quiet = start + IDLE_AFTER;
        let looked = || {
            let mut log = live(start);
            log.looked(quiet, false);
            assert!(!log.is_due(quiet));
            log
        };
        let (mut ended, mut gone, mut rotated) = (looked(), looked(), looked());
        (ended.log.ended, gone.log.gone) = (true, true);
        rotated.may_grow(quiet);
        assert!(ended.is_due(quiet) && gone.is_due(quiet) && rotated.is_due(quiet));
    }
}
