//! The families about containers' logs.

use ephemon_model::{LogFlaw, LogLoss, LogRefusal};
use prometheus::{Counter, IntCounter, IntCounterVec, IntGauge, Registry};

use super::counter;

/// What the log thread counts.
#[derive(Debug, Clone)]
pub(super) struct LogMetrics {
    pub(super) lag: IntGauge,
    pub(super) lost: IntCounterVec,
    pub(super) incomplete: IntCounter,
    pub(super) malformed: IntCounterVec,
    pub(super) refused: IntCounterVec,
    pub(super) wait: Counter,
}

// === impl LogMetrics ===

impl LogMetrics {
    /// All families; those with a closed set of reasons begin at 0.
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let metrics = Self {
            lag: IntGauge::new(
                "ephemon_agent_log_lag_bytes",
                "Bytes of containers' logs that are written and not yet delivered.",
            )?,
            lost: counter(
                "log_lost_bytes_total",
                "Bytes of containers' logs that could not be read any more.",
                &["reason"],
            )?,
            incomplete: IntCounter::new(
                "ephemon_agent_logs_incomplete_total",
                "Logs that are over and of which something is, or may be, missing.",
            )?,
            malformed: counter(
                "log_malformed_total",
                "Lines of containers' logs without a time: the runtime's record, or its stamp, is broken.",
                &["reason"],
            )?,
            refused: counter(
                "logs_refused_total",
                "Selected logs that are not read, because their file may not or cannot be opened.",
                &["reason"],
            )?,
            wait: Counter::new(
                "ephemon_agent_log_share_wait_seconds_total",
                "Time that pods' logs waited because the pod had used its share of the log thread's time.",
            )?,
        };
        for loss in LogLoss::ALL {
            metrics.lost.with_label_values(&[loss.as_str()]).inc_by(0);
        }
        for flaw in LogFlaw::ALL {
            metrics.malformed.with_label_values(&[flaw.as_str()]).inc_by(0);
        }
        for why in LogRefusal::ALL {
            metrics.refused.with_label_values(&[why.as_str()]).inc_by(0);
        }
        Ok(metrics)
    }

    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.lag.clone()))?;
        registry.register(Box::new(self.lost.clone()))?;
        registry.register(Box::new(self.incomplete.clone()))?;
        registry.register(Box::new(self.malformed.clone()))?;
        registry.register(Box::new(self.refused.clone()))?;
        registry.register(Box::new(self.wait.clone()))
    }
}
