//! How long the thread waits before it looks at the files again.

use std::time::{Duration, Instant};

use ephemon_base::Idle;
use ephemon_base::idle::IDLE_INTERVAL;

/// While something is on its way to the collector.
pub(super) const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// When nothing is; a new log ends it. Once the thread is idle the first line after a silence waits
/// [`IDLE_INTERVAL`] at most.
const QUIET_PAUSE: Duration = Duration::from_millis(200);

/// Remembers when something happened last.
#[derive(Debug)]
pub(super) struct Pace(Idle);

// === impl Pace ===

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self(Idle::new(now))
    }

    /// After a turn: whether there is `more` to read at once, whether the thread `is_busy` with what is
    /// on its way, and whether a new log had woken it.
    pub(super) fn pause(
        &mut self,
        more: bool,
        is_busy: bool,
        is_news: bool,
        now: Instant,
    ) -> Duration {
        if more || is_busy || is_news {
            self.0.event(now);
        }
        match (more, is_busy) {
            (true, _) => Duration::ZERO,
            (false, true) => BUSY_PAUSE,
            _ if self.0.is_idle(now) => IDLE_INTERVAL,
            _ => QUIET_PAUSE,
        }
    }
}

#[cfg(test)]
mod tests {
    use ephemon_base::idle::IDLE_AFTER;

    use super::*;

    #[test]
    fn pauses_grow_when_nothing_happens_and_any_event_makes_them_short_again() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(pace.pause(true, true, false, start), Duration::ZERO);
        assert_eq!(pace.pause(false, true, false, start), BUSY_PAUSE);
        assert_eq!(pace.pause(false, false, false, start + IDLE_AFTER / 2), QUIET_PAUSE);
        let calm = start + IDLE_AFTER;
        assert_eq!(pace.pause(false, false, false, calm), IDLE_INTERVAL);
        assert_eq!(pace.pause(false, false, true, calm), QUIET_PAUSE);
        assert_eq!(pace.pause(false, false, false, calm + IDLE_AFTER), IDLE_INTERVAL);
    }
}
