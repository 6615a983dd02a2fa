//! The kernel's text formats, by the kernel's own names for them: single value, flat keyed, nested
//! keyed (Documentation/admin-guide/cgroup-v2.rst, "Interface Files").
//!
//! Parsers take what they understand and leave the rest: an unknown key is a newer kernel, a line
//! that makes no sense yields nothing for that line alone. They never panic and never guess 0.

use ephemon_model::{Limit, Pressure};

/// From this value on, a version 1 limit means "none": the kernel prints `PAGE_COUNTER_MAX` pages,
/// 2^63 less a page.
const V1_UNLIMITED_BYTES: u64 = 1 << 62;

/// CPU time a group may take of each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Microseconds of CPU time.
    pub quota_us: Limit<u64>,
    /// Microseconds.
    pub period_us: u64,
}

/// A file of one number: `memory.current`.
pub fn single(text: &str) -> Option<u64> {
    text.trim_end().parse().ok()
}

/// A version 2 limit: a number or `max`.
pub fn limit(text: &str) -> Option<Limit<u64>> {
    match text.trim_end() {
        "max" => Some(Limit::Unlimited),
        number => number.parse().ok().map(Limit::At),
    }
}

/// A version 1 limit in bytes: no limit is −1 where written, a huge number where read.
pub fn v1_limit(text: &str) -> Option<Limit<u64>> {
    match text.trim_end() {
        "-1" => Some(Limit::Unlimited),
        number => number.parse().ok().map(|bytes| {
            if bytes >= V1_UNLIMITED_BYTES { Limit::Unlimited } else { Limit::At(bytes) }
        }),
    }
}

/// `cpu.max`: `QUOTA PERIOD` in microseconds, as thousandths of a CPU.
pub fn cpu_max(text: &str) -> Option<Limit<u64>> {
    cpu_quota(text).and_then(millis)
}

/// `cpu.max`: `QUOTA PERIOD` in microseconds.
pub fn cpu_quota(text: &str) -> Option<Quota> {
    let (quota, period) = text.trim_end().split_once(' ')?;
    Some(Quota { quota_us: limit(quota)?, period_us: single(period)? })
}

/// `cpu.cfs_quota_us` (−1 for none) and `cpu.cfs_period_us`, as thousandths of a CPU.
pub fn cfs_quota(quota: &str, period: &str) -> Option<Limit<u64>> {
    cfs(quota, period).and_then(millis)
}

/// `cpu.cfs_quota_us` (−1 for none) and `cpu.cfs_period_us`.
pub fn cfs(quota: &str, period: &str) -> Option<Quota> {
    let quota_us = match quota.trim_end() {
        "-1" => Limit::Unlimited,
        quota => Limit::At(quota.parse().ok()?),
    };
    Some(Quota { quota_us, period_us: single(period)? })
}

fn millis(quota: Quota) -> Option<Limit<u64>> {
    match quota.quota_us {
        Limit::Unlimited => Some(Limit::Unlimited),
        Limit::At(quota_us) => {
            quota_us.checked_mul(1000)?.checked_div(quota.period_us).map(Limit::At)
        }
    }
}

/// Flat keyed: one `KEY VALUE` a line. Lines of another shape are passed over.
pub fn flat_keyed(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, value.parse().ok()?))
    })
}

/// One key of a flat keyed file.
pub fn flat_value(text: &str, wanted: &str) -> Option<u64> {
    flat_keyed(text).find_map(|(key, value)| (key == wanted).then_some(value))
}

/// `MAJ:MIN`, as `io.stat` and `blkio.*` name devices.
pub fn device(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// A PSI file: the totals of its `some` and `full` lines, microseconds.
pub fn pressure(text: &str) -> Pressure {
    let total = |kind: &str| {
        text.lines().find_map(|line| {
            let fields = line.strip_prefix(kind)?;
            fields.split(' ').find_map(|field| field.strip_prefix("total=")?.parse().ok())
        })
    };
    Pressure { waiting_us: total("some "), stalled_us: total("full ") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits_are_read_in_both_versions() {
        assert_eq!(limit("max\n"), Some(Limit::Unlimited));
        assert_eq!(limit("268435456\n"), Some(Limit::At(268_435_456)));
        assert_eq!(limit("\n"), None);
        assert_eq!(v1_limit("9223372036854771712\n"), Some(Limit::Unlimited));
        assert_eq!(v1_limit("268435456\n"), Some(Limit::At(268_435_456)));
        assert_eq!(cpu_max("max 100000\n"), Some(Limit::Unlimited));
        assert_eq!(cpu_max("150000 100000\n"), Some(Limit::At(1500)));
        assert_eq!(cpu_max("150000 0\n"), None);
        assert_eq!(cfs_quota("-1\n", "100000\n"), Some(Limit::Unlimited));
        assert_eq!(cfs_quota("50000\n", "100000\n"), Some(Limit::At(500)));
    }

    #[test]
    fn a_truncated_line_costs_only_itself() {
        let text = "usage_usec 4245377\nuser_usec 37567\nsystem_us";
        assert_eq!(flat_value(text, "usage_usec"), Some(4_245_377));
        assert_eq!(flat_value(text, "system_usec"), None);
    }

    #[test]
    fn pressure_totals_are_read_and_missing_lines_are_absent() {
        let text = "some avg10=0.05 avg60=0.06 avg300=0.01 total=80703\n\
                    full avg10=0.03 avg60=0.04 avg300=0.01 total=48899\n";
        let both = Pressure { waiting_us: Some(80_703), stalled_us: Some(48_899) };
        assert_eq!(pressure(text), both);
        assert_eq!(pressure("garbage"), Pressure::default());
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in any::<String>()) {
            let _ = (single(&text), limit(&text), v1_limit(&text), cpu_max(&text));
            let _ = (cfs_quota(&text, &text), device(&text), pressure(&text));
            for (key, _) in flat_keyed(&text) {
                prop_assert!(!key.contains('\n'));
            }
        }

        #[test]
        fn flat_keyed_reads_back_what_the_kernel_prints(
            pairs in prop::collection::vec(("[a-z_]{1,12}", any::<u64>()), 0..20)
        ) {
            let text = pairs.iter().fold(String::new(), |text, (k, v)| format!("{text}{k} {v}\n"));
            let read: Vec<_> = flat_keyed(&text).map(|(k, v)| (k.to_owned(), v)).collect();
            prop_assert_eq!(read, pairs);
        }
    }
}
