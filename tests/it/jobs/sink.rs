//! A collector that takes every trace, and what came to it.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::support::agent::Agent;
use crate::support::site::{OTLP_TIMEOUT, Site};

const TRACES: &str = "/v1/traces";

/// It ends with the tests' process.
pub(super) struct Sink {
    traces_endpoint: String,
    logs_endpoint: String,
    received: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Sink {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&received);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let all = Arc::clone(&all);
                thread::spawn(move || {
                    while let Some((path, body)) = request(&mut stream) {
                        if path == TRACES {
                            let request = ExportTraceServiceRequest::decode(&*body).unwrap();
                            all.lock().unwrap().push(request);
                        }
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n\
                                       content-length: 0\r\n\r\n";
                        // An agent that was killed does not hear it.
                        stream.write_all(answer).ok();
                    }
                });
            }
        });
        let [traces_endpoint, logs_endpoint] =
            [TRACES, "/v1/logs"].map(|path| format!("http://{address}{path}"));
        Self { traces_endpoint, logs_endpoint, received }
    }

    /// The variables of an agent whose traces come here.
    pub(super) fn for_traces(&self) -> [(&'static str, &str); 3] {
        [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &self.traces_endpoint),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            OTLP_TIMEOUT,
        ]
    }

    /// The same with the logs of all containers, which are taken and not looked at.
    pub(super) fn for_all(&self) -> [(&'static str, &str); 5] {
        let [endpoint, protocol, timeout] = self.for_traces();
        let logs = ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", &*self.logs_endpoint);
        [endpoint, protocol, timeout, logs, ("EPHEMON_LOG_CONTAINERS", "all")]
    }

    /// Starts the agent on a site with these flags; its traces come here.
    pub(super) fn agent(&self, site: &Site, flags: &[&str]) -> Agent {
        site.agent(flags, &self.for_traces())
    }

    /// The same, sending the logs of all containers, too.
    pub(super) fn agent_with_logs(&self, site: &Site, flags: &[&str]) -> Agent {
        site.agent(flags, &self.for_all())
    }

    pub(super) fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        self.received.lock().unwrap().clone()
    }

    /// All spans in the order they came.
    pub(super) fn spans(&self) -> Vec<Span> {
        let requests = self.requests().into_iter();
        let resources = requests.flat_map(|request| request.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// How many traces came.
    pub(super) fn traces(&self) -> usize {
        let mut ids: Vec<Vec<u8>> = self.spans().into_iter().map(|span| span.trace_id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.len()
    }
}

/// A span's attributes as texts.
pub(super) fn attributes(span: &Span) -> BTreeMap<&str, String> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let pairs = span.attributes.iter().filter_map(|pair| {
        let value = pair.value.as_ref()?.value.as_ref()?;
        Some((pair.key.as_str(), text(value)))
    });
    pairs.collect()
}

/// Path and body of one request; none at the connection's end.
fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let (_, length) = head.split_once("content-length: ").expect("a length");
    let mut body = vec![0; length.lines().next()?.trim().parse().ok()?];
    stream.read_exact(&mut body).ok()?;
    Some((head.split(' ').nth(1)?.to_owned(), body))
}
