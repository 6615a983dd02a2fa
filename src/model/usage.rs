//! The usage of a cgroup. Every value is optional: if a kernel file does not exist, its value is
//! `None`, never 0.

/// A kernel limit. `max` in cgroup v2, a value near 2^63 or −1 in v1, is [`Limit::Unlimited`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit<T> {
    /// No limit at this level.
    Unlimited,
    /// The limit.
    At(T),
}

/// One reading of a cgroup's counters and gauges. Counters start at the cgroup's creation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage {
    /// CPU time and throttling.
    pub cpu: CpuUsage,
    /// Memory.
    pub memory: MemoryUsage,
    /// Block I/O, one entry per device, ordered by device number.
    pub io: Vec<IoUsage>,
    /// Processes and threads.
    pub pids: PidsUsage,
    /// Pressure stall information (cgroup v2 with PSI).
    pub pressure: PressureUsage,
}

/// CPU counters. v2 `cpu.stat`; v1 `cpuacct.usage*`, `cpu.stat`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuUsage {
    /// CPU time in nanoseconds.
    pub usage_ns: Option<u64>,
    /// CPU time in user mode, nanoseconds.
    pub user_ns: Option<u64>,
    /// CPU time in the kernel, nanoseconds.
    pub system_ns: Option<u64>,
    /// Enforcement periods that elapsed under a CPU quota.
    pub periods: Option<u64>,
    /// Periods in which the quota was used up.
    pub throttled_periods: Option<u64>,
    /// Time spent throttled, nanoseconds.
    pub throttled_ns: Option<u64>,
    /// The quota in thousandths of a CPU. v2 `cpu.max`; v1 `cpu.cfs_quota_us`, `cpu.cfs_period_us`.
    pub limit_millis: Option<Limit<u64>>,
}

/// Memory values in bytes. v2 `memory.*`; v1 `memory.*_in_bytes`, `memory.stat` (`total_*`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryUsage {
    /// All memory charged.
    pub usage_bytes: Option<u64>,
    /// Usage without inactive file pages, which the kubelet uses for eviction.
    pub working_set_bytes: Option<u64>,
    /// Anonymous memory.
    pub rss_bytes: Option<u64>,
    /// Page cache.
    pub cache_bytes: Option<u64>,
    /// Swap in use.
    pub swap_bytes: Option<u64>,
    /// Highest usage since creation (v2 needs Linux ≥ 5.19).
    pub peak_bytes: Option<u64>,
    /// Usage over time since creation, byte · milliseconds: each reading counts until the next one.
    /// Not from a kernel file; computed from periodic readings.
    pub byte_ms: Option<u64>,
    /// The limit at this level.
    pub limit_bytes: Option<Limit<u64>>,
    /// Counts of memory events.
    pub events: MemoryEvents,
    /// Page faults.
    pub faults: Faults,
}

/// v2 `memory.events`; v1 `memory.failcnt` (as `max`) and `oom_kill` of `memory.oom_control`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryEvents {
    /// Reclaimed although usage was below the low boundary.
    pub low: Option<u64>,
    /// Throttled because usage exceeded the high boundary.
    pub high: Option<u64>,
    /// Usage was about to exceed the limit.
    pub max: Option<u64>,
    /// The limit was reached and an allocation was about to fail.
    pub oom: Option<u64>,
    /// Processes killed by the OOM killer.
    pub oom_kill: Option<u64>,
    /// Whole-group OOM kills.
    pub oom_group_kill: Option<u64>,
}

impl MemoryEvents {
    /// Each with the kernel's name for it.
    pub fn by_name(&self) -> [(&'static str, Option<u64>); 6] {
        [
            ("low", self.low),
            ("high", self.high),
            ("max", self.max),
            ("oom", self.oom),
            ("oom_kill", self.oom_kill),
            ("oom_group_kill", self.oom_group_kill),
        ]
    }
}

/// Page faults since creation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Faults without I/O (all faults minus the major ones).
    pub minor: Option<u64>,
    /// Faults that needed I/O.
    pub major: Option<u64>,
}

/// Block I/O on one device. v2 `io.stat`; v1 `blkio.throttle.io_*_recursive`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IoUsage {
    /// Device number, major part.
    pub major: u32,
    /// Device number, minor part.
    pub minor: u32,
    /// Bytes read.
    pub read_bytes: Option<u64>,
    /// Bytes written.
    pub write_bytes: Option<u64>,
    /// Bytes discarded.
    pub discard_bytes: Option<u64>,
    /// Read operations.
    pub read_ops: Option<u64>,
    /// Write operations.
    pub write_ops: Option<u64>,
    /// Discard operations.
    pub discard_ops: Option<u64>,
}

/// Tasks in the cgroup (threads count each). `pids.*` in both versions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PidsUsage {
    /// Tasks now.
    pub current: Option<u64>,
    /// Most tasks at once since creation (Linux ≥ 6.1).
    pub peak: Option<u64>,
    /// The limit at this level.
    pub limit: Option<Limit<u64>>,
    /// How often a new task was rejected because of the limit (`max` of `pids.events`).
    pub limit_hits: Option<u64>,
}

/// PSI totals of one resource, microseconds since creation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pressure {
    /// `some`: at least one task waited.
    pub waiting_us: Option<u64>,
    /// `full`: all tasks waited.
    pub stalled_us: Option<u64>,
}

/// PSI of the three resources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PressureUsage {
    /// `cpu.pressure`.
    pub cpu: Pressure,
    /// `memory.pressure`.
    pub memory: Pressure,
    /// `io.pressure`.
    pub io: Pressure,
}

impl PressureUsage {
    /// Each with the kernel's name of the resource.
    pub fn by_name(&self) -> [(&'static str, Pressure); 3] {
        [("cpu", self.cpu), ("memory", self.memory), ("io", self.io)]
    }
}

/// One interface of a pod's network namespace, from `/proc/PID/net/dev`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetUsage {
    /// The interface's name.
    pub interface: String,
    /// Bytes received.
    pub receive_bytes: u64,
    /// Packets received.
    pub receive_packets: u64,
    /// Receive errors.
    pub receive_errors: u64,
    /// Received packets dropped.
    pub receive_dropped: u64,
    /// Bytes sent.
    pub transmit_bytes: u64,
    /// Packets sent.
    pub transmit_packets: u64,
    /// Transmit errors.
    pub transmit_errors: u64,
    /// Outgoing packets dropped.
    pub transmit_dropped: u64,
}
