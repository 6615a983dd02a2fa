//! What the agent sends as OTLP has it: log records, a job as one trace, figures as metrics, and its
//! own spans. `ephemon_export` takes it from here to a collector.
//!
//! - [`source`], [`record`], [`names`]: whose records, and what they hold; a [`Batch`] encodes them
//!   as they come.
//! - [`span`]: a job's record as one trace.
//! - [`metric`]: figures of containers, pods and jobs as metrics.
//! - [`own`]: the agent's own spans.

pub mod metric;
pub mod names;
pub mod own;
pub mod record;
pub mod source;
pub mod span;

mod batch;
mod debug_event;
mod log_end;
mod wire;

pub use batch::Batch;
pub use debug_event::DebugEvent;
pub use log_end::LogEnd;
pub use record::Entry;
pub use source::{Job, Resource, Source};
