//! The tasks that feed the exporters: logs, metrics, the agent's own spans. They end before the
//! exporters do.

use ephemon_logs::Logs;
use ephemon_otlp::own::Delivery;

use super::error::Error;
use super::otlp_metrics::Wheel;

/// The tasks that run.
pub(super) struct Feeders {
    pub(super) logs: Option<Logs>,
    pub(super) metrics: Option<Wheel>,
    pub(super) own_spans: Option<Delivery>,
}

// === impl Feeders ===

impl Feeders {
    /// Waits until one of them ends, which none does before it is asked to.
    pub(super) async fn ended(&mut self) -> Error {
        let Self { logs, metrics, .. } = self;
        let followed = async {
            match logs {
                Some(logs) => logs.over().await,
                None => std::future::pending().await,
            }
        };
        let turned = async {
            match metrics {
                Some(metrics) => metrics.over().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = followed => Error::ended("the log follower"),
            () = turned => Error::ended("the metrics exporter"),
        }
    }

    /// Lets each pass on what it holds, and ends it.
    pub(super) async fn stop(self) {
        if let Some(mut logs) = self.logs {
            logs.stop();
            logs.over().await;
        }
        if let Some(metrics) = self.metrics {
            metrics.stop().await;
        }
        if let Some(own_spans) = self.own_spans {
            own_spans.finish().await;
        }
    }
}
