//! When to look again. Pure: ages in, intervals out.

use std::time::Duration;

/// How often a container is read while it lives, and by how much the reader may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cadence {
    /// The interval of a container that has lived for a while.
    pub(crate) steady: Duration,
}

/// The reader's allowance of CPU time: a bucket that fills with time and empties with work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    ratio: f64,
    credit_s: f64,
}

/// The bucket holds this much: a burst of births may be sampled before the budget bites.
const BUCKET_S: f64 = 0.25;

/// After its end a container is read again at these intervals while its files are still there: the
/// last CPU slice of a process is charged when it leaves the CPU, shortly after it left the group.
const RECHECKS_MS: [u64; 6] = [1, 2, 4, 8, 16, 30];

/// A group that stays empty for this long is over, though its directory is still there.
pub(crate) const OVER_AFTER: Duration = Duration::from_secs(1);

// === impl Cadence ===

impl Cadence {
    /// The interval to the next sample of a container of this age: 10 Hz at first, decaying to the
    /// steady interval; never slower than it, never faster than 10 Hz once past the first moments.
    pub(crate) fn interval(self, age: Duration) -> Duration {
        let wanted = match age.as_millis() {
            0..20 => 20,
            20..100 => 50,
            100..3_000 => 100,
            3_000..10_000 => 250,
            10_000..30_000 => 500,
            _ => u64::MAX,
        };
        Duration::from_millis(wanted).min(self.steady)
    }

    /// The pause before looking again at a group that is empty; `None` when it is over.
    pub(crate) fn recheck(empty_for: Duration, rechecks: usize) -> Option<Duration> {
        if empty_for >= OVER_AFTER {
            return None;
        }
        Some(Duration::from_millis(RECHECKS_MS.get(rechecks).copied().unwrap_or(100)))
    }
}

// === impl Budget ===

impl Budget {
    /// An allowance of `ratio` of one CPU.
    pub(crate) fn new(ratio: f64) -> Self {
        Self { ratio, credit_s: BUCKET_S }
    }

    /// Time went by.
    pub(crate) fn fill(&mut self, passed: Duration) {
        self.credit_s = (self.credit_s + passed.as_secs_f64() * self.ratio).min(BUCKET_S);
    }

    /// Work was done.
    pub(crate) fn spend(&mut self, took: Duration) {
        self.credit_s = (self.credit_s - took.as_secs_f64()).max(-BUCKET_S);
    }

    /// How long to wait until there is credit again; zero when there is.
    pub(crate) fn wait(&self) -> Duration {
        if self.credit_s > 0.0 || self.ratio <= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(-self.credit_s / self.ratio).unwrap_or(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_only_grow_with_age_and_end_at_the_steady_one() {
        let cadence = Cadence { steady: Duration::from_secs(1) };
        let ages = [0, 19, 20, 99, 100, 2_999, 3_000, 10_000, 29_999, 30_000, 86_400_000];
        let intervals: Vec<_> =
            ages.iter().map(|age| cadence.interval(Duration::from_millis(*age))).collect();
        assert!(intervals.is_sorted(), "{intervals:?}");
        assert_eq!(intervals.last(), Some(&Duration::from_secs(1)));
        let fast = Cadence { steady: Duration::from_millis(10) };
        assert_eq!(fast.interval(Duration::ZERO), Duration::from_millis(10));
    }

    #[test]
    fn work_beyond_the_budget_is_put_off_until_it_is_earned() {
        let mut budget = Budget::new(0.01);
        assert_eq!(budget.wait(), Duration::ZERO);
        budget.spend(Duration::from_millis(260));
        let wait = budget.wait();
        assert!(wait > Duration::from_millis(990) && wait < Duration::from_millis(1010));
        budget.fill(wait + Duration::from_millis(1));
        assert_eq!(budget.wait(), Duration::ZERO);
    }

    #[test]
    fn an_empty_group_is_over_after_a_while() {
        assert_eq!(Cadence::recheck(Duration::ZERO, 0), Some(Duration::from_millis(1)));
        assert_eq!(Cadence::recheck(Duration::from_millis(500), 99).unwrap().as_millis(), 100);
        assert_eq!(Cadence::recheck(OVER_AFTER, 9), None);
    }
}
