//! Parses durations with the grammar of Go's `time.ParseDuration`, which Kubernetes, Docker and
//! Prometheus use.

use std::time::Duration;

/// Parses a duration: numbers with their units, such as `250ms`, `0.5s`, `1m30s`, `2h`. `None` if
/// the text is not a duration, is negative, or exceeds the 292 years that Go can represent.
pub fn parse(text: &str) -> Option<Duration> {
    u64::try_from(nanoseconds(text)?).ok().map(Duration::from_nanos)
}

/// Like [`parse`], but with any sign, in nanoseconds.
pub fn nanoseconds(text: &str) -> Option<i64> {
    let (is_negative, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_i128;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, next) = tail.split_at_checked(letters)?;
        total = total.checked_add(part(number, unit)?)?;
        rest = next;
    }
    let total = i64::try_from(total).ok()?;
    Some(if is_negative { -total } else { total })
}

/// One number with its unit, in nanoseconds.
fn part(number: &str, unit: &str) -> Option<i128> {
    let unit: i128 = match unit {
        "h" => 3_600_000_000_000,
        "m" => 60_000_000_000,
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" | "µs" | "μs" => 1000,
        "ns" => 1,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if number.trim_start_matches('.').is_empty() || fraction.contains('.') {
        return None;
    }
    let digits =
        |text: &str| -> Option<i128> { if text.is_empty() { Some(0) } else { text.parse().ok() } };
    let fraction = fraction.get(..18).unwrap_or(fraction);
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let whole = digits(whole)?.checked_mul(unit)?;
    whole.checked_add(digits(fraction)?.checked_mul(unit)?.checked_div(scale)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, ns) in [
            ("0", 0),
            ("0s", 0),
            ("-0", 0),
            ("1m30s", 90_000_000_000),
            ("500ms", 500_000_000),
            ("1.5s", 1_500_000_000),
            (".5h", 1_800_000_000_000),
            ("1.s", 1_000_000_000),
            ("+1s", 1_000_000_000),
            ("-1s", -1_000_000_000),
            ("1h0m0.25s", 3_600_250_000_000),
            ("1500us", 1_500_000),
            ("1500µs", 1_500_000),
            ("3ns", 3),
            ("0.3333333333333333333h", 1_199_999_999_999),
        ] {
            assert_eq!(nanoseconds(text), Some(ns), "{text}");
        }
        for bad in [
            "",
            "5",
            "s",
            ".s",
            "1.2.3s",
            "1d",
            "1 s",
            "9999999999h",
            "1s5",
            "1e9s",
            "1s-3s",
            "99999999999999999999999999999999999999999h",
            "-",
            "xs",
            "ß",
            "1ß",
        ] {
            assert_eq!(nanoseconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_time_that_is_waited_for_is_not_negative() {
        assert_eq!(parse("-1s"), None);
        assert_eq!(parse("-0s"), Some(Duration::ZERO));
        assert_eq!(parse("1m2.5s"), Some(Duration::from_millis(62_500)));
        assert_eq!(parse("0.1s"), Some(Duration::from_millis(100)));
    }
}
