//! The time of day, in the unit of the journal.

use std::time::{Duration, SystemTime};

/// Nanoseconds since 1970.
pub(super) fn now_ns() -> u64 {
    nanos(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

/// A duration in nanoseconds.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
