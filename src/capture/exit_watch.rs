//! Watches a container's process for its exit, with the pidfd of the container's init.
//!
//! Version 2 reports emptiness itself, but the kernel delays such notifications by up to 10 ms
//! after the previous one (`CGROUP_FILE_NOTIFY_MIN_INTV`); version 1 reports nothing. A pidfd is
//! readable as soon as the process has ended. The first process of a group is a stage of runc and
//! ends immediately, so the group is checked when a watch fires, and the next process is watched if
//! there is one.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// A watched process.
#[derive(Debug)]
pub(crate) struct ExitWatch {
    /// Readable once the process has ended.
    pub(crate) fd: OwnedFd,
    /// The process.
    pub(crate) pid: u32,
}

/// Most processes that are inspected in search of the init, because a fork bomb has a long list.
const MAX_LOOKED_AT: usize = 64;

// === impl ExitWatch ===

impl ExitWatch {
    /// Chooses the container's init among the group's processes or, if none is one (no PID
    /// namespace of its own, or still runc), the last one.
    pub(crate) fn choose(pids: &[u32], proc: &Path) -> Option<Self> {
        let init = pids.iter().take(MAX_LOOKED_AT).find(|pid| is_init(**pid, proc));
        let mut candidates = init.into_iter().chain(pids.iter().rev().take(MAX_LOOKED_AT));
        candidates.find_map(|pid| Self::open(*pid))
    }

    /// Opens a pidfd if the process has not ended yet.
    fn open(pid: u32) -> Option<Self> {
        let raw = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let fd = pidfd_open(raw, PidfdFlags::NONBLOCK).ok()?;
        let mut ended = [PollFd::new(&fd, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        (poll(&mut ended, Some(&now)) == Ok(0)).then_some(Self { fd, pid })
    }
}

/// Whether the process is number 1 in its own PID namespace: the last number of `NSpid`
/// (`proc_pid_status(5)`).
fn is_init(pid: u32, proc: &Path) -> bool {
    fs::read_to_string(proc.join(format!("{pid}/status"))).is_ok_and(|status| ns_pid(&status))
}

fn ns_pid(status: &str) -> bool {
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let mut numbers = numbers.split_whitespace();
    numbers.next().is_some() && numbers.last() == Some("1")
}

/// A process's name, at most 15 bytes (`proc_pid_comm(5)`).
pub(crate) fn comm(pid: u32, proc: &Path) -> Option<String> {
    let comm = fs::read_to_string(proc.join(format!("{pid}/comm"))).ok()?;
    Some(comm.trim_end_matches('\n').to_owned())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_init_is_number_one_of_an_inner_namespace() {
        assert!(ns_pid("Name:\tsleep\nNSpid:\t4711\t1\n"));
        assert!(!ns_pid("NSpid:\t4711\n"), "no namespace of its own");
        assert!(!ns_pid("NSpid:\t1\n"), "the node's own init");
        assert!(!ns_pid("NSpid:\t4711\t12\n"));
        assert!(!ns_pid(""));
    }

    #[test]
    fn a_watch_fires_when_its_process_ends_and_the_dead_are_not_chosen() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let watch = ExitWatch::choose(&[child.id()], Path::new("/proc")).unwrap();
        assert_eq!(watch.pid, child.id());
        child.kill().unwrap();
        let mut fds = [PollFd::new(&watch.fd, PollFlags::IN)];
        assert_eq!(poll(&mut fds, None), Ok(1));
        assert!(
            ExitWatch::choose(&[child.id()], Path::new("/proc")).is_none(),
            "ended, not reaped"
        );
        child.wait().unwrap();
        assert!(ExitWatch::choose(&[child.id(), 0], Path::new("/proc")).is_none());
    }
}
