//! What a step used, as people read it. Pure.

use std::time::Duration;

use ephemon_contract::{CgroupDelta, ProcessUsage};
use ephemon_markdown::figures::{bytes, cpu};

/// Figures as text; `None` is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StepUsage {
    pub(super) cpu: String,
    pub(super) throttled: Option<String>,
    pub(super) memory: String,
    pub(super) oom_kills: Option<u64>,
    pub(super) read: Option<String>,
    pub(super) written: Option<String>,
}

// === impl StepUsage ===

impl StepUsage {
    /// From what init has told of a step's end.
    pub(super) fn of(process: &ProcessUsage, cgroup: &CgroupDelta) -> Self {
        let seconds = |ns| cpu(Duration::from_nanos(ns).as_secs_f64());
        let of_process = process.user_us.saturating_add(process.system_us);
        // The container's peak is the step's if it rose during the step; otherwise only the largest
        // process is known.
        let peak = cgroup.memory_peak_bytes.filter(|_| cgroup.memory_peak_rose == Some(true));
        Self {
            cpu: seconds(cgroup.cpu_ns.unwrap_or(of_process.saturating_mul(1000))),
            throttled: cgroup.throttled_ns.map(seconds),
            memory: bytes(peak.unwrap_or(process.max_rss_bytes)),
            oom_kills: cgroup.oom_kills,
            read: cgroup.read_bytes.map(bytes),
            written: cgroup.written_bytes.map(bytes),
        }
    }
}
