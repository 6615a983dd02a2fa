//! Retry pauses: they grow after failures, with jitter so that nodes do not retry at the same time.
//! Pure: the caller passes random numbers between 0 and 1.

use std::time::Duration;

/// Pauses that double from the first to the longest; each is chosen at random from the upper half
/// of its range.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

/// A period that is changed at random by up to a tenth.
pub fn jittered(period: Duration, random: f64) -> Duration {
    period.mul_f64(0.9 + 0.2 * random.clamp(0.0, 1.0))
}

// === impl Backoff ===

impl Backoff {
    /// Without failures so far.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// The pause after another failure. With `random` 1 it is whole, with 0 half as long.
    pub fn next_pause(&mut self, random: f64) -> Duration {
        let whole = self.first.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        whole.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
    }

    /// Number of pauses since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Starts over with the first pause.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(30);

    #[test]
    fn pauses_double_up_to_the_longest_and_start_over_after_a_success() {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        let pauses: Vec<_> = (0..8).map(|_| backoff.next_pause(1.0).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        for _ in 0..100 {
            assert_eq!(backoff.next_pause(0.5), LONGEST.mul_f64(0.75));
        }
        backoff.reset();
        assert_eq!(backoff.next_pause(0.0), FIRST / 2);
    }

    #[test]
    fn a_pause_is_never_shorter_than_half_nor_longer_than_whole() {
        for random in [-1.0, 0.0, 0.3, 1.0, 7.0] {
            let pause = Backoff::new(FIRST, LONGEST).next_pause(random);
            assert!(pause >= FIRST / 2 && pause <= FIRST, "{pause:?} with {random}");
        }
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        let period = Duration::from_secs(10);
        for (random, millis) in [(-1.0, 9000), (0.0, 9000), (0.5, 10_000), (1.0, 11_000)] {
            assert_eq!(jittered(period, random).as_millis(), millis, "{random}");
        }
    }
}
