//! Every metric once: its names in Prometheus and in OTLP, kind, unit, help, labels, and how it is
//! read.
//!
//! The rows in `container`, `pod`, `job` and `agent` are the one table. A [`Row`] yields values and
//! the values of its labels in order; two writers spell them, each by its own convention:
//! `ephemon_metrics` as text, `ephemon_otlp` as points. A row without an instrument is shown by
//! Prometheus only, one without a family over OTLP only; such rows stand side by side and say why.
//! [`families`] and [`instruments`] are the table by each side's names, and the documents' reference
//! is printed from them.

pub mod agent;
pub mod container;
pub mod debug;
pub mod job;
pub mod names;
pub mod pod;

mod family;
mod instrument;
mod reference;
mod row;
mod value;

pub use agent::{Build, Settings};
pub use container::Container;
pub use family::{Family, Unit, families};
pub use instrument::{Instrument, InstrumentRows, container_instruments, instruments};
pub use instrument::{job_instruments, pod_instruments};
pub use job::JobSeries;
pub use reference::{families_markdown, instruments_markdown};
pub use row::{Kind, Label, Metric, Read, Row, Scope};
pub use value::{LabelValue, Points, Value};
