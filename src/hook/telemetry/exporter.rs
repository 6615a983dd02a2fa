//! The SDK's exporter on the connections that agent and hook share: `ephemon_otel` reads the
//! environment, and what the SDK would read itself is overridden.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ephemon_otel::config::{Protocol, Target};
use ephemon_otel::{GrpcDialer, HttpClient, Metadata};
use hyper::{Request, Response};
use opentelemetry_http::HttpError;
use opentelemetry_otlp::{
    Compression, Protocol as Encoding, RetryPolicy, SpanExporter, WithExportConfig as _,
    WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::time::timeout;

/// Sends spans over gRPC, or over HTTP with protobuf.
#[derive(Debug)]
pub(super) struct Exporter {
    spans: SpanExporter,
    trouble: LastError,
}

/// Why the last request over HTTP failed, because the SDK reports only that it did.
#[derive(Debug, Clone, Default)]
struct LastError(Arc<Mutex<Option<String>>>);

/// An HTTP client for a collector, in the form that the SDK needs.
#[derive(Debug)]
struct Port {
    client: HttpClient,
    timeout: Duration,
    trouble: LastError,
}

// === impl Exporter ===

impl Exporter {
    /// Reads certificates, but does not connect. Needs the runtime.
    pub(super) fn new(target: &Target, resource: &Resource) -> Result<Self, String> {
        let trouble = LastError::default();
        let built = match target.protocol {
            Protocol::Grpc => {
                let dialer = GrpcDialer::new(target).map_err(|error| error.to_string())?;
                let builder = SpanExporter::builder()
                    .with_tonic()
                    .with_channel(dialer.channel())
                    .with_interceptor(Metadata::of(target))
                    .with_timeout(target.timeout)
                    .with_retry_policy(RetryPolicy::disabled());
                if target.gzip {
                    builder.with_compression(Compression::Gzip).build()
                } else {
                    builder.build()
                }
            }
            Protocol::HttpProtobuf => {
                let client = HttpClient::new(target).map_err(|error| error.to_string())?;
                let port = Port { client, timeout: target.timeout, trouble: trouble.clone() };
                SpanExporter::builder()
                    .with_http()
                    .with_protocol(Encoding::HttpBinary)
                    .with_endpoint(target.endpoint.to_string())
                    .with_timeout(target.timeout)
                    .with_retry_policy(RetryPolicy::disabled())
                    .with_http_client(port)
                    .build()
            }
        };
        let mut spans = built.map_err(|error| error.to_string())?;
        spans.set_resource(resource);
        Ok(Self { spans, trouble })
    }

    /// One export without retry, because a step does not wait for the collector.
    pub(super) async fn send(&self, spans: Vec<SpanData>) -> Result<(), String> {
        let sent = self.spans.export(spans).await;
        sent.map_err(|error| self.trouble.take().unwrap_or_else(|| error.to_string()))
    }
}

// === impl LastError ===

impl LastError {
    fn set(&self, said: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(said.to_owned());
    }

    fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

// === impl Port ===

#[async_trait]
impl opentelemetry_http::HttpClient for Port {
    /// Uses only the body of the SDK's request; address and headers come from the configuration.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = match timeout(self.timeout, self.client.post(request.into_body())).await {
            Ok(sent) => sent,
            Err(_) => Err(format!("no answer within {} ms", self.timeout.as_millis())),
        };
        sent.map_err(|why| {
            self.trouble.set(&why);
            why.into()
        })
    }
}
