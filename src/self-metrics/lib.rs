//! What the agent counts about itself. Any crate counts here; `metrics` shows it.
//!
//! Label values are closed enums: free text goes to the log, never to a label.

mod closed;
mod labels;
mod notices;
mod process;

use std::time::Duration;

use ephemon_model::{LogLoss, Quality};
use prometheus::{
    Counter, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

pub use closed::Closed;
pub use labels::{Enforced, Exported, Reason, Signal, Source};
pub use notices::Notices;
use process::ProcessCollector;

/// The agent's own counters. Cheap to clone; every clone counts into the same figures.
#[derive(Debug, Clone)]
pub struct SelfMetrics {
    registry: Registry,
    finals: IntCounterVec,
    discovered: IntCounterVec,
    dropped: IntCounterVec,
    exported: IntCounterVec,
    limits: IntCounterVec,
    closed: IntCounterVec,
    samples: IntCounter,
    spool: IntGaugeVec,
    log_lag: IntGauge,
    log_lost: IntCounterVec,
    log_incomplete: IntCounter,
    log_wait: Counter,
    sample_duration: Histogram,
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
        let counter = |name, help, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help).namespace("ephemon_agent"), labels)
        };
        let self_metrics = Self {
            registry: Registry::new(),
            finals: counter("finals_total", "Final readings of ended containers.", &["quality"])?,
            discovered: counter("discovered_total", "Containers found.", &["source"])?,
            dropped: counter("dropped_total", "Data given up.", &["signal", "reason"])?,
            exported: counter(
                "otlp_requests_total",
                "Requests to a collector, by what came of them.",
                &["signal", "result"],
            )?,
            limits: counter(
                "limits_total",
                "Limits that containers' specs ask for, by what came of them.",
                &["result"],
            )?,
            closed: counter(
                "http_connections_closed_total",
                "Connections to the agent's HTTP server that it closed before their peers were done.",
                &["reason"],
            )?,
            samples: IntCounter::new(
                "ephemon_agent_samples_total",
                "Periodic readings of a container's cgroup.",
            )?,
            spool: IntGaugeVec::new(
                Opts::new(
                    "ephemon_agent_spool_bytes",
                    "Size of what waits on the node's disk for a collector.",
                ),
                &["signal"],
            )?,
            log_lag: IntGauge::new(
                "ephemon_agent_log_lag_bytes",
                "Bytes of containers' logs that are written and not yet delivered.",
            )?,
            log_lost: counter(
                "log_lost_bytes_total",
                "Bytes of containers' logs that could not be read any more.",
                &["reason"],
            )?,
            log_incomplete: IntCounter::new(
                "ephemon_agent_logs_incomplete_total",
                "Logs that are over and of which something is, or may be, missing.",
            )?,
            log_wait: Counter::new(
                "ephemon_agent_log_share_wait_seconds_total",
                "Time that pods' logs waited because the pod had used its share of the log thread's time.",
            )?,
            sample_duration: Histogram::with_opts(
                HistogramOpts::new(
                    "ephemon_agent_sample_duration_seconds",
                    "Time to read one container's cgroup files.",
                )
                .buckets(vec![5e-6, 1e-5, 2e-5, 3.5e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 1e-2]),
            )?,
        };
        for quality in Quality::ALL {
            self_metrics.finals.with_label_values(&[quality.as_str()]).inc_by(0);
        }
        for result in Enforced::ALL {
            self_metrics.limits.with_label_values(&[result.as_str()]).inc_by(0);
        }
        for why in Closed::ALL {
            self_metrics.closed.with_label_values(&[why.as_str()]).inc_by(0);
        }
        for loss in LogLoss::ALL {
            self_metrics.log_lost.with_label_values(&[loss.as_str()]).inc_by(0);
        }
        self_metrics.register()?;
        Ok(self_metrics)
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        self.registry.register(Box::new(self.finals.clone()))?;
        self.registry.register(Box::new(self.discovered.clone()))?;
        self.registry.register(Box::new(self.dropped.clone()))?;
        self.registry.register(Box::new(self.exported.clone()))?;
        self.registry.register(Box::new(self.limits.clone()))?;
        self.registry.register(Box::new(self.closed.clone()))?;
        self.registry.register(Box::new(self.samples.clone()))?;
        self.registry.register(Box::new(self.spool.clone()))?;
        self.registry.register(Box::new(self.log_lag.clone()))?;
        self.registry.register(Box::new(self.log_lost.clone()))?;
        self.registry.register(Box::new(self.log_incomplete.clone()))?;
        self.registry.register(Box::new(self.log_wait.clone()))?;
        self.registry.register(Box::new(self.sample_duration.clone()))?;
        Ok(())
    }

    /// The registry, for `metrics` to render.
    pub fn registry(&self) -> &Registry {
        &self.registry
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
        self.log_lag.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// So much of a container's log is gone undelivered.
    pub fn log_lost(&self, loss: LogLoss, bytes: u64) {
        self.log_lost.with_label_values(&[loss.as_str()]).inc_by(bytes);
    }

    /// A log is over and not known to have come through whole.
    pub fn log_incomplete(&self) {
        self.log_incomplete.inc();
    }

    /// Pods' logs waited so long for others: the pods had used their share of the thread's time.
    pub fn log_waited(&self, waited: Duration) {
        self.log_wait.inc_by(waited.as_secs_f64());
    }

    /// The limits a container's spec asks for came to this.
    pub fn limits_enforced(&self, result: Enforced) {
        self.limits.with_label_values(&[result.as_str()]).inc();
    }

    /// A connection was closed before its peer was done.
    pub fn connection_closed(&self, why: Closed) {
        self.closed.with_label_values(&[why.as_str()]).inc();
    }

    /// How many connections were closed for this so far.
    pub fn connections_closed_so_far(&self, why: Closed) -> u64 {
        self.closed.with_label_values(&[why.as_str()]).get()
    }

    /// A container's files were read once.
    pub fn sampled(&self, took: Duration) {
        self.samples.inc();
        self.sample_duration.observe(took.as_secs_f64());
    }
}
