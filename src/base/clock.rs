//! Unix time, and durations in the unit that journals and OTLP use.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The present time in nanoseconds since 1970; 0 if the clock is set to an earlier time.
pub fn now_ns() -> u64 {
    unix_ns(SystemTime::now())
}

/// `at` in nanoseconds since 1970; 0 for an earlier time.
pub fn unix_ns(at: SystemTime) -> u64 {
    nanos(unix_time(at).unwrap_or_default())
}

/// The time from 1970 to `at`; `None` if `at` is before.
pub fn unix_time(at: SystemTime) -> Option<Duration> {
    at.duration_since(UNIX_EPOCH).ok()
}

/// The time that is `ns` nanoseconds after 1970; `None` if the system cannot represent it.
pub fn at_unix_ns(ns: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_nanos(ns))
}

/// A duration in nanoseconds; `u64::MAX` if it is longer than 584 years.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_are_none_or_zero() {
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!((unix_time(before), unix_ns(before)), (None, 0));
        assert_eq!(unix_ns(UNIX_EPOCH), 0);
    }

    #[test]
    fn nanoseconds_and_times_turn_into_each_other() {
        let ns = 1_790_000_000_000_000_042;
        assert_eq!(unix_ns(at_unix_ns(ns).unwrap()), ns);
        assert!(now_ns() > ns - 1_000_000_000_000_000_000);
        assert_eq!(nanos(Duration::MAX), u64::MAX);
    }
}
