//! What a process has used so far, by the kernel.

use procfs::process::Process;

/// CPU time of all its threads, ended ones too, in seconds; to the kernel's tick, 10 ms.
pub(crate) fn cpu_seconds(pid: i32) -> f64 {
    let stat = Process::new(pid).and_then(|process| process.stat()).expect("its stat");
    (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64
}

/// Bytes of memory that it has in use now.
pub(crate) fn resident_bytes(pid: i32) -> u64 {
    let stat = Process::new(pid).and_then(|process| process.stat()).expect("its stat");
    stat.rss * procfs::page_size()
}

/// The most that it ever had.
pub(crate) fn peak_bytes(pid: i32) -> u64 {
    let status = Process::new(pid).and_then(|process| process.status()).expect("its status");
    status.vmhwm.expect("a user process") * 1024
}

/// Bytes of its pages that were used while `meanwhile` ran, by the processor's own marks; those of libraries also
/// where another process used them. Source: `proc_pid_clear_refs(5)`, `proc_pid_smaps(5)`.
pub(crate) fn touched_bytes(pid: i32, meanwhile: impl FnOnce()) -> u64 {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "1").expect("leave to clear the marks");
    meanwhile();
    let sums = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("its pages");
    let line = sums.lines().find_map(|line| line.strip_prefix("Referenced:")).expect("a sum");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes * 1024
}

/// CPU time of the threads that live now, in seconds; to the nanosecond.
pub(crate) fn scheduled_seconds(pid: i32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
    let nanoseconds = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    let sum: u64 = tasks.flatten().filter_map(nanoseconds).sum();
    std::time::Duration::from_nanos(sum).as_secs_f64()
}
