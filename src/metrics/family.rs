//! What a metric family is, and the list of all of them.
//!
//! The rows in `family/` are the one source of names, help, kinds and labels: the exposition reads
//! its figures through them, the reference in `deploy/docs/metrics.md` is printed from them.

pub(super) mod agent;
pub(super) mod container;
pub(super) mod job;
pub(super) mod pod;

use super::exposition::{Figure, Points};

/// What a family's values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the series lives; the name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Always 1; the labels are the message. The name ends in `_info`.
    Info,
    /// Buckets, sum and count.
    Histogram,
}

/// The unit a family's name ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds, with fractions.
    Seconds,
    /// Bytes.
    Bytes,
    /// A share of one.
    Ratio,
}

/// What one series of a family is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One container.
    Container,
    /// One pod.
    Pod,
    /// All jobs of one name.
    Job,
    /// The agent itself.
    Agent,
}

/// One family: everything that is known of it without a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// The name as a sample line of the text format carries it.
    pub name: &'static str,
    /// One sentence of help.
    pub help: &'static str,
    /// What the values mean.
    pub kind: Kind,
    /// What one series is about.
    pub scope: Scope,
    /// Labels beside those every series of the scope has.
    pub labels: &'static [&'static str],
}

/// A family and how its figures are read from a `T`.
pub(super) struct Row<T> {
    pub(super) family: Family,
    read: Read<T>,
}

/// How a family's figures are read.
enum Read<T> {
    /// One series at most, with the labels of the scope.
    One(fn(&T) -> Option<Figure>),
    /// Series with further labels.
    Many(fn(&T, &mut Points<'_>)),
}

/// Every family, in the order of the exposition.
pub fn families() -> impl Iterator<Item = &'static Family> {
    let containers = container::ROWS.iter().map(|row| &row.family);
    let pods = pod::ROWS.iter().map(|row| &row.family);
    let jobs = job::ROWS.iter().map(|row| &row.family);
    containers.chain(pods).chain(jobs).chain(agent::families())
}

// === impl Kind ===

impl Kind {
    /// The word in the reference and, save for `info`, in the text format's `# TYPE` line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Info => "info",
            Self::Histogram => "histogram",
        }
    }
}

// === impl Unit ===

impl Unit {
    const ALL: [Self; 3] = [Self::Seconds, Self::Bytes, Self::Ratio];

    /// The word a name ends in and OpenMetrics' `# UNIT` line carries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::Ratio => "ratio",
        }
    }

    /// The unit a family's name tells of, `_total` aside.
    pub fn of(name: &str) -> Option<Self> {
        let stem = name.strip_suffix("_total").unwrap_or(name);
        Self::ALL
            .into_iter()
            .find(|unit| stem.strip_suffix(unit.as_str()).is_some_and(|rest| rest.ends_with('_')))
    }
}

// === impl Scope ===

impl Scope {
    /// The labels every series of the scope has.
    pub fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Container => &["namespace", "pod", "container", "container_type"],
            Self::Pod => &["namespace", "pod"],
            Self::Job => &["namespace", "repository", "workflow", "job"],
            Self::Agent => &[],
        }
    }
}

// === impl Family ===

impl Family {
    /// The unit, if the name ends in one.
    pub fn unit(&self) -> Option<Unit> {
        Unit::of(self.name)
    }

    /// Every label, those of the scope first.
    pub fn all_labels(&self) -> impl Iterator<Item = &'static str> {
        self.scope.labels().iter().chain(self.labels).copied()
    }
}

// === impl Row ===

impl<T> Row<T> {
    const fn one(family: Family, read: fn(&T) -> Option<Figure>) -> Self {
        Self { family, read: Read::One(read) }
    }

    const fn many(family: Family, read: fn(&T, &mut Points<'_>)) -> Self {
        Self { family, read: Read::Many(read) }
    }

    /// Writes what `of` has of this family.
    pub(super) fn write(&self, of: &T, points: &mut Points<'_>) {
        match self.read {
            Read::One(read) => points.put(read(of)),
            Read::Many(read) => read(of, points),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_follow_the_rules_of_their_kind_and_none_stands_twice() {
        let mut names = HashSet::new();
        for family in families() {
            let name = family.name;
            assert!(names.insert(name), "{name} stands twice");
            assert!(name.starts_with("ephemon_") || name.starts_with("process_"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), family.kind == Kind::Counter, "{name}");
            assert_eq!(name.ends_with("_info"), family.kind == Kind::Info, "{name}");
            assert!(family.help.ends_with('.'), "help of {name} is a sentence");
            let labels: Vec<_> = family.all_labels().collect();
            let distinct: HashSet<_> = labels.iter().collect();
            assert_eq!(distinct.len(), labels.len(), "labels of {name}");
        }
    }

    #[test]
    fn no_family_is_another_ones_sample_in_openmetrics() {
        let stems: HashSet<_> = families()
            .map(|family| {
                let name = family.name;
                name.strip_suffix("_total").or_else(|| name.strip_suffix("_info")).unwrap_or(name)
            })
            .collect();
        assert_eq!(stems.len(), families().count());
    }

    #[test]
    fn the_unit_is_what_the_name_ends_in() {
        assert_eq!(Unit::of("ephemon_x_cpu_seconds_total"), Some(Unit::Seconds));
        assert_eq!(Unit::of("ephemon_x_bytes"), Some(Unit::Bytes));
        assert_eq!(Unit::of("ephemon_x_error_ratio"), Some(Unit::Ratio));
        assert_eq!(Unit::of("ephemon_megabytes"), None);
        assert_eq!(Unit::of("ephemon_pids"), None);
    }
}
