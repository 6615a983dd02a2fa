//! What a metric is, and the list of all of them.

use super::points::Points;
use super::{container, job, pod};

/// What a metric's points mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A sum that only grows.
    Counter,
    /// A sum that goes up and down: those of several containers may be added up.
    UpDownCounter,
    /// A figure that adds up to nothing.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

/// Whose points these are: the resource that they stand under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One container.
    Container,
    /// One pod.
    Pod,
    /// All jobs of one name; the resource is the agent that counted them.
    Job,
}

/// One metric: everything that is known of it without a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Attributes of a point beside those every point of the scope has.
    pub attributes: &'static [&'static str],
}

/// A metric and how its points are read from a `T`.
pub(super) struct Row<T> {
    pub(super) instrument: Instrument,
    read: fn(&T, &mut Points),
}

/// Every metric, in the order of the reference.
pub fn instruments() -> impl Iterator<Item = &'static Instrument> {
    let containers = container::ROWS.iter().map(|row| &row.instrument);
    let pods = pod::ROWS.iter().map(|row| &row.instrument);
    let jobs = job::ROWS.iter().map(|row| &row.instrument);
    containers.chain(pods).chain(jobs)
}

// === impl Kind ===

impl Kind {
    /// The word in the reference.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::UpDownCounter => "updowncounter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

// === impl Row ===

impl<T> Row<T> {
    pub(super) const fn new(instrument: Instrument, read: fn(&T, &mut Points)) -> Self {
        Self { instrument, read }
    }

    /// Writes what all of these have of this metric.
    pub(super) fn write<'a>(&self, all: impl IntoIterator<Item = &'a T>, points: &mut Points)
    where
        T: super::points::Subject + 'a,
    {
        for of in all {
            points.of(of);
            (self.read)(of, points);
        }
        points.close(&self.instrument);
    }
}
