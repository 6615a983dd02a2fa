//! Why the agent stops.

use ephemon_discovery::api;

use super::admin::{BindError, WebError};
use super::lock::LockError;
use super::log::LogError;

/// Why the agent stopped, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log filter is not valid.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Another agent runs on this node.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The server cannot listen.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The web configuration file cannot be used.
    #[error(transparent)]
    Web(#[from] WebError),
    /// The API server is not configured.
    #[error(transparent)]
    Api(#[from] api::Error),
    /// Two metrics of the agent have the same name.
    #[error("cannot register the agent's own metrics: {0}")]
    SelfMetrics(#[from] prometheus::Error),
    /// The thread that follows logs cannot start.
    #[error("cannot follow logs: {0}")]
    Logs(#[source] std::io::Error),
    /// Signal handlers cannot be installed.
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] std::io::Error),
    /// A part that must run for the life of the agent has ended.
    #[error("{part} ended unexpectedly{why}; please report this with the log above")]
    PartEnded {
        /// The part's name.
        part: &'static str,
        /// `: reason`, or empty.
        why: String,
    },
}

// === impl Error ===

impl Error {
    pub(super) fn ended(part: &'static str) -> Self {
        Self::PartEnded { part, why: String::new() }
    }
}
