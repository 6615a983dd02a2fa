//! The control socket: what root on the node, or `kubectl exec` into the agent's container, may ask and
//! change without TLS or passwords. `ephemon debug` is its client.
//!
//! A Unix socket in the state directory, which only root may open. A request is one line of JSON, and
//! so is the answer, which a text may follow.

mod client;
mod server;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) use client::{Error, ask};
pub(super) use server::{Answers, Control};

/// The socket's name in the state directory.
const SOCKET: &str = "agent.sock";
/// For a request to come, and for its answer to be taken.
const CONVERSATION_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for which a filter of the log can be changed.
pub(super) const LOG_CHANGE_MAX: Duration = Duration::from_hours(24);

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Request {
    /// `/debug/state`.
    State,
    /// The text of `/metrics`.
    Metrics,
    /// Another filter of the log, for so many seconds.
    #[serde(rename_all = "camelCase")]
    Log {
        /// As `--log` takes it.
        filter: String,
        /// After this the configured filter is in force again.
        seconds: u64,
    },
}

/// What it is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Answer {
    /// What was asked for.
    Done(Value),
    /// Why not, as a sentence.
    Refused(String),
}

/// The socket in a state directory.
pub(super) fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join(SOCKET)
}
