//! The agent's own spans: what `tracing` tells of its work, gathered in a [`Basket`] and sent with the
//! spans of jobs. Of libraries none is taken, and none that comes of an export.

use std::time::Duration;

use ephemon_export::{OWN_TARGETS, Outbox, Payload};
use ephemon_otel::Basket;
use ephemon_vitals::{Reason, Signal, Vitals};
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
const EVERY: Duration = Duration::from_secs(1);
/// A queue fuller than this has no room for them: it is the jobs'.
const FULL: f64 = 0.25;
/// The instrumentation scope.
const SCOPE: &str = "ephemon-agent";

/// The way from a basket to the collector.
#[derive(Debug)]
pub struct Delivery {
    stop_tx: oneshot::Sender<()>,
    courier: JoinHandle<()>,
}

struct Courier {
    basket: Basket,
    outbox: Outbox,
    owner: Owner,
    vitals: Vitals,
    /// Of what had no room in the basket, this much is counted.
    counted: u64,
}

/// Puts the spans of our own work into the basket.
pub fn layer<S>(basket: &Basket) -> impl Layer<S> + Send + Sync
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let provider = SdkTracerProvider::builder()
        .with_span_processor(basket.clone())
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
    /// Begins to deliver what is put into the basket, as the spans of `owner`.
    pub fn start(basket: Basket, outbox: Outbox, owner: Owner, vitals: Vitals) -> Self {
        let courier = Courier { basket, outbox, owner, vitals, counted: 0 };
        let (stop_tx, stop_rx) = oneshot::channel();
        Self { stop_tx, courier: tokio::spawn(courier.run(stop_rx)) }
    }

    /// Hands over what is left.
    pub async fn finish(self) {
        drop(self.stop_tx);
        if let Err(error) = self.courier.await {
            tracing::warn!("the agent's own spans were not exported: {error}");
        }
    }
}

// === impl Courier ===

impl Courier {
    async fn run(mut self, mut stop_rx: oneshot::Receiver<()>) {
        loop {
            let last = tokio::select! {
                _ = &mut stop_rx => true,
                () = sleep(EVERY) => false,
            };
            self.hand_over();
            if last {
                return;
            }
        }
    }

    fn hand_over(&mut self) {
        let (spans, dropped) = self.basket.take();
        let new = dropped.saturating_sub(self.counted);
        self.vitals.dropped_by(Signal::Traces, Reason::Cap, new);
        self.counted = dropped;
        if spans.is_empty() {
            return;
        }
        let items = u64::try_from(spans.len()).unwrap_or(u64::MAX);
        if self.outbox.pressure() > FULL {
            self.vitals.dropped_by(Signal::Traces, Reason::Cap, items);
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

    fn names(basket: &Basket) -> Vec<String> {
        basket.take().0.into_iter().map(|span| span.name.into_owned()).collect()
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
        let basket = Basket::default();
        with_default(tracing_subscriber::registry().with(layer(&basket)), || {
            let made = spans!("ephemon_export" "ephemon_otel" "h2" "hyper" "hyper_util" "rustls" "tonic" "tower");
            assert_eq!(made, *OWN_TARGETS, "each of them is tried");
            tracing::info_span!(target: "kube_client", "a library's").in_scope(|| {});
            tracing::debug_span!(target: "ephemon_agent", "too much").in_scope(|| {});
            assert_eq!(names(&basket), [""; 0]);
            tracing::info_span!(target: "ephemon_agent::run", "ours").in_scope(|| {});
        });
        assert_eq!(names(&basket), ["ours"]);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_costs_the_jobs_nothing() {
        let vitals = Vitals::new().unwrap();
        let traces = ephemon_otel::Signal::Traces;
        let destination = Destination::writer(traces, Box::new(io::sink()));
        let options = Options { queue_bytes: 1000, ..Options::default() };
        let (outbox, _sender) = Sender::new(destination, None, options, vitals.clone());
        let basket = Basket::default();
        let mut courier = Courier {
            basket: basket.clone(),
            outbox: outbox.clone(),
            owner: Owner::agent("it", &[]),
            vitals: vitals.clone(),
            counted: 0,
        };
        let mut work = |spans: usize| {
            with_default(tracing_subscriber::registry().with(layer(&basket)), || {
                (0..spans).for_each(|_| {
                    tracing::info_span!(target: "ephemon_agent", "work").in_scope(|| {});
                });
            });
            courier.hand_over();
            vitals.dropped_so_far(Signal::Traces, Reason::Cap)
        };
        assert_eq!(work(1), 0);
        assert!(outbox.pressure() > FULL, "nobody empties the queue");
        assert_eq!(work(3), 3);
        assert_eq!(work(Basket::MOST + 5), 3 + 5 + u64::try_from(Basket::MOST).unwrap());
    }
}
