//! Where to and how, by the standard `OTEL_*` variables: pure, over a lookup.
//!
//! A variable of one signal goes before the general one; an empty one is one that is not set. A
//! signal without an endpoint is off, unless `OTEL_LOGS_EXPORTER=otlp` and its like ask for the
//! default one. A value that makes no sense is ignored, as the specification demands, and handed to
//! the caller to warn of: a setting of telemetry never ends what else the program does. Words are read
//! in upper and lower case. Values of headers appear in no warning and no debug output.
//!
//! Specification: <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.

mod endpoint;
mod error;
mod headers;
mod pairs;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;

use super::Signal;
pub use error::Ignored;
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

/// The variables, by the one way of reading them, and what was wrong with those that were read.
struct Variables<F> {
    lookup: F,
    ignored: RefCell<Vec<Ignored>>,
}

/// A variable that is set.
struct Variable {
    name: String,
    value: String,
    /// Whether it is the one of a signal.
    own: bool,
}

// === impl Config ===

impl Config {
    /// Reads the settings of all signals, and says what of them was ignored. `lookup` is asked for
    /// names of variables.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> (Self, Vec<Ignored>) {
        let variables = Variables::new(lookup);
        let [logs, traces, metrics] = if variables.is_true("OTEL_SDK_DISABLED") {
            [Exporter::Off, Exporter::Off, Exporter::Off]
        } else {
            Signal::ALL.map(|signal| variables.exporter(signal))
        };
        (Self { logs, traces, metrics }, variables.ignored())
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

/// Attributes that the operator gives every resource: `OTEL_RESOURCE_ATTRIBUTES`, of which nothing is
/// taken where a part makes no sense, and `OTEL_SERVICE_NAME` as `service.name` over it.
pub fn resource_from_env(
    lookup: impl Fn(&str) -> Option<String>,
) -> (Vec<(String, String)>, Vec<Ignored>) {
    let variables = Variables::new(lookup);
    let listed = variables.get("OTEL_RESOURCE_ATTRIBUTES");
    let listed = listed.map(|listed| pairs::parse(&listed.name, &listed.value));
    let mut attributes = listed.and_then(|listed| variables.taken(listed)).unwrap_or_default();
    if let Some(named) = variables.get("OTEL_SERVICE_NAME") {
        attributes.retain(|(key, _)| key != "service.name");
        attributes.push(("service.name".to_owned(), named.value));
    }
    (attributes, variables.ignored())
}

/// From one export of metrics to the next: `OTEL_METRIC_EXPORT_INTERVAL`.
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

/// Whether the signal is off because that was asked for, and not for want of an endpoint.
pub fn is_turned_off(signal: Signal, lookup: impl Fn(&str) -> Option<String>) -> bool {
    let variables = Variables::new(lookup);
    let chosen = variables.get(&format!("OTEL_{}_EXPORTER", signal.in_variables()));
    variables.is_true("OTEL_SDK_DISABLED")
        || chosen.is_some_and(|chosen| {
            let words = chosen.words();
            !words.iter().any(|word| word == "otlp")
                && words.iter().any(|word| word == "none" || word == "prometheus")
        })
}

/// Whether metrics were asked for that are anything but cumulative.
pub fn wants_delta(lookup: impl Fn(&str) -> Option<String>) -> bool {
    let said = Variables::new(lookup).get("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE");
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
    fn new(lookup: F) -> Self {
        Self { lookup, ignored: RefCell::default() }
    }

    /// What was wrong so far, each once.
    fn ignored(self) -> Vec<Ignored> {
        let mut ignored = self.ignored.into_inner();
        let mut seen = Vec::new();
        ignored.retain(|one| {
            let is_new = !seen.contains(one);
            seen.push(one.clone());
            is_new
        });
        ignored
    }

    /// What a variable says, unless it makes no sense.
    fn taken<T>(&self, said: Result<T, Ignored>) -> Option<T> {
        said.map_err(|ignored| self.ignored.borrow_mut().push(ignored)).ok()
    }

    fn exporter(&self, signal: Signal) -> Exporter {
        let chosen = self.get(&format!("OTEL_{}_EXPORTER", signal.in_variables()));
        let mut asked = false;
        if let Some(chosen) = chosen {
            let words = chosen.words();
            let has = |word: &str| words.iter().any(|one| one == word);
            // What this program offers at its own port, or not at all, asks for nothing here.
            let known =
                |word: &String| ["otlp", "console", "none", "prometheus"].contains(&&**word);
            if !words.iter().all(known) {
                self.taken::<()>(Err(chosen.not("`otlp`, `console`, `prometheus` or `none`")));
            }
            match () {
                () if has("otlp") => asked = true,
                () if has("console") => return Exporter::Console,
                () if has("none") || has("prometheus") => return Exporter::Off,
                () => {}
            }
        }
        let protocol = self.protocol(signal);
        let endpoint = self.endpoint(signal, protocol);
        let endpoint = match endpoint {
            Some(endpoint) => endpoint,
            None if asked => endpoint::local(protocol, signal),
            None => return Exporter::Off,
        };
        let headers = self.of(signal, "HEADERS").map(|said| {
            let (headers, wrong) = Headers::parse(&said);
            self.ignored.borrow_mut().extend(wrong);
            headers
        });
        Exporter::Otlp(Box::new(Target {
            protocol,
            endpoint,
            headers: headers.unwrap_or_default(),
            timeout: self.timeout(signal),
            gzip: self.gzip(signal),
            tls: self.tls(signal),
        }))
    }

    /// The signal's own endpoint, or where that makes no sense the general one.
    fn endpoint(&self, signal: Signal, protocol: Protocol) -> Option<Uri> {
        let insecure = self.insecure(signal);
        let both = [self.own(signal, "ENDPOINT"), self.general("ENDPOINT")];
        both.into_iter().flatten().find_map(|said| {
            self.taken(match protocol {
                Protocol::Grpc => endpoint::of_grpc(&said, insecure),
                Protocol::HttpProtobuf => endpoint::of_http(&said, signal),
            })
        })
    }

    fn protocol(&self, signal: Signal) -> Protocol {
        let said = self.of(signal, "PROTOCOL").and_then(|said| {
            self.taken(match said.value.to_ascii_lowercase().as_str() {
                "grpc" => Ok(Protocol::Grpc),
                "http/protobuf" => Ok(Protocol::HttpProtobuf),
                _ => Err(said.not("`grpc` or `http/protobuf`")),
            })
        });
        said.unwrap_or(Protocol::HttpProtobuf)
    }

    fn insecure(&self, signal: Signal) -> bool {
        self.of(signal, "INSECURE").is_some_and(|said| self.boolean(&said))
    }

    fn timeout(&self, signal: Signal) -> Duration {
        let said = self.of(signal, "TIMEOUT").and_then(|said| {
            self.taken(match said.value.parse() {
                Ok(0) | Err(_) => Err(said.not("a whole number of milliseconds above 0")),
                Ok(milliseconds) => Ok(Duration::from_millis(milliseconds)),
            })
        });
        said.unwrap_or(TIMEOUT)
    }

    fn gzip(&self, signal: Signal) -> bool {
        let said = self.of(signal, "COMPRESSION").and_then(|said| {
            self.taken(match said.value.to_ascii_lowercase().as_str() {
                "gzip" => Ok(true),
                "none" => Ok(false),
                _ => Err(said.not("`gzip` or `none`")),
            })
        });
        said.unwrap_or(false)
    }

    fn tls(&self, signal: Signal) -> Tls {
        let path = |said: &Variable| PathBuf::from(&said.value);
        let certificate = self.of(signal, "CERTIFICATE");
        let client = (self.of(signal, "CLIENT_CERTIFICATE"), self.of(signal, "CLIENT_KEY"));
        let client = match client {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((path(&certificate), path(&key))),
            (Some(alone), None) => self.taken(Err(alone.lacks("CLIENT_KEY"))),
            (None, Some(alone)) => self.taken(Err(alone.lacks("CLIENT_CERTIFICATE"))),
        };
        Tls { certificate: certificate.as_ref().map(path), client }
    }

    /// Anything but `true` is false, and anything but `false` then a mistake.
    fn boolean(&self, said: &Variable) -> bool {
        let is = |word| said.value.eq_ignore_ascii_case(word);
        if !is("true") && !is("false") {
            self.taken::<()>(Err(said.not("`true` or `false`")));
        }
        is("true")
    }

    /// The variable of the signal, else the general one.
    fn of(&self, signal: Signal, what: &str) -> Option<Variable> {
        self.own(signal, what).or_else(|| self.general(what))
    }

    fn own(&self, signal: Signal, what: &str) -> Option<Variable> {
        let own = self.get(&format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.in_variables()));
        own.map(|found| Variable { own: true, ..found })
    }

    fn general(&self, what: &str) -> Option<Variable> {
        self.get(&format!("OTEL_EXPORTER_OTLP_{what}"))
    }

    fn get(&self, name: &str) -> Option<Variable> {
        let value = (self.lookup)(name)?;
        let value = value.trim();
        let found = Variable { name: name.to_owned(), value: value.to_owned(), own: false };
        (!value.is_empty()).then_some(found)
    }

    fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|said| self.boolean(&said))
    }
}

// === impl Variable ===

impl Variable {
    /// Of a list, in lower case.
    fn words(&self) -> Vec<String> {
        let words = self.value.split(',').map(|word| word.trim().to_ascii_lowercase());
        words.filter(|word| !word.is_empty()).collect()
    }

    fn not(&self, allowed: &'static str) -> Ignored {
        Ignored::NotAllowed { variable: self.name.clone(), allowed }
    }

    fn lacks(&self, what: &str) -> Ignored {
        let prefix = self.name.split("CLIENT_").next().unwrap_or_default();
        Ignored::Alone { variable: self.name.clone(), other: format!("{prefix}{what}") }
    }
}
