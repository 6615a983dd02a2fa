//! Figures as metrics of OTLP: what was read of containers and pods, and what was counted of jobs,
//! as `ExportMetricsServiceRequest`s. Pure.
//!
//! The rows in `container`, `pod` and `job` are the one table: a test holds the names of those that
//! OpenTelemetry's conventions have to the conventions' own list, the reference in `deploy/docs/metrics.md` is
//! printed from them. Sums are cumulative, from the container's start or from when a job of the name was
//! first counted.

mod container;
mod instrument;
mod job;
mod names;
mod owner;
mod pod;
mod points;
mod reference;
mod requests;
#[cfg(test)]
mod tests;

pub use container::Container;
pub use instrument::{Instrument, Kind, Scope, instruments};
pub use job::Jobs;
pub use owner::Owner;
pub use pod::Pod;
pub use reference::reference_markdown;
pub use requests::Requests;
