//! The hook's own spans, created by the SDK and exported over OTLP if the standard variables set an
//! endpoint. Otherwise nothing here is used.
//!
//! Limited in time: finished spans are sent while the step runs, and the hook waits for the rest at
//! most as long as the settings say, less if the collector did not answer before (`patience`). A
//! collector that refuses connections costs one attempt.

mod exporter;
mod patience;
mod resource;

use std::sync::Arc;
use std::time::Duration;

use ephemon_contract::trace::Traceparent;
use ephemon_otel::conventions::SCHEMA_URL;
use ephemon_otel::conventions::attribute::{
    CICD_PIPELINE_TASK_NAME, CICD_PIPELINE_TASK_RUN_RESULT, ERROR_TYPE, PROCESS_EXIT_CODE,
};
use ephemon_otel::{SpanBuffer, config};
use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;

use super::console::{Console, quote};
use super::outcome::Outcome;
use super::settings::{COLLECTOR_WAIT, Settings};
use exporter::Exporter;
use patience::Patience;

/// Interval between exports while the step runs.
const EVERY: Duration = Duration::from_millis(200);
/// Longest wait at the end of a call that was cancelled: the runner kills it 10 s after its SIGINT, of which
/// the end of a step's processes takes up to 9.3 (`step`).
const CANCELLED_WAIT: Duration = Duration::from_millis(500);
/// The target whose spans are collected; those of libraries contain addresses and paths.
const OURS: &str = "ephemon_hook";

/// A running export.
#[derive(Debug)]
pub(super) struct Telemetry {
    /// Ends the export task after one more export.
    last: Arc<Notify>,
    export_task: JoinHandle<Delivered>,
    patience: Patience,
}

/// The result of an export.
#[derive(Debug, Default)]
struct Delivered {
    /// The last error, if any.
    error: Option<String>,
    /// Spans that did not fit into the buffer.
    dropped: u64,
}

// === impl Telemetry ===

impl Telemetry {
    /// Starts to collect spans if the environment configures it. Needs the runtime.
    pub(super) fn start(settings: &Settings, console: &Console) -> Option<Self> {
        for ignored in &settings.telemetry.ignored {
            say(console, &ignored.to_string());
        }
        if let Some(text) = &settings.telemetry.wait_ignored {
            let why = format!("{} is not a number of milliseconds from 1 to 5000", quote(text));
            say(console, &format!("{COLLECTOR_WAIT} is ignored: {why}"));
        }
        let target = match &settings.telemetry.traces {
            config::Exporter::Off => return None,
            config::Exporter::Console => {
                say(console, "no spans are exported: the hook's output is the job's log");
                return None;
            }
            config::Exporter::Otlp(target) => target,
        };
        let resource = resource::of(settings);
        let exporter = match Exporter::new(target, &resource) {
            Ok(exporter) => exporter,
            Err(error) => {
                say(console, &format!("no spans are exported: {error}"));
                return None;
            }
        };
        let span_buffer = SpanBuffer::default();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(span_buffer.clone())
            .with_resource(resource)
            .build();
        let scope = InstrumentationScope::builder("ephemon-hook")
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(SCHEMA_URL)
            .build();
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer_with_scope(scope))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(Targets::new().with_target(OURS, tracing::Level::INFO));
        // This fails only if it is called twice in one process, which does not happen.
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).ok()?;
        let last = Arc::new(Notify::new());
        let export_task = tokio::spawn(deliver(exporter, span_buffer, Arc::clone(&last)));
        let patience = Patience::of(&settings.volume, settings.telemetry.wait);
        Some(Self { last, export_task, patience })
    }

    /// Sends the remaining spans within the time limit.
    pub(super) async fn finish(self, cancelled: bool, console: &Console) {
        self.last.notify_one();
        let most = if cancelled { CANCELLED_WAIT } else { Duration::MAX };
        let wait = self.patience.wait.min(most);
        match timeout(wait, self.export_task).await {
            Ok(Ok(Delivered { error: Some(error), .. })) => {
                say(console, &format!("spans were not exported: {error}"));
            }
            Ok(Ok(Delivered { dropped: dropped @ 1.., .. })) => {
                say(console, &format!("{dropped} spans were not exported: the buffer was full"));
            }
            Ok(Ok(_)) => {}
            Ok(Err(_)) => say(console, "spans were not exported: the exporter task failed"),
            Err(_) => {
                // A shorter wait proves nothing.
                if wait == self.patience.wait {
                    self.patience.in_vain();
                }
                let waited = wait.as_millis();
                let why = format!("the collector did not answer within {waited} ms");
                say(console, &format!("spans were not exported: {why}"));
            }
        }
    }
}

/// The span of a call, as a child of the job's or the step's span.
pub(super) fn call_span(
    command: &'static str,
    step: Option<&str>,
    under: Option<Traceparent>,
) -> Span {
    let span = tracing::info_span!(
        "call",
        otel.name = command,
        otel.status_code = Empty,
        { CICD_PIPELINE_TASK_NAME } = step.unwrap_or(command),
        { CICD_PIPELINE_TASK_RUN_RESULT } = Empty,
        { PROCESS_EXIT_CODE } = Empty,
        { ERROR_TYPE } = Empty,
    );
    if let Some(Traceparent { trace_id, span_id }) = under {
        let remote = SpanContext::new(
            TraceId::from_bytes(trace_id.0),
            SpanId::from_bytes(span_id.0),
            TraceFlags::SAMPLED,
            true,
            TraceState::default(),
        );
        // Fails if nothing is exported.
        drop(span.set_parent(opentelemetry::Context::new().with_remote_span_context(remote)));
    }
    span
}

/// Records how a call ended: a command's failure as its exit code, everything else as an error.
pub(super) fn end_call(span: &Span, outcome: &Outcome, error: Option<&'static str>) {
    let (result, kind) = match (outcome, error) {
        (Outcome { cancelled: true, .. }, _) => ("cancellation", None),
        (Outcome { code: 0, .. }, _) => ("success", None),
        (_, None) => ("failure", Some("exit_code")),
        (_, kind) => ("error", kind),
    };
    span.record(CICD_PIPELINE_TASK_RUN_RESULT, result);
    span.record(PROCESS_EXIT_CODE, outcome.code);
    if let Some(kind) = kind {
        span.record(ERROR_TYPE, kind);
        span.record("otel.status_code", "error");
    }
}

/// Exports until asked to stop, and then once more.
async fn deliver(exporter: Exporter, span_buffer: SpanBuffer, last: Arc<Notify>) -> Delivered {
    let mut delivered = Delivered::default();
    loop {
        let ending = tokio::select! {
            biased;
            () = last.notified() => true,
            () = sleep(EVERY) => false,
        };
        let (spans, dropped) = span_buffer.take();
        delivered.dropped = dropped;
        if !spans.is_empty()
            && let Err(error) = exporter.send(spans).await
        {
            delivered.error = Some(error);
        }
        if ending {
            return delivered;
        }
    }
}

fn say(console: &Console, sentence: &str) {
    console.debug(&quote(sentence));
}
