//! One container's open files while its cgroup exists, and the values read from them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use ephemon_cgroup::{Files, Hierarchy};
use ephemon_model::{ContainerId, Ended, PodUid, Usage};

use super::exit_watch::ExitWatch;
use super::life::Life;
use super::readings::Record;

/// How often limits are read, which change rarely; they are also read at the end.
const LIMITS_INTERVAL: Duration = Duration::from_secs(10);
/// The same for a new container, whose limits are set shortly after its start.
const YOUNG_LIMITS_INTERVAL: Duration = Duration::from_secs(1);

/// A container that has run for this long is read completely at [`WHOLE_INTERVAL`], and in between
/// only what changes every second, because the kernel keeps counters and peaks.
const STEADY_AFTER: Duration = Duration::from_secs(30);
/// How often such a container is read completely: five seconds, minus what the common grid of
/// wakeups subtracts.
const WHOLE_INTERVAL: Duration = Duration::from_millis(4500);
/// The same for one that has used no CPU time since it was last read completely: what a process does
/// takes CPU time, so that its counters and peaks are the same. What is done to it without (reclaim,
/// writeback, another limit) is read this often; only how long it waited keeps [`WHOLE_INTERVAL`].
const IDLE_WHOLE_INTERVAL: Duration = Duration::from_millis(29_500);

/// The runtime creates one controller's directory after another, so missing files are tried again
/// for this long.
const OPENING_TIMEOUT: Duration = Duration::from_secs(2);

/// A container's cgroup and the values read from it.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: ContainerId,
    pub(crate) pod: PodUid,
    pub(crate) path: PathBuf,
    pub(crate) life: Life,
    pub(crate) usage: Usage,
    pub(crate) exit_watch: Option<ExitWatch>,
    read_at: SystemTime,
    files: Option<Files>,
    limits_at: Option<Instant>,
    whole_at: Option<Instant>,
    /// When it was last read how long tasks waited.
    pressure_at: Option<Instant>,
    /// CPU time at the last complete reading.
    whole_cpu_ns: Option<u64>,
    complete: bool,
    held: Option<Held>,
}

/// Memory over time: each reading holds until the next one.
#[derive(Debug, Clone, Copy)]
struct Held {
    since: SystemTime,
    bytes: u64,
}

/// The result of reading a container's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// They were read, except for this number of files.
    Read(u32),
    /// The cgroup was removed.
    Gone,
}

// === impl Container ===

impl Container {
    /// A container whose cgroup was just seen; no file is open yet.
    pub(crate) fn new(id: ContainerId, pod: PodUid, path: PathBuf, life: Life) -> Self {
        Self {
            id,
            pod,
            path,
            read_at: life.created(),
            life,
            usage: Usage::default(),
            exit_watch: None,
            files: None,
            limits_at: None,
            whole_at: None,
            pressure_at: None,
            whole_cpu_ns: None,
            complete: false,
            held: None,
        }
    }

    /// Opens the files.
    pub(crate) fn open(&mut self, hierarchy: &Hierarchy) {
        if self.files.is_none() {
            self.files = Some(Files::open(hierarchy, &self.path));
        }
    }

    /// Whether its cgroup could be opened, which is not possible if it was removed before.
    pub(crate) fn is_open(&self) -> bool {
        self.files.as_ref().is_some_and(Files::is_open)
    }

    /// Closes the files.
    pub(crate) fn close(&mut self) {
        self.files = None;
        self.exit_watch = None;
    }

    /// Whether the kernel reports a process in it; `None` if it does not say.
    pub(crate) fn populated(&mut self, buffer: &mut Vec<u8>) -> Option<bool> {
        // Its removal will be reported; nothing can be read until then.
        self.files.as_mut()?.populated(buffer).unwrap_or(None)
    }

    /// Its processes.
    pub(crate) fn pids(&mut self, buffer: &mut Vec<u8>) -> Vec<u32> {
        self.files.as_mut().map(|files| files.pids(buffer)).unwrap_or_default()
    }

    /// A periodic reading: complete, or only what changes every second.
    pub(crate) fn sample(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Reading {
        let age = now.duration_since(self.life.created_at());
        let cpu_ns = self.usage.cpu.usage_ns;
        let has_run = cpu_ns.is_none() || cpu_ns != self.whole_cpu_ns;
        let interval = if has_run { WHOLE_INTERVAL } else { IDLE_WHOLE_INTERVAL };
        let is_fresh =
            |at: Option<Instant>, interval| at.is_some_and(|at| now.duration_since(at) < interval);
        let reading = if age < STEADY_AFTER || !is_fresh(self.whole_at, interval) {
            self.read(now, buffer)
        } else if is_fresh(self.pressure_at, WHOLE_INTERVAL) {
            self.read_moving(buffer)
        } else {
            self.read_waiting(now, buffer)
        };
        self.add_up_memory();
        reading
    }

    /// What changes every second, and how long tasks waited.
    fn read_waiting(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Reading {
        let reading = self.read_moving(buffer);
        let (Some(files), Reading::Read(unreadable)) = (&mut self.files, reading) else {
            return reading;
        };
        self.pressure_at = Some(now);
        let more = files.read_pressure(&mut self.usage, buffer);
        Reading::Read(unreadable.saturating_add(more))
    }

    fn read_moving(&mut self, buffer: &mut Vec<u8>) -> Reading {
        let Some(files) = &mut self.files else {
            return Reading::Gone;
        };
        let Ok(unreadable) = files.read_moving(&mut self.usage, buffer) else {
            return Reading::Gone;
        };
        (self.read_at, self.complete) = (SystemTime::now(), false);
        Reading::Read(unreadable)
    }

    /// Whether all values were read at the last reading, and not only what changes every second.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Adds memory over time up to the last reading.
    fn add_up_memory(&mut self) {
        let memory = &mut self.usage.memory;
        let Some(bytes) = memory.usage_bytes else { return };
        // Before the first reading it held at most that; half of it is the best estimate.
        let before = self.held.unwrap_or(Held { since: self.life.created(), bytes: bytes / 2 });
        let byte_ms = memory.byte_ms.get_or_insert_default();
        if let Ok(held_for) = self.read_at.duration_since(before.since) {
            let ms = u64::try_from(held_for.as_nanos() / 1_000_000).unwrap_or(u64::MAX);
            *byte_ms = byte_ms.saturating_add(before.bytes.saturating_mul(ms));
            self.held = Some(Held { since: self.read_at, bytes });
        }
    }

    /// A complete reading.
    fn read(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Reading {
        let Some(files) = &mut self.files else {
            return Reading::Gone;
        };
        if now.duration_since(self.life.created_at()) < OPENING_TIMEOUT {
            files.reopen();
        }
        let Ok(unreadable) = files.read(&mut self.usage, buffer) else {
            return Reading::Gone;
        };
        (self.read_at, self.complete) = (SystemTime::now(), true);
        (self.whole_at, self.pressure_at) = (Some(now), Some(now));
        self.whole_cpu_ns = self.usage.cpu.usage_ns;
        let young = now.duration_since(self.life.created_at()) < LIMITS_INTERVAL;
        let every = if young { YOUNG_LIMITS_INTERVAL } else { LIMITS_INTERVAL };
        if self.limits_at.is_none_or(|at| now.duration_since(at) >= every) {
            files.read_limits(&mut self.usage);
            self.limits_at = Some(now);
        }
        Reading::Read(unreadable)
    }

    /// The reading after the last process has ended. Gauges keep the values of the last sample
    /// before, because what is charged to an empty group is page cache that is about to be dropped.
    pub(crate) fn read_final(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Reading {
        let sampled = self.limits_at.take().is_some();
        let memory = self.usage.memory;
        let pids = self.usage.pids.current;
        let reading = self.read(now, buffer);
        if sampled && reading != Reading::Gone && memory.usage_bytes.is_some() {
            let read = &mut self.usage.memory;
            read.usage_bytes = memory.usage_bytes;
            read.working_set_bytes = memory.working_set_bytes;
            read.rss_bytes = memory.rss_bytes;
            read.cache_bytes = memory.cache_bytes;
            read.swap_bytes = memory.swap_bytes;
            self.usage.pids.current = pids;
        }
        self.add_up_memory();
        reading
    }

    /// Reads only the CPU total, for the pod's accounting. `false`: the cgroup was removed.
    pub(crate) fn read_cpu(&mut self, buffer: &mut Vec<u8>) -> bool {
        self.files.as_mut().is_some_and(|files| files.read_cpu(&mut self.usage, buffer).is_ok())
    }

    /// Reads all values except the CPU total, which keeps the value that was read together with the
    /// pod's.
    pub(crate) fn read_others(&mut self, buffer: &mut Vec<u8>) {
        let cpu_ns = self.usage.cpu.usage_ns;
        if let Some(files) = &mut self.files
            && files.read(&mut self.usage, buffer).is_ok()
        {
            self.usage.cpu.usage_ns = cpu_ns;
        }
    }

    /// Whether a child cgroup contains processes, which version 1's own list does not include.
    pub(crate) fn nested_processes(&self, hierarchy: &Hierarchy) -> bool {
        let Some(root) = hierarchy.watched_root() else {
            return false;
        };
        !hierarchy.has_events() && holds_processes_below(&root.join(&self.path), 3)
    }

    /// The record to report: running, or ended, with the quality of its final reading.
    pub(crate) fn record(&self, ended: Option<Ended>) -> Record {
        Record {
            id: self.id.clone(),
            pod: self.pod.clone(),
            created: self.life.created(),
            read_at: self.read_at,
            usage: self.usage.clone(),
            ended,
        }
    }
}

/// Searches for a process in child groups, up to a depth.
fn holds_processes_below(directory: &Path, depth: u8) -> bool {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return false;
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .any(|entry| {
            let procs = std::fs::read(entry.path().join("cgroup.procs"));
            procs.is_ok_and(|procs| !procs.is_empty())
                || (depth > 0 && holds_processes_below(&entry.path(), depth - 1))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A container with plain files, which has run for a minute.
    struct Steady {
        root: tempfile::TempDir,
        container: Container,
        now: Instant,
        cpu_us: u64,
    }

    impl Steady {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let now = Instant::now();
            let id = ContainerId::parse(&"a".repeat(64)).unwrap();
            let pod = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
            let life = Life::new(SystemTime::now(), now);
            let container = Container::new(id, pod, PathBuf::from("c"), life);
            let now = now + STEADY_AFTER;
            std::fs::create_dir(root.path().join("c")).unwrap();
            let mut steady = Self { root, container, now, cpu_us: 0 };
            steady.put(1);
            steady.container.open(&Hierarchy::V2 { root: steady.root.path().to_owned() });
            steady
        }

        /// Sets every value that the kernel would report, except the CPU time.
        fn put(&self, figure: u64) {
            let put = |name: &str, text: &str| {
                std::fs::write(self.root.path().join("c").join(name), text).unwrap();
            };
            put("cpu.stat", &format!("usage_usec {}\n", self.cpu_us));
            for name in ["memory.current", "memory.peak", "pids.current", "pids.max"] {
                put(name, &format!("{figure}\n"));
            }
            put("io.pressure", &format!("some avg10=0.00 avg60=0.00 avg300=0.00 total={figure}\n"));
            put("memory.stat", &format!("anon {figure}\nfile 0\ninactive_file 0\n"));
        }

        /// Samples after this time.
        fn sample(&mut self, later: Duration) -> [Option<u64>; 4] {
            self.now += later;
            assert_eq!(self.container.sample(self.now, &mut Vec::new()), Reading::Read(0));
            self.figures()
        }

        /// Memory, working set, peak, tasks.
        fn figures(&self) -> [Option<u64>; 4] {
            let Usage { memory, pids, .. } = &self.container.usage;
            [memory.usage_bytes, memory.working_set_bytes, memory.peak_bytes, pids.current]
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_steady_container_is_read_in_full_every_five_seconds_and_for_what_moves_in_between() {
        let mut steady = Steady::new();
        assert_eq!(steady.sample(SECOND), [Some(1); 4]);
        steady.put(2);
        assert_eq!(steady.sample(SECOND), [Some(1); 4], "it has not run");
        steady.cpu_us += 1;
        steady.put(3);
        assert_eq!(steady.sample(SECOND), [Some(3), Some(3), Some(1), Some(3)]);
        steady.put(4);
        steady.sample(SECOND);
        steady.sample(SECOND);
        assert_eq!(steady.sample(SECOND), [Some(4); 4], "five seconds later all is read");
        assert_eq!(steady.container.usage.cpu.usage_ns, Some(1000));
    }

    #[test]
    fn a_container_that_does_not_run_is_read_in_full_every_half_minute() {
        let mut steady = Steady::new();
        assert_eq!(steady.sample(SECOND), [Some(1); 4]);
        steady.put(2);
        for _ in 0..29 {
            assert_eq!(steady.sample(SECOND), [Some(1); 4]);
        }
        let waited = steady.container.usage.pressure.io.waiting_us;
        assert_eq!(waited, Some(2), "who waits uses no CPU time");
        assert_eq!(steady.sample(SECOND), [Some(2); 4]);
        // Once it runs again, five seconds after the last complete reading at most.
        steady.cpu_us += 1;
        steady.put(3);
        steady.sample(SECOND);
        for _ in 0..4 {
            steady.sample(SECOND);
        }
        assert_eq!(steady.figures(), [Some(3); 4]);
    }

    #[test]
    fn memory_is_held_from_reading_to_reading() {
        let mut steady = Steady::new();
        let mut read = |second, bytes| {
            let container = &mut steady.container;
            container.read_at = container.life.created() + Duration::from_secs(second);
            container.usage.memory.usage_bytes = Some(bytes);
            container.add_up_memory();
            container.usage.memory.byte_ms
        };
        // 1 s of 50, 1 s of 100, 2 s of 200.
        assert_eq!(read(1, 100), Some(50_000));
        assert_eq!(read(2, 200), Some(150_000));
        assert_eq!(read(2, 200), Some(150_000));
        assert_eq!(read(1, 200), Some(150_000), "a clock set back");
        assert_eq!(read(4, 0), Some(550_000));
    }

    #[test]
    fn the_final_reading_is_in_full_and_takes_the_limits_too() {
        let mut steady = Steady::new();
        steady.sample(SECOND);
        steady.put(7);
        let reading = steady.container.read_final(steady.now + SECOND, &mut Vec::new());
        assert_eq!(reading, Reading::Read(0));
        // Gauges have the values from before the end.
        assert_eq!(steady.figures(), [Some(1), Some(1), Some(7), Some(1)]);
        assert_eq!(steady.container.usage.pids.limit, Some(ephemon_model::Limit::At(7)));
    }
}
