//! The way to the collector, as the standard environment variables describe it.

use std::time::Duration;

use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{
    OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL, RetryPolicy, SpanExporter, WithHttpConfig as _,
    WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};

/// Longest wait for one answer; the end of the call comes first.
const ANSWER: Duration = Duration::from_secs(10);

/// Sends spans by gRPC or by HTTP with protobuf. Endpoint, headers, timeout and compression are
/// the crate's to read from the environment; trust in certificates is the system's, or that of
/// `SSL_CERT_FILE`.
#[derive(Debug)]
pub(super) struct Exporter(SpanExporter);

// === impl Exporter ===

impl Exporter {
    pub(super) fn from_env(resource: &Resource) -> Result<Self, String> {
        let protocol = env([OTEL_EXPORTER_OTLP_TRACES_PROTOCOL, OTEL_EXPORTER_OTLP_PROTOCOL]);
        let built = match protocol.as_deref() {
            Some("grpc") => {
                let builder =
                    SpanExporter::builder().with_tonic().with_retry_policy(RetryPolicy::disabled());
                if is_https() {
                    builder.with_tls_config(ClientTlsConfig::new().with_enabled_roots()).build()
                } else {
                    builder.build()
                }
            }
            None | Some("http/protobuf") => {
                let builder =
                    SpanExporter::builder().with_http().with_retry_policy(RetryPolicy::disabled());
                if is_https() {
                    let connector = HttpsConnectorBuilder::new()
                        .with_native_roots()
                        .map_err(|error| format!("no certificates to trust: {error}"))?
                        .https_only()
                        .enable_http1()
                        .build();
                    builder.with_http_client(HyperClient::new(connector, ANSWER, None)).build()
                } else {
                    builder.build()
                }
            }
            Some(_) => {
                return Err(format!("{OTEL_EXPORTER_OTLP_PROTOCOL} must be grpc or http/protobuf"));
            }
        };
        let mut exporter = built.map_err(|error| error.to_string())?;
        exporter.set_resource(resource);
        Ok(Self(exporter))
    }

    /// One delivery, not repeated: a step waits for no collector.
    pub(super) async fn send(&self, spans: Vec<SpanData>) -> Result<(), String> {
        self.0.export(spans).await.map_err(|error| error.to_string())
    }
}

/// The first of the variables that says something.
fn env<const N: usize>(names: [&str; N]) -> Option<String> {
    names.into_iter().filter_map(|name| std::env::var(name).ok()).find(|value| !value.is_empty())
}

fn is_https() -> bool {
    let endpoint = env([OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_EXPORTER_OTLP_ENDPOINT]);
    endpoint.is_some_and(|endpoint| endpoint.to_ascii_lowercase().starts_with("https:"))
}
