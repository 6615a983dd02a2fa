//! The table by Prometheus' names.

use super::row::{Kind, Metric, Row, Scope};
use super::{agent, container, debug, job, pod};

/// The unit that a family's name ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds, with fractions.
    Seconds,
    /// Bytes.
    Bytes,
    /// A share of one.
    Ratio,
}

/// One family of Prometheus: everything that is known of it without a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// The name as a sample line of the text format has it.
    pub name: &'static str,
    /// One sentence of help.
    pub help: &'static str,
    /// What the values mean.
    pub kind: Kind,
    /// What one series is about.
    pub scope: Scope,
    /// Labels beside those that every series of the scope has.
    pub labels: Vec<&'static str>,
}

/// Every family, in the order of the exposition.
pub fn families() -> impl Iterator<Item = Family> {
    fn of<T>(rows: &'static [Row<T>], scope: Scope) -> impl Iterator<Item = Family> {
        rows.iter().filter_map(move |row| Family::of(&row.metric, scope))
    }
    let agent = agent::metrics().filter_map(|metric| Family::of(metric, Scope::Agent));
    of(container::ROWS, Scope::Container)
        .chain(of(pod::ROWS, Scope::Pod))
        .chain(of(job::ROWS, Scope::Job))
        .chain(of(debug::ROWS, Scope::Debug))
        .chain(agent)
}

// === impl Unit ===

impl Unit {
    const ALL: [Self; 3] = [Self::Seconds, Self::Bytes, Self::Ratio];

    /// The word that a name ends in and OpenMetrics' `# UNIT` line has.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::Ratio => "ratio",
        }
    }

    /// The unit in a family's name, `_total` aside.
    pub fn of(name: &str) -> Option<Self> {
        let stem = name.strip_suffix("_total").unwrap_or(name);
        Self::ALL
            .into_iter()
            .find(|unit| stem.strip_suffix(unit.as_str()).is_some_and(|rest| rest.ends_with('_')))
    }
}

// === impl Family ===

impl Family {
    fn of(metric: &Metric, scope: Scope) -> Option<Self> {
        let Metric { family, help, kind, labels, .. } = *metric;
        let labels = labels.iter().filter_map(|label| label.label).collect();
        Some(Self { name: family?, help, kind, scope, labels })
    }

    /// The unit, if the name ends in one.
    pub fn unit(&self) -> Option<Unit> {
        Unit::of(self.name)
    }

    /// Every label, those of the scope first.
    pub fn all_labels(&self) -> impl Iterator<Item = &'static str> {
        self.scope.labels().iter().chain(&self.labels).copied()
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

    #[test]
    fn a_rows_unit_is_that_of_its_familys_name() {
        let containers = container::ROWS.iter().map(|row| &row.metric);
        let pods = pod::ROWS.iter().map(|row| &row.metric);
        let jobs = job::ROWS.iter().map(|row| &row.metric);
        let debug = debug::ROWS.iter().map(|row| &row.metric);
        for metric in containers.chain(pods).chain(jobs).chain(debug).chain(agent::metrics()) {
            let Some(name) = metric.family else { continue };
            let expected: &[&str] = match Unit::of(name) {
                Some(Unit::Seconds) => &["s", "By.s"],
                Some(Unit::Bytes) => &["By"],
                Some(Unit::Ratio) => &["1"],
                None => {
                    let unit = metric.unit;
                    assert!(unit == "1" || unit.starts_with('{'), "{name}: {unit}");
                    continue;
                }
            };
            assert!(expected.contains(&metric.unit), "{name}: {}", metric.unit);
        }
    }
}
