//! When a loop that nothing wakes may look rarely: when nothing has happened for a while. Pure: the
//! caller has the time.

use std::time::{Duration, Instant};

/// Nothing has happened for so long: the loop is idle.
pub const IDLE_AFTER: Duration = Duration::from_secs(5);
/// From one look to the next of an idle loop: the longest that what happens then waits.
pub const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// Remembers when something happened last.
#[derive(Debug, Clone)]
pub struct Idle {
    last_event: Instant,
}

// === impl Idle ===

impl Idle {
    /// The beginning counts as an event.
    pub fn new(now: Instant) -> Self {
        Self { last_event: now }
    }

    /// Something happened.
    pub fn event(&mut self, now: Instant) {
        self.last_event = now;
    }

    /// Whether nothing has happened for [`IDLE_AFTER`].
    pub fn is_idle(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_event) >= IDLE_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_begins_some_time_after_the_last_event() {
        let start = Instant::now();
        let mut idle = Idle::new(start);
        assert!(!idle.is_idle(start + IDLE_AFTER / 2));
        let calm = start + IDLE_AFTER;
        assert!(idle.is_idle(calm));
        idle.event(calm);
        assert!(!idle.is_idle(calm));
        assert!(idle.is_idle(calm + IDLE_AFTER));
    }
}
