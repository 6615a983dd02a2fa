//! What jobs, steps, phases and containers have in common.

use serde::{Deserialize, Serialize};

/// When something was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Span {
    /// The beginning, milliseconds since 1970.
    pub start_unix_ms: u64,
    /// The end; `None` while it runs.
    pub end_unix_ms: Option<u64>,
    /// Who reported the beginning.
    pub start_source: String,
    /// Who reported the end.
    pub end_source: Option<String>,
}

/// How something ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ending {
    /// `running`, `ending`, or the result in the words of the semantic conventions.
    pub result: String,
    /// What kind of failure or error.
    pub fault: Option<String>,
    /// The exit code.
    pub exit_code: Option<i32>,
}

/// What something used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// CPU time.
    pub cpu_seconds: Option<f64>,
    /// Time throttled by a CPU quota.
    pub cpu_throttled_seconds: Option<f64>,
    /// Highest memory use.
    pub memory_peak_bytes: Option<u64>,
    /// Processes that the OOM killer ended.
    pub oom_kills: Option<u64>,
    /// Read from block devices.
    pub read_bytes: Option<u64>,
    /// Written to block devices.
    pub written_bytes: Option<u64>,
}

// === impl Span ===

impl Span {
    /// Milliseconds from the beginning to the end, or to now by the agent's clock.
    pub fn millis(&self, now_unix_ms: u64) -> u64 {
        self.end_unix_ms.unwrap_or(now_unix_ms).saturating_sub(self.start_unix_ms)
    }
}

// === impl Ending ===

impl Ending {
    /// Whether it is under way.
    pub fn is_running(&self) -> bool {
        self.result == "running"
    }

    /// Whether it has ended and how is known: nothing of it changes any more.
    pub fn is_over(&self) -> bool {
        !matches!(&*self.result, "running" | "ending")
    }
}
