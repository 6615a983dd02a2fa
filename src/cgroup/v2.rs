//! One cgroup of version 2: its files, kept open, and their formats.

pub(super) mod limits;

use std::path::Path;

use ephemon_model::{CpuUsage, Faults, IoUsage, MemoryEvents, MemoryUsage, Usage};

use super::format::{cpu_max, device, flat_keyed, flat_value, limit, pressure, single};
use super::kept::{Kept, ReadError};

/// The files of one cgroup, in the order of a final reading: values that cannot be reconstructed
/// later come first.
#[derive(Debug)]
pub struct Files {
    events: Kept,
    procs: Kept,
    cpu_stat: Kept,
    memory_peak: Kept,
    memory_events: Kept,
    io_stat: Kept,
    memory_stat: Kept,
    memory_current: Kept,
    swap_current: Kept,
    pids_current: Kept,
    pids_peak: Kept,
    cpu_pressure: Kept,
    memory_pressure: Kept,
    io_pressure: Kept,
}

// === impl Files ===

impl Files {
    /// Opens the files that exist.
    pub(super) fn open(directory: &Path) -> Self {
        let mut files = Self {
            events: Kept::new("cgroup.events"),
            procs: Kept::new("cgroup.procs"),
            cpu_stat: Kept::new("cpu.stat"),
            memory_peak: Kept::new("memory.peak"),
            memory_events: Kept::new("memory.events"),
            io_stat: Kept::new("io.stat"),
            memory_stat: Kept::new("memory.stat"),
            memory_current: Kept::new("memory.current"),
            swap_current: Kept::new("memory.swap.current"),
            pids_current: Kept::new("pids.current"),
            pids_peak: Kept::new("pids.peak"),
            cpu_pressure: Kept::new("cpu.pressure"),
            memory_pressure: Kept::new("memory.pressure"),
            io_pressure: Kept::new("io.pressure"),
        };
        for kept in files.all() {
            kept.open(directory);
        }
        files
    }

    /// Opens files that did not exist before: the runtime may enable controllers after it created
    /// the group.
    pub(super) fn reopen(&mut self, directory: &Path) {
        for kept in self.all() {
            kept.open(directory);
        }
    }

    fn all(&mut self) -> [&mut Kept; 14] {
        [
            &mut self.events,
            &mut self.procs,
            &mut self.cpu_stat,
            &mut self.memory_peak,
            &mut self.memory_events,
            &mut self.io_stat,
            &mut self.memory_stat,
            &mut self.memory_current,
            &mut self.swap_current,
            &mut self.pids_current,
            &mut self.pids_peak,
            &mut self.cpu_pressure,
            &mut self.memory_pressure,
            &mut self.io_pressure,
        ]
    }

    pub(super) fn is_open(&self) -> bool {
        self.cpu_stat.is_open()
    }

    /// Whether a process is in the group or a child group.
    pub(super) fn populated(&mut self, buffer: &mut Vec<u8>) -> Result<Option<bool>, ReadError> {
        let events = self.events.read(buffer)?;
        Ok(events.and_then(|text| flat_value(text, "populated")).map(|value| value != 0))
    }

    pub(super) fn procs<'a>(&mut self, buffer: &'a mut Vec<u8>) -> Result<&'a str, ReadError> {
        Ok(self.procs.read(buffer)?.unwrap_or_default())
    }

    /// Only the CPU time, with which the pod's accounting is balanced.
    pub(super) fn read_cpu(
        &mut self,
        usage: &mut Usage,
        buffer: &mut Vec<u8>,
    ) -> Result<bool, ReadError> {
        let Some(text) = self.cpu_stat.read(buffer)? else {
            return Ok(false);
        };
        cpu_stat(text, &mut usage.cpu);
        Ok(true)
    }

    /// Everything except the CPU time; `trouble` is called for each file that failed.
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
        read(&mut self.memory_peak, &mut |text| {
            memory.peak_bytes = single(text);
        });
        read(&mut self.memory_events, &mut |text| {
            memory.events = memory_events(text);
        });
        read(&mut self.io_stat, &mut |text| usage.io = io_stat(text));
        read(&mut self.memory_current, &mut |text| {
            memory.usage_bytes = single(text);
        });
        read(&mut self.memory_stat, &mut |text| memory_stat(text, memory));
        read(&mut self.swap_current, &mut |text| {
            memory.swap_bytes = single(text);
        });
        read(&mut self.pids_current, &mut |text| {
            usage.pids.current = single(text);
        });
        read(&mut self.pids_peak, &mut |text| {
            usage.pids.peak = single(text);
        });
        self.read_pressure(usage, buffer, trouble);
    }

    /// Time that tasks waited; `trouble` is called for each file that failed.
    pub(super) fn read_pressure(
        &mut self,
        usage: &mut Usage,
        buffer: &mut Vec<u8>,
        trouble: &mut impl FnMut(ReadError),
    ) {
        let waited = &mut usage.pressure;
        for (kept, into) in [
            (&mut self.cpu_pressure, &mut waited.cpu),
            (&mut self.memory_pressure, &mut waited.memory),
            (&mut self.io_pressure, &mut waited.io),
        ] {
            match kept.read(buffer) {
                Ok(Some(text)) => *into = pressure(text),
                Ok(None) => {}
                Err(error) => trouble(error),
            }
        }
    }

    /// Present memory and tasks; `trouble` is called for each file that failed.
    pub(super) fn read_gauges(
        &mut self,
        usage: &mut Usage,
        buffer: &mut Vec<u8>,
        trouble: &mut impl FnMut(ReadError),
    ) {
        for (kept, figure) in [
            (&mut self.memory_current, &mut usage.memory.usage_bytes),
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
    pub(super) fn read_limits(directory: &Path, usage: &mut Usage) {
        let text = |name: &str| std::fs::read_to_string(directory.join(name)).ok();
        // A group that is being removed keeps its last limits.
        let cpu = text("cpu.max").and_then(|text| cpu_max(&text));
        usage.cpu.limit_millis = cpu.or(usage.cpu.limit_millis);
        let memory = text("memory.max").and_then(|text| limit(&text));
        usage.memory.limit_bytes = memory.or(usage.memory.limit_bytes);
        let pids = text("pids.max").and_then(|text| limit(&text));
        usage.pids.limit = pids.or(usage.pids.limit);
        let hits = text("pids.events").and_then(|text| flat_value(&text, "max"));
        usage.pids.limit_hits = hits.or(usage.pids.limit_hits);
    }
}

/// `cpu.stat`. The throttling keys exist only with the cpu controller.
fn cpu_stat(text: &str, cpu: &mut CpuUsage) {
    const NS_PER_US: u64 = 1000;
    for (key, value) in flat_keyed(text) {
        let ns = || value.checked_mul(NS_PER_US);
        match key {
            "usage_usec" => cpu.usage_ns = ns(),
            "user_usec" => cpu.user_ns = ns(),
            "system_usec" => cpu.system_ns = ns(),
            "nr_periods" => cpu.periods = Some(value),
            "nr_throttled" => cpu.throttled_periods = Some(value),
            "throttled_usec" => cpu.throttled_ns = ns(),
            _ => {}
        }
    }
}

fn memory_events(text: &str) -> MemoryEvents {
    let mut events = MemoryEvents::default();
    for (key, value) in flat_keyed(text) {
        match key {
            "low" => events.low = Some(value),
            "high" => events.high = Some(value),
            "max" => events.max = Some(value),
            "oom" => events.oom = Some(value),
            "oom_kill" => events.oom_kill = Some(value),
            "oom_group_kill" => events.oom_group_kill = Some(value),
            _ => {}
        }
    }
    events
}

/// `memory.stat`; the working set as the kubelet computes it: usage minus inactive file pages.
fn memory_stat(text: &str, memory: &mut MemoryUsage) {
    let (mut faults, mut inactive_file) = (None, None);
    let mut major = None;
    for (key, value) in flat_keyed(text) {
        match key {
            "anon" => memory.rss_bytes = Some(value),
            "file" => memory.cache_bytes = Some(value),
            "inactive_file" => inactive_file = Some(value),
            "pgfault" => faults = Some(value),
            "pgmajfault" => major = Some(value),
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

/// `io.stat`, nested keyed: `MAJ:MIN rbytes=… wbytes=… rios=… wios=… dbytes=… dios=…`.
///
/// A device that was opened but never used has a line without values.
fn io_stat(text: &str) -> Vec<IoUsage> {
    let mut devices: Vec<IoUsage> = text
        .lines()
        .filter_map(|line| {
            let (number, fields) = line.split_once(' ')?;
            let (major, minor) = device(number)?;
            let mut io = IoUsage { major, minor, ..IoUsage::default() };
            for (key, value) in fields.split(' ').filter_map(|field| field.split_once('=')) {
                let value = value.parse().ok();
                match key {
                    "rbytes" => io.read_bytes = value,
                    "wbytes" => io.write_bytes = value,
                    "dbytes" => io.discard_bytes = value,
                    "rios" => io.read_ops = value,
                    "wios" => io.write_ops = value,
                    "dios" => io.discard_ops = value,
                    _ => {}
                }
            }
            (io != IoUsage { major, minor, ..IoUsage::default() }).then_some(io)
        })
        .collect();
    devices.sort_by_key(|io| (io.major, io.minor));
    devices.dedup_by_key(|io| (io.major, io.minor));
    devices
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn io_lines_are_read_by_key_and_bare_devices_left_out() {
        let text = "254:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n8:16\n8:0 \n\
                    7:1 rbytes=x wbytes=5\nnonsense\n";
        let devices = io_stat(text);
        assert_eq!(devices.len(), 2);
        assert_eq!((devices[0].major, devices[0].write_bytes), (7, Some(5)));
        assert_eq!(devices[0].read_bytes, None);
        assert_eq!((devices[1].major, devices[1].read_ops), (254, Some(1)));
    }

    #[test]
    fn working_set_is_usage_less_inactive_file() {
        let mut memory = MemoryUsage { usage_bytes: Some(100), ..MemoryUsage::default() };
        memory_stat("anon 40\nfile 50\ninactive_file 30\npgfault 9\npgmajfault 2\n", &mut memory);
        assert_eq!(memory.working_set_bytes, Some(70));
        assert_eq!(memory.faults, Faults { minor: Some(7), major: Some(2) });
        memory_stat("inactive_file 300\n", &mut memory);
        assert_eq!(memory.working_set_bytes, Some(0));
    }

    #[test]
    fn without_the_cpu_controller_there_is_no_throttling() {
        let mut cpu = CpuUsage::default();
        cpu_stat("usage_usec 12\nuser_usec 7\nsystem_usec 5\n", &mut cpu);
        assert_eq!((cpu.usage_ns, cpu.periods), (Some(12_000), None));
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in any::<String>()) {
            let mut usage = Usage::default();
            cpu_stat(&text, &mut usage.cpu);
            memory_stat(&text, &mut usage.memory);
            let _ = (memory_events(&text), io_stat(&text));
        }
    }
}
