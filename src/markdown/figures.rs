//! Figures as people read them.

/// Milliseconds: `0.25 s`, `12.5 s`, `3m05s`, `1h02m`.
pub fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..10 => format!("{:.2} s", ms as f64 / 1e3),
        10..60 => format!("{:.1} s", ms as f64 / 1e3),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Seconds of CPU time.
pub fn cpu(seconds: f64) -> String {
    if seconds.is_finite() { format!("{seconds:.2} s") } else { "-".to_owned() }
}

/// Bytes: `312.0 MiB`.
pub fn bytes(bytes: u64) -> String {
    let bytes = bytes as f64;
    for (unit, size) in [("GiB", 1_073_741_824.0), ("MiB", 1_048_576.0), ("KiB", 1024.0)] {
        if bytes >= size {
            return format!("{:.1} {unit}", bytes / size);
        }
    }
    format!("{bytes} B")
}

/// A value, or a dash.
pub fn or_dash<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
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
        assert_eq!((cpu(0.254), cpu(f64::NAN)), ("0.25 s".into(), "-".into()));
    }
}
