//! Values as metrics of OTLP: what was read of containers and pods, and what was counted of jobs, as
//! `ExportMetricsServiceRequest`s. Pure.
//!
//! Instruments are those of `ephemon_catalogue`. Sums are cumulative, from the container's start or
//! from when a job of the name was first counted; where deltas are asked for, `delta` makes them.

mod container;
mod delta;
mod job;
mod owner;
mod pod;
mod points;
mod requests;
#[cfg(test)]
mod tests;

pub use container::Container;
pub use delta::{Staged, Undo, Windows};
pub use job::Jobs;
pub use owner::Owner;
pub use pod::Pod;
pub use requests::{Batch, JOBS, Requests};
