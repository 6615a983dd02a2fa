//! What the demo's collector received: the log records by container, whether they contain a secret,
//! and the spans as trees. Pure.

#[cfg(test)]
pub(crate) mod samples;

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};

/// Namespace, pod, container.
pub(crate) type Who = (String, String, String);

/// Most spans that are kept: more than any demo creates.
const MAX_SPANS: usize = 10_000;

/// Everything that was received.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Distinct records by container. A record that arrived twice counts once, according to its
    /// `log.record.uid`.
    pub(crate) records: BTreeMap<Who, u64>,
    /// Records that contain a secret.
    pub(crate) leaks: u64,
    /// Records that arrived again.
    pub(crate) repeated: u64,
    /// Spans that arrived again.
    pub(crate) spans_repeated: u64,
    secret: &'static [u8],
    uids: HashSet<String>,
    /// Distinct records by container and trace id, in hexadecimal.
    traced: BTreeMap<Who, BTreeMap<String, u64>>,
    span_ids: HashSet<(Vec<u8>, Vec<u8>)>,
    spans: Vec<(Arc<BTreeMap<String, String>>, Span)>,
}

/// A span and its descendants, ordered by start.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: String,
    /// Hexadecimal.
    pub(crate) trace_id: String,
    /// When it began, nanoseconds since 1970.
    pub(crate) start_ns: u64,
    /// When it ended.
    pub(crate) end_ns: u64,
    /// Whether its status is an error.
    pub(crate) failed: bool,
    /// Its attributes as text.
    pub(crate) attributes: BTreeMap<String, String>,
    /// Those of its resource.
    pub(crate) resource: Arc<BTreeMap<String, String>>,
    /// Spans whose parent it is.
    pub(crate) children: Vec<Node>,
}

// === impl Seen ===

impl Seen {
    pub(crate) fn new(secret: &'static str) -> Self {
        Self { secret: secret.as_bytes(), ..Self::default() }
    }

    pub(super) fn logs(&mut self, all: Vec<ResourceLogs>) {
        for resource in all {
            let attributes = resource.resource.map(|resource| resource.attributes);
            let of = |key: &str| {
                attributes.as_deref().and_then(|all| attribute(all, key)).unwrap_or_default()
            };
            let who = (of("k8s.namespace.name"), of("k8s.pod.name"), of("k8s.container.name"));
            let records = resource.scope_logs.into_iter().flat_map(|scope| scope.log_records);
            // Events are not lines of a container.
            for record in records.filter(|record| record.event_name.is_empty()) {
                self.record(&who, &record);
            }
        }
    }

    fn record(&mut self, who: &Who, record: &LogRecord) {
        let text = record.body.as_ref().map(bytes).unwrap_or_default();
        let in_body = text.windows(self.secret.len().max(1)).any(|part| part == self.secret);
        self.leaks = self.leaks.saturating_add(u64::from(in_body));
        let uid = attribute(&record.attributes, "log.record.uid").unwrap_or_default();
        if self.uids.insert(uid) {
            let count = self.records.entry(who.clone()).or_default();
            *count = count.saturating_add(1);
            let traces = self.traced.entry(who.clone()).or_default();
            let count = traces.entry(hex(&record.trace_id)).or_default();
            *count = count.saturating_add(1);
        } else {
            self.repeated = self.repeated.saturating_add(1);
        }
    }

    pub(super) fn spans(&mut self, all: Vec<ResourceSpans>) {
        for group in all {
            let attributes = group.resource.map(|resource| resource.attributes).unwrap_or_default();
            let resource = Arc::new(attributes.iter().map(text).collect());
            for span in group.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                if self.spans.len() >= MAX_SPANS {
                    continue;
                }
                let id = (span.trace_id.clone(), span.span_id.clone());
                if self.span_ids.insert(id) {
                    self.spans.push((Arc::clone(&resource), span));
                } else {
                    self.spans_repeated = self.spans_repeated.saturating_add(1);
                }
            }
        }
    }

    /// How many of a container's records have this trace id, and how many there are.
    pub(crate) fn records_of(&self, who: &Who, trace_id: &str) -> (u64, u64) {
        let traced = self.traced.get(who).and_then(|traces| traces.get(trace_id));
        let all = self.records.get(who);
        (traced.copied().unwrap_or(0), all.copied().unwrap_or(0))
    }

    /// The spans whose parent was not received, each with its descendants.
    pub(crate) fn trees(&self) -> Vec<Node> {
        let ids = self.spans.iter().map(|(_, span)| span.span_id.as_slice());
        let known: HashSet<&[u8]> = ids.collect();
        let mut roots: Vec<Node> = self
            .spans
            .iter()
            .filter(|(_, span)| !known.contains(span.parent_span_id.as_slice()))
            .map(|(resource, span)| self.node(resource, span, 0))
            .collect();
        roots.sort_by_key(|node| node.start_ns);
        roots
    }

    fn node(&self, resource: &Arc<BTreeMap<String, String>>, span: &Span, depth: usize) -> Node {
        // Ids that refer to each other in a cycle are not a tree.
        let mine = |child: &Span| depth < 16 && child.parent_span_id == span.span_id;
        let below = self.spans.iter().filter(|(_, child)| mine(child));
        let mut children: Vec<Node> =
            below.map(|(resource, child)| self.node(resource, child, depth + 1)).collect();
        children.sort_by_key(|node| node.start_ns);
        let failed = span.status.as_ref().is_some_and(|it| it.code == StatusCode::Error as i32);
        Node {
            name: span.name.clone(),
            trace_id: hex(&span.trace_id),
            start_ns: span.start_time_unix_nano,
            end_ns: span.end_time_unix_nano,
            failed,
            attributes: span.attributes.iter().map(text).collect(),
            resource: Arc::clone(resource),
            children,
        }
    }
}

// === impl Node ===

impl Node {
    /// Its duration in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.end_ns.saturating_sub(self.start_ns) as f64 / 1e9
    }

    /// The numeric value of an attribute, if it has one.
    pub(crate) fn figure(&self, key: &str) -> Option<f64> {
        self.attributes.get(key)?.parse().ok()
    }
}

/// Two digits per byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

fn text(pair: &KeyValue) -> (String, String) {
    let value = pair.value.as_ref().map(bytes).unwrap_or_default();
    (pair.key.clone(), String::from_utf8_lossy(&value).into_owned())
}

fn attribute(all: &[KeyValue], key: &str) -> Option<String> {
    let found = all.iter().find(|pair| pair.key == key)?;
    Some(String::from_utf8_lossy(&bytes(found.value.as_ref()?)).into_owned())
}

fn bytes(value: &AnyValue) -> Vec<u8> {
    match &value.value {
        Some(Value::StringValue(text)) => text.as_bytes().to_vec(),
        Some(Value::BytesValue(bytes)) => bytes.clone(),
        Some(Value::IntValue(number)) => number.to_string().into_bytes(),
        Some(Value::DoubleValue(number)) => number.to_string().into_bytes(),
        Some(Value::BoolValue(truth)) => truth.to_string().into_bytes(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::logs::v1::ScopeLogs;
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::ScopeSpans;

    use super::*;

    fn pair(key: &str, value: &str) -> KeyValue {
        let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
        KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
    }

    fn who() -> Who {
        ("namespace".to_owned(), "pod".to_owned(), "container".to_owned())
    }

    fn logs(uid: &str, body: &str) -> Vec<ResourceLogs> {
        let record = LogRecord {
            body: pair("", body).value,
            attributes: vec![pair("log.record.uid", uid)],
            ..LogRecord::default()
        };
        let who = ["namespace", "pod", "container"];
        let attributes = who.map(|part| pair(&format!("k8s.{part}.name"), part)).to_vec();
        vec![ResourceLogs {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_logs: vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }],
            ..ResourceLogs::default()
        }]
    }

    #[test]
    fn a_record_that_comes_twice_counts_once_and_a_secret_is_seen() {
        let mut seen = Seen::new("hunter2");
        for (uid, body) in [("1", "a line"), ("2", "with hunter2 in it"), ("1", "a line")] {
            seen.logs(logs(uid, body));
        }
        assert_eq!(seen.records.get(&who()), Some(&2));
        assert_eq!((seen.leaks, seen.repeated), (1, 1));
    }

    #[test]
    fn records_are_counted_by_the_trace_they_name() {
        let mut seen = Seen::new("x");
        for (uid, trace) in [("1", 0xab), ("2", 0xcd), ("3", 0xab)] {
            let mut logs = logs(uid, "a line");
            logs[0].scope_logs[0].log_records[0].trace_id = vec![trace; 16];
            seen.logs(logs);
        }
        assert_eq!(seen.records_of(&who(), &"ab".repeat(16)), (2, 3));
        assert_eq!(seen.records_of(&who(), ""), (0, 3));
    }

    #[test]
    fn spans_stand_under_their_parents_in_order_of_time() {
        let span = |id: u8, parent: u8, start: u64| Span {
            span_id: vec![id; 8],
            parent_span_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
            name: format!("span {id}"),
            start_time_unix_nano: start,
            end_time_unix_nano: start + 5,
            ..Span::default()
        };
        let spans = vec![
            span(3, 1, 30),
            span(1, 0, 10),
            span(2, 1, 20),
            span(3, 1, 30),
            span(5, 6, 1),
            span(6, 5, 2),
        ];
        let mut seen = Seen::new("x");
        seen.spans(vec![ResourceSpans {
            scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }]);
        let trees = seen.trees();
        assert_eq!(trees.len(), 1, "two that are each other's parents are no tree");
        let names: Vec<_> = trees[0].children.iter().map(|child| child.name.as_str()).collect();
        assert_eq!(names, ["span 2", "span 3"]);
        assert_eq!((seen.spans.len(), seen.spans_repeated), (5, 1));
    }
}
