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

/// The shortest wait for credit.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);

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

    /// The end of a long pause, rounded to a common grid: one wake serves several containers, and the
    /// kernel's and our own code are still in the caches for all but the first.
    pub(crate) fn on_grid(due: Duration, pause: Duration) -> Duration {
        let grid_ms = match pause.as_millis() {
            0..200 => return due,
            200..800 => 50,
            _ => 250,
        };
        let grid = Duration::from_millis(grid_ms);
        let over_ns = u64::try_from(due.as_nanos() % grid.as_nanos()).unwrap_or(0);
        let before = due.saturating_sub(Duration::from_nanos(over_ns));
        // Just after a point of the grid is as good as on it, or each round would be one later.
        if Duration::from_nanos(over_ns) <= grid / 5 { before } else { before + grid }
    }

    /// Whether a sample is due, the grid's rounding allowed for.
    pub(crate) fn is_due(self, age: Duration, since_sample: Duration) -> bool {
        since_sample >= self.interval(age) * 4 / 5
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
        let wait = Duration::try_from_secs_f64(-self.credit_s / self.ratio);
        // Not too short: everyone waits for the same credit, and waking costs it too.
        wait.unwrap_or(Duration::ZERO).max(SHORTEST_WAIT)
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
    fn long_pauses_end_on_a_common_grid_and_keep_their_length() {
        let (second, ms) = (Duration::from_secs(1), Duration::from_millis);
        let cadence = Cadence { steady: second };
        let mut now = ms(40_013);
        for _ in 0..10 {
            let next = Cadence::on_grid(now + second, second);
            assert_eq!(next.as_millis() % 250, 0);
            assert!((now + ms(800)..=now + ms(1_250)).contains(&next), "{now:?} {next:?}");
            assert!(cadence.is_due(ms(60_000), next.saturating_sub(now)));
            // Served a little late, as it comes.
            now = next + ms(3);
        }
        assert!(now < ms(50_313), "ten rounds take ten seconds, not {now:?}");
        assert_eq!(Cadence::on_grid(ms(1_003), ms(20)), ms(1_003));
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
