//! What a step used: values of `wait4`, and differences of the counters of the container's cgroup.

use serde::{Deserialize, Serialize};

use super::wire::wire_struct;

/// The kernel's values for a process that ended, including descendants that it had waited for
/// (`wait4(2)`). They do not include a daemon that was left behind; [`CgroupDelta`] does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessUsage {
    /// CPU time in user mode, microseconds.
    pub user_us: u64,
    /// CPU time in the kernel, microseconds.
    pub system_us: u64,
    /// Highest resident set of any one of the processes, bytes.
    pub max_rss_bytes: u64,
}

/// What the container's cgroup counted between a step's start and end. Steps that run at the same
/// time share the values. A value is `None` if its kernel file does not exist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupDelta {
    /// CPU time, nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cpu_ns: Option<u64>,
    /// Time spent throttled by a CPU quota, nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub throttled_ns: Option<u64>,
    /// Memory in use at the step's end, bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub memory_bytes: Option<u64>,
    /// Highest memory use of the container so far, bytes; it is the step's only if it rose during
    /// the step.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub memory_peak_bytes: Option<u64>,
    /// Whether the container's highest memory use rose during this step.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub memory_peak_rose: Option<bool>,
    /// Processes that the OOM killer killed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub oom_kills: Option<u64>,
    /// Bytes read from block devices.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub read_bytes: Option<u64>,
    /// Bytes written to block devices.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub written_bytes: Option<u64>,
}

wire_struct!(ProcessUsage { user_us, system_us, max_rss_bytes });
wire_struct!(CgroupDelta {
    cpu_ns,
    throttled_ns,
    memory_bytes,
    memory_peak_bytes,
    memory_peak_rose,
    oom_kills,
    read_bytes,
    written_bytes,
});
