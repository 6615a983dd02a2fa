//! One container while its cgroup is there: its kept files, its figures so far, where it stands.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use ephemon_cgroup::{Files, Gone, Hierarchy};
use ephemon_model::{ContainerId, Ended, PodUid, Quality, Usage};

use super::alarm::Alarm;
use super::books::Record;

/// Limits change rarely; they are read at this interval and at the end.
const LIMITS_EVERY: Duration = Duration::from_secs(10);
/// And at this one while the container is young: they are set shortly after its start.
const LIMITS_YOUNG: Duration = Duration::from_secs(1);

/// A container that has lived for so long is read in full at the interval below, and in between
/// only what moves from second to second: the kernel keeps its counters and peaks for us.
const STEADY_AFTER: Duration = Duration::from_secs(30);
/// How often a steady container is read in full: five seconds, less what the common grid of wakes
/// takes off.
const WHOLE_EVERY: Duration = Duration::from_millis(4500);

/// The runtime makes one controller's directory after another; files that were absent are tried
/// again for this long.
const STILL_OPENING: Duration = Duration::from_secs(2);

/// Where a container stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its cgroup is there; no process has been seen in it.
    Fresh,
    /// A process is in it.
    Running,
    /// Its last process is gone, and its files have been read since.
    Empty {
        /// On the monotonic clock.
        since: Instant,
        /// On the wall clock.
        at: SystemTime,
        /// Readings since.
        rechecks: usize,
        /// Whether it was shown as ended.
        told: bool,
    },
}

/// A container's cgroup and what was read from it.
#[derive(Debug)]
pub(crate) struct Living {
    pub(crate) id: ContainerId,
    pub(crate) pod: PodUid,
    pub(crate) path: PathBuf,
    pub(crate) born: SystemTime,
    pub(crate) born_at: Instant,
    pub(crate) phase: Phase,
    pub(crate) usage: Usage,
    pub(crate) read_at: SystemTime,
    pub(crate) sampled_at: Instant,
    pub(crate) alarm: Option<Alarm>,
    /// When the last alarm rang: the group is about to be empty, or has another process.
    pub(crate) rung_at: Option<Instant>,
    /// Found to be the sandbox.
    pub(crate) sandbox: bool,
    /// When its pod was last asked about.
    pub(crate) judged_at: Instant,
    /// When the timer is set for, to find the entry again.
    pub(crate) due: Instant,
    files: Option<Files>,
    limits_at: Option<Instant>,
    whole_at: Option<Instant>,
}

/// What reading a container's files came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Read; this many files could not be.
    Read(u32),
    /// The cgroup is gone.
    Gone,
}

// === impl Living ===

impl Living {
    /// A container whose cgroup was just seen; nothing is opened yet.
    pub(crate) fn new(
        id: ContainerId,
        pod: PodUid,
        path: PathBuf,
        born: SystemTime,
        now: Instant,
    ) -> Self {
        Self {
            id,
            pod,
            path,
            born,
            born_at: now,
            phase: Phase::Fresh,
            usage: Usage::default(),
            read_at: born,
            sampled_at: now,
            alarm: None,
            rung_at: None,
            sandbox: false,
            judged_at: now,
            due: now,
            files: None,
            limits_at: None,
            whole_at: None,
        }
    }

    /// Opens the files.
    pub(crate) fn wake(&mut self, hierarchy: &Hierarchy) {
        if self.files.is_none() {
            self.files = Some(Files::open(hierarchy, &self.path));
        }
    }

    /// Whether its cgroup could be opened: one that was gone before it was looked at could not.
    pub(crate) fn is_open(&self) -> bool {
        self.files.as_ref().is_some_and(Files::is_open)
    }

    /// Closes the files: its pod is not wanted.
    pub(crate) fn sleep(&mut self) {
        self.files = None;
        self.alarm = None;
        self.phase = Phase::Fresh;
    }

    /// Whether its files are closed.
    pub(crate) fn asleep(&self) -> bool {
        self.files.is_none()
    }

    /// Whether a process is in it, as the kernel says now.
    pub(crate) fn populated(&mut self, buffer: &mut Vec<u8>) -> Result<Option<bool>, Gone> {
        self.files.as_mut().map_or(Ok(None), |files| files.populated(buffer))
    }

    /// Its processes.
    pub(crate) fn pids(&mut self, buffer: &mut Vec<u8>) -> Vec<u32> {
        self.files.as_mut().map(|files| files.pids(buffer)).unwrap_or_default()
    }

    /// A periodic reading: in full, or of what moves.
    pub(crate) fn sample(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Reading {
        let age = now.duration_since(self.born_at);
        let whole = |at| now.duration_since(at) < WHOLE_EVERY;
        if age < STEADY_AFTER || !self.whole_at.is_some_and(whole) {
            return self.read(now, buffer);
        }
        let Some(files) = &mut self.files else {
            return Reading::Gone;
        };
        let Ok(unreadable) = files.read_moving(&mut self.usage, buffer) else {
            return Reading::Gone;
        };
        (self.read_at, self.sampled_at) = (SystemTime::now(), now);
        Reading::Read(unreadable)
    }

    /// A reading in full.
    fn read(&mut self, now: Instant, buffer: &mut Vec<u8>) -> Reading {
        let Some(files) = &mut self.files else {
            return Reading::Gone;
        };
        if now.duration_since(self.born_at) < STILL_OPENING {
            files.reopen();
        }
        let Ok(unreadable) = files.read(&mut self.usage, buffer) else {
            return Reading::Gone;
        };
        (self.read_at, self.sampled_at) = (SystemTime::now(), now);
        self.whole_at = Some(now);
        let young = now.duration_since(self.born_at) < LIMITS_EVERY;
        let every = if young { LIMITS_YOUNG } else { LIMITS_EVERY };
        if self.limits_at.is_none_or(|at| now.duration_since(at) >= every) {
            files.read_limits(&mut self.usage);
            self.limits_at = Some(now);
        }
        Reading::Read(unreadable)
    }

    /// The reading after the last process was gone. Gauges stay those of the last living sample:
    /// what is charged to an empty group is page cache waiting to be dropped.
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
        reading
    }

    /// The CPU total alone, for the pod's books. False: the cgroup is gone.
    pub(crate) fn read_cpu(&mut self, buffer: &mut Vec<u8>) -> bool {
        self.files.as_mut().is_some_and(|files| files.read_cpu(&mut self.usage, buffer).is_ok())
    }

    /// All figures but the CPU total, which stays as it was read with the pod's.
    pub(crate) fn read_others(&mut self, buffer: &mut Vec<u8>) {
        let cpu_ns = self.usage.cpu.usage_ns;
        if let Some(files) = &mut self.files
            && files.read(&mut self.usage, buffer).is_ok()
        {
            self.usage.cpu.usage_ns = cpu_ns;
        }
    }

    /// Whether a cgroup below this one holds processes: version 1's own list says nothing of them.
    pub(crate) fn nested_processes(&self, hierarchy: &Hierarchy) -> bool {
        let Some(root) = hierarchy.watched_root() else {
            return false;
        };
        !hierarchy.has_events() && holds_processes_below(&root.join(&self.path), 3)
    }

    /// The record to show: living, or ended with the quality its end was read with.
    pub(crate) fn record(&self, ended: Option<Ended>) -> Record {
        Record {
            id: self.id.clone(),
            pod: self.pod.clone(),
            born: self.born,
            read_at: self.read_at,
            usage: self.usage.clone(),
            ended,
        }
    }

    /// Its end, if its last process was seen gone and its files were read since.
    pub(crate) fn exact_end(&self) -> Option<Ended> {
        match self.phase {
            // A clock set back must not end a container before its birth.
            Phase::Empty { at, .. } => {
                Some(Ended { at: at.max(self.born), quality: Quality::Exact })
            }
            Phase::Fresh | Phase::Running => None,
        }
    }
}

/// Looks for a process in the groups below, to a bounded depth.
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

    /// A container's files as plain ones, and the container, steady since a minute.
    struct Steady {
        root: tempfile::TempDir,
        living: Living,
        now: Instant,
        cpu_us: u64,
    }

    impl Steady {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let now = Instant::now();
            let id = ContainerId::parse(&"a".repeat(64)).unwrap();
            let pod = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
            let living = Living::new(id, pod, PathBuf::from("c"), SystemTime::now(), now);
            let now = now + STEADY_AFTER;
            std::fs::create_dir(root.path().join("c")).unwrap();
            let mut steady = Self { root, living, now, cpu_us: 0 };
            steady.put(1);
            steady.living.wake(&Hierarchy::V2 { root: steady.root.path().to_owned() });
            steady
        }

        /// Every figure the kernel would show is now this one, CPU time aside.
        fn put(&self, figure: u64) {
            let put = |name: &str, text: &str| {
                std::fs::write(self.root.path().join("c").join(name), text).unwrap();
            };
            put("cpu.stat", &format!("usage_usec {}\n", self.cpu_us));
            for name in ["memory.current", "memory.peak", "pids.current", "pids.max"] {
                put(name, &format!("{figure}\n"));
            }
            put("memory.stat", &format!("anon {figure}\nfile 0\ninactive_file 0\n"));
        }

        /// Samples, so much later.
        fn sample(&mut self, later: Duration) -> [Option<u64>; 4] {
            self.now += later;
            assert_eq!(self.living.sample(self.now, &mut Vec::new()), Reading::Read(0));
            self.figures()
        }

        /// Memory, working set, peak, tasks.
        fn figures(&self) -> [Option<u64>; 4] {
            let Usage { memory, pids, .. } = &self.living.usage;
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
        assert_eq!(steady.living.usage.cpu.usage_ns, Some(1000));
    }

    #[test]
    fn the_final_reading_is_in_full_and_takes_the_limits_too() {
        let mut steady = Steady::new();
        steady.sample(SECOND);
        steady.put(7);
        let reading = steady.living.read_final(steady.now + SECOND, &mut Vec::new());
        assert_eq!(reading, Reading::Read(0));
        // Gauges are those of the living.
        assert_eq!(steady.figures(), [Some(1), Some(1), Some(7), Some(1)]);
        assert_eq!(steady.living.usage.pids.limit, Some(ephemon_model::Limit::At(7)));
    }
}
