//! When a health command runs, and what its results mean. Pure.
//!
//! Docker (moby, `daemon/health.go`) probes first after an interval, and during the start period
//! every five seconds; a service is unhealthy after a number of consecutive failures of probes that
//! began after the start period. The hook probes more often, so that a job starts sooner, but gives
//! up no sooner. A success that Docker would not have seen yet counts only if something else
//! confirms it: databases that initialise themselves accept connections for a while, exit, and
//! start again.

use std::time::Duration;

use crate::options::HealthOptions;

/// Docker's defaults of `--health-*`; 0 selects them, too.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES: u32 = 3;
/// Docker's interval during the start period.
const START_INTERVAL: Duration = Duration::from_secs(5);
/// After this time a success counts without confirmation: initialising takes databases less time.
const CONFIRMATION_TIMEOUT: Duration = Duration::from_secs(10);

/// The values of the options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Schedule {
    interval: Duration,
    /// A probe that takes longer has failed.
    pub(super) timeout: Duration,
    retries: u32,
    start_period: Duration,
}

/// The state after the probes so far.
#[derive(Debug)]
pub(super) struct Tally<'a> {
    schedule: &'a Schedule,
    failures: u32,
    longest: Duration,
}

/// One probe; times are relative to the container's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Probed {
    pub(super) began: Duration,
    pub(super) ended: Duration,
    pub(super) succeeded: bool,
    /// Whether a declared port accepts connections.
    pub(super) listens: bool,
}

/// The result so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Healthy,
    Unhealthy,
    Starting,
}

// === impl Schedule ===

impl Schedule {
    pub(super) fn new(options: &HealthOptions) -> Self {
        let span = |millis: Option<u32>, default: Duration| {
            let given = millis.map(|millis| Duration::from_millis(millis.into()));
            given.filter(|given| !given.is_zero()).unwrap_or(default)
        };
        Self {
            interval: span(options.interval_ms, INTERVAL),
            timeout: span(options.timeout_ms, TIMEOUT),
            retries: options.retries.filter(|retries| *retries > 0).unwrap_or(RETRIES),
            start_period: span(options.start_period_ms, Duration::ZERO),
        }
    }

    /// Pause between two probes, at most `often`.
    pub(super) fn pause(&self, often: Duration) -> Duration {
        self.interval.min(often)
    }

    /// The total time that the options allow a service whose probes take no time.
    pub(super) fn budget(&self) -> Duration {
        self.budget_with(Duration::ZERO)
    }

    fn budget_with(&self, probe: Duration) -> Duration {
        self.start_period.saturating_add((self.interval + probe).saturating_mul(self.retries))
    }

    /// From when a success needs no confirmation.
    fn counts_from(&self) -> Duration {
        let first = if self.start_period.is_zero() { self.interval } else { START_INTERVAL };
        first.min(CONFIRMATION_TIMEOUT)
    }
}

// === impl Tally ===

impl<'a> Tally<'a> {
    pub(super) fn new(schedule: &'a Schedule) -> Self {
        Self { schedule, failures: 0, longest: Duration::ZERO }
    }

    /// Adds a probe.
    pub(super) fn judge(&mut self, probed: Probed) -> Verdict {
        let schedule = self.schedule;
        if probed.succeeded {
            self.failures = 0;
            let counts = probed.listens || probed.ended >= schedule.counts_from();
            return if counts { Verdict::Healthy } else { Verdict::Starting };
        }
        self.longest = self.longest.max(probed.ended.saturating_sub(probed.began));
        if probed.began >= schedule.start_period {
            self.failures = self.failures.saturating_add(1);
        }
        let over = probed.ended >= schedule.budget_with(self.longest);
        if over && self.failures >= schedule.retries {
            Verdict::Unhealthy
        } else {
            Verdict::Starting
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(interval_ms: u32, retries: u32, start_period_ms: u32) -> Schedule {
        Schedule::new(&HealthOptions {
            interval_ms: Some(interval_ms),
            retries: Some(retries),
            start_period_ms: Some(start_period_ms),
            ..HealthOptions::default()
        })
    }

    fn probed(began_ms: u64, took_ms: u64, succeeded: bool, listens: bool) -> Probed {
        let began = Duration::from_millis(began_ms);
        Probed { began, ended: began + Duration::from_millis(took_ms), succeeded, listens }
    }

    #[test]
    fn what_is_not_said_and_zero_are_dockers_defaults() {
        let none = Schedule::new(&HealthOptions::default());
        assert_eq!(none, schedule(0, 0, 0));
        assert_eq!((none.interval, none.timeout), (INTERVAL, TIMEOUT));
        assert_eq!((none.retries, none.start_period), (RETRIES, Duration::ZERO));
        assert_eq!(none.pause(Duration::from_secs(1)), Duration::from_secs(1));
        assert_eq!(schedule(100, 1, 0).pause(Duration::from_secs(1)), Duration::from_millis(100));
    }

    #[test]
    fn failures_count_once_docker_would_have_given_up() {
        let schedule = schedule(1000, 3, 0);
        let mut tally = Tally::new(&schedule);
        for at in [0, 500, 1000, 1500, 2000, 2500] {
            assert_eq!(tally.judge(probed(at, 1, false, false)), Verdict::Starting, "{at}");
        }
        assert_eq!(tally.judge(probed(3003, 1, false, false)), Verdict::Unhealthy);
    }

    #[test]
    fn failures_of_the_start_period_do_not_count() {
        let schedule = schedule(1000, 2, 5000);
        let mut tally = Tally::new(&schedule);
        assert_eq!(tally.judge(probed(4999, 1, false, false)), Verdict::Starting);
        assert_eq!(tally.judge(probed(7500, 1, false, false)), Verdict::Starting);
        assert_eq!(tally.judge(probed(8000, 1, false, false)), Verdict::Unhealthy);
    }

    #[test]
    fn probes_that_take_long_are_given_as_long_as_docker_gives_them() {
        let schedule = schedule(1000, 2, 0);
        let mut tally = Tally::new(&schedule);
        for at in [0, 4000] {
            assert_eq!(tally.judge(probed(at, 3500, false, false)), Verdict::Starting, "{at}");
        }
        assert_eq!(tally.judge(probed(8000, 3500, false, false)), Verdict::Unhealthy);
    }

    #[test]
    fn an_early_success_needs_a_port_that_listens() {
        let schedule = schedule(10_000, 5, 0);
        let judge = |at, listens| Tally::new(&schedule).judge(probed(at, 1, true, listens));
        assert_eq!(judge(500, true), Verdict::Healthy);
        assert_eq!(judge(500, false), Verdict::Starting);
        assert_eq!(judge(10_000, false), Verdict::Healthy);
        // During the start period Docker probes after five seconds.
        let schedule = self::schedule(60_000, 5, 30_000);
        let judge = |at| Tally::new(&schedule).judge(probed(at, 1, true, false));
        assert_eq!((judge(4000), judge(5000)), (Verdict::Starting, Verdict::Healthy));
    }

    #[test]
    fn a_success_in_between_begins_the_count_anew() {
        let schedule = schedule(1000, 1, 0);
        let mut tally = Tally::new(&schedule);
        assert_eq!(tally.judge(probed(100, 1, true, false)), Verdict::Starting);
        assert_eq!(tally.judge(probed(1200, 1, false, false)), Verdict::Unhealthy);
    }
}
