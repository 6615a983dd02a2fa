//! The names that metrics have in OTLP: OpenTelemetry's, by the one table of agent and hook. Metrics
//! that the conventions do not have are named in their rows, below `ephemon.`.

pub use ephemon_otel::conventions::attribute::*;
pub use ephemon_otel::conventions::metric::*;
