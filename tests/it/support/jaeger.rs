//! Jaeger in memory, all its parts in one process, asked by its own API what it has. `.ci/run` makes
//! it of Go modules.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::http;
use super::process::{Running, until};
use super::{parts, ports};

/// Its name on the path.
pub(crate) const PROGRAM: &str = "jaeger";

/// Starts before it is given up: another test may take a port that was free a moment ago.
const STARTS: usize = 5;
/// Where it listens, each a flag.
const PORTS: [&str; 7] = [
    "query.http-server",
    "query.grpc-server",
    "collector.otlp.grpc",
    "collector.otlp.http",
    "collector.grpc-server",
    "collector.http-server",
    "admin.http",
];

/// A running Jaeger.
#[derive(Debug)]
pub(crate) struct Jaeger {
    _process: Running,
    addresses: [SocketAddr; PORTS.len()],
}

/// One span as its API shows it.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) id: String,
    pub(crate) parent: Option<String>,
    pub(crate) name: String,
    /// Microseconds since 1970.
    pub(crate) start_us: u64,
    pub(crate) duration_us: u64,
    /// Its own tags.
    tags: Value,
    /// Those of what sent it.
    resource: Value,
    /// Names of its events.
    pub(crate) events: Vec<String>,
    /// `service.name`.
    pub(crate) service: String,
}

// === impl Jaeger ===

impl Jaeger {
    /// Starts it with its log below `scratch`.
    ///
    /// # Panics
    /// If it is not ready within a minute.
    pub(crate) fn start(scratch: &Path) -> Self {
        Self::start_on(Ipv4Addr::LOCALHOST.into(), scratch)
    }

    /// The same on another address of this machine.
    pub(crate) fn start_on(address: IpAddr, scratch: &Path) -> Self {
        let log = scratch.join("jaeger.log");
        (0..STARTS)
            .find_map(|_| Self::try_start(address, &log))
            .unwrap_or_else(|| panic!("{}", fs::read_to_string(&log).unwrap_or_default()))
    }

    fn try_start(address: IpAddr, log: &Path) -> Option<Self> {
        let addresses = PORTS.map(|_| SocketAddr::new(address, ports::free_on(address)));
        let mut command = Command::new(parts::program(PROGRAM).unwrap());
        for (part, address) in PORTS.iter().zip(addresses) {
            command.arg(format!("--{part}.host-port={address}"));
        }
        command
            .env("SPAN_STORAGE_TYPE", "memory")
            .env("COLLECTOR_OTLP_ENABLED", "true")
            // Its spans about itself would go to whoever listens at the usual port.
            .env("OTEL_TRACES_SAMPLER", "always_off");
        let file = File::create(log).unwrap();
        let mut process = Running::start(command.stdout(file.try_clone().unwrap()).stderr(file));
        let [.., admin] = addresses;
        until(Duration::from_mins(1), || {
            let healthy = http::get(admin, "/", "*/*").is_ok_and(|answer| answer.status == 200);
            (healthy || process.ended().is_some()).then_some(())
        })?;
        let ended = process.ended().is_some();
        (!ended).then_some(Self { _process: process, addresses })
    }

    /// Where it takes OTLP by gRPC.
    pub(crate) fn otlp_grpc(&self) -> SocketAddr {
        self.addresses[2]
    }

    /// Where it takes OTLP by HTTP.
    pub(crate) fn otlp_http(&self) -> SocketAddr {
        self.addresses[3]
    }

    /// The services that it has spans of.
    pub(crate) fn services(&self) -> Vec<String> {
        let answer = self.api("/api/services").expect("a list of services");
        serde_json::from_value(answer["data"].clone()).unwrap_or_default()
    }

    /// All spans of a trace; none where it does not know it.
    pub(crate) fn trace(&self, id: &str) -> Vec<Span> {
        let answer = self.api(&format!("/api/traces/{id}")).unwrap_or_default();
        let traces = answer["data"].as_array().cloned().unwrap_or_default();
        assert!(traces.len() <= 1, "one trace of one id");
        let spans = |trace: &Value| {
            let spans = trace["spans"].as_array().cloned().unwrap_or_default();
            spans.iter().map(|span| Span::new(trace, span)).collect::<Vec<_>>()
        };
        traces.iter().flat_map(spans).collect()
    }

    /// The names of a trace's spans, whatever Jaeger warns of: it warns of a span that takes no time, as
    /// of an init container that was over before its job began.
    pub(crate) fn names(&self, id: &str) -> Vec<String> {
        let answer = self.api(&format!("/api/traces/{id}")).unwrap_or_default();
        let spans = answer["data"][0]["spans"].as_array().cloned().unwrap_or_default();
        spans.iter().filter_map(|span| Some(span["operationName"].as_str()?.to_owned())).collect()
    }

    fn api(&self, path: &str) -> Option<Value> {
        let answer = http::get(self.addresses[0], path, "application/json").ok()?;
        (answer.status == 200).then(|| serde_json::from_str(&answer.body).unwrap())
    }
}

// === impl Span ===

impl Span {
    fn new(trace: &Value, span: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        assert_eq!(span["traceID"], trace["traceID"]);
        assert!(span["warnings"].is_null(), "Jaeger warns: {}", span["warnings"]);
        let references = span["references"].as_array().cloned().unwrap_or_default();
        let parents: Vec<_> = references
            .iter()
            .filter(|one| one["refType"] == "CHILD_OF" && one["traceID"] == trace["traceID"])
            .collect();
        assert!(parents.len() <= 1, "{span}");
        let events = span["logs"].as_array().cloned().unwrap_or_default();
        let process = &trace["processes"][text(&span["processID"])];
        Self {
            id: text(&span["spanID"]),
            parent: parents.first().map(|parent| text(&parent["spanID"])),
            name: text(&span["operationName"]),
            start_us: span["startTime"].as_u64().unwrap(),
            duration_us: span["duration"].as_u64().unwrap(),
            tags: span["tags"].clone(),
            resource: process["tags"].clone(),
            events: events
                .iter()
                .filter_map(|log| find(&log["fields"], "event"))
                .map(|it| text(&it))
                .collect(),
            service: text(&process["serviceName"]),
        }
    }

    /// A tag of its own; null where it has none of that name.
    pub(crate) fn tag(&self, key: &str) -> Value {
        find(&self.tags, key).unwrap_or_default()
    }

    /// A tag of what sent it.
    pub(crate) fn resource(&self, key: &str) -> Value {
        find(&self.resource, key).unwrap_or_default()
    }
}

/// A value of Jaeger's lists of keys, types and values.
fn find(tags: &Value, key: &str) -> Option<Value> {
    let tags = tags.as_array()?;
    tags.iter().find(|tag| tag["key"] == key).map(|tag| tag["value"].clone())
}
