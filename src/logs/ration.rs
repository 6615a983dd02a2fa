//! Rate limit and sampling of one container's lines. Both are off unless asked for, and what they
//! hold back is counted. Pure: the time is handed in.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use ephemon_self_metrics::Reason;

/// A container may be ahead of its rate by so much: a burst at the start is the usual shape.
const BURST_WINDOW: Duration = Duration::from_secs(5);

/// What of a container's lines is let through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ration {
    /// Lines a second, with bursts of five seconds' worth.
    pub(super) rate: Option<NonZeroU32>,
    /// One of so many lines, the first among them.
    pub(super) one_of: Option<NonZeroU32>,
}

/// Where one container stands.
#[derive(Debug)]
pub(super) struct Meter {
    ration: Ration,
    lines: u64,
    /// Lines that may still pass; grows with time up to the burst.
    credit: f64,
    filled: Instant,
}

// === impl Meter ===

impl Meter {
    pub(super) fn new(ration: Ration, now: Instant) -> Self {
        let rate = ration.rate.map_or(0, NonZeroU32::get);
        Self { ration, lines: 0, credit: f64::from(rate) * BURST_WINDOW.as_secs_f64(), filled: now }
    }

    /// Whether the next line is held back, and why.
    pub(super) fn held_back(&mut self, now: Instant) -> Option<Reason> {
        let number = self.lines;
        self.lines = self.lines.saturating_add(1);
        if self.ration.one_of.is_some_and(|one_of| !number.is_multiple_of(u64::from(one_of.get())))
        {
            return Some(Reason::Sampled);
        }
        let rate = f64::from(self.ration.rate?.get());
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.credit = (self.credit + passed * rate).min(rate * BURST_WINDOW.as_secs_f64());
        if self.credit < 1.0 {
            return Some(Reason::RateLimited);
        }
        self.credit -= 1.0;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(meter: &mut Meter, lines: usize, now: Instant) -> usize {
        (0..lines).filter(|_| meter.held_back(now).is_none()).count()
    }

    #[test]
    fn nothing_is_held_back_unless_asked_for() {
        let now = Instant::now();
        assert_eq!(passed(&mut Meter::new(Ration::default(), now), 100_000, now), 100_000);
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let now = Instant::now();
        let ration = Ration { rate: NonZeroU32::new(10), one_of: None };
        let mut meter = Meter::new(ration, now);
        assert_eq!(passed(&mut meter, 1000, now), 50);
        assert_eq!(passed(&mut meter, 1000, now + Duration::from_secs(2)), 20);
        assert_eq!(passed(&mut meter, 1000, now + Duration::from_mins(10)), 50);
    }

    #[test]
    fn one_of_so_many_is_the_first_of_each() {
        let now = Instant::now();
        let ration = Ration { rate: None, one_of: NonZeroU32::new(4) };
        let mut meter = Meter::new(ration, now);
        let passed: Vec<bool> = (0..6).map(|_| meter.held_back(now).is_none()).collect();
        assert_eq!(passed, [true, false, false, false, true, false]);
    }
}
