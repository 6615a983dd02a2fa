//! Why the agent ends.

use ephemon_discovery::api;

use super::admin::{BindError, WebError};
use super::lock::LockError;
use super::log::LogError;

/// Why the agent ended, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Another agent watches this node.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The web configuration file.
    #[error(transparent)]
    Web(#[from] WebError),
    /// The API server is not configured.
    #[error(transparent)]
    Api(#[from] api::Error),
    /// The agent's own metrics clash.
    #[error("cannot register the agent's own metrics: {0}")]
    SelfMetrics(#[from] prometheus::Error),
    /// The thread that follows logs.
    #[error("cannot follow logs: {0}")]
    Logs(#[source] std::io::Error),
    /// Signals cannot be heard.
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] std::io::Error),
    /// A part that runs for ever has ended.
    #[error("{part} ended unexpectedly{why}; please report this with the log above")]
    PartEnded {
        /// Which part.
        part: &'static str,
        /// `: reason`, where there is one.
        why: String,
    },
}

// === impl Error ===

impl Error {
    pub(super) fn ended(part: &'static str) -> Self {
        Self::PartEnded { part, why: String::new() }
    }
}
