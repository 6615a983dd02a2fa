//! How long to wait before the next attempt: longer after each failure, and as long as the collector
//! asks for.

use std::time::Duration;

/// After the first failure.
const FIRST: Duration = Duration::from_millis(500);
/// However many failures: a collector that is back is found within this.
const LONGEST: Duration = Duration::from_secs(30);
/// However long the collector asks for: a mistaken wish does not silence a node for a day.
const LONGEST_WISH: Duration = Duration::from_mins(5);

/// Doubles with each failure, and never ends.
#[derive(Debug, Clone)]
pub(super) struct Backoff(ephemon_base::Backoff);

// === impl Backoff ===

impl Default for Backoff {
    fn default() -> Self {
        Self(ephemon_base::Backoff::new(FIRST, LONGEST))
    }
}

impl Backoff {
    pub(super) fn reset(&mut self) {
        self.0.reset();
    }

    /// The wait after one more failure. `jitter` is between 0 and 1: agents of many nodes do not
    /// come back in step.
    pub(super) fn next(&mut self, wish: Option<Duration>, jitter: f64) -> Duration {
        let own = self.0.next_pause(jitter);
        // Never earlier than asked for.
        let wish = wish.unwrap_or_default().min(LONGEST_WISH);
        let wish = wish.saturating_add(wish.mul_f64(jitter.clamp(0.0, 1.0) / 10.0));
        own.max(wish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_again_after_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..8).map(|_| backoff.next(None, 1.0).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        backoff.reset();
        assert_eq!(backoff.next(None, 0.0), FIRST / 2);
        for _ in 0..100 {
            assert!(backoff.next(None, 0.5) <= LONGEST);
        }
    }

    #[test]
    fn the_collectors_wish_is_heard_up_to_a_cap() {
        let mut backoff = Backoff::default();
        let wish = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(backoff.next(wish(60), 0.0).as_secs(), 60);
        assert_eq!(backoff.next(wish(86_400), 0.0), LONGEST_WISH);
        assert_eq!(backoff.next(wish(0), 0.0).as_secs(), 1);
    }
}
