//! Spans and log records for tests of the code that reads them.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
pub(crate) use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};

use super::Seen;

pub(crate) fn pairs(all: &[(&str, &str)]) -> Vec<KeyValue> {
    let pair = |(key, value): &(&str, &str)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue((*value).to_owned())) }),
        ..KeyValue::default()
    };
    all.iter().map(pair).collect()
}

fn resource(attributes: &[(&str, &str)]) -> Resource {
    Resource { attributes: pairs(attributes), ..Resource::default() }
}

pub(crate) fn spans(seen: &mut Seen, of: &[(&str, &str)], spans: Vec<Span>) {
    seen.spans(vec![ResourceSpans {
        resource: Some(resource(of)),
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }]);
}

pub(crate) fn record(seen: &mut Seen, of: &[(&str, &str)], uid: &str, trace: Vec<u8>) {
    let attributes = pairs(&[("log.record.uid", uid)]);
    let record = LogRecord { trace_id: trace, attributes, ..LogRecord::default() };
    seen.logs(vec![ResourceLogs {
        resource: Some(resource(of)),
        scope_logs: vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }],
        ..ResourceLogs::default()
    }]);
}
