//! How often the jobs of the node are looked at: often while something happens, rarely while nothing
//! does.

use std::time::{Duration, Instant};

use ephemon_base::Idle;
use ephemon_base::idle::IDLE_INTERVAL;

/// From one look to the next while something happens, and at least, whatever pods do.
pub(super) const BUSY_INTERVAL: Duration = Duration::from_millis(250);

/// How much longer than [`BUSY_INTERVAL`] to wait, unless something happens meanwhile. A record of the
/// hook or of init waits for the agent [`IDLE_INTERVAL`] at most.
pub(super) fn rest(idle: &Idle, now: Instant) -> Option<Duration> {
    idle.is_idle(now).then(|| IDLE_INTERVAL.saturating_sub(BUSY_INTERVAL))
}

#[cfg(test)]
mod tests {
    use ephemon_base::idle::IDLE_AFTER;

    use super::*;

    #[test]
    fn looks_become_rare_when_nothing_happens_and_frequent_when_something_does() {
        let start = Instant::now();
        let mut idle = Idle::new(start);
        assert_eq!(rest(&idle, start + IDLE_AFTER / 2), None);
        let calm = start + IDLE_AFTER;
        assert_eq!(rest(&idle, calm), Some(Duration::from_millis(750)));
        idle.event(calm);
        assert_eq!(rest(&idle, calm), None);
        assert!(rest(&idle, calm + IDLE_AFTER).is_some());
    }
}
