//! The grammar of `EPHEMON_LIMITS`: `cpus=1.5,memory=512Mi,pids=100`, each at most once, in any
//! order. CPUs and memory are Kubernetes quantities; memory is in bytes.

use std::{fmt, str::FromStr};

use super::quantity::scaled;

/// Longest text that is parsed, in bytes.
const MAX_TEXT_BYTES: usize = 256;

/// The smallest memory limit: what the runtime needs to start the container, and Docker's minimum
/// (`linuxMinMemory` in moby, `daemon/daemon_unix.go`). With cgroup v2 a container with so little
/// may be killed at once, because memory that the runtime used is still charged.
const LEAST_MEMORY_BYTES: u64 = 6 << 20;
/// The kernel treats a memory limit from here on as no limit.
const MOST_MEMORY_BYTES: u64 = (1 << 62) - 1;
/// The smallest CPU limit: the kernel's smallest quota, 1 ms, in the default period of 100 ms.
const CPU_MILLIS_MIN: u64 = 10;
/// The largest CPU limit, in thousandths: more CPUs than Linux can be built for (`NR_CPUS` 8192).
const CPU_MILLIS_MAX: u64 = 8192 * 1000;
/// The largest number of tasks on 64-bit Linux (`PID_MAX_LIMIT`).
const PIDS_MAX: u64 = 4 << 20;

/// A limit with which no container could run, or which limits nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}={value} is {what}")]
pub struct InvalidLimits {
    key: &'static str,
    value: String,
    what: &'static str,
}

/// Limits of one container. `None` is no limit; no limit is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Thousandths of a CPU.
    pub cpu_millis: Option<u64>,
    /// Bytes.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// Why a text is not a valid list of limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// It is longer than 256 bytes.
    #[error("the limits are longer than 256 bytes")]
    TooLong,
    /// A part is not `KEY=VALUE`, or the key is not known.
    #[error("{0:?} is not a known limit; use cpus=, memory= or pids=")]
    Unknown(String),
    /// A key is given twice.
    #[error("{0} is set twice")]
    Twice(&'static str),
    /// A value is not valid for its key.
    #[error("{value:?} is not a valid value of {key}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
    },
}

// === impl Limits ===

impl Limits {
    /// Checks that a container can run with these limits, and that each limits something.
    pub fn check(&self) -> Result<(), InvalidLimits> {
        let within = |key, value: Option<u64>, least, most, unit: &str| {
            let value = value.unwrap_or(least);
            let what = if value < least {
                "less than a container needs to run"
            } else if value > most {
                "more than any node can provide"
            } else {
                return Ok(());
            };
            Err(InvalidLimits { key, value: format!("{value}{unit}"), what })
        };
        within("cpus", self.cpu_millis, CPU_MILLIS_MIN, CPU_MILLIS_MAX, "m")?;
        within("memory", self.memory_bytes, LEAST_MEMORY_BYTES, MOST_MEMORY_BYTES, "")?;
        within("pids", self.pids, 1, PIDS_MAX, "")
    }

    /// Whether there are no limits.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl FromStr for Limits {
    type Err = LimitsError;

    fn from_str(text: &str) -> Result<Self, LimitsError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(LimitsError::TooLong);
        }
        let mut limits = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (key, value) =
                part.split_once('=').ok_or_else(|| LimitsError::Unknown(part.to_owned()))?;
            let value = value.trim();
            match key.trim() {
                "cpus" => set(&mut limits.cpu_millis, "cpus", value, |value| scaled(value, 1000))?,
                "memory" => {
                    set(&mut limits.memory_bytes, "memory", value, |value| scaled(value, 1))?;
                }
                "pids" => set(&mut limits.pids, "pids", value, |value| value.parse().ok())?,
                _ => return Err(LimitsError::Unknown(part.to_owned())),
            }
        }
        Ok(limits)
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        if let Some(millis) = self.cpu_millis {
            write!(f, "cpus={millis}m")?;
            comma = ",";
        }
        if let Some(bytes) = self.memory_bytes {
            write!(f, "{comma}memory={bytes}")?;
            comma = ",";
        }
        if let Some(pids) = self.pids {
            write!(f, "{comma}pids={pids}")?;
        }
        Ok(())
    }
}

fn set(
    slot: &mut Option<u64>,
    key: &'static str,
    value: &str,
    parse: impl Fn(&str) -> Option<u64>,
) -> Result<(), LimitsError> {
    let parsed = parse(value).filter(|parsed| *parsed > 0);
    let parsed = parsed.ok_or_else(|| LimitsError::Value { key, value: value.to_owned() })?;
    match slot.replace(parsed) {
        None => Ok(()),
        Some(_) => Err(LimitsError::Twice(key)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_grammar_is_read_in_all_its_units() {
        let check = |text: &str, cpu_millis, memory_bytes, pids| {
            assert_eq!(text.parse(), Ok(Limits { cpu_millis, memory_bytes, pids }), "{text}");
        };
        check("", None, None, None);
        check("cpus=1.5,memory=512Mi,pids=100", Some(1500), Some(512 << 20), Some(100));
        check(" pids = 7 , cpus = 250m ", Some(250), None, Some(7));
        check("cpus=.5", Some(500), None, None);
        check("cpus=2", Some(2000), None, None);
        check("cpus=0.0001", Some(1), None, None);
        check("cpus=2e0", Some(2000), None, None);
        check("memory=1.5Gi", None, Some(1_610_612_736), None);
        check("memory=1e9", None, Some(1_000_000_000), None);
        check("memory=3k", None, Some(3000), None);
        check("memory=1048576", None, Some(1 << 20), None);
    }

    #[test]
    fn what_is_not_a_limit_is_refused_by_name() {
        for text in [
            "cpus=0",
            "cpus=",
            "cpus=-1",
            "cpus=.",
            "cpus=1.x",
            "cpus=é",
            "memory=12Q",
            "memory=Mi",
            "memory=99999999999Ti",
            "pids=0",
            "pids=1.5",
            "cpu=1",
            "cpus",
            "cpus=1,cpus=1",
        ] {
            let answer = text.parse::<Limits>();
            assert!(answer.is_err(), "{text}: {answer:?}");
        }
        assert_eq!("a".repeat(257).parse::<Limits>(), Err(LimitsError::TooLong));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(
            cpu_millis in proptest::option::of(1..u64::MAX / 1000),
            memory_bytes in proptest::option::of(1..u64::MAX),
            pids in proptest::option::of(1..u64::MAX),
        ) {
            let limits = Limits { cpu_millis, memory_bytes, pids };
            prop_assert_eq!(limits.to_string().parse(), Ok(limits));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(cpus|memory|pids)?=?\\PC{0,20}") {
            drop(text.parse::<Limits>());
        }
    }
}
