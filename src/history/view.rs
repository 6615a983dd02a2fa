//! What is shown of a series: rates and levels per slot. Plain values.

use ephemon_model::{ContainerId, Limit};

use super::track::Stretch;

/// One container's series at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesView {
    /// The container.
    pub id: ContainerId,
    /// CPU quota in thousandths of a CPU, as last read; `None` if it was not read.
    pub cpu_limit_millis: Option<Limit<u64>>,
    /// Memory limit in bytes, as last read.
    pub memory_limit_bytes: Option<Limit<u64>>,
    /// Highest memory use in bytes, as last read.
    pub memory_peak_bytes: Option<u64>,
    /// CPU and memory, oldest first.
    pub usage: Vec<UsagePoint>,
    /// Throttling, I/O and pressure, oldest first.
    pub activity: Vec<ActivityPoint>,
    /// When the kernel's count of out-of-memory kills was seen to rise, milliseconds since 1970; at
    /// most the first sixteen.
    pub oom_kills_ms: Vec<u64>,
    /// Whether the container has ended.
    pub ended: bool,
}

/// CPU and memory between two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsagePoint {
    /// The beginning, milliseconds since 1970.
    pub from_ms: u64,
    /// The end.
    pub to_ms: u64,
    /// CPU use in thousandths of a CPU.
    pub cpu_millicores: Option<u64>,
    /// Highest memory without inactive file pages, KiB.
    pub memory_kib: Option<u64>,
}

/// What only complete readings have, between two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActivityPoint {
    /// The beginning, milliseconds since 1970.
    pub from_ms: u64,
    /// The end.
    pub to_ms: u64,
    /// Time throttled by the CPU quota, thousandths of the time; more than 1000 with several tasks.
    pub throttled_permille: Option<u64>,
    /// Read from block devices, KiB per second.
    pub read_kib_s: Option<u64>,
    /// Written to block devices, KiB per second.
    pub write_kib_s: Option<u64>,
    /// Time in which at least one task waited for a CPU (PSI `some`), thousandths of the time.
    pub cpu_waiting_permille: Option<u64>,
    /// The same for memory.
    pub memory_waiting_permille: Option<u64>,
    /// The same for I/O.
    pub io_waiting_permille: Option<u64>,
}

// === impl UsagePoint ===

impl UsagePoint {
    /// Of CPU time in microseconds and memory in KiB.
    pub(crate) fn new(stretch: Stretch<2>) -> Self {
        let Stretch { from_ms, to_ms, values: [cpu_us, memory_kib] } = stretch;
        // Microseconds per millisecond are thousandths of a CPU.
        let cpu_millicores = rate(cpu_us, from_ms, to_ms, 1);
        Self { from_ms, to_ms, cpu_millicores, memory_kib }
    }
}

// === impl ActivityPoint ===

impl ActivityPoint {
    /// Of microseconds throttled, KiB read and written, and microseconds of pressure.
    pub(crate) fn new(stretch: Stretch<6>) -> Self {
        let Stretch { from_ms, to_ms, values } = stretch;
        let [throttled, read, written, cpu, memory, io] = values;
        let permille = |us| rate(us, from_ms, to_ms, 1);
        let per_second = |kib| rate(kib, from_ms, to_ms, 1000);
        Self {
            from_ms,
            to_ms,
            throttled_permille: permille(throttled),
            read_kib_s: per_second(read),
            write_kib_s: per_second(written),
            cpu_waiting_permille: permille(cpu),
            memory_waiting_permille: permille(memory),
            io_waiting_permille: permille(io),
        }
    }
}

/// An amount over a time in milliseconds, times `factor`; nothing over no time.
fn rate(amount: Option<u64>, from_ms: u64, to_ms: u64, factor: u64) -> Option<u64> {
    let amount = amount?.saturating_mul(factor);
    amount.checked_div(to_ms.saturating_sub(from_ms))
}
