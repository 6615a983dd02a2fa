//! What agent and hook share of OpenTelemetry.
//!
//! - [`config`]: the one reader of the standard `OTEL_*` variables, and of those that name proxies.
//! - [`conventions`]: the names of attributes and metrics, and the version that they are of.
//! - [`HttpClient`], [`GrpcDialer`]: a collector's two ports, by the one set-up of TLS and proxies.
//! - [`SpanBuffer`]: spans of a program's own work, which the SDK ends and a program sends.

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

use std::error::Error;

pub use grpc::{GrpcDialer, Metadata};
pub use http::HttpClient;
pub use proxy::Proxy;
pub use signal::Signal;
pub use span_buffer::SpanBuffer;
pub use tls::Error as SetupError;

/// Who sends, for the collector's and the proxy's logs.
const USER_AGENT: &str = concat!("ephemon/", env!("CARGO_PKG_VERSION"));

/// The error with its causes: what is on top says only that it did not work.
pub fn causes(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    // Deep enough for every chain there is, and an end all the same.
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
