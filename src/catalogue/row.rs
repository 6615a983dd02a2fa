//! What one row of the table is.

use ephemon_jobs::tally::Histogram;

use super::value::{Points, Value};

/// What a metric's values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the series lives; a family's name ends in `_total`.
    Counter,
    /// Goes up and down, and those of several containers may be added up. Prometheus has no word for
    /// that: a gauge.
    UpDownCounter,
    /// Goes up and down, and adds up to nothing.
    Gauge,
    /// Always 1; the labels are the message. The family's name ends in `_info`. Not in OTLP.
    Info,
    /// Buckets, sum and count.
    Histogram,
}

/// What one series or one resource's points are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One container.
    Container,
    /// One pod.
    Pod,
    /// All jobs of one name. In OTLP the resource is the agent that counted them.
    Job,
    /// A container that was attached to a pod by hand.
    Debug,
    /// The agent itself.
    Agent,
}

/// A label by each convention's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// As a Prometheus label.
    pub label: Option<&'static str>,
    /// As an OTLP attribute.
    pub attribute: Option<&'static str>,
}

/// Everything that is known of a row without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Name of the Prometheus family, as a sample line of the text format has it.
    pub family: Option<&'static str>,
    /// Name of the OTLP instrument. Several rows may be parts of one.
    pub instrument: Option<&'static str>,
    /// What the values mean.
    pub kind: Kind,
    /// The unit, by UCUM.
    pub unit: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Labels beside those that every point of the scope has.
    pub labels: &'static [Label],
    /// What part of its instrument the row is.
    pub part: Option<Part>,
}

/// Where Prometheus has a family for each value of an attribute, OTLP has one instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// One sentence of the whole instrument.
    pub description: &'static str,
    /// The attribute that tells the parts apart.
    pub attribute: &'static str,
    /// Its value for this part.
    pub value: &'static str,
}

/// A metric and how its points are read from a `T`.
#[derive(Debug)]
pub struct Row<T> {
    /// What is known of it without a value.
    pub metric: Metric,
    /// How its points are read.
    pub read: Read<T>,
}

/// How points are read.
#[derive(Debug)]
pub enum Read<T> {
    /// One point at most, without further labels.
    One(fn(&T) -> Option<Value>),
    /// Points with further labels.
    Many(fn(&T, &mut dyn Points)),
    /// One histogram, with the bounds of its buckets.
    Histogram(fn(&T) -> &Histogram, &'static [f64]),
}

// === impl Kind ===

impl Kind {
    /// Prometheus' word, as in the reference; `info` is OpenMetrics' alone.
    pub fn as_prometheus(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::UpDownCounter | Self::Gauge => "gauge",
            Self::Info => "info",
            Self::Histogram => "histogram",
        }
    }

    /// OpenTelemetry's word, as in the reference.
    pub fn as_otlp(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::UpDownCounter => "updowncounter",
            Self::Gauge | Self::Info => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

// === impl Scope ===

impl Scope {
    /// The labels that every series of the scope has in Prometheus.
    pub fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Container => &["namespace", "pod", "container", "container_type"],
            Self::Pod => &["namespace", "pod"],
            Self::Job => &["namespace", "organization", "repository", "workflow", "job_id"],
            Self::Debug => &["namespace", "pod", "container"],
            Self::Agent => &[],
        }
    }
}

// === impl Label ===

impl Label {
    pub(crate) const fn both(label: &'static str, attribute: &'static str) -> Self {
        Self { label: Some(label), attribute: Some(attribute) }
    }

    /// Of a row without an instrument.
    pub(crate) const fn prometheus(label: &'static str) -> Self {
        Self { label: Some(label), attribute: None }
    }

    /// Of a row without a family.
    pub(crate) const fn otlp(attribute: &'static str) -> Self {
        Self { label: None, attribute: Some(attribute) }
    }
}

// === impl Metric ===

impl Metric {
    pub(crate) const fn counter(unit: &'static str, help: &'static str) -> Self {
        Self::new(Kind::Counter, unit, help)
    }

    pub(crate) const fn up_down_counter(unit: &'static str, help: &'static str) -> Self {
        Self::new(Kind::UpDownCounter, unit, help)
    }

    pub(crate) const fn gauge(unit: &'static str, help: &'static str) -> Self {
        Self::new(Kind::Gauge, unit, help)
    }

    pub(crate) const fn info(help: &'static str) -> Self {
        Self::new(Kind::Info, "1", help)
    }

    pub(crate) const fn histogram(unit: &'static str, help: &'static str) -> Self {
        Self::new(Kind::Histogram, unit, help)
    }

    const fn new(kind: Kind, unit: &'static str, help: &'static str) -> Self {
        Self { family: None, instrument: None, kind, unit, help, labels: &[], part: None }
    }

    pub(crate) const fn family(self, name: &'static str) -> Self {
        Self { family: Some(name), ..self }
    }

    pub(crate) const fn instrument(self, name: &'static str) -> Self {
        Self { instrument: Some(name), ..self }
    }

    pub(crate) const fn labels(self, labels: &'static [Label]) -> Self {
        Self { labels, ..self }
    }

    pub(crate) const fn part(self, part: Part) -> Self {
        Self { part: Some(part), ..self }
    }

    pub(crate) const fn one<T>(self, read: fn(&T) -> Option<Value>) -> Row<T> {
        Row { metric: self, read: Read::One(read) }
    }

    pub(crate) const fn many<T>(self, read: fn(&T, &mut dyn Points)) -> Row<T> {
        Row { metric: self, read: Read::Many(read) }
    }

    pub(crate) const fn buckets<T>(
        self,
        read: fn(&T) -> &Histogram,
        bounds: &'static [f64],
    ) -> Row<T> {
        Row { metric: self, read: Read::Histogram(read, bounds) }
    }
}
