//! What the agent counts about itself. Any crate counts here; `metrics` shows it.
//!
//! Label values are closed enums: free text goes to the log, never to a label.

mod at_creation;
mod closed;
mod histogram;
mod in_front;
mod labels;
mod logs;
mod notices;
mod pre_pulled;
mod process;
mod watched;

use std::time::Duration;

use ephemon_model::{LogFlaw, LogLoss, LogRefusal, Quality};
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

pub use at_creation::AtCreation;
pub use closed::Closed;
use histogram::Histogram;
pub use histogram::Observations;
pub use in_front::InFront;
pub use labels::{Enforced, Exported, Reason, Signal, Source};
use logs::LogMetrics;
pub use notices::Notices;
use pre_pulled::PrePullMetrics;
pub use pre_pulled::PrePulled;
use process::ProcessCollector;
pub use watched::Watched;
use watched::Watches;

/// The agent's own counters. Cheap to clone; every clone counts into the same figures.
#[derive(Debug, Clone)]
pub struct SelfMetrics {
    registry: Registry,
    finals: IntCounterVec,
    discovered: IntCounterVec,
    dropped: IntCounterVec,
    exported: IntCounterVec,
    limits: IntCounterVec,
    limits_at_creation: IntCounterVec,
    in_front: IntCounterVec,
    pre_pull: PrePullMetrics,
    closed: IntCounterVec,
    spool: IntGaugeVec,
    logs: LogMetrics,
    reading_duration: Histogram,
    scrape_duration: Histogram,
    watches: Watches,
}

// === impl SelfMetrics ===

impl SelfMetrics {
    /// Adds the values of the process itself, read at each scrape.
    ///
    /// # Errors
    /// If they are there already.
    pub fn count_process(&self) -> Result<(), prometheus::Error> {
        self.registry.register(Box::new(ProcessCollector::new()?))
    }

    /// Registers every family but those of the process.
    pub fn new() -> Result<Self, prometheus::Error> {
        let self_metrics = Self {
            registry: Registry::new(),
            finals: counter(
                "final_readings_total",
                "Final readings of ended containers.",
                &["quality"],
            )?,
            discovered: counter("containers_discovered_total", "Containers found.", &["source"])?,
            dropped: counter(
                "dropped_items_total",
                "Items of data given up: containers, events, log records, spans, points.",
                &["signal", "reason"],
            )?,
            exported: counter(
                "otlp_requests_total",
                "Requests to a collector, by result.",
                &["signal", "result"],
            )?,
            limits: counter(
                "limit_enforcements_total",
                "Limits that containers' specs ask for, by result.",
                &["result"],
            )?,
            limits_at_creation: counter(
                "limits_at_creation_total",
                "Containers with limits that the runtime was about to create, by result over NRI.",
                &["result"],
            )?,
            in_front: counter(
                "inits_at_creation_total",
                "Containers that ask for init in front of their image's own entrypoint, by result over NRI.",
                &["result"],
            )?,
            pre_pull: PrePullMetrics::new()?,
            closed: counter(
                "http_connections_closed_total",
                "Connections to the agent's HTTP server that it closed before their peers were done.",
                &["reason"],
            )?,
            spool: IntGaugeVec::new(
                Opts::new(
                    "ephemon_agent_spool_bytes",
                    "Size of the requests that wait on the node's disk for a collector.",
                ),
                &["signal"],
            )?,
            logs: LogMetrics::new()?,
            reading_duration: Histogram::new(
                "ephemon_agent_reading_duration_seconds",
                "Time to read one container's cgroup files.",
                &[5e-6, 1e-5, 2e-5, 3.5e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 1e-2],
            ),
            scrape_duration: Histogram::new(
                "ephemon_agent_scrape_duration_seconds",
                "Time to put together one answer on /metrics.",
                &[5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0],
            ),
            watches: Watches::new()?,
        };
        self_metrics.begin_at_zero();
        self_metrics.register()?;
        Ok(self_metrics)
    }

    /// Counts whose labels are known are shown before the first of them happens.
    fn begin_at_zero(&self) {
        for quality in Quality::ALL {
            self.finals.with_label_values(&[quality.as_str()]).inc_by(0);
        }
        for result in Enforced::ALL {
            self.limits.with_label_values(&[result.as_str()]).inc_by(0);
        }
        for result in AtCreation::ALL {
            self.limits_at_creation.with_label_values(&[result.as_str()]).inc_by(0);
        }
        for result in InFront::ALL {
            self.in_front.with_label_values(&[result.as_str()]).inc_by(0);
        }
        for why in Closed::ALL {
            self.closed.with_label_values(&[why.as_str()]).inc_by(0);
        }
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        self.registry.register(Box::new(self.finals.clone()))?;
        self.registry.register(Box::new(self.discovered.clone()))?;
        self.registry.register(Box::new(self.dropped.clone()))?;
        self.registry.register(Box::new(self.exported.clone()))?;
        self.registry.register(Box::new(self.limits.clone()))?;
        self.registry.register(Box::new(self.limits_at_creation.clone()))?;
        self.registry.register(Box::new(self.in_front.clone()))?;
        self.pre_pull.register(&self.registry)?;
        self.registry.register(Box::new(self.closed.clone()))?;
        self.registry.register(Box::new(self.spool.clone()))?;
        self.logs.register(&self.registry)?;
        self.watches.register(&self.registry)
    }

    /// Every family but the histograms, for `metrics` to render.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The histograms, by name. They are not in the registry, whose crate has no native buckets.
    pub fn histograms(&self) -> Vec<Observations> {
        [&self.reading_duration, &self.scrape_duration].map(Histogram::observations).into()
    }

    /// A container's final figures are settled.
    pub fn final_settled(&self, quality: Quality) {
        self.finals.with_label_values(&[quality.as_str()]).inc();
    }

    /// A container was found.
    pub fn discovered(&self, source: Source) {
        self.discovered.with_label_values(&[source.as_str()]).inc();
    }

    /// Data was given up.
    pub fn dropped(&self, signal: Signal, reason: Reason) {
        self.dropped_by(signal, reason, 1);
    }

    /// So many items were given up: log records, spans, points.
    pub fn dropped_by(&self, signal: Signal, reason: Reason, items: u64) {
        self.dropped.with_label_values(&[signal.as_str(), reason.as_str()]).inc_by(items);
    }

    /// How many items were given up so far.
    pub fn dropped_so_far(&self, signal: Signal, reason: Reason) -> u64 {
        self.dropped.with_label_values(&[signal.as_str(), reason.as_str()]).get()
    }

    /// Requests of this signal will be counted: the counts begin at 0, not with the first one.
    pub fn will_export(&self, signal: Signal) {
        for result in Exported::ALL {
            self.exported.with_label_values(&[signal.as_str(), result.as_str()]).inc_by(0);
        }
    }

    /// A request to a collector came to this.
    pub fn exported(&self, signal: Signal, result: Exported) {
        self.exported.with_label_values(&[signal.as_str(), result.as_str()]).inc();
    }

    /// How many requests to a collector came to this so far.
    pub fn exported_so_far(&self, signal: Signal, result: Exported) -> u64 {
        self.exported.with_label_values(&[signal.as_str(), result.as_str()]).get()
    }

    /// So much waits on the disk.
    pub fn spooled(&self, signal: Signal, bytes: u64) {
        self.spool
            .with_label_values(&[signal.as_str()])
            .set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// So much of containers' logs is not delivered yet.
    pub fn log_lag(&self, bytes: u64) {
        self.logs.lag.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// So much of a container's log is gone undelivered.
    pub fn log_lost(&self, loss: LogLoss, bytes: u64) {
        self.logs.lost.with_label_values(&[loss.as_str()]).inc_by(bytes);
    }

    /// A log is over and not known to have come through whole.
    pub fn log_incomplete(&self) {
        self.logs.incomplete.inc();
    }

    /// A line of a container's log has no time.
    pub fn log_malformed(&self, flaw: LogFlaw) {
        self.logs.malformed.with_label_values(&[flaw.as_str()]).inc();
    }

    /// A wanted log is not read.
    pub fn log_refused(&self, why: LogRefusal) {
        self.logs.refused.with_label_values(&[why.as_str()]).inc();
    }

    /// Pods' logs waited so long for others: the pods had used their share of the thread's time.
    pub fn log_waited(&self, waited: Duration) {
        self.logs.wait.inc_by(waited.as_secs_f64());
    }

    /// The limits a container's spec asks for came to this.
    pub fn limits_enforced(&self, result: Enforced) {
        self.limits.with_label_values(&[result.as_str()]).inc();
    }

    /// The limits of a container that the runtime was about to create came to this.
    pub fn limited_at_creation(&self, result: AtCreation) {
        self.limits_at_creation.with_label_values(&[result.as_str()]).inc();
    }

    /// Init in front of the entrypoint of a container that the runtime was about to create came to this.
    pub fn put_in_front(&self, result: InFront) {
        self.in_front.with_label_values(&[result.as_str()]).inc();
    }

    /// So many images that containers wait for came to this, and the runtime took so long.
    pub fn pre_pulled(&self, result: PrePulled, images: u64, took: Duration) {
        self.pre_pull.count(result, images, took);
    }

    /// How many images that containers wait for came to this so far.
    pub fn pre_pulled_so_far(&self, result: PrePulled) -> u64 {
        self.pre_pull.so_far(result)
    }

    /// A connection was closed before its peer was done.
    pub fn connection_closed(&self, why: Closed) {
        self.closed.with_label_values(&[why.as_str()]).inc();
    }

    /// How many connections were closed for this so far.
    pub fn connections_closed_so_far(&self, why: Closed) -> u64 {
        self.closed.with_label_values(&[why.as_str()]).get()
    }

    /// An answer on `/metrics` was put together.
    pub fn scraped(&self, took: Duration) {
        self.scrape_duration.observe(took.as_secs_f64());
    }

    /// This is going to be watched: it is shown as away until it answers.
    pub fn will_watch(&self, watched: Watched) {
        self.watches.expected(watched);
    }

    /// What is watched answers.
    pub fn watch_answers(&self, watched: Watched) {
        self.watches.answered(watched);
    }

    /// What is watched does not answer, or no more.
    pub fn watch_failed(&self, watched: Watched) {
        self.watches.failed(watched);
    }

    /// A container's files were read once.
    pub fn sampled(&self, took: Duration) {
        self.reading_duration.observe(took.as_secs_f64());
    }
}

/// A counter of the agent with these labels.
fn counter(name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(Opts::new(name, help).namespace("ephemon_agent"), labels)
}
