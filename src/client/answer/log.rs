//! The last lines of a job's logs.

use serde::{Deserialize, Serialize};

use super::at_most;

/// The last lines of a job's logs, masked as they are exported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Log {
    /// Whether this client is served log lines.
    pub served: bool,
    /// Why not.
    pub reason: Option<String>,
    /// The lines.
    #[serde(deserialize_with = "at_most::<{ super::MAX_LINES }, _, _>")]
    pub lines: Vec<Line>,
    /// The value of `after` for the next request.
    pub next_after: u64,
    /// Lines that are not in this answer.
    pub left_out: u64,
}

/// A line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Line {
    /// Its number among the job's lines.
    pub sequence: u64,
    /// Its container.
    pub container: String,
    /// When it was written.
    pub at_unix_ms: u64,
    /// `stdout`, `stderr` or `unknown`.
    pub stream: String,
    /// `debug`, `notice`, `warning` or `error`; `None` for a plain line.
    pub severity: Option<String>,
    /// Any text.
    pub text: String,
    /// Bytes that are missing at the end of the text.
    pub cut_bytes: u64,
}
