//! What something used. Plain values.

use serde::{Deserialize, Serialize};

/// What something used. An absent figure is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// CPU time, nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Time throttled by a CPU quota, nanoseconds.
    pub throttled_ns: Option<u64>,
    /// Highest memory use, bytes.
    pub memory_peak_bytes: Option<u64>,
    /// Memory in use over time, byte milliseconds.
    pub memory_byte_ms: Option<u64>,
    /// Processes that the OOM killer ended.
    pub oom_kills: Option<u64>,
    /// Bytes read from block devices.
    pub read_bytes: Option<u64>,
    /// Bytes written to block devices.
    pub written_bytes: Option<u64>,
}

// === impl Figures ===

impl Figures {
    /// Both together: sums, and the higher of two peaks.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (a, b) => a.or(b),
        };
        Self {
            cpu_ns: sum(self.cpu_ns, other.cpu_ns),
            throttled_ns: sum(self.throttled_ns, other.throttled_ns),
            memory_peak_bytes: self.memory_peak_bytes.max(other.memory_peak_bytes),
            memory_byte_ms: sum(self.memory_byte_ms, other.memory_byte_ms),
            oom_kills: sum(self.oom_kills, other.oom_kills),
            read_bytes: sum(self.read_bytes, other.read_bytes),
            written_bytes: sum(self.written_bytes, other.written_bytes),
        }
    }
}
