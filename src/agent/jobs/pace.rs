//! How often the jobs of the node are checked: often while something happens, rarely otherwise.

use std::time::{Duration, Instant};

use ephemon_base::Idle;
use ephemon_base::idle::IDLE_INTERVAL;

/// Interval between checks while something happens, and the shortest interval in any case.
pub(super) const BUSY_INTERVAL: Duration = Duration::from_millis(250);
/// Interval between checks if every possible change is reported by an event.
const TOLD_INTERVAL: Duration = Duration::from_secs(30);

/// How much longer than [`BUSY_INTERVAL`] to wait, unless an event comes. `polls`: changes are
/// possible that no event reports. A record of the hook or of init is read after at most
/// [`IDLE_INTERVAL`].
pub(super) fn rest(idle: &Idle, now: Instant, polls: bool) -> Option<Duration> {
    let interval = if polls { IDLE_INTERVAL } else { TOLD_INTERVAL };
    idle.is_idle(now).then(|| interval.saturating_sub(BUSY_INTERVAL))
}

#[cfg(test)]
mod tests {
    use ephemon_base::idle::IDLE_AFTER;

    use super::*;

    #[test]
    fn looks_become_rare_when_nothing_happens_and_frequent_when_something_does() {
        let start = Instant::now();
        let mut idle = Idle::new(start);
        assert_eq!(rest(&idle, start + IDLE_AFTER / 2, true), None);
        let calm = start + IDLE_AFTER;
        assert_eq!(rest(&idle, calm, true), Some(Duration::from_millis(750)));
        assert_eq!(rest(&idle, calm, false), Some(TOLD_INTERVAL.saturating_sub(BUSY_INTERVAL)));
        idle.event(calm);
        assert_eq!(rest(&idle, calm, false), None);
        assert!(rest(&idle, calm + IDLE_AFTER, true).is_some());
    }
}
