//! The shim's descendants in `/proc`, from which the scratch back end counts.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use procfs::process::Process;
use rustix::process::Pid;

use crate::cgroups::place::Place;
use crate::cgroups::{CgroupWriter, Counters};

/// Interval of readings of a young container.
const EAGER: Duration = Duration::from_millis(20);
/// Interval of later readings.
const CALM: Duration = Duration::from_millis(100);
/// How long a container counts as young.
const YOUNG: Duration = Duration::from_secs(2);
/// Blocks of `ru_inblock` and `ru_oublock`. Source: Linux, `kernel/sys.c`, `task_io_get_inblock`.
const BLOCK: u64 = 512;

/// What ended processes used: every descendant that was waited for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reaped {
    user_usec: u64,
    system_usec: u64,
    max_rss_bytes: u64,
    minor_faults: u64,
    major_faults: u64,
    read_bytes: u64,
    write_bytes: u64,
}

/// Updates the files of a scratch container in a thread of its own; nothing for real cgroups.
#[derive(Debug)]
pub(super) struct Keeping(Option<(Arc<AtomicBool>, JoinHandle<Book>)>);

#[derive(Debug)]
struct Book {
    cgroup_writer: CgroupWriter,
    last: Counters,
}

// === impl Keeping ===

impl Keeping {
    pub(super) fn start(place: &Place) -> Self {
        let Place::Scratch { dir, ledger } = place else {
            return Self(None);
        };
        let mut book =
            Book { cgroup_writer: CgroupWriter::new(dir, ledger), last: Counters::default() };
        let over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&over);
        let start = Instant::now();
        let thread = thread::spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                book.look();
                let pause = if start.elapsed() < YOUNG { EAGER } else { CALM };
                thread::park_timeout(pause);
            }
            book
        });
        Self(Some((over, thread)))
    }

    /// The last process was reaped: writes the exact values, then that the group is empty.
    pub(super) fn finish(self) {
        let Some((over, thread)) = self.0 else {
            return;
        };
        over.store(true, Ordering::Relaxed);
        thread.thread().unpark();
        if let Ok(mut book) = thread.join() {
            book.close();
        }
    }
}

// === impl Book ===

impl Book {
    fn look(&mut self) {
        let pids = descendants();
        let Ok(reaped) = reaped() else {
            return;
        };
        let ticks = procfs::ticks_per_second();
        let usec = |n: u64| n.saturating_mul(1_000_000).checked_div(ticks).unwrap_or(0);
        let mut now = Counters {
            user_usec: reaped.user_usec,
            system_usec: reaped.system_usec,
            minor_faults: reaped.minor_faults,
            major_faults: reaped.major_faults,
            read_bytes: reaped.read_bytes,
            write_bytes: reaped.write_bytes,
            ..Counters::default()
        };
        let add = |to: &mut u64, more: u64| *to = to.saturating_add(more);
        let children = |n: i64| u64::try_from(n).unwrap_or(0);
        let mut procs = String::new();
        for pid in pids {
            let pid = pid.as_raw_nonzero().get();
            let Ok(process) = Process::new(pid) else {
                continue;
            };
            let Ok(stat) = process.stat() else {
                continue;
            };
            if stat.state == 'Z' {
                // Its time is counted when it is reaped.
                continue;
            }
            procs.push_str(&pid.to_string());
            procs.push('\n');
            add(&mut now.user_usec, usec(stat.utime.saturating_add(children(stat.cutime))));
            add(&mut now.system_usec, usec(stat.stime.saturating_add(children(stat.cstime))));
            add(&mut now.minor_faults, stat.minflt.saturating_add(stat.cminflt));
            add(&mut now.major_faults, stat.majflt.saturating_add(stat.cmajflt));
            add(&mut now.pids, children(stat.num_threads));
            if let Ok(status) = process.status() {
                let bytes = |kib: Option<u64>| kib.unwrap_or(0).saturating_mul(1024);
                add(&mut now.anon_bytes, bytes(status.rssanon));
                add(&mut now.file_bytes, bytes(status.rssfile));
                add(&mut now.file_bytes, bytes(status.rssshmem));
            }
            if let Ok(io) = process.io() {
                add(&mut now.read_bytes, io.read_bytes);
                add(&mut now.write_bytes, io.write_bytes);
            }
        }
        if procs.is_empty() {
            // Not started, or ended: the end is written by `close` only.
            return;
        }
        self.enter(now, &procs);
    }

    fn close(&mut self) {
        let reaped = reaped().unwrap_or_default();
        let last = Counters {
            user_usec: reaped.user_usec,
            system_usec: reaped.system_usec,
            minor_faults: reaped.minor_faults,
            major_faults: reaped.major_faults,
            read_bytes: reaped.read_bytes,
            write_bytes: reaped.write_bytes,
            memory_peak_bytes: reaped.max_rss_bytes,
            ..Counters::default()
        };
        self.enter(last, "");
    }

    /// Writes values that never decrease: the time of a running process is rounded, and between its
    /// end and its reaping it is not counted anywhere.
    fn enter(&mut self, mut now: Counters, procs: &str) {
        let last = &self.last;
        now.user_usec = now.user_usec.max(last.user_usec);
        now.system_usec = now.system_usec.max(last.system_usec);
        now.minor_faults = now.minor_faults.max(last.minor_faults);
        now.major_faults = now.major_faults.max(last.major_faults);
        now.read_bytes = now.read_bytes.max(last.read_bytes);
        now.write_bytes = now.write_bytes.max(last.write_bytes);
        let memory = now.anon_bytes.saturating_add(now.file_bytes);
        now.memory_peak_bytes = now.memory_peak_bytes.max(memory).max(last.memory_peak_bytes);
        now.pids_peak = last.pids_peak.max(now.pids);
        // If the disk is full, the next reading tries again.
        if self.cgroup_writer.enter(&now, procs).is_ok() {
            self.last = now;
        }
    }
}

// === impl Reaped ===

impl Reaped {
    pub(super) fn cpu(&self) -> Duration {
        Duration::from_micros(self.user_usec.saturating_add(self.system_usec))
    }
}

/// What all reaped descendants used. Exact, because the kernel adds it up at each wait.
pub(super) fn reaped() -> io::Result<Reaped> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let positive = |n: i64| u64::try_from(n).unwrap_or(0);
    Ok(Reaped {
        user_usec: positive(usage.user_time().num_microseconds()),
        system_usec: positive(usage.system_time().num_microseconds()),
        max_rss_bytes: positive(usage.max_rss()).saturating_mul(1024),
        minor_faults: positive(usage.minor_page_faults()),
        major_faults: positive(usage.major_page_faults()),
        read_bytes: positive(usage.block_reads()).saturating_mul(BLOCK),
        write_bytes: positive(usage.block_writes()).saturating_mul(BLOCK),
    })
}

/// Every process below this one.
pub(super) fn descendants() -> Vec<Pid> {
    let mut found = Vec::new();
    let mut todo = vec![std::process::id().to_string()];
    while let Some(parent) = todo.pop() {
        let tasks = fs::read_dir(format!("/proc/{parent}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            for child in children.split_whitespace() {
                found.extend(child.parse().ok().and_then(Pid::from_raw));
                todo.push(child.to_owned());
            }
        }
    }
    found
}
