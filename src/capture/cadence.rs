//! When to read again. Pure: ages in, intervals out.

use std::time::Duration;

/// How often a running container is read, and how much CPU time reading may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cadence {
    /// The interval of a container that has run for a while.
    pub(crate) steady: Duration,
}

/// The reader's CPU time budget: a bucket that fills with time and empties with work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    ratio: f64,
    credit_s: f64,
}

/// Size of the bucket: so much CPU time can be used for a burst of new containers.
const BUCKET_S: f64 = 0.25;

/// The shortest wait for budget.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);

/// After its end a container is read again at these intervals while its files still exist: the last
/// CPU slice of a process is charged when it leaves the CPU, shortly after it left the group.
const RECHECKS_MS: [u64; 6] = [1, 2, 4, 8, 16, 30];

/// A group that stays empty for this long counts as ended, even if its directory still exists.
pub(crate) const OVER_AFTER: Duration = Duration::from_secs(1);

// === impl Cadence ===

impl Cadence {
    /// The interval to the next sample of a container of this age: at first 10 Hz, decaying to the
    /// steady interval; never longer than that, and never shorter than 100 ms after the first
    /// moments.
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

    /// Rounds the end of a long pause to a common grid, so that one wakeup serves several
    /// containers, and caches are warm for all but the first.
    pub(crate) fn on_grid(due: Duration, pause: Duration) -> Duration {
        let grid_ms = match pause.as_millis() {
            0..200 => return due,
            200..800 => 50,
            // A pause that is no multiple would become a longer one.
            long if long % 500 == 0 => 500,
            _ => 250,
        };
        let grid = Duration::from_millis(grid_ms);
        let over_ns = u64::try_from(due.as_nanos() % grid.as_nanos()).unwrap_or(0);
        let before = due.saturating_sub(Duration::from_nanos(over_ns));
        // Just after a point of the grid counts as on it; otherwise each round would be later by
        // one.
        if Duration::from_nanos(over_ns) <= grid / 5 { before } else { before + grid }
    }

    /// Whether a sample is due, allowing for the rounding to the grid.
    pub(crate) fn is_due(self, age: Duration, since_sample: Duration) -> bool {
        since_sample >= self.interval(age) * 4 / 5
    }

    /// The pause before an empty group is checked again; `None` once it has ended.
    pub(crate) fn recheck(empty_for: Duration, rechecks: usize) -> Option<Duration> {
        if empty_for >= OVER_AFTER {
            return None;
        }
        Some(Duration::from_millis(RECHECKS_MS.get(rechecks).copied().unwrap_or(100)))
    }
}

// === impl Budget ===

impl Budget {
    /// A budget of `ratio` of one CPU.
    pub(crate) fn new(ratio: f64) -> Self {
        Self { ratio, credit_s: BUCKET_S }
    }

    /// Adds the budget for the time that passed.
    pub(crate) fn fill(&mut self, passed: Duration) {
        self.credit_s = (self.credit_s + passed.as_secs_f64() * self.ratio).min(BUCKET_S);
    }

    /// Subtracts work that was done.
    pub(crate) fn spend(&mut self, took: Duration) {
        self.credit_s = (self.credit_s - took.as_secs_f64()).max(-BUCKET_S);
    }

    /// How long to wait until there is budget again; zero if there is.
    pub(crate) fn wait(&self) -> Duration {
        if self.credit_s > 0.0 || self.ratio <= 0.0 {
            return Duration::ZERO;
        }
        let wait = Duration::try_from_secs_f64(-self.credit_s / self.ratio);
        // Not too short, because all containers wait for the same budget, and wakeups use it, too.
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
            assert_eq!(next.as_millis() % 500, 0);
            assert!((now + ms(800)..=now + ms(1_500)).contains(&next), "{now:?} {next:?}");
            assert!(cadence.is_due(ms(60_000), next.saturating_sub(now)));
            // Read slightly late, as happens.
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
