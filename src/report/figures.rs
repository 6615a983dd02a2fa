//! Figures as people read them. Pure.

use jiff::Timestamp;

/// Milliseconds: `0.25 s`, `12.5 s`, `3m05s`, `1h02m`.
pub(crate) fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..10 => format!("{:.2} s", ms as f64 / 1e3),
        10..60 => format!("{:.1} s", ms as f64 / 1e3),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Seconds of CPU time.
pub(crate) fn cpu(seconds: f64) -> String {
    if seconds.is_finite() { format!("{seconds:.2} s") } else { "-".to_owned() }
}

/// Bytes: `312.0 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let bytes = bytes as f64;
    for (unit, size) in [("GiB", 1_073_741_824.0), ("MiB", 1_048_576.0), ("KiB", 1024.0)] {
        if bytes >= size {
            return format!("{:.1} {unit}", bytes / size);
        }
    }
    format!("{bytes} B")
}

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

/// A value, or a dash.
pub(crate) fn or_dash<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_digits_that_matter() {
        for (ms, said) in [
            (0, "0.00 s"),
            (250, "0.25 s"),
            (12_540, "12.5 s"),
            (185_000, "3m05s"),
            (3_720_000, "1h02m"),
        ] {
            assert_eq!(duration(ms), said);
        }
        assert_eq!((bytes(999), bytes(1 << 20)), ("999 B".into(), "1.0 MiB".into()));
        assert_eq!(moment(1_795_933_511_250), "2026-11-29 06:25:11 UTC");
        assert_eq!(clock(1_795_933_511_250), "06:25:11.250");
        assert_eq!(moment(u64::MAX), "-");
    }
}
