//! One cgroup of version 1: a directory in each controller's tree, with its files kept open.

pub(super) mod limits;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ephemon_model::{CpuUsage, Faults, IoUsage, MemoryUsage, Usage};

use super::format::{cfs_quota, device, flat_keyed, flat_value, limit, single, v1_limit};
use super::hierarchy::Controller;
use super::kept::{Kept, ReadError};

/// `USER_HZ`, the tick of `cpuacct.stat`: 10 ms on every Linux ABI.
const NS_PER_TICK: u64 = 10_000_000;

/// The files of one cgroup, in the order of a final reading.
#[derive(Debug)]
pub struct Files {
    procs: PathBuf,
    cpu_usage: Kept,
    cpu_usage_user: Kept,
    cpu_usage_sys: Kept,
    cpuacct_stat: Kept,
    cpu_stat: Kept,
    max_usage: Kept,
    failcnt: Kept,
    oom_control: Kept,
    io_bytes: Kept,
    io_ops: Kept,
    memory_usage: Kept,
    memory_stat: Kept,
    pids_current: Kept,
    pids_peak: Kept,
}

/// One cgroup's directory in each controller's tree.
pub(super) type Directories = BTreeMap<Controller, PathBuf>;

// === impl Files ===

impl Files {
    /// Opens the files that exist.
    pub(super) fn open(directories: &Directories) -> Self {
        let mut files = Self {
            procs: procs(directories),
            cpu_usage: Kept::new("cpuacct.usage"),
            cpu_usage_user: Kept::new("cpuacct.usage_user"),
            cpu_usage_sys: Kept::new("cpuacct.usage_sys"),
            cpuacct_stat: Kept::new("cpuacct.stat"),
            cpu_stat: Kept::new("cpu.stat"),
            max_usage: Kept::new("memory.max_usage_in_bytes"),
            failcnt: Kept::new("memory.failcnt"),
            oom_control: Kept::new("memory.oom_control"),
            io_bytes: Kept::new("blkio.throttle.io_service_bytes_recursive"),
            io_ops: Kept::new("blkio.throttle.io_serviced_recursive"),
            memory_usage: Kept::new("memory.usage_in_bytes"),
            memory_stat: Kept::new("memory.stat"),
            pids_current: Kept::new("pids.current"),
            pids_peak: Kept::new("pids.peak"),
        };
        files.reopen(directories);
        files
    }

    /// Opens files that did not exist before: the runtime creates one controller's directory after
    /// another.
    pub(super) fn reopen(&mut self, directories: &Directories) {
        for (controller, directory) in directories {
            let files: &mut [&mut Kept] = match controller {
                Controller::Cpuacct => &mut [
                    &mut self.cpu_usage,
                    &mut self.cpu_usage_user,
                    &mut self.cpu_usage_sys,
                    &mut self.cpuacct_stat,
                ],
                Controller::Cpu => &mut [&mut self.cpu_stat],
                Controller::Memory => &mut [
                    &mut self.max_usage,
                    &mut self.failcnt,
                    &mut self.oom_control,
                    &mut self.memory_usage,
                    &mut self.memory_stat,
                ],
                Controller::Blkio => &mut [&mut self.io_bytes, &mut self.io_ops],
                Controller::Pids => &mut [&mut self.pids_current, &mut self.pids_peak],
            };
            for kept in files {
                kept.open(directory);
            }
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.cpu_usage.is_open() || self.memory_usage.is_open()
    }

    /// Whether a process is in the group. Version 1 has no `populated`, so the list is read.
    pub(super) fn populated(&self, buffer: &mut Vec<u8>) -> Result<Option<bool>, ReadError> {
        Ok(Some(!self.procs(buffer)?.is_empty()))
    }

    /// The list of processes, opened for each read: on an open descriptor version 1 returns the
    /// list of an earlier read until it was unused for a second (`cgroup_pidlist_start` in
    /// kernel/cgroup/cgroup-v1.c).
    pub(super) fn procs<'a>(&self, buffer: &'a mut Vec<u8>) -> Result<&'a str, ReadError> {
        Ok(Kept::opened(&self.procs)?.read(buffer)?.unwrap_or_default())
    }

    /// Only the CPU time.
    pub(super) fn read_cpu(
        &mut self,
        usage: &mut Usage,
        buffer: &mut Vec<u8>,
    ) -> Result<bool, ReadError> {
        let Some(text) = self.cpu_usage.read(buffer)? else {
            return Ok(false);
        };
        usage.cpu.usage_ns = single(text);
        Ok(true)
    }

    /// Everything except the CPU total; `trouble` is called for each file that failed.
    pub(super) fn read_rest(
        &mut self,
        usage: &mut Usage,
        buffer: &mut Vec<u8>,
        trouble: &mut impl FnMut(ReadError),
    ) {
        let memory = &mut usage.memory;
        let mut read = |kept: &mut Kept, take: &mut dyn FnMut(&str)| match kept.read(buffer) {
            Ok(Some(text)) => take(text),
            Ok(None) => {}
            Err(error) => trouble(error),
        };
        if self.cpu_usage_user.is_open() {
            read(&mut self.cpu_usage_user, &mut |text| {
                usage.cpu.user_ns = single(text);
            });
            read(&mut self.cpu_usage_sys, &mut |text| {
                usage.cpu.system_ns = single(text);
            });
        } else {
            read(&mut self.cpuacct_stat, &mut |text| {
                cpuacct_stat(text, &mut usage.cpu);
            });
        }
        read(&mut self.max_usage, &mut |text| {
            memory.peak_bytes = single(text);
        });
        read(&mut self.oom_control, &mut |text| {
            memory.events.oom_kill = flat_value(text, "oom_kill");
        });
        read(&mut self.failcnt, &mut |text| {
            memory.events.max = single(text);
        });
        read(&mut self.io_bytes, &mut |text| {
            io_bytes(text, &mut usage.io);
        });
        read(&mut self.io_ops, &mut |text| io_ops(text, &mut usage.io));
        read(&mut self.memory_usage, &mut |text| {
            memory.usage_bytes = single(text);
        });
        read(&mut self.memory_stat, &mut |text| memory_stat(text, memory));
        read(&mut self.pids_current, &mut |text| {
            usage.pids.current = single(text);
        });
        read(&mut self.pids_peak, &mut |text| {
            usage.pids.peak = single(text);
        });
        read(&mut self.cpu_stat, &mut |text| {
            cpu_stat(text, &mut usage.cpu);
        });
    }

    /// Present memory and tasks; `trouble` is called for each file that failed.
    pub(super) fn read_gauges(
        &mut self,
        usage: &mut Usage,
        buffer: &mut Vec<u8>,
        trouble: &mut impl FnMut(ReadError),
    ) {
        for (kept, figure) in [
            (&mut self.memory_usage, &mut usage.memory.usage_bytes),
            (&mut self.pids_current, &mut usage.pids.current),
        ] {
            match kept.read(buffer) {
                Ok(Some(text)) => *figure = single(text),
                Ok(None) => {}
                Err(error) => trouble(error),
            }
        }
    }

    /// The limits, which change rarely, and the events of `pids.max`: opened, read and closed.
    pub(super) fn read_limits(directories: &Directories, usage: &mut Usage) {
        let text = |controller: Controller, name: &str| {
            std::fs::read_to_string(directories.get(&controller)?.join(name)).ok()
        };
        // A group that is being removed keeps its last limits.
        let cpu = text(Controller::Cpu, "cpu.cfs_quota_us")
            .zip(text(Controller::Cpu, "cpu.cfs_period_us"))
            .and_then(|(quota, period)| cfs_quota(&quota, &period));
        usage.cpu.limit_millis = cpu.or(usage.cpu.limit_millis);
        let memory =
            text(Controller::Memory, "memory.limit_in_bytes").and_then(|text| v1_limit(&text));
        usage.memory.limit_bytes = memory.or(usage.memory.limit_bytes);
        let pids = text(Controller::Pids, "pids.max").and_then(|text| limit(&text));
        usage.pids.limit = pids.or(usage.pids.limit);
        let hits = text(Controller::Pids, "pids.events").and_then(|text| flat_value(&text, "max"));
        usage.pids.limit_hits = hits.or(usage.pids.limit_hits);
    }
}

/// `cpuacct.stat`, in ticks: for kernels without `cpuacct.usage_user`.
fn cpuacct_stat(text: &str, cpu: &mut CpuUsage) {
    let ns = |key| flat_value(text, key).and_then(|ticks: u64| ticks.checked_mul(NS_PER_TICK));
    cpu.user_ns = ns("user");
    cpu.system_ns = ns("system");
}

/// `cpu.stat`: throttling, in nanoseconds.
fn cpu_stat(text: &str, cpu: &mut CpuUsage) {
    for (key, value) in flat_keyed(text) {
        match key {
            "nr_periods" => cpu.periods = Some(value),
            "nr_throttled" => cpu.throttled_periods = Some(value),
            "throttled_time" => cpu.throttled_ns = Some(value),
            _ => {}
        }
    }
}

/// `memory.stat`: the `total_*` keys include child groups.
fn memory_stat(text: &str, memory: &mut MemoryUsage) {
    let (mut faults, mut inactive_file) = (None, None);
    let mut major = None;
    for (key, value) in flat_keyed(text) {
        match key {
            "total_rss" => memory.rss_bytes = Some(value),
            "total_cache" => memory.cache_bytes = Some(value),
            "total_swap" => memory.swap_bytes = Some(value),
            "total_inactive_file" => inactive_file = Some(value),
            "total_pgfault" => faults = Some(value),
            "total_pgmajfault" => major = Some(value),
            _ => {}
        }
    }
    memory.faults = Faults {
        minor: faults.zip(major).map(|(all, major): (u64, u64)| all.saturating_sub(major)),
        major,
    };
    memory.working_set_bytes =
        memory.usage_bytes.zip(inactive_file).map(|(usage, file)| usage.saturating_sub(file));
}

/// `blkio.throttle.io_service_bytes_recursive`: `MAJ:MIN Read 4096`, one line per operation.
fn io_bytes(text: &str, io: &mut Vec<IoUsage>) {
    each_operation(text, io, |io, operation, value| match operation {
        "Read" => io.read_bytes = Some(value),
        "Write" => io.write_bytes = Some(value),
        "Discard" => io.discard_bytes = Some(value),
        _ => {}
    });
}

/// `blkio.throttle.io_serviced_recursive`.
fn io_ops(text: &str, io: &mut Vec<IoUsage>) {
    each_operation(text, io, |io, operation, value| match operation {
        "Read" => io.read_ops = Some(value),
        "Write" => io.write_ops = Some(value),
        "Discard" => io.discard_ops = Some(value),
        _ => {}
    });
}

fn each_operation(text: &str, io: &mut Vec<IoUsage>, set: impl Fn(&mut IoUsage, &str, u64)) {
    for line in text.lines() {
        let mut fields = line.split(' ');
        let (Some(number), Some(operation), Some(value)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (Some((major, minor)), Ok(value)) = (device(number), value.parse()) else {
            continue;
        };
        let at = match io.binary_search_by_key(&(major, minor), |io| (io.major, io.minor)) {
            Ok(at) => at,
            Err(at) => {
                io.insert(at, IoUsage { major, minor, ..IoUsage::default() });
                at
            }
        };
        if let Some(io) = io.get_mut(at) {
            set(io, operation, value);
        }
    }
}

/// The list of processes in the tree that is watched.
fn procs(directories: &Directories) -> PathBuf {
    let watched =
        directories.get(&Controller::Cpuacct).or_else(|| directories.get(&Controller::Memory));
    watched.map(|directory| directory.join("cgroup.procs")).unwrap_or_default()
}

/// One cgroup's directory in each tree.
pub(super) fn directories(mounts: &BTreeMap<Controller, PathBuf>, relative: &Path) -> Directories {
    mounts.iter().map(|(controller, mount)| (*controller, mount.join(relative))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn operations_of_one_device_come_together() {
        let bytes = "254:0 Read 4096\n254:0 Write 8192\n254:0 Sync 0\n254:0 Total 12288\n\
                     8:0 Discard 7\nTotal 12288\n";
        let mut io = Vec::new();
        io_bytes(bytes, &mut io);
        io_ops("254:0 Read 1\n", &mut io);
        assert_eq!(io.len(), 2);
        assert_eq!((io[0].major, io[0].discard_bytes), (8, Some(7)));
        assert_eq!((io[1].read_bytes, io[1].write_bytes), (Some(4096), Some(8192)));
        assert_eq!((io[1].read_ops, io[1].write_ops), (Some(1), None));
    }

    #[test]
    fn totals_are_read_and_not_this_level_alone() {
        let mut memory = MemoryUsage { usage_bytes: Some(90), ..MemoryUsage::default() };
        memory_stat("rss 1\ntotal_rss 50\ntotal_cache 40\ntotal_inactive_file 10\n", &mut memory);
        assert_eq!((memory.rss_bytes, memory.working_set_bytes), (Some(50), Some(80)));
    }

    #[test]
    fn ticks_become_nanoseconds() {
        let mut cpu = CpuUsage::default();
        cpuacct_stat("user 3\nsystem 1\n", &mut cpu);
        assert_eq!((cpu.user_ns, cpu.system_ns), (Some(30_000_000), Some(10_000_000)));
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in any::<String>()) {
            let mut usage = Usage::default();
            cpuacct_stat(&text, &mut usage.cpu);
            cpu_stat(&text, &mut usage.cpu);
            memory_stat(&text, &mut usage.memory);
            io_bytes(&text, &mut usage.io);
            io_ops(&text, &mut usage.io);
        }
    }
}
