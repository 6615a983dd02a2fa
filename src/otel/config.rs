//! The configuration of exporters from the standard `OTEL_*` variables and the proxy variables.
//! Pure, with a lookup function.
//!
//! A variable of one signal takes precedence over the general one; an empty variable counts as
//! unset. A signal without an endpoint is off, unless `OTEL_LOGS_EXPORTER=otlp` or similar selects
//! the default endpoint. A value that is not valid is ignored, as the specification requires, and
//! returned for the caller to log, because telemetry settings must not stop a program. Keywords are
//! not case-sensitive. Values of headers appear in no warning and no debug output.
//!
//! Specification: <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.

mod endpoint;
mod error;
mod headers;
mod pairs;
#[cfg(test)]
mod tests;
mod variables;

use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;

use super::{Proxy, Signal};
pub use error::Ignored;
pub use headers::Headers;
use variables::{Variable, Variables};

/// The specification's timeout of one attempt.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longer timeouts are reduced to this, because gRPC has no unlimited timeout.
const LONGEST_TIMEOUT: Duration = Duration::from_hours(24);
/// The specification's interval of metric exports.
const METRIC_INTERVAL: Duration = Duration::from_mins(1);
/// Shorter intervals would cost too much.
const SHORTEST_METRIC_INTERVAL: Duration = Duration::from_millis(100);

/// The configuration of each signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Of logs.
    pub logs: Exporter,
    /// Of traces.
    pub traces: Exporter,
    /// Of metrics.
    pub metrics: Exporter,
}

/// The destination of one signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exporter {
    /// None.
    Off,
    /// To standard output, as lines of JSON.
    Console,
    /// A collector.
    Otlp(Box<Target>),
}

/// Since when counters and histograms of metrics count.
///
/// Source: OpenTelemetry specification 1.60, `metrics/sdk_exporters/otlp.md`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Temporality {
    /// Since their beginning.
    #[default]
    Cumulative,
    /// Since they were sent last; sums that go up and down as before.
    Delta,
    /// As `Delta` what is counted when it happens; as `Cumulative` what is read of counters.
    LowMemory,
}

/// A collector, and how to connect to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// By which protocol.
    pub protocol: Protocol,
    /// Scheme, host and port; for HTTP also the path.
    pub endpoint: Uri,
    /// Sent with each request.
    pub headers: Headers,
    /// Timeout of one attempt, including the connection.
    pub timeout: Duration,
    /// Whether requests are compressed.
    pub gzip: bool,
    /// Trusted certificates, and the client's certificate.
    pub tls: Tls,
    /// The proxy from `HTTP_PROXY`, `HTTPS_PROXY` or `ALL_PROXY`, unless `NO_PROXY` excludes the
    /// collector. gRPC always uses a tunnel through it, as HTTP does with TLS.
    pub proxy: Option<Proxy>,
}

/// The protocol of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Unary calls over HTTP/2.
    Grpc,
    /// Protobuf in the body of a POST.
    HttpProtobuf,
}

/// Files in PEM format. Read when the connection is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates to trust instead of the system's.
    pub certificate: Option<PathBuf>,
    /// The client's certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

// === impl Config ===

impl Config {
    /// Reads the settings of all signals, and returns what was ignored. `lookup` gets the names of
    /// variables.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> (Self, Vec<Ignored>) {
        let variables = Variables::new(lookup);
        let [logs, traces, metrics] = Signal::ALL.map(|signal| variables.exporter(signal));
        (Self { logs, traces, metrics }, variables.ignored())
    }

    /// The destination of this signal.
    pub fn of(&self, signal: Signal) -> &Exporter {
        match signal {
            Signal::Logs => &self.logs,
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
        }
    }
}

/// The proxy for requests over HTTP to this URL, from the proxy variables.
pub(crate) fn proxy_of(url: &Uri, lookup: impl Fn(&str) -> Option<String>) -> Option<Proxy> {
    Variables::new(lookup).proxy(Protocol::HttpProtobuf, url)
}

/// The same for one signal.
pub fn exporter(
    signal: Signal,
    lookup: impl Fn(&str) -> Option<String>,
) -> (Exporter, Vec<Ignored>) {
    let variables = Variables::new(lookup);
    (variables.exporter(signal), variables.ignored())
}

/// Attributes for every resource: `OTEL_RESOURCE_ATTRIBUTES`, which is ignored as a whole if any
/// part is not valid, and `OTEL_SERVICE_NAME`, which overrides its `service.name`.
pub fn resource_from_env(
    lookup: impl Fn(&str) -> Option<String>,
) -> (Vec<(String, String)>, Vec<Ignored>) {
    let variables = Variables::new(lookup);
    let listed = variables.get("OTEL_RESOURCE_ATTRIBUTES");
    let listed = listed.map(|listed| pairs::parse(&listed.name, &listed.value));
    let listed = listed.and_then(|listed| variables.taken(listed)).unwrap_or_default();
    let mut attributes: Vec<(String, String)> = Vec::new();
    // If a key occurs twice, the last value is used.
    for (key, value) in listed {
        attributes.retain(|(known, _)| *known != key);
        attributes.push((key, value));
    }
    if let Some(named) = variables.get("OTEL_SERVICE_NAME") {
        attributes.retain(|(key, _)| key != "service.name");
        attributes.push(("service.name".to_owned(), named.value));
    }
    (attributes, variables.ignored())
}

/// The interval of metric exports: `OTEL_METRIC_EXPORT_INTERVAL`.
pub fn metric_interval(lookup: impl Fn(&str) -> Option<String>) -> (Duration, Vec<Ignored>) {
    let variables = Variables::new(lookup);
    let interval = variables.get("OTEL_METRIC_EXPORT_INTERVAL").and_then(|said| {
        let interval = said.value.parse().ok().map(Duration::from_millis);
        let interval = interval.filter(|interval| *interval >= SHORTEST_METRIC_INTERVAL);
        variables
            .taken(interval.ok_or_else(|| said.not("a whole number of milliseconds, 100 at least")))
    });
    (interval.unwrap_or(METRIC_INTERVAL), variables.ignored())
}

/// Whether the signal is explicitly disabled, rather than missing an endpoint.
pub fn is_turned_off(signal: Signal, lookup: impl Fn(&str) -> Option<String>) -> bool {
    let variables = Variables::new(lookup);
    let chosen = variables.get(&format!("OTEL_{}_EXPORTER", signal.in_variables()));
    variables.is_true("OTEL_SDK_DISABLED")
        || chosen.is_some_and(|chosen| {
            let words = chosen.words();
            let has = |word: &str| words.iter().any(|one| one == word);
            let is_served = signal == Signal::Metrics && has("prometheus");
            !has("otlp") && (has("none") || is_served)
        })
}

/// Since when metrics are to count: `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`, in any case.
pub fn temporality(lookup: impl Fn(&str) -> Option<String>) -> (Temporality, Vec<Ignored>) {
    let variables = Variables::new(lookup);
    let said =
        variables.get("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE").and_then(|said| {
            let temporality = match said.value.to_ascii_lowercase().as_str() {
                "cumulative" => Some(Temporality::Cumulative),
                "delta" => Some(Temporality::Delta),
                "lowmemory" => Some(Temporality::LowMemory),
                _ => None,
            };
            variables.taken(temporality.ok_or_else(|| said.not("cumulative, delta or lowmemory")))
        });
    (said.unwrap_or_default(), variables.ignored())
}

// === impl Target ===

/// Without values of headers and the query of the endpoint, which may contain a key.
impl std::fmt::Debug for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Target")
            .field("protocol", &self.protocol)
            .field("endpoint", &self.shown())
            .field("headers", &self.headers)
            .field("timeout", &self.timeout)
            .field("gzip", &self.gzip)
            .field("tls", &self.tls)
            .field("proxy", &self.proxy)
            .finish()
    }
}

impl Target {
    /// The endpoint and its proxy, without credentials, for a log.
    pub fn shown(&self) -> String {
        let scheme = self.endpoint.scheme_str().unwrap_or_default();
        let authority = self.endpoint.authority().map_or("", |authority| authority.as_str());
        let path = match self.protocol {
            Protocol::Grpc => "",
            Protocol::HttpProtobuf => self.endpoint.path(),
        };
        match &self.proxy {
            Some(proxy) => format!("{scheme}://{authority}{path} through {}", proxy.shown()),
            None => format!("{scheme}://{authority}{path}"),
        }
    }
}
