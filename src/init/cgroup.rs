//! The container's own cgroup at its mount of `/sys/fs/cgroup`: with a cgroup namespace, or with
//! the bind mounts of version 1, the top of the mount is the container itself. Controllers that are
//! not mounted have no values.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use ephemon_contract::CgroupDelta;

/// Longest kernel file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// The operations of the device statistics that are reported.
const READ: [&str; 2] = ["Read", "rbytes="];
const WRITE: [&str; 2] = ["Write", "wbytes="];

/// The mount.
#[derive(Debug, Clone)]
pub(super) struct Cgroup(PathBuf);

/// Values at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reading {
    cpu_ns: Option<u64>,
    throttled_ns: Option<u64>,
    memory_bytes: Option<u64>,
    memory_peak_bytes: Option<u64>,
    oom_kills: Option<u64>,
    read_bytes: Option<u64>,
    written_bytes: Option<u64>,
}

// === impl Cgroup ===

impl Cgroup {
    /// `mount` is usually `/sys/fs/cgroup`.
    pub(super) fn new(mount: impl Into<PathBuf>) -> Self {
        Self(mount.into())
    }

    /// Reads the values that exist.
    pub(super) fn read(&self) -> Reading {
        let v2 = self.v2();
        if v2.cpu_ns.is_some() { v2 } else { self.v1() }
    }

    fn v2(&self) -> Reading {
        let cpu = text(&self.0.join("cpu.stat")).unwrap_or_default();
        let events = text(&self.0.join("memory.events")).unwrap_or_default();
        let io = text(&self.0.join("io.stat"));
        let micros = |key| keyed(&cpu, key).and_then(|us: u64| us.checked_mul(1000));
        let total = |key: &str| {
            let figures = io.as_deref()?.split_whitespace();
            Some(figures.filter_map(|f| f.strip_prefix(key)?.parse::<u64>().ok()).sum())
        };
        Reading {
            cpu_ns: micros("usage_usec"),
            throttled_ns: micros("throttled_usec"),
            memory_bytes: number(&self.0.join("memory.current")),
            memory_peak_bytes: number(&self.0.join("memory.peak")),
            oom_kills: keyed(&events, "oom_kill"),
            read_bytes: total(READ[1]),
            written_bytes: total(WRITE[1]),
        }
    }

    fn v1(&self) -> Reading {
        let cpu = text(&self.0.join("cpu/cpu.stat")).unwrap_or_default();
        let oom = text(&self.0.join("memory/memory.oom_control")).unwrap_or_default();
        let io = text(&self.0.join("blkio/blkio.throttle.io_service_bytes_recursive"))
            .or_else(|| text(&self.0.join("blkio/blkio.throttle.io_service_bytes")));
        let total = |operation: &str| {
            let lines = io.as_deref()?.lines();
            let figures = lines.filter_map(|line| {
                let mut fields = line.split_whitespace().skip(1);
                (fields.next()? == operation).then(|| fields.next()?.parse::<u64>().ok())?
            });
            Some(figures.sum())
        };
        Reading {
            cpu_ns: number(&self.0.join("cpuacct/cpuacct.usage")),
            throttled_ns: keyed(&cpu, "throttled_time"),
            memory_bytes: number(&self.0.join("memory/memory.usage_in_bytes")),
            memory_peak_bytes: number(&self.0.join("memory/memory.max_usage_in_bytes")),
            oom_kills: keyed(&oom, "oom_kill"),
            read_bytes: total(READ[0]),
            written_bytes: total(WRITE[0]),
        }
    }
}

// === impl Reading ===

impl Reading {
    /// What was counted since `before`.
    pub(super) fn since(&self, before: &Self) -> CgroupDelta {
        let counted = |now: Option<u64>, then: Option<u64>| now?.checked_sub(then?);
        CgroupDelta {
            cpu_ns: counted(self.cpu_ns, before.cpu_ns),
            throttled_ns: counted(self.throttled_ns, before.throttled_ns),
            memory_bytes: self.memory_bytes,
            memory_peak_bytes: self.memory_peak_bytes,
            memory_peak_rose: self
                .memory_peak_bytes
                .zip(before.memory_peak_bytes)
                .map(|(now, then)| now > then),
            oom_kills: counted(self.oom_kills, before.oom_kills),
            read_bytes: counted(self.read_bytes, before.read_bytes),
            written_bytes: counted(self.written_bytes, before.written_bytes),
        }
    }
}

fn text(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(MAX_FILE_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

fn number(path: &Path) -> Option<u64> {
    text(path)?.trim_end().parse().ok()
}

fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Cgroup) {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, content) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, content).expect("a file");
        }
        let cgroup = Cgroup::new(directory.path());
        (directory, cgroup)
    }

    #[test]
    fn version_2_is_read() {
        let (directory, cgroup) = tree(&[
            ("cpu.stat", "usage_usec 100\nuser_usec 60\nthrottled_usec 7\n"),
            ("memory.current", "4096\n"),
            ("memory.peak", "8192\n"),
            ("memory.events", "low 0\noom 1\noom_kill 1\n"),
            ("io.stat", "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=5 wbytes=0\n"),
        ]);
        let before = cgroup.read();
        fs::write(directory.path().join("cpu.stat"), "usage_usec 350\nthrottled_usec 7\n")
            .expect("a file");
        fs::write(directory.path().join("memory.peak"), "9000\n").expect("a file");
        fs::write(directory.path().join("io.stat"), "8:0 rbytes=110 wbytes=20\n").expect("a file");
        assert_eq!(
            cgroup.read().since(&before),
            CgroupDelta {
                cpu_ns: Some(250_000),
                throttled_ns: Some(0),
                memory_bytes: Some(4096),
                memory_peak_bytes: Some(9000),
                memory_peak_rose: Some(true),
                oom_kills: Some(0),
                read_bytes: Some(95),
                written_bytes: Some(0),
            }
        );
    }

    #[test]
    fn version_1_is_read() {
        let (directory, cgroup) = tree(&[
            ("cpuacct/cpuacct.usage", "1000\n"),
            ("cpu/cpu.stat", "nr_periods 0\nthrottled_time 5\n"),
            ("memory/memory.usage_in_bytes", "1\n"),
            ("memory/memory.max_usage_in_bytes", "2\n"),
            ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
            ("blkio/blkio.throttle.io_service_bytes", "8:0 Read 7\n8:0 Write 9\nTotal 16\n"),
        ]);
        let before = cgroup.read();
        fs::write(directory.path().join("cpuacct/cpuacct.usage"), "1500\n").expect("a file");
        let delta = cgroup.read().since(&before);
        assert_eq!(delta.cpu_ns, Some(500));
        assert_eq!(delta.memory_peak_rose, Some(false));
        assert_eq!(delta.read_bytes, Some(0));
        assert_eq!(delta.oom_kills, Some(0));
    }

    #[test]
    fn what_is_not_mounted_is_absent() {
        let (_directory, cgroup) = tree(&[]);
        assert_eq!(cgroup.read().since(&cgroup.read()), CgroupDelta::default());
    }
}
