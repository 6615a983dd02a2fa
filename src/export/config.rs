//! Where to and how, by the standard `OTEL_*` variables: pure, over a lookup.
//!
//! A variable of one signal goes before the general one; an empty one is one that is not set. A
//! signal without an endpoint is off, unless `OTEL_LOGS_EXPORTER=otlp` and its like ask for the
//! default one. Values of headers appear in no error and no debug output.
//!
//! Specification: <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.

mod endpoint;
mod error;
mod headers;
mod pairs;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;

use super::Signal;
pub use error::Error;
pub use headers::Headers;

/// The specification's time for one attempt.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The specification's time from one export of metrics to the next.
const METRIC_INTERVAL: Duration = Duration::from_mins(1);
/// Shorter ones would cost more than they show.
const SHORTEST_METRIC_INTERVAL: Duration = Duration::from_millis(100);

/// What the environment says of each signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Of logs.
    pub logs: Exporter,
    /// Of traces.
    pub traces: Exporter,
    /// Of metrics.
    pub metrics: Exporter,
}

/// Where one signal goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exporter {
    /// Nowhere.
    Off,
    /// To standard output, as lines of JSON.
    Console,
    /// To a collector.
    Otlp(Box<Target>),
}

/// A collector, and how to speak to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// By which protocol.
    pub protocol: Protocol,
    /// Scheme, host and port; over HTTP the path too.
    pub endpoint: Uri,
    /// Sent with each request.
    pub headers: Headers,
    /// For one attempt, connecting included.
    pub timeout: Duration,
    /// Whether requests are compressed.
    pub gzip: bool,
    /// What to trust, and who we are.
    pub tls: Tls,
}

/// How requests are carried.
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

/// The variables, by the one way of reading them.
struct Variables<F>(F);

/// A variable that is set.
struct Variable {
    name: String,
    value: String,
    /// Whether it is the one of a signal.
    own: bool,
}

// === impl Config ===

impl Config {
    /// Reads the settings of all signals. `lookup` is asked for names of variables.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let variables = Variables(lookup);
        if variables.is_true("OTEL_SDK_DISABLED")? {
            let [logs, traces, metrics] = [Exporter::Off, Exporter::Off, Exporter::Off];
            return Ok(Self { logs, traces, metrics });
        }
        Ok(Self {
            logs: variables.exporter(Signal::Logs)?,
            traces: variables.exporter(Signal::Traces)?,
            metrics: variables.exporter(Signal::Metrics)?,
        })
    }

    /// Where this signal goes.
    pub fn of(&self, signal: Signal) -> &Exporter {
        match signal {
            Signal::Logs => &self.logs,
            Signal::Traces => &self.traces,
            Signal::Metrics => &self.metrics,
        }
    }
}

/// Attributes that the operator gives every resource: `OTEL_RESOURCE_ATTRIBUTES`, and
/// `OTEL_SERVICE_NAME` as `service.name` over it.
pub fn resource_from_env(
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Vec<(String, String)>, Error> {
    let variables = Variables(lookup);
    let mut attributes = Vec::new();
    if let Some(listed) = variables.get("OTEL_RESOURCE_ATTRIBUTES") {
        attributes = pairs::parse(&listed.name, &listed.value)?;
    }
    if let Some(named) = variables.get("OTEL_SERVICE_NAME") {
        attributes.retain(|(key, _)| key != "service.name");
        attributes.push(("service.name".to_owned(), named.value));
    }
    Ok(attributes)
}

/// From one export of metrics to the next: `OTEL_METRIC_EXPORT_INTERVAL`.
pub fn metric_interval(lookup: impl Fn(&str) -> Option<String>) -> Result<Duration, Error> {
    let Some(said) = Variables(lookup).get("OTEL_METRIC_EXPORT_INTERVAL") else {
        return Ok(METRIC_INTERVAL);
    };
    let interval = said.value.parse().ok().map(Duration::from_millis);
    let interval = interval.filter(|interval| *interval >= SHORTEST_METRIC_INTERVAL);
    interval.ok_or_else(|| said.not("a whole number of milliseconds, 100 at least"))
}

/// Whether the signal is off because that was asked for, and not for want of an endpoint.
pub fn is_turned_off(signal: Signal, lookup: impl Fn(&str) -> Option<String>) -> bool {
    let variables = Variables(lookup);
    let exporter = variables.get(&format!("OTEL_{}_EXPORTER", signal.in_variables()));
    variables.is_true("OTEL_SDK_DISABLED") == Ok(true)
        || exporter.is_some_and(|chosen| chosen.value == "none")
}

/// Whether metrics were asked for that are anything but cumulative.
pub fn wants_delta(lookup: impl Fn(&str) -> Option<String>) -> bool {
    let said = Variables(lookup).get("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE");
    said.is_some_and(|said| !said.value.eq_ignore_ascii_case("cumulative"))
}

// === impl Target ===

/// Neither values of headers nor the query of the endpoint, which may hold a key.
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
            .finish()
    }
}

impl Target {
    /// The endpoint, fit for a log.
    pub fn shown(&self) -> String {
        let scheme = self.endpoint.scheme_str().unwrap_or_default();
        let authority = self.endpoint.authority().map_or("", |authority| authority.as_str());
        match self.protocol {
            Protocol::Grpc => format!("{scheme}://{authority}"),
            Protocol::HttpProtobuf => format!("{scheme}://{authority}{}", self.endpoint.path()),
        }
    }
}

// === impl Variables ===

impl<F: Fn(&str) -> Option<String>> Variables<F> {
    fn exporter(&self, signal: Signal) -> Result<Exporter, Error> {
        let name = format!("OTEL_{}_EXPORTER", signal.in_variables());
        let asked = match self.get(&name) {
            None => false,
            Some(chosen) => match chosen.value.as_str() {
                "otlp" => true,
                "none" => return Ok(Exporter::Off),
                "console" => return Ok(Exporter::Console),
                _ => return Err(chosen.not("`otlp`, `console` or `none`")),
            },
        };
        let endpoint = self.of(signal, "ENDPOINT");
        if endpoint.is_none() && !asked {
            return Ok(Exporter::Off);
        }
        let protocol = self.protocol(signal)?;
        let endpoint = match (endpoint, protocol) {
            (Some(said), Protocol::Grpc) => endpoint::of_grpc(&said, self.insecure(signal)?)?,
            (Some(said), Protocol::HttpProtobuf) => endpoint::of_http(&said, signal)?,
            (None, protocol) => endpoint::local(protocol, signal),
        };
        let headers = self.of(signal, "HEADERS");
        Ok(Exporter::Otlp(Box::new(Target {
            protocol,
            endpoint,
            headers: headers.map_or(Ok(Headers::default()), |said| Headers::parse(&said))?,
            timeout: self.timeout(signal)?,
            gzip: self.gzip(signal)?,
            tls: self.tls(signal)?,
        })))
    }

    fn protocol(&self, signal: Signal) -> Result<Protocol, Error> {
        let Some(said) = self.of(signal, "PROTOCOL") else { return Ok(Protocol::HttpProtobuf) };
        match said.value.as_str() {
            "grpc" => Ok(Protocol::Grpc),
            "http/protobuf" => Ok(Protocol::HttpProtobuf),
            _ => Err(said.not("`grpc` or `http/protobuf`")),
        }
    }

    fn insecure(&self, signal: Signal) -> Result<bool, Error> {
        self.of(signal, "INSECURE").map_or(Ok(false), |said| said.boolean())
    }

    fn timeout(&self, signal: Signal) -> Result<Duration, Error> {
        let Some(said) = self.of(signal, "TIMEOUT") else { return Ok(TIMEOUT) };
        match said.value.parse() {
            Ok(0) | Err(_) => Err(said.not("a whole number of milliseconds above 0")),
            Ok(milliseconds) => Ok(Duration::from_millis(milliseconds)),
        }
    }

    fn gzip(&self, signal: Signal) -> Result<bool, Error> {
        let Some(said) = self.of(signal, "COMPRESSION") else { return Ok(false) };
        match said.value.as_str() {
            "gzip" => Ok(true),
            "none" => Ok(false),
            _ => Err(said.not("`gzip` or `none`")),
        }
    }

    fn tls(&self, signal: Signal) -> Result<Tls, Error> {
        let path = |said: &Variable| PathBuf::from(&said.value);
        let certificate = self.of(signal, "CERTIFICATE");
        let client = (self.of(signal, "CLIENT_CERTIFICATE"), self.of(signal, "CLIENT_KEY"));
        let client = match client {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((path(&certificate), path(&key))),
            (Some(alone), None) => return Err(alone.lacks("CLIENT_KEY")),
            (None, Some(alone)) => return Err(alone.lacks("CLIENT_CERTIFICATE")),
        };
        Ok(Tls { certificate: certificate.as_ref().map(path), client })
    }

    /// The variable of the signal, else the general one.
    fn of(&self, signal: Signal, what: &str) -> Option<Variable> {
        let own = format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.in_variables());
        let own = self.get(&own).map(|found| Variable { own: true, ..found });
        own.or_else(|| self.get(&format!("OTEL_EXPORTER_OTLP_{what}")))
    }

    fn get(&self, name: &str) -> Option<Variable> {
        let value = (self.0)(name)?;
        let value = value.trim();
        let found = Variable { name: name.to_owned(), value: value.to_owned(), own: false };
        (!value.is_empty()).then_some(found)
    }

    fn is_true(&self, name: &str) -> Result<bool, Error> {
        self.get(name).map_or(Ok(false), |said| said.boolean())
    }
}

// === impl Variable ===

impl Variable {
    fn boolean(&self) -> Result<bool, Error> {
        match self.value.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.not("`true` or `false`")),
        }
    }

    fn not(&self, allowed: &'static str) -> Error {
        Error::NotAllowed { variable: self.name.clone(), allowed }
    }

    fn lacks(&self, what: &str) -> Error {
        let prefix = self.name.split("CLIENT_").next().unwrap_or_default();
        Error::Alone { variable: self.name.clone(), other: format!("{prefix}{what}") }
    }
}
