//! Requests as lines of JSON, for people without a collector.
//!
//! The format of the OTLP File Exporter, one request a line:
//! <https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/>.

use std::io::Write;

use bytes::Bytes;
use ephemon_otel::Signal;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::Answer;

/// Requests that wait while one is being written. Who is no longer waited for stays among them.
const QUEUE: usize = 1;

/// A request to write, and whom to tell.
type Job = (Bytes, oneshot::Sender<Result<(), String>>);

/// A writer of lines, on a thread of its own: the reader of a pipe may make it wait for ever, and
/// then it must not hold up the end of the process.
#[derive(Debug)]
pub(super) struct Lines {
    jobs_tx: mpsc::Sender<Job>,
}

// === impl Lines ===

impl Lines {
    pub(super) fn new(signal: Signal, mut writer: Box<dyn Write + Send>) -> Self {
        let (jobs_tx, mut jobs_rx) = mpsc::channel::<Job>(QUEUE);
        let thread = std::thread::Builder::new().name("otlp-lines".into());
        let write = move || {
            while let Some((body, done_tx)) = jobs_rx.blocking_recv() {
                // Whoever gave up waiting has no use for the answer.
                done_tx.send(write(signal, &body, &mut writer)).ok();
            }
        };
        if let Err(error) = thread.spawn(write) {
            tracing::error!("cannot start the thread that writes lines: {error}");
        }
        Self { jobs_tx }
    }

    /// Writes one line. Waits for as long as the reader makes it wait: the queue is the bound, as
    /// with a slow collector.
    pub(super) async fn attempt(&mut self, body: &Bytes) -> Answer {
        let (done_tx, done_rx) = oneshot::channel();
        let broke = || Answer::Refused { reason: "the writer is gone".into() };
        if self.jobs_tx.send((body.clone(), done_tx)).await.is_err() {
            return broke();
        }
        match done_rx.await {
            Ok(Ok(())) => Answer::Accepted { rejected: 0, remark: None },
            Ok(Err(reason)) => Answer::Refused { reason },
            Err(_) => broke(),
        }
    }
}

fn write(signal: Signal, body: &Bytes, writer: &mut dyn Write) -> Result<(), String> {
    let line = line_of(signal, body)?;
    let written = writer.write_all(&line).and_then(|()| writer.flush());
    written.map_err(|error| format!("cannot write: {error}"))
}

/// The request as JSON, and a line's end.
fn line_of(signal: Signal, body: &Bytes) -> Result<Vec<u8>, String> {
    match signal {
        Signal::Logs => json::<ExportLogsServiceRequest>(body),
        Signal::Traces => json::<ExportTraceServiceRequest>(body),
        Signal::Metrics => json::<ExportMetricsServiceRequest>(body),
    }
}

fn json<Request: Message + Default + Serialize>(body: &Bytes) -> Result<Vec<u8>, String> {
    let request = Request::decode(body.clone()).map_err(|error| error.to_string())?;
    let mut line = serde_json::to_vec(&request).map_err(|error| error.to_string())?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

    use super::*;

    fn parsed(line: &[u8]) -> serde_json::Value {
        assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
        serde_json::from_slice(line).unwrap()
    }

    #[test]
    fn records_are_lines_with_ids_in_hex_and_large_numbers_as_text() {
        let attribute = KeyValue {
            key: "n".into(),
            value: Some(AnyValue { value: Some(Value::IntValue(7)) }),
            ..KeyValue::default()
        };
        let record = LogRecord {
            time_unix_nano: 1_796_435_089_000_000_001,
            body: Some(AnyValue { value: Some(Value::StringValue("a\nb".into())) }),
            attributes: vec![attribute],
            trace_id: vec![0xab; 16],
            span_id: vec![0x01; 8],
            ..LogRecord::default()
        };
        let scope = ScopeLogs { log_records: vec![record], ..ScopeLogs::default() };
        let resource = ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() };
        let request = ExportLogsServiceRequest { resource_logs: vec![resource] };
        let line = line_of(Signal::Logs, &request.encode_to_vec().into()).unwrap();
        let record = &parsed(&line)["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
        assert_eq!(record["timeUnixNano"], "1796435089000000001");
        assert_eq!(record["body"]["stringValue"], "a\nb");
        assert_eq!(record["attributes"][0]["value"]["intValue"], "7");
        assert_eq!(record["traceId"], "ab".repeat(16));
        assert_eq!(record["spanId"], "01".repeat(8));
    }

    #[test]
    fn spans_are_lines_with_ids_in_hex() {
        let span = Span {
            trace_id: vec![0xcd; 16],
            span_id: vec![0x02; 8],
            parent_span_id: vec![0x03; 8],
            ..Span::default()
        };
        let scope = ScopeSpans { spans: vec![span], ..ScopeSpans::default() };
        let resource = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
        let request = ExportTraceServiceRequest { resource_spans: vec![resource] };
        let line = line_of(Signal::Traces, &request.encode_to_vec().into()).unwrap();
        let span = &parsed(&line)["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], "cd".repeat(16));
        assert_eq!(span["parentSpanId"], "03".repeat(8));
    }

    /// Writes nothing before it may; tells how many lines it has written when it is dropped.
    struct Stuck {
        may: std::sync::mpsc::Receiver<()>,
        lines: usize,
        told: Option<oneshot::Sender<usize>>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            // It is an error once all may be written.
            self.may.recv().ok();
            self.lines += 1;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Drop for Stuck {
        fn drop(&mut self) {
            self.told.take().map(|told| told.send(self.lines));
        }
    }

    #[tokio::test]
    async fn requests_that_nobody_waits_for_do_not_heap_up_before_a_writer_that_is_stuck() {
        let (let_tx, may) = std::sync::mpsc::sync_channel(0);
        let (told, count) = oneshot::channel();
        let stuck = Stuck { may, lines: 0, told: Some(told) };
        let mut lines = Lines::new(Signal::Logs, Box::new(stuck));
        let body = Bytes::new();
        for _ in 0..9 {
            let attempt = lines.attempt(&body);
            tokio::time::timeout(std::time::Duration::ZERO, attempt).await.unwrap_err();
        }
        drop((lines, let_tx));
        // The one that is being written, and those that wait.
        assert!(count.await.unwrap() <= 1 + QUEUE);
    }
}
