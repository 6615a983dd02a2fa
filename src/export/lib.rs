//! Encoded OTLP requests on their way to a collector: logs, traces and metrics alike. Nothing here
//! knows what they say.
//!
//! - [`Outbox`]: where requests go in: a bounded queue in memory, or the spool. What waits in the queue
//!   can be moved into the spool, and is never in both.
//! - [`Sender`]: the one task of a signal that takes them out, in the order of arrival, and repeats,
//!   splits, drops and counts.
//! - [`Destination`]: one attempt, by gRPC, by HTTP, or as lines of JSON.
//! - [`spool`]: the bounded directory on the node that outlives the process.
//!
//! Where to, and the connection itself, are `ephemon_otel`'s.
//!
//! Delivery is at least once: an answer that was lost, or a crash before the spool's cursor was
//! written, sends a request again.

pub mod spool;

mod destination;
mod outbox;
mod payload;
mod queue;
mod sender;
mod split;
mod store;
mod undelivered;
mod waker;

use ephemon_otel::Signal;
use ephemon_self_metrics as self_metrics;

pub use destination::{Answer, Destination};
pub use outbox::Outbox;
pub use payload::{Fate, PAYLOAD_BYTES_MAX, Payload, Receipt};
pub use sender::QUEUE_BYTES;
pub use sender::{Options, Sender};
pub use store::KeepError;

/// Targets of `tracing` events and spans that come of an export, by their beginnings. Whoever
/// exports the program's own spans or logs must leave these out, or it exports its own exports
/// for ever.
pub const OWN_TARGETS: &[&str] =
    &["ephemon_export", "ephemon_otel", "h2", "hyper", "hyper_util", "rustls", "tonic", "tower"];

/// The signal by the name that the agent's counters have for it.
fn counted(signal: Signal) -> self_metrics::Signal {
    match signal {
        Signal::Logs => self_metrics::Signal::Logs,
        Signal::Traces => self_metrics::Signal::Traces,
        Signal::Metrics => self_metrics::Signal::Metrics,
    }
}
