//! Sizes, durations, numbers, CPUs and capabilities in the syntax of Docker's command line.

use ephemon_base::duration;
use ephemon_contract::{Limits, LimitsError};

use super::Error;

/// The shortest duration of a health check (moby, `daemon/container.go`, `MinimumDuration`).
const LEAST_SPAN_NS: i64 = 1_000_000;

/// An error for a value that Docker rejects, too.
pub(super) fn wrong(option: &'static str, value: &str, wanted: &'static str) -> Error {
    Error::Value { option, value: value.chars().take(64).collect(), wanted }
}

/// A size in bytes as docker/go-units' `RAMInBytes` parses it: powers of 1024 for all units,
/// fractions, and at most one space before the unit.
pub(super) fn bytes(option: &'static str, text: &str) -> Result<u64, Error> {
    const WANTED: &str = "a size such as 512m, 1.5g or 1GiB";
    ram_in_bytes(text).ok_or_else(|| wrong(option, text, WANTED))
}

fn ram_in_bytes(text: &str) -> Option<u64> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.' || c == ' ';
    let (number, suffix) = text.split_at_checked(text.rfind(is_number)? + 1)?;
    let number = number.strip_suffix(' ').unwrap_or(number);
    // Rust parses words such as `inf` as numbers; they do not end in a digit.
    let number: f64 = number.parse().ok()?;
    let unit: f64 = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        suffix => {
            let (letter, rest) = suffix.split_at_checked(1)?;
            let power = "kmgtp".find(letter).filter(|_| matches!(rest, "" | "b" | "ib"))?;
            1024_f64.powi(i32::try_from(power).ok()? + 1)
        }
    };
    let size = number * unit;
    // 2^63: Docker counts in int64.
    if !(0.0..9_223_372_036_854_775_808.0).contains(&size) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked above to be between 0 and 2^63; Docker drops the fraction, too"
    )]
    Some(size as u64)
}

/// A duration of a health check in milliseconds, as Go's `time.ParseDuration` parses it: `0`,
/// `1m30s`, `500ms`, `.5h`. `None` for 0, which selects Docker's default.
pub(super) fn span(option: &'static str, text: &str) -> Result<Option<u32>, Error> {
    const WANTED: &str = "a duration such as 30s, 500ms or 1m30s";
    match duration::nanoseconds(text) {
        Some(0) => Ok(None),
        // More than 49 days count as no limit.
        Some(ns) if ns >= LEAST_SPAN_NS => {
            Ok(Some(u32::try_from(ns.unsigned_abs().div_ceil(1_000_000)).unwrap_or(u32::MAX)))
        }
        _ => Err(wrong(option, text, WANTED)),
    }
}

/// An integer as Go's `strconv.ParseInt` parses it with base 0.
pub(super) fn number(option: &'static str, text: &str) -> Result<i64, Error> {
    let (sign, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (if text.starts_with('-') { "-" } else { "" }, digits),
        None => ("", text),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.get(..2) {
        Some("0x") => (16, lower.get(2..)),
        Some("0o") => (8, lower.get(2..)),
        Some("0b") => (2, lower.get(2..)),
        Some(octal) if octal.starts_with('0') => (8, lower.get(1..)),
        _ => (10, Some(lower.as_str())),
    };
    let digits = digits.filter(|digits| digits.starts_with(|c: char| c.is_ascii_alphanumeric()));
    let parsed =
        digits.and_then(|digits| i64::from_str_radix(&format!("{sign}{digits}"), base).ok());
    parsed.ok_or_else(|| wrong(option, text, "a whole number"))
}

/// `--cpus` in thousandths of a CPU: a decimal number or a fraction such as `1/2` (docker/cli,
/// `opts.ParseCPUs`). `None` for 0, which means no limit.
pub(super) fn cpus(text: &str) -> Result<Option<u64>, Error> {
    let wrong = || wrong("--cpus", text, "a number of CPUs such as 1.5");
    let read = |text: &str| {
        // The grammar of limits has no 0, but has units that Docker does not accept.
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
        match format!("cpus={text}").parse::<Limits>() {
            Ok(limits) if plain => limits.cpu_millis,
            Err(LimitsError::Value { .. }) if text.parse::<f64>() == Ok(0.0) => Some(0),
            _ => None,
        }
    };
    let text = text.strip_prefix('+').unwrap_or(text);
    let millis = match text.split_once('/') {
        None => read(text),
        Some((above, below)) => {
            let (above, below): (Option<u64>, Option<u64>) =
                (above.parse().ok(), below.parse().ok());
            above
                .and_then(|above| above.checked_mul(1000))
                .zip(below)
                .and_then(|(above, below)| (below > 0).then(|| above.div_ceil(below)))
        }
    };
    millis.map(|millis| (millis > 0).then_some(millis)).ok_or_else(wrong)
}

/// The value of a switch as Go's `strconv.ParseBool` parses it.
pub(super) fn switch(option: &'static str, text: Option<&str>) -> Result<bool, Error> {
    match text {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(text) => Err(wrong(option, text, "true or false")),
    }
}

/// Kubernetes uses names without the prefix `CAP_`.
pub(super) fn capability(name: &str) -> String {
    let name = name.to_ascii_uppercase();
    name.strip_prefix("CAP_").unwrap_or(&name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_as_go_units_reads_them() {
        for (text, size) in [
            ("1.5g", 1_610_612_736),
            ("512 m", 536_870_912),
            ("512M", 536_870_912),
            ("1gib", 1 << 30),
            ("1GiB", 1 << 30),
            ("1GB", 1 << 30),
            ("2048kb", 2 << 20),
            (".5k", 512),
            ("5.", 5),
            ("1e3", 1000),
            ("1p", 1 << 50),
            ("67108864", 64 << 20),
            ("10b", 10),
            ("1.9", 1),
            ("0", 0),
        ] {
            assert_eq!(ram_in_bytes(text), Some(size), "{text}");
        }
        for bad in [
            "",
            "x",
            "g",
            "-1",
            "1x",
            "1bb",
            "1kib2",
            "512  m",
            " 1",
            "1.2.3",
            "infg",
            "inf ",
            "9e",
            "99999999p",
            "1ki",
        ] {
            assert_eq!(ram_in_bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let ms = |text| span("--health-interval", text);
        for (text, expected) in [
            ("0", None),
            ("0s", None),
            ("-0", None),
            ("1m30s", Some(90_000)),
            ("500ms", Some(500)),
            ("1.5s", Some(1500)),
            (".5h", Some(1_800_000)),
            ("+1s", Some(1000)),
            ("1h0m0.25s", Some(3_600_250)),
            ("1500us", Some(2)),
            ("1500µs", Some(2)),
            ("99999h", Some(u32::MAX)),
        ] {
            assert_eq!(ms(text), Ok(expected), "{text}");
        }
        for bad in ["", "5", "s", ".s", "1.2.3s", "1d", "-5s", "1 s", "999us", "9999999999h", "1s5"]
        {
            assert!(ms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_and_cpus_are_read_as_go_reads_them() {
        for (text, value) in
            [("5", 5), ("-1", -1), ("0", 0), ("0x10", 16), ("010", 8), ("0b11", 3), ("+7", 7)]
        {
            assert_eq!(number("--pids-limit", text), Ok(value), "{text}");
        }
        for bad in ["", "1.5", "x", "--1", "0x", "08", "1 "] {
            assert!(number("--pids-limit", bad).is_err(), "{bad}");
        }
        for (text, millis) in [
            ("1.5", Some(1500)),
            (".5", Some(500)),
            ("2e0", Some(2000)),
            ("1/2", Some(500)),
            ("0", None),
            ("0.0", None),
            ("3", Some(3000)),
        ] {
            assert_eq!(cpus(text), Ok(millis), "{text}");
        }
        for bad in ["", "many", "-1", "500m", "1k", "1/0", "1/x", "1,cpus=2"] {
            assert!(cpus(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_them_panic(text in "[-+0-9.eExXbo a-zµ/]{0,24}|.{0,24}") {
            drop((bytes("--memory", &text), span("--health-timeout", &text)));
            drop((number("--pids-limit", &text), cpus(&text), switch("--init", Some(&text))));
        }
    }
}
