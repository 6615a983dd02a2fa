//! What feeds the senders: logs, metrics, the agent's own spans. It ends before they do.

use ephemon_logs::Logs;
use ephemon_otlp::own::Delivery;

use super::error::Error;
use super::otlp_metrics::Wheel;

/// Those that are there.
pub(super) struct Feeders {
    pub(super) logs: Option<Logs>,
    pub(super) metrics: Option<Wheel>,
    pub(super) own_spans: Option<Delivery>,
}

// === impl Feeders ===

impl Feeders {
    /// Waits until one of them ends, which none may before it is told to.
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
            () = followed => Error::ended("the following of logs"),
            () = turned => Error::ended("the export of metrics"),
        }
    }

    /// Lets each hand over what it has.
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
