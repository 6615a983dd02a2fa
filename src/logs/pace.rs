//! How long the thread waits before it looks at the files again.

use std::time::{Duration, Instant};

/// While something is on its way to the collector.
pub(super) const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// When nothing is; a new log ends it.
const IDLE_PAUSE: Duration = Duration::from_millis(200);
/// When nothing has been for [`CALM_AFTER`]: the longest that the first line after a silence waits.
const CALM_PAUSE: Duration = Duration::from_secs(1);
const CALM_AFTER: Duration = Duration::from_secs(5);

/// Remembers when something happened last.
#[derive(Debug)]
pub(super) struct Pace {
    last_event: Instant,
}

// === impl Pace ===

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { last_event: now }
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
            self.last_event = now;
        }
        match (more, is_busy) {
            (true, _) => Duration::ZERO,
            (false, true) => BUSY_PAUSE,
            _ if now.saturating_duration_since(self.last_event) < CALM_AFTER => IDLE_PAUSE,
            _ => CALM_PAUSE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_when_nothing_happens_and_any_event_makes_them_short_again() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(pace.pause(true, true, false, start), Duration::ZERO);
        assert_eq!(pace.pause(false, true, false, start), BUSY_PAUSE);
        assert_eq!(pace.pause(false, false, false, start + CALM_AFTER / 2), IDLE_PAUSE);
        let calm = start + CALM_AFTER;
        assert_eq!(pace.pause(false, false, false, calm), CALM_PAUSE);
        assert_eq!(pace.pause(false, false, true, calm), IDLE_PAUSE);
        assert_eq!(pace.pause(false, false, false, calm + CALM_AFTER), CALM_PAUSE);
    }
}
