//! One container's open files while its cgroup exists, and the values read from them.

mod place;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use ephemon_cgroup::{Files, Hierarchy, cpu_ns};
use ephemon_model::{ContainerId, Ended, PodUid, Usage};

use super::exit_watch::ExitWatch;
use super::life::Life;
use super::nested::{Nested, holds_processes_below};
use super::readings::Record;
pub(crate) use place::{Group, Place};

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
    /// It was seen to be created.
    pub(crate) is_birth_seen: bool,
    /// Of a nested container: what it is part of.
    pub(crate) nested: Option<Nested>,
    pub(crate) group: Group,
    pub(crate) place: Place,
    /// It is counted as one for which there was no place.
    pub(crate) is_left_out: bool,
    /// When it was found removed, if what it used is not derived at once.
    gone: Option<(Instant, SystemTime)>,
    read_at: SystemTime,
    /// When its CPU time was last read.
    cpu_at: Instant,
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
            cpu_at: life.created_at(),
            life,
            usage: Usage::default(),
            exit_watch: None,
            is_birth_seen: false,
            nested: None,
            group: Group::Counted,
            place: Place::Own,
            is_left_out: false,
            gone: None,
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

    /// Whether a process was seen in it, or CPU time that one has used. One whose files are closed counts as
    /// such.
    pub(crate) fn has_run(&self) -> bool {
        !self.life.has_not_begun() || self.usage.cpu.usage_ns.is_some_and(|used_ns| used_ns > 0)
    }

    /// Whether it is one of the pod's containers, not the sandbox, and its last process has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.life.exact_end().is_some() && !self.life.is_sandbox()
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

    /// It was removed: nothing of it can be read any more.
    pub(crate) fn remove(&mut self, now: Instant) {
        self.close();
        self.gone = Some((now, SystemTime::now()));
    }

    /// When it was found removed; now, if that was just found.
    pub(crate) fn gone_at(&self) -> SystemTime {
        self.gone.map_or_else(SystemTime::now, |(_, at)| at)
    }

    /// Whether it is a nested container beside the pod's cgroup.
    pub(crate) fn is_beside(&self) -> bool {
        self.nested.as_ref().is_some_and(|nested| nested.group.beside)
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
        self.cpu_at = Instant::now();
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
        self.cpu_at = Instant::now();
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
        let files = self.files.as_mut();
        let is_read = files.is_some_and(|files| files.read_cpu(&mut self.usage, buffer).is_ok());
        if is_read {
            self.cpu_at = Instant::now();
        }
        is_read
    }

    /// The same of one whose files may be closed, by a file that is opened for this reading.
    pub(crate) fn count_cpu(&mut self, hierarchy: &Hierarchy, buffer: &mut Vec<u8>) -> bool {
        if self.files.is_some() {
            return self.read_cpu(buffer);
        }
        let read = cpu_ns(hierarchy, &self.path, buffer);
        if let Some(cpu_ns) = read {
            (self.usage.cpu.usage_ns, self.cpu_at) = (Some(cpu_ns), Instant::now());
        }
        read.is_some()
    }

    /// How long its CPU time was not read while it was there, in nanoseconds.
    pub(crate) fn unread_ns(&self, now: Instant) -> u64 {
        let now = self.gone.map_or(now, |(gone, _)| gone.min(now));
        let since = now.saturating_duration_since(self.cpu_at).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX)
    }

    /// CPU time in nanoseconds that it may have used since that was last read: at the average rate
    /// until then, and at most all of `cpus`.
    pub(crate) fn missed_cpu_ns(&self, now: Instant, cpus: u64) -> u64 {
        let ns = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let missed_ns = self.unread_ns(now);
        let seen_ns = ns(self.cpu_at.saturating_duration_since(self.life.created_at()));
        // One that was found running is older than its first sight.
        let age_ns = ns(SystemTime::now().duration_since(self.life.created()).unwrap_or_default());
        let lived_ns = seen_ns.max(age_ns.saturating_sub(missed_ns)).max(1);
        let cpu_ns = u128::from(self.usage.cpu.usage_ns.unwrap_or(0));
        let estimate = cpu_ns * u128::from(missed_ns) / u128::from(lived_ns);
        let most = missed_ns.saturating_mul(cpus);
        u64::try_from(estimate).map_or(most, |estimate| estimate.min(most))
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
            is_birth_seen: self.is_birth_seen,
            read_at: self.read_at,
            usage: self.usage.clone(),
            nested: self.nested.is_some(),
            ended,
        }
    }
}

#[cfg(test)]
mod tests;
