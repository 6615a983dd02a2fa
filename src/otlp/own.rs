//! The agent's own spans: what `tracing` tells of its work, gathered in a [`SpanBuffer`] and sent with the
//! spans of jobs. Of libraries none is taken, and none that comes of an export.

use std::time::Duration;

use ephemon_export::{OWN_TARGETS, Outbox, Payload};
use ephemon_otel::SpanBuffer;
use ephemon_self_metrics::{Reason, SelfMetrics, Signal};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use super::metric::Owner;
use super::names::SCHEMA_URL;

/// From one delivery to the next.
const EXPORT_INTERVAL: Duration = Duration::from_secs(1);
/// A queue fuller than this has no room for them: it is the jobs'.
const FULL: f64 = 0.25;
/// The instrumentation scope.
const SCOPE: &str = "ephemon-agent";

/// The way from a span buffer to the collector.
#[derive(Debug)]
pub struct Delivery {
    stop_tx: oneshot::Sender<()>,
    span_sender: JoinHandle<()>,
}

struct SpanSender {
    span_buffer: SpanBuffer,
    outbox: Outbox,
    owner: Owner,
    self_metrics: SelfMetrics,
    /// Of what had no room in the span buffer, this much is counted.
    counted: u64,
}

/// Puts the spans of our own work into the span buffer.
pub fn layer<S>(span_buffer: &SpanBuffer) -> impl Layer<S> + Send + Sync
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let provider = SdkTracerProvider::builder()
        .with_span_processor(span_buffer.clone())
        .with_resource(Resource::builder_empty().build())
        .build();
    let exports = OWN_TARGETS.iter().map(|target| (*target, LevelFilter::OFF));
    let ours = Targets::new().with_target("ephemon", LevelFilter::INFO).with_targets(exports);
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(SCOPE))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(ours)
}

// === impl Delivery ===

impl Delivery {
    /// Begins to deliver what is put into the span buffer, as the spans of `owner`.
    pub fn start(
        span_buffer: SpanBuffer,
        outbox: Outbox,
        owner: Owner,
        self_metrics: SelfMetrics,
    ) -> Self {
        let span_sender = SpanSender { span_buffer, outbox, owner, self_metrics, counted: 0 };
        let (stop_tx, stop_rx) = oneshot::channel();
        Self { stop_tx, span_sender: tokio::spawn(span_sender.run(stop_rx)) }
    }

    /// Hands over what is left.
    pub async fn finish(self) {
        drop(self.stop_tx);
        if let Err(error) = self.span_sender.await {
            tracing::warn!("the agent's own spans were not exported: {error}");
        }
    }
}

// === impl SpanSender ===

impl SpanSender {
    async fn run(mut self, mut stop_rx: oneshot::Receiver<()>) {
        loop {
            let last = tokio::select! {
                _ = &mut stop_rx => true,
                () = sleep(EXPORT_INTERVAL) => false,
            };
            self.hand_over();
            if last {
                return;
            }
        }
    }

    fn hand_over(&mut self) {
        let (spans, dropped) = self.span_buffer.take();
        let new = dropped.saturating_sub(self.counted);
        self.self_metrics.dropped_by(Signal::Traces, Reason::Cap, new);
        self.counted = dropped;
        if spans.is_empty() {
            return;
        }
        let items = u64::try_from(spans.len()).unwrap_or(u64::MAX);
        if self.outbox.pressure() > FULL {
            self.self_metrics.dropped_by(Signal::Traces, Reason::Cap, items);
            return;
        }
        let payload = Payload::of(&request(spans, &self.owner), items);
        self.outbox.offer_or_drop(payload);
    }
}

fn request(spans: Vec<SpanData>, owner: &Owner) -> ExportTraceServiceRequest {
    let scope = InstrumentationScope {
        name: SCOPE.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let schema_url = SCHEMA_URL.to_owned();
    let spans = spans.into_iter().map(Into::into).collect();
    let scope_spans = ScopeSpans { scope: Some(scope), spans, schema_url: schema_url.clone() };
    let resource = Some(owner.0.clone());
    let resource_spans = ResourceSpans { resource, scope_spans: vec![scope_spans], schema_url };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
}

#[cfg(test)]
mod tests {
    use std::io;

    use ephemon_export::{Destination, Options, Sender};
    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    fn names(span_buffer: &SpanBuffer) -> Vec<String> {
        span_buffer.take().0.into_iter().map(|span| span.name.into_owned()).collect()
    }

    /// A span of each of these targets and of one below each.
    macro_rules! spans {
        ($($target:literal)*) => {{
            $(tracing::info_span!(target: $target, "an export").in_scope(|| {});
            tracing::error_span!(target: concat!($target, "::inside"), "an export").in_scope(|| {});)*
            [$($target),*]
        }};
    }

    #[test]
    fn spans_of_our_work_are_taken_and_none_that_comes_of_an_export() {
        let span_buffer = SpanBuffer::default();
        with_default(tracing_subscriber::registry().with(layer(&span_buffer)), || {
            let made = spans!("ephemon_export" "ephemon_otel" "h2" "hyper" "hyper_util" "rustls" "tonic" "tower");
            assert_eq!(made, *OWN_TARGETS, "each of them is tried");
            tracing::info_span!(target: "kube_client", "a library's").in_scope(|| {});
            tracing::debug_span!(target: "ephemon_agent", "too much").in_scope(|| {});
            assert_eq!(names(&span_buffer), [""; 0]);
            tracing::info_span!(target: "ephemon_agent::run", "ours").in_scope(|| {});
        });
        assert_eq!(names(&span_buffer), ["ours"]);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_costs_the_jobs_nothing() {
        let self_metrics = SelfMetrics::new().unwrap();
        let traces = ephemon_otel::Signal::Traces;
        let destination = Destination::writer(traces, Box::new(io::sink()));
        let options = Options { queue_bytes: 1000, ..Options::default() };
        let (outbox, _sender) = Sender::new(destination, None, options, self_metrics.clone());
        let span_buffer = SpanBuffer::default();
        let mut span_sender = SpanSender {
            span_buffer: span_buffer.clone(),
            outbox: outbox.clone(),
            owner: Owner::agent("it", &[]),
            self_metrics: self_metrics.clone(),
            counted: 0,
        };
        let mut work = |spans: usize| {
            with_default(tracing_subscriber::registry().with(layer(&span_buffer)), || {
                (0..spans).for_each(|_| {
                    tracing::info_span!(target: "ephemon_agent", "work").in_scope(|| {});
                });
            });
            span_sender.hand_over();
            self_metrics.dropped_so_far(Signal::Traces, Reason::Cap)
        };
        assert_eq!(work(1), 0);
        assert!(outbox.pressure() > FULL, "nobody empties the queue");
        assert_eq!(work(3), 3);
        assert_eq!(work(SpanBuffer::MOST + 5), 3 + 5 + u64::try_from(SpanBuffer::MOST).unwrap());
    }
}
