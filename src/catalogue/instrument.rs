//! The table by the names that metrics have in OTLP.

use std::sync::LazyLock;

use ephemon_capture::readings::PodRecord;

use super::container::{self, Container};
use super::job::{self, JobSeries};
use super::pod;
use super::row::{Kind, Row, Scope};

/// One metric of OTLP: everything that is known of it without a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instrument {
    /// The name.
    pub name: &'static str,
    /// One sentence.
    pub description: &'static str,
    /// What the points mean.
    pub kind: Kind,
    /// The unit, by UCUM.
    pub unit: &'static str,
    /// Whose points these are.
    pub scope: Scope,
    /// Attributes of a point beside those that every point of the scope has.
    pub attributes: Vec<&'static str>,
}

/// An instrument and the rows that are its parts.
#[derive(Debug)]
pub struct InstrumentRows<T: 'static> {
    /// The instrument.
    pub instrument: Instrument,
    /// One at least.
    pub rows: Vec<&'static Row<T>>,
}

static CONTAINERS: LazyLock<Vec<InstrumentRows<Container>>> =
    LazyLock::new(|| join(container::ROWS, Scope::Container));
static PODS: LazyLock<Vec<InstrumentRows<PodRecord>>> =
    LazyLock::new(|| join(pod::ROWS, Scope::Pod));
static JOBS: LazyLock<Vec<InstrumentRows<JobSeries>>> =
    LazyLock::new(|| join(job::ROWS, Scope::Job));

/// Those of containers, in the order of the reference.
pub fn container_instruments() -> &'static [InstrumentRows<Container>] {
    &CONTAINERS
}

/// Those of pods.
pub fn pod_instruments() -> &'static [InstrumentRows<PodRecord>] {
    &PODS
}

/// Those of jobs.
pub fn job_instruments() -> &'static [InstrumentRows<JobSeries>] {
    &JOBS
}

/// Every metric of OTLP, in the order of the reference.
pub fn instruments() -> impl Iterator<Item = &'static Instrument> {
    let containers = container_instruments().iter().map(|one| &one.instrument);
    let pods = pod_instruments().iter().map(|one| &one.instrument);
    let jobs = job_instruments().iter().map(|one| &one.instrument);
    containers.chain(pods).chain(jobs)
}

/// In the order of the rows, the conventions' own before ours.
fn join<T>(rows: &'static [Row<T>], scope: Scope) -> Vec<InstrumentRows<T>> {
    let mut all: Vec<InstrumentRows<T>> = Vec::new();
    for row in rows {
        let metric = &row.metric;
        let Some(name) = metric.instrument else { continue };
        if let Some(known) = all.iter_mut().find(|known| known.instrument.name == name) {
            known.rows.push(row);
            continue;
        }
        let part = metric.part.as_ref();
        let attributes = metric.labels.iter().filter_map(|label| label.attribute);
        let instrument = Instrument {
            name,
            description: part.map_or(metric.help, |part| part.description),
            kind: metric.kind,
            unit: metric.unit,
            scope,
            attributes: attributes.chain(part.map(|part| part.attribute)).collect(),
        };
        all.push(InstrumentRows { instrument, rows: vec![row] });
    }
    let namespaces = ["container.", "k8s."];
    all.sort_by_key(|one| {
        let place = namespaces.iter().position(|start| one.instrument.name.starts_with(start));
        place.unwrap_or(namespaces.len())
    });
    all
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_follow_one_form_and_none_stands_twice() {
        let mut names = HashSet::new();
        for one in instruments() {
            let name = one.name;
            assert!(names.insert(name), "{name} stands twice");
            let own = name.starts_with("ephemon.");
            assert!(own || name.starts_with("container.") || name.starts_with("k8s."), "{name}");
            let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            assert!(name.bytes().all(|byte| letters(byte) || b"._".contains(&byte)), "{name}");
            assert!(one.description.ends_with('.'), "the description of {name} is a sentence");
            assert!(!one.unit.is_empty(), "{name}");
        }
    }

    #[test]
    fn parts_of_one_instrument_differ_in_one_attribute_alone() {
        fn check<T>(all: &[InstrumentRows<T>]) {
            for InstrumentRows { instrument, rows } in all {
                let mut values = HashSet::new();
                for metric in rows.iter().map(|row| row.metric) {
                    assert_eq!(metric.part.is_some(), rows.len() > 1, "{instrument:?}");
                    let Some(part) = metric.part else { continue };
                    assert_eq!((metric.kind, metric.unit), (instrument.kind, instrument.unit));
                    assert_eq!(part.description, instrument.description);
                    assert_eq!(Some(&part.attribute), instrument.attributes.last());
                    assert!(values.insert(part.value), "{instrument:?}: {} twice", part.value);
                }
            }
        }
        check(container_instruments());
        check(pod_instruments());
        check(job_instruments());
    }

    #[test]
    fn a_label_has_a_name_on_each_side_that_its_row_is_on() {
        fn check<T>(rows: &[Row<T>]) {
            for metric in rows.iter().map(|row| row.metric) {
                assert!(metric.family.is_some() || metric.instrument.is_some(), "{metric:?}");
                assert!(metric.kind != Kind::Info || metric.instrument.is_none(), "{metric:?}");
                for label in metric.labels {
                    assert_eq!(label.label.is_some(), metric.family.is_some(), "{metric:?}");
                    assert_eq!(
                        label.attribute.is_some(),
                        metric.instrument.is_some(),
                        "{metric:?}"
                    );
                }
            }
        }
        check(container::ROWS);
        check(pod::ROWS);
        check(job::ROWS);
    }
}
