//! The parts of OpenTelemetry that agent and hook share.
//!
//! - [`config`]: the only reader of the standard `OTEL_*` variables and of the proxy variables.
//! - [`conventions`]: the names of attributes and metrics, and their version.
//! - [`HttpClient`], [`GrpcDialer`]: clients for a collector's two ports, with the same set-up of
//!   TLS and proxies.
//! - [`WebClient`]: a client for Prometheus or an agent, on the same connections.
//! - [`SpanBuffer`]: finished spans of a program's own work, which the program exports.

pub mod config;
pub mod conventions;

mod connection;
mod grpc;
mod http;
mod proxy;
mod signal;
mod span_buffer;
mod tls;
mod tunnel;
mod web;

use std::error::Error;

pub use grpc::{GrpcDialer, Metadata};
pub use http::HttpClient;
pub use proxy::Proxy;
pub use signal::Signal;
pub use span_buffer::SpanBuffer;
pub use tls::Error as SetupError;
pub use web::{Asked, WebClient, WebError};

/// Identifies the sender in logs of the collector and the proxy.
const USER_AGENT: &str = concat!("ephemon/", env!("CARGO_PKG_VERSION"));

/// The error with its causes, because the outermost one often has no details.
pub fn causes(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    // Enough for every chain, but bounded.
    for _ in 0..8 {
        let Some(error) = cause else { break };
        let words = error.to_string();
        if !said.contains(&words) {
            said.push_str(": ");
            said.push_str(&words);
        }
        cause = error.source();
    }
    said
}
