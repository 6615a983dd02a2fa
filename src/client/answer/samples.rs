//! What a job's containers used over time.

use serde::{Deserialize, Serialize};

use super::at_most;

/// Samples of a job's containers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Samples {
    /// The agent's clock.
    pub now_unix_ms: u64,
    /// At most the last 32.
    #[serde(deserialize_with = "at_most::<{ super::MAX_SERIES }, _, _>")]
    pub containers: Vec<ContainerSamples>,
    /// The value of `since` for the next request.
    pub next_since_unix_ms: u64,
    /// Containers for which there was no room.
    pub left_out: u64,
    /// Readings that were not kept.
    pub readings_left_out: u64,
}

/// The samples of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerSamples {
    /// Its name in the pod.
    pub name: String,
    /// The runtime's id.
    pub id: String,
    /// Whether both limits were read.
    pub limits_known: bool,
    /// Its CPU quota.
    pub cpu_limit_millicores: Option<u64>,
    /// Its memory limit.
    pub memory_limit_bytes: Option<u64>,
    /// Highest memory use so far.
    pub memory_peak_bytes: Option<u64>,
    /// When the count of out-of-memory kills was seen to rise.
    pub oom_kills_unix_ms: Vec<u64>,
    /// Whether it has ended.
    pub ended: bool,
    /// What all `from` and `to` are relative to.
    pub base_unix_ms: u64,
    /// CPU and memory.
    pub usage: UsageColumns,
    /// What is read less often.
    pub activity: Activity,
}

/// CPU and memory. Columns of an agent have one length.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UsageColumns {
    /// Beginnings, milliseconds after `base_unix_ms`.
    pub from: Vec<u64>,
    /// Ends.
    pub to: Vec<u64>,
    /// CPU use in thousandths of a CPU.
    pub cpu_millicores: Vec<Option<u64>>,
    /// Highest memory without inactive file pages.
    pub memory_kibibytes: Vec<Option<u64>>,
}

/// Throttling, I/O and pressure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Activity {
    /// Beginnings, milliseconds after `base_unix_ms`.
    pub from: Vec<u64>,
    /// Ends.
    pub to: Vec<u64>,
    /// Time throttled by the CPU quota, thousandths of the time.
    pub throttled_permille: Vec<Option<u64>>,
    /// Read from block devices.
    pub read_kibibytes_per_second: Vec<Option<u64>>,
    /// Written to block devices.
    pub write_kibibytes_per_second: Vec<Option<u64>>,
    /// Time in which a task waited for a CPU, thousandths of the time.
    pub cpu_waiting_permille: Vec<Option<u64>>,
    /// The same for memory.
    pub memory_waiting_permille: Vec<Option<u64>>,
    /// The same for I/O.
    pub io_waiting_permille: Vec<Option<u64>>,
}

// === impl Samples ===

impl Samples {
    /// Those of a container, by its id where that is known, else by its name.
    pub fn of(&self, id: Option<&str>, name: &str) -> Option<&ContainerSamples> {
        let mut all = self.containers.iter();
        match id {
            Some(id) => all.find(|one| one.id == id),
            None => all.find(|one| one.name == name),
        }
    }
}

// === impl ContainerSamples ===

impl ContainerSamples {
    /// CPU use: beginning and end, milliseconds since 1970, and thousandths of a CPU.
    pub fn cpu(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        let UsageColumns { from, to, cpu_millicores, .. } = &self.usage;
        self.points(from, to, cpu_millicores)
    }

    /// Memory: beginning and end, milliseconds since 1970, and KiB.
    pub fn memory(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        let UsageColumns { from, to, memory_kibibytes, .. } = &self.usage;
        self.points(from, to, memory_kibibytes)
    }

    /// A column of `activity` with its beginnings and ends, milliseconds since 1970; what was not read
    /// is left out.
    pub fn activity_of<'a>(
        &'a self,
        column: &'a [Option<u64>],
    ) -> impl Iterator<Item = (u64, u64, u64)> + 'a {
        self.points(&self.activity.from, &self.activity.to, column)
    }

    fn points<'a>(
        &'a self,
        from: &'a [u64],
        to: &'a [u64],
        values: &'a [Option<u64>],
    ) -> impl Iterator<Item = (u64, u64, u64)> + 'a {
        let at = |offset: &u64| self.base_unix_ms.saturating_add(*offset);
        let times = from.iter().map(at).zip(to.iter().map(at));
        times.zip(values).filter_map(|((from, to), value)| Some((from, to, (*value)?)))
    }
}
