//! The collector of these scenarios, and what came to it, a line each.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::runtime::{Builder, Runtime};

use crate::support::agent::Agent;
use crate::support::collector::{Collector, Mood, Wire};
use crate::support::site::Site;

/// A collector that any thread may ask.
pub(crate) struct Backend {
    collector: Collector,
    runtime: Runtime,
}

/// One log record.
#[derive(Debug, Clone)]
pub(crate) struct LogLine {
    pub(crate) body: String,
    /// The body where it is no text.
    pub(crate) bytes: Vec<u8>,
    pub(crate) severity: i32,
    pub(crate) time_unix_nano: u64,
    /// The name, where it is an event and no line.
    pub(crate) event: String,
    /// Both in hexadecimal.
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    attributes: BTreeMap<String, String>,
    resource: BTreeMap<String, String>,
}

impl Backend {
    pub(crate) fn start(wire: Wire) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let collector = runtime.block_on(Collector::start(wire, None));
        Self { collector, runtime }
    }

    /// The same on an address of this machine that a node reaches.
    pub(crate) fn start_on(address: std::net::IpAddr, wire: Wire) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let collector = runtime.block_on(Collector::start_on(address, wire));
        Self { collector, runtime }
    }

    /// Starts the agent on a site, without an API server, exporting to here.
    pub(crate) fn agent(&self, site: &Site, flags: &[&str]) -> Agent {
        site.agent_to((&self.endpoint(), self.protocol()), flags, &[])
    }

    pub(crate) fn endpoint(&self) -> String {
        self.collector.endpoint()
    }

    pub(crate) fn protocol(&self) -> &'static str {
        self.collector.protocol()
    }

    /// Everything is refused from now on, as by a proxy whose collector is away.
    pub(crate) fn refuse(&self) {
        let (grpc, http) = (tonic::Code::Unavailable, 503);
        self.collector.be(Mood::Refuse { grpc, http, after: None });
    }

    /// All that came of every signal, as text.
    pub(crate) fn everything(&self) -> String {
        let bodies: String = self.records().into_iter().map(|record| record.body + "\n").collect();
        let collector = &self.collector;
        format!("{bodies}{:?}{:?}{:?}", collector.logs(), collector.traces(), collector.metrics())
    }

    /// How often a metric came.
    pub(crate) fn metrics(&self, name: &str) -> usize {
        self.metrics_where(name, |_| true)
    }

    /// How often a metric of a namespace's pods came.
    pub(crate) fn metrics_of(&self, namespace: &str, name: &str) -> usize {
        self.metrics_where(name, |resource| {
            table(resource).get("k8s.namespace.name").is_some_and(|of| of == namespace)
        })
    }

    fn metrics_where(&self, name: &str, is_asked: impl Fn(&[KeyValue]) -> bool) -> usize {
        let resources = self.collector.metrics().into_iter().flat_map(|it| it.resource_metrics);
        let asked = resources
            .filter(|it| is_asked(it.resource.as_ref().map_or(&[][..], |of| &of.attributes)));
        let scopes = asked.flat_map(|resource| resource.scope_metrics);
        scopes.flat_map(|scope| scope.metrics).filter(|metric| metric.name == name).count()
    }

    pub(crate) fn accept(&self) {
        self.be(Mood::Accept);
    }

    /// In this mood from now on.
    pub(crate) fn be(&self, mood: Mood) {
        self.collector.be(mood);
    }

    /// In these moods for the next requests, one each.
    pub(crate) fn be_next(&self, moods: impl IntoIterator<Item = Mood>) {
        self.collector.be_next(moods);
    }

    /// Gone, with every connection and the requests on them.
    pub(crate) fn die(&mut self) {
        self.runtime.block_on(self.collector.die());
    }

    /// There again, at the same address.
    pub(crate) fn revive(&mut self) {
        self.runtime.block_on(self.collector.revive());
    }

    /// Requests so far, refused ones among them.
    pub(crate) fn attempts(&self) -> usize {
        self.collector.attempts()
    }

    /// Lines of containers that came, some perhaps more than once.
    pub(crate) fn lines(&self) -> Vec<LogLine> {
        self.records().into_iter().filter(|line| line.event.is_empty()).collect()
    }

    /// Spans that came, by their ids.
    pub(crate) fn spans(&self) -> BTreeMap<String, Span> {
        let groups = self.collector.traces().into_iter().flat_map(|one| one.resource_spans);
        let spans = groups.flat_map(|group| group.scope_spans).flat_map(|scope| scope.spans);
        spans.map(|span| (hex(&span.span_id), span)).collect()
    }

    /// Spans of pods of this namespace: on a node that scenarios share, pods of an earlier one may still
    /// be there, and the agent tells of them, too.
    pub(crate) fn spans_of(&self, namespace: &str) -> BTreeMap<String, Span> {
        let groups = self.collector.traces().into_iter().flat_map(|one| one.resource_spans);
        let own = groups.filter(|group| {
            let resource = group.resource.as_ref().map(|resource| table(&resource.attributes));
            resource.is_some_and(|table| {
                table.get("k8s.namespace.name").is_some_and(|name| name == namespace)
            })
        });
        let spans = own.flat_map(|group| group.scope_spans).flat_map(|scope| scope.spans);
        spans.map(|span| (hex(&span.span_id), span)).collect()
    }

    /// The spans of a pod's job, and the resource that they came with; none where none came.
    pub(crate) fn trace_of_pod(&self, pod: &str) -> Option<(Vec<Span>, BTreeMap<String, String>)> {
        let groups = self.collector.traces().into_iter().flat_map(|one| one.resource_spans);
        let (mut spans, mut resource) = (Vec::new(), None);
        for group in groups {
            let table = table(&group.resource.unwrap_or_default().attributes);
            if table.get("k8s.pod.name").is_some_and(|name| name == pod) {
                spans.extend(group.scope_spans.into_iter().flat_map(|scope| scope.spans));
                resource = Some(table);
            }
        }
        Some((spans, resource?))
    }

    /// The spans of a pod's job that have this attribute, by its value.
    pub(crate) fn spans_named(&self, pod: &str, name: &str) -> BTreeMap<String, Span> {
        let spans = self.trace_of_pod(pod).map(|(spans, _)| spans).unwrap_or_default();
        let named = spans.into_iter().map(|span| (attribute(&span, name), span));
        named.filter(|(value, _)| !value.is_empty()).collect()
    }

    /// Everything that came.
    pub(crate) fn records(&self) -> Vec<LogLine> {
        let mut lines = Vec::new();
        for group in self.collector.logs().into_iter().flat_map(|request| request.resource_logs) {
            let resource = table(&group.resource.unwrap().attributes);
            for record in group.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
                let value = record.body.and_then(|body| body.value);
                let (body, bytes) = match value {
                    Some(Value::BytesValue(bytes)) => {
                        (String::from_utf8_lossy(&bytes).into_owned(), bytes)
                    }
                    other => (text(other), Vec::new()),
                };
                lines.push(LogLine {
                    body,
                    bytes,
                    severity: record.severity_number,
                    time_unix_nano: record.time_unix_nano,
                    event: record.event_name,
                    trace_id: hex(&record.trace_id),
                    span_id: hex(&record.span_id),
                    attributes: table(&record.attributes),
                    resource: resource.clone(),
                });
            }
        }
        lines
    }
}

impl LogLine {
    /// An attribute of the record; empty where it has none of that name.
    pub(crate) fn attribute(&self, name: &str) -> String {
        self.attributes.get(name).cloned().unwrap_or_default()
    }

    /// An attribute of the resource.
    pub(crate) fn resource(&self, name: &str) -> String {
        self.resource.get(name).cloned().unwrap_or_default()
    }
}

/// An attribute of a span; empty where it has none of that name.
pub(crate) fn attribute(span: &Span, name: &str) -> String {
    table(&span.attributes).remove(name).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn table(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let value = |pair: &KeyValue| text(pair.value.clone().and_then(|any: AnyValue| any.value));
    attributes.iter().map(|pair| (pair.key.clone(), value(pair))).collect()
}

fn text(value: Option<Value>) -> String {
    match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        _ => String::new(),
    }
}
