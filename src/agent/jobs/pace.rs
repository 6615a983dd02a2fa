//! How often the jobs of the node are looked at: often while something happens, rarely while nothing
//! does.

use std::time::{Duration, Instant};

/// From one look to the next while something happens, and at least, whatever pods do.
pub(super) const BUSY_INTERVAL: Duration = Duration::from_millis(250);
/// From one look to the next while nothing happens: the longest that a record of the hook or of init
/// waits for the agent.
const CALM_INTERVAL: Duration = Duration::from_secs(1);
/// Nothing has happened for so long.
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

    /// Something happened.
    pub(super) fn event(&mut self, now: Instant) {
        self.last_event = now;
    }

    /// How much longer than [`BUSY_INTERVAL`] to wait, unless something happens meanwhile.
    pub(super) fn rest(&self, now: Instant) -> Option<Duration> {
        let is_calm = now.saturating_duration_since(self.last_event) >= CALM_AFTER;
        is_calm.then(|| CALM_INTERVAL.saturating_sub(BUSY_INTERVAL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_become_rare_when_nothing_happens_and_frequent_when_something_does() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(pace.rest(start + CALM_AFTER / 2), None);
        let calm = start + CALM_AFTER;
        assert_eq!(pace.rest(calm), Some(CALM_INTERVAL.saturating_sub(BUSY_INTERVAL)));
        pace.event(calm);
        assert_eq!(pace.rest(calm), None);
        assert!(pace.rest(calm + CALM_AFTER).is_some());
    }
}
