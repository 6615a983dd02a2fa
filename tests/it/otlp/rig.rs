//! A sender on its way to a collector, and payloads whose records are numbered.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ephemon_export::spool::{Limits, Spool};
use ephemon_export::{Destination, Fate, Options, Outbox, Payload, Sender};
use ephemon_otel::Signal;
use ephemon_otel::config::{Config, Exporter, Target};
use ephemon_self_metrics as self_metrics;
use ephemon_self_metrics::{Exported, Reason, SelfMetrics};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::collector::Collector;
use crate::support::site::OTLP_TIMEOUT;

/// How a sender is to be made.
pub(super) struct Line {
    variables: Vec<(String, String)>,
    spool: Option<PathBuf>,
    options: Options,
}

/// A running sender.
pub(super) struct Running {
    pub(super) outbox: Outbox,
    signal: Signal,
    self_metrics: SelfMetrics,
    stop_tx: oneshot::Sender<()>,
    run: JoinHandle<()>,
}

// === impl Line ===

impl Line {
    pub(super) fn to(collector: &Collector) -> Self {
        let options = Options { drain: Duration::from_secs(10), ..Options::default() };
        let line = Self { variables: Vec::new(), spool: None, options };
        let (timeout, milliseconds) = OTLP_TIMEOUT;
        line.set("ENDPOINT", &collector.endpoint())
            .set("PROTOCOL", collector.protocol())
            .env(timeout, milliseconds)
    }

    /// Sets `OTEL_EXPORTER_OTLP_…`.
    pub(super) fn set(self, name: &str, value: &str) -> Self {
        self.env(&format!("OTEL_EXPORTER_OTLP_{name}"), value)
    }

    /// Sets any other variable.
    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn spool(mut self, home: &Path) -> Self {
        self.spool = Some(home.to_owned());
        self
    }

    pub(super) fn queue(mut self, bytes: usize) -> Self {
        self.options.queue_bytes = bytes;
        self
    }

    pub(super) fn drain(mut self, drain: Duration) -> Self {
        self.options.drain = drain;
        self
    }

    fn target(&self, signal: Signal) -> Box<Target> {
        let (config, ignored) = Config::from_env(|name| {
            let found = self.variables.iter().rev().find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone())
        });
        assert_eq!(ignored, []);
        match config.of(signal) {
            Exporter::Otlp(target) => target.clone(),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn start(&self, signal: Signal) -> Running {
        let destination = Destination::collector(signal, &self.target(signal));
        let limits = Limits { bytes: 64 << 20, age: Duration::from_hours(1) };
        let spool = self.spool.as_ref().map(|home| Spool::open(home, limits).unwrap());
        let self_metrics = SelfMetrics::new().unwrap();
        let (outbox, sender) = Sender::new(destination, spool, self.options, self_metrics.clone());
        let (stop_tx, stop_rx) = oneshot::channel();
        let run = tokio::spawn(sender.run(async { drop(stop_rx.await) }));
        Running { outbox, signal, self_metrics, stop_tx, run }
    }
}

// === impl Running ===

impl Running {
    /// Offers a payload and waits for its fate.
    pub(super) async fn give(&self, payload: Payload) -> Fate {
        self.outbox.offer(payload).unwrap().await
    }

    /// Ends as the agent does.
    pub(super) async fn stop(self) {
        drop(self.stop_tx);
        self.run.await.unwrap();
    }

    /// Ends as a killed process does: nothing is put away.
    pub(super) async fn kill(self) {
        self.run.abort();
        drop(self.run.await);
    }

    pub(super) fn dropped(&self, reason: Reason) -> u64 {
        self.self_metrics.dropped_so_far(self.as_counted(), reason)
    }

    pub(super) fn exported(&self, result: Exported) -> u64 {
        self.self_metrics.exported_so_far(self.as_counted(), result)
    }

    fn as_counted(&self) -> self_metrics::Signal {
        match self.signal {
            Signal::Logs => self_metrics::Signal::Logs,
            Signal::Traces => self_metrics::Signal::Traces,
            Signal::Metrics => self_metrics::Signal::Metrics,
        }
    }
}

/// One record for each number.
pub(super) fn payload(numbers: Range<u64>) -> Payload {
    of(numbers.map(|number| record(number, 100)))
}

/// The same, where one number's record is larger by so many bytes.
pub(super) fn giant(numbers: Range<u64>, giant: u64, bytes: usize) -> Payload {
    of(numbers.map(|number| record(number, if number == giant { 100 + bytes } else { 100 })))
}

/// So many records, numbered from 0, of so many bytes each.
pub(super) fn large(records: u64, bytes: usize) -> Payload {
    of((0..records).map(|number| record(number, bytes)))
}

fn of(records: impl Iterator<Item = LogRecord>) -> Payload {
    let log_records: Vec<LogRecord> = records.collect();
    let items = log_records.len() as u64;
    let scope = ScopeLogs { log_records, ..ScopeLogs::default() };
    let resource = ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() };
    Payload::of(&ExportLogsServiceRequest { resource_logs: vec![resource] }, items)
}

fn record(number: u64, bytes: usize) -> LogRecord {
    let body = AnyValue { value: Some(Value::StringValue("x".repeat(bytes))) };
    LogRecord { time_unix_nano: number, body: Some(body), ..LogRecord::default() }
}

/// A request with so many spans.
pub(super) fn spans(count: u64) -> Payload {
    let spans = (0..count).map(|number| Span { start_time_unix_nano: number, ..Span::default() });
    let scope = ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() };
    let resource = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
    Payload::of(&ExportTraceServiceRequest { resource_spans: vec![resource] }, count)
}

/// A request with so many points of one metric.
pub(super) fn points(count: u64) -> Payload {
    let point = |number| NumberDataPoint { time_unix_nano: number, ..NumberDataPoint::default() };
    let gauge = Gauge { data_points: (0..count).map(point).collect() };
    let metric = Metric { data: Some(Data::Gauge(gauge)), ..Metric::default() };
    let scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
    let resource = ResourceMetrics { scope_metrics: vec![scope], ..ResourceMetrics::default() };
    Payload::of(&ExportMetricsServiceRequest { resource_metrics: vec![resource] }, count)
}

/// The numbers of the records that a collector took, in order.
pub(super) fn numbers(collector: &Collector) -> Vec<u64> {
    record_number(&collector.logs())
}

pub(super) fn record_number(requests: &[ExportLogsServiceRequest]) -> Vec<u64> {
    let resources = requests.iter().flat_map(|request| &request.resource_logs);
    let scopes = resources.flat_map(|resource| &resource.scope_logs);
    let records = scopes.flat_map(|scope| &scope.log_records);
    records.map(|record| record.time_unix_nano).collect()
}
