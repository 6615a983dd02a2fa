//! Whether a warning is to be written now, so that trouble that lasts does not fill the log. Pure: the
//! caller has the time and writes.

use std::time::{Duration, Instant};

/// An outage is named once until it is over or has another cause. `T` is what is named.
#[derive(Debug, Clone)]
pub struct Outage<T = ()>(Option<T>);

/// At most one warning in an interval; those between are counted.
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
    /// It does not work; whether that is to be named, since it was not the last that was.
    pub fn is_news(&mut self, what: T) -> bool {
        let is_news = self.0.as_ref() != Some(&what);
        if is_news {
            self.0 = Some(what);
        }
        is_news
    }

    /// It works; whether it did not until now.
    pub fn end(&mut self) -> bool {
        self.0.take().is_some()
    }

    /// Whether it does not work.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// What was named and is not over.
    pub fn current(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl Outage {
    /// It does not work; whether that is to be named.
    pub fn begins(&mut self) -> bool {
        self.is_news(())
    }
}

// === impl Throttle ===

impl Throttle {
    /// How many warnings were left out since the last one, if one is to be written now: if that was at
    /// least `interval` ago.
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
