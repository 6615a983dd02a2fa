//! Decides whether a warning is logged, so that a persistent problem does not fill the log. Pure:
//! the caller passes the time and writes the log.

use std::time::{Duration, Instant};

/// A problem that is reported once, until it ends or its cause changes. `T` is the cause.
#[derive(Debug, Clone)]
pub struct Outage<T = ()>(Option<T>);

/// At most one warning per interval; those in between are counted.
#[derive(Debug, Clone, Default)]
pub struct Throttle {
    last: Option<Instant>,
    silent: u64,
}

// === impl Outage ===

impl<T> Default for Outage<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: PartialEq> Outage<T> {
    /// Records a failure; returns whether to report it, because it differs from the last reported
    /// one.
    pub fn is_news(&mut self, what: T) -> bool {
        let is_news = self.0.as_ref() != Some(&what);
        if is_news {
            self.0 = Some(what);
        }
        is_news
    }

    /// Records a success; returns whether there was a failure until now.
    pub fn end(&mut self) -> bool {
        self.0.take().is_some()
    }

    /// Whether there is a failure.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The reported failure that has not ended.
    pub fn current(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl Outage {
    /// Records a failure; returns whether to report it.
    pub fn begins(&mut self) -> bool {
        self.is_news(())
    }
}

// === impl Throttle ===

impl Throttle {
    /// Returns the number of warnings that were omitted since the last one, if at least `interval`
    /// has passed since then and one may be logged now.
    pub fn admit(&mut self, interval: Duration, now: Instant) -> Option<u64> {
        let is_due = self.last.is_none_or(|last| now.saturating_duration_since(last) >= interval);
        if !is_due {
            self.silent = self.silent.saturating_add(1);
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.silent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_news_until_it_is_named_and_again_when_it_changes_or_returns() {
        let mut outage = Outage::default();
        assert!(!outage.end());
        assert!(outage.is_news("refused"));
        assert!(!outage.is_news("refused"));
        assert!(outage.is_news("timed out"));
        assert_eq!((outage.current(), outage.is_on()), (Some(&"timed out"), true));
        assert!(outage.end() && !outage.is_on());
        assert_eq!(outage.current(), None);
        assert!(outage.is_news("timed out"));
    }

    #[test]
    fn one_warning_an_interval_is_admitted_and_the_others_are_counted() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let interval = Duration::from_mins(1);
        assert_eq!(throttle.admit(interval, start), Some(0));
        assert_eq!(throttle.admit(interval, start + interval / 2), None);
        let almost = interval.saturating_sub(Duration::from_nanos(1));
        assert_eq!(throttle.admit(interval, start + almost), None);
        assert_eq!(throttle.admit(interval, start + interval), Some(2));
        assert_eq!(throttle.admit(interval, start + interval * 2), Some(0));
    }
}
