//! When a polling loop may slow down: after a time without events. Pure: the caller passes the
//! time.

use std::time::{Duration, Instant};

/// A loop is idle after this time without events.
pub const IDLE_AFTER: Duration = Duration::from_secs(5);
/// Interval of an idle loop, and so the longest delay of the next event.
pub const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// Remembers the last event.
#[derive(Debug, Clone)]
pub struct Idle {
    last_event: Instant,
}

// === impl Idle ===

impl Idle {
    /// The start counts as an event.
    pub fn new(now: Instant) -> Self {
        Self { last_event: now }
    }

    /// Records an event.
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
