//! How often the jobs of the node are looked at: often while something happens, rarely while nothing
//! does.

use std::time::{Duration, Instant};

/// From one look to the next while something happens, and at least, whatever pods do.
pub(super) const BUSY_INTERVAL: Duration = Duration::from_millis(250);
/// From one look to the next while nothing happens: the longest that a record of the hook or of init
/// waits for the agent.
const CALM_INTERVAL: Duration = Duration::from_secs(1);
/// The same where nothing can happen that is not told of.
const IDLE_INTERVAL: Duration = Duration::from_secs(30);
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

    /// How much longer than [`BUSY_INTERVAL`] to wait, unless something happens meanwhile. `polls`:
    /// something may happen that is not told of.
    pub(super) fn rest(&self, now: Instant, polls: bool) -> Option<Duration> {
        let is_calm = now.saturating_duration_since(self.last_event) >= CALM_AFTER;
        let interval = if polls { CALM_INTERVAL } else { IDLE_INTERVAL };
        is_calm.then(|| interval.saturating_sub(BUSY_INTERVAL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_become_rare_when_nothing_happens_and_frequent_when_something_does() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(pace.rest(start + CALM_AFTER / 2, true), None);
        let calm = start + CALM_AFTER;
        assert_eq!(pace.rest(calm, true), Some(CALM_INTERVAL.saturating_sub(BUSY_INTERVAL)));
        assert_eq!(pace.rest(calm, false), Some(IDLE_INTERVAL.saturating_sub(BUSY_INTERVAL)));
        pace.event(calm);
        assert_eq!(pace.rest(calm, false), None);
        assert!(pace.rest(calm + CALM_AFTER, true).is_some());
    }
}
