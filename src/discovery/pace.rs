//! How long to wait: growing pauses after failures, and jitter so that nodes do not march in step.

use std::time::Duration;

/// Pauses that double from `first` to `cap`, each drawn from its upper half.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    first: Duration,
    cap: Duration,
    failures: u32,
}

/// A period with a tenth more or less.
pub(super) fn jittered(period: Duration) -> Duration {
    period.mul_f64(0.9 + 0.2 * fastrand::f64())
}

// === impl Backoff ===

impl Backoff {
    pub(super) fn new(first: Duration, cap: Duration) -> Self {
        Self { first, cap, failures: 0 }
    }

    /// The pause after one more failure.
    pub(super) fn pause(&mut self) -> Duration {
        let whole = self.first.saturating_mul(1 << self.failures.min(16)).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        whole.mul_f64(0.5 + 0.5 * fastrand::f64())
    }

    /// All is well again.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_cap_and_start_over_after_a_success() {
        let (first, cap) = (Duration::from_millis(100), Duration::from_secs(5));
        let mut backoff = Backoff::new(first, cap);
        let mut whole = first;
        for _ in 0..100 {
            let pause = backoff.pause();
            assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
            whole = (whole * 2).min(cap);
        }
        backoff.reset();
        assert!(backoff.pause() <= first);
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        for _ in 0..100 {
            let period = jittered(Duration::from_secs(10));
            assert!(period >= Duration::from_secs(9) && period <= Duration::from_secs(11));
        }
    }
}
