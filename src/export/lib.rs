//! Encoded OTLP requests on their way to a collector: logs, traces and metrics alike. Nothing here
//! knows what they say.
//!
//! - [`config`]: where to, by the standard `OTEL_*` variables.
//! - [`Outbox`]: where requests go in: a bounded queue in memory, or the spool.
//! - [`Sender`]: the one task of a signal that takes them out, in the order of arrival, and repeats,
//!   splits, drops and counts.
//! - [`Destination`]: one attempt, by gRPC, by HTTP, or as lines of JSON.
//! - [`spool`]: the bounded directory on the node that outlives the process.
//! - [`Basket`]: spans of a program's own work, which the hook and the agent send.
//!
//! Delivery is at least once: an answer that was lost, or a crash before the spool's cursor was
//! written, sends a request again.

pub mod config;
pub mod spool;

mod basket;
mod destination;
mod outbox;
mod payload;
mod sender;
mod split;
mod store;

use ephemon_vitals as vitals;

pub use basket::Basket;
pub use destination::{Answer, Destination};
pub use outbox::Outbox;
pub use payload::{Fate, LARGEST, Payload, Receipt};
pub use sender::QUEUE_BYTES;
pub use sender::{Options, Sender};
pub use store::KeepError;

/// Targets of `tracing` events and spans that come of an export, by their beginnings. Whoever
/// exports the program's own spans or logs must leave these out, or it exports its own exports
/// for ever.
pub const OWN_TARGETS: &[&str] =
    &["ephemon_export", "h2", "hyper", "hyper_util", "rustls", "tonic", "tower"];

/// What is exported. Each has its own path, settings, queue and spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Log records.
    Logs,
    /// Spans.
    Traces,
    /// Points of metrics.
    Metrics,
}

// === impl Signal ===

impl Signal {
    /// Every signal.
    pub const ALL: [Self; 3] = [Self::Logs, Self::Traces, Self::Metrics];

    /// As in the paths of OTLP over HTTP, and the name of the spool's directory.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Traces => "traces",
            Self::Metrics => "metrics",
        }
    }

    /// As in the names of environment variables.
    fn in_variables(self) -> &'static str {
        match self {
            Self::Logs => "LOGS",
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
        }
    }

    /// The path over HTTP, below a general endpoint.
    fn http_path(self) -> &'static str {
        match self {
            Self::Logs => "v1/logs",
            Self::Traces => "v1/traces",
            Self::Metrics => "v1/metrics",
        }
    }

    /// The gRPC method.
    fn grpc_path(self) -> &'static str {
        match self {
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        }
    }

    /// How a record in the spool says what it is.
    fn kind(self) -> u8 {
        match self {
            Self::Logs => 1,
            Self::Traces => 2,
            Self::Metrics => 3,
        }
    }
}

impl From<Signal> for vitals::Signal {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Logs => Self::Logs,
            Signal::Traces => Self::Traces,
            Signal::Metrics => Self::Metrics,
        }
    }
}
