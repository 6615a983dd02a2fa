//! Figures that only reports have. Pure.

use jiff::Timestamp;

/// Thousandths of a CPU: `0.25`.
pub(crate) fn cores(millis: u64) -> String {
    format!("{:.2}", millis as f64 / 1e3)
}

/// A moment: `2026-11-29 06:25:11 UTC`.
pub(crate) fn moment(unix_ms: u64) -> String {
    let moment = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    moment.map_or_else(|| "-".to_owned(), |it| it.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// The time of day of a moment: `06:25:11.250`.
pub(crate) fn clock(unix_ms: u64) -> String {
    let of_day = unix_ms % 86_400_000;
    let (seconds, ms) = (of_day / 1000, of_day % 1000);
    format!("{:02}:{:02}:{:02}.{ms:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_of_utc() {
        assert_eq!(moment(1_795_933_511_250), "2026-11-29 06:25:11 UTC");
        assert_eq!(clock(1_795_933_511_250), "06:25:11.250");
        assert_eq!(moment(u64::MAX), "-");
        assert_eq!(cores(250), "0.25");
    }
}
