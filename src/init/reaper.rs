//! Reaps every process that ends: the steps, with their exact exit status and usage, and, as
//! process 1 or subreaper, orphans.

use std::{
    collections::HashMap,
    fs,
    io::{self, PipeReader, PipeWriter},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use ephemon_base::{clock::now_ns, lock};
use ephemon_contract::{End, ProcessUsage};
use nix::{
    errno::Errno,
    sys::wait::{Id, WaitPidFlag, WaitStatus, waitid},
};
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpid};
use wait4::Wait4;

/// The children with a waiter.
#[derive(Debug, Default)]
pub(super) struct Reaper(Mutex<HashMap<Pid, Known>>);

#[derive(Debug)]
struct Known {
    child: Child,
    slot: Arc<Mutex<Option<Outcome>>>,
    /// Closed when the outcome is stored.
    ended_tx: PipeWriter,
}

/// A child that was started. Dropping this does not end it.
#[derive(Debug)]
pub(super) struct Process {
    /// Its process id, which is also that of its group.
    pub pid: Pid,
    /// Its standard output, if it is a pipe.
    pub stdout: Option<ChildStdout>,
    /// Its standard error, if it is a pipe.
    pub stderr: Option<ChildStderr>,
    /// Readable, at its end, once the process has ended.
    pub ended_rx: PipeReader,
    slot: Arc<Mutex<Option<Outcome>>>,
}

/// How a child ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    /// Its exit.
    pub end: End,
    /// What it used.
    pub usage: ProcessUsage,
    /// When, by the monotonic clock.
    pub at: Instant,
    /// When, in nanoseconds since 1970.
    pub at_ns: u64,
}

// === impl Reaper ===

impl Reaper {
    /// Starts a process in its own process group, with empty standard input.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<Process> {
        let (ended_rx, ended_tx) = io::pipe()?;
        let slot = Arc::new(Mutex::new(None));
        // Held until the child is registered, because it may end before `spawn` returns.
        let mut known = self.lock();
        let mut child = command.stdin(Stdio::null()).process_group(0).spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let raw = i32::try_from(child.id()).map_err(io::Error::other)?;
        let pid = Pid::from_raw(raw).ok_or(io::ErrorKind::Other)?;
        known.insert(pid, Known { child, slot: Arc::clone(&slot), ended_tx });
        Ok(Process { pid, stdout, stderr, ended_rx, slot })
    }

    /// Reaps all that have ended. Called for every SIGCHLD.
    pub(super) fn reap(&self) {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        loop {
            // The child is inspected but not reaped yet: its id stays in use until the lock is
            // held.
            match waitid(Id::All, flags) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
                Ok(status) => {
                    let pid = status.pid().and_then(|pid| Pid::from_raw(pid.as_raw()));
                    let Some(pid) = pid else { return };
                    self.reap_one(pid);
                }
                Err(Errno::EINTR) => {}
                // It was killed by a real-time signal, which has no name here, so it must be found
                // in another way.
                Err(_) => {
                    if !self.reap_unnamed() {
                        return;
                    }
                }
            }
        }
    }

    /// Reaps one that has ended.
    pub(super) fn reap_one(&self, pid: Pid) {
        let mut known = self.lock();
        match known.remove(&pid) {
            Some(entry) => entry.settle(),
            // An orphan, whose exit status is not needed.
            None => {
                waitpid(Some(pid), WaitOptions::NOHANG).ok();
            }
        }
    }

    /// Reaps dead children that `/proc` lists; returns whether there were any.
    fn reap_unnamed(&self) -> bool {
        let Ok(entries) = fs::read_dir("/proc") else { return false };
        let me = std::process::id().to_string();
        let dead: Vec<Pid> = entries
            .filter_map(|entry| Pid::from_raw(entry.ok()?.file_name().to_str()?.parse().ok()?))
            .filter(|pid| {
                fs::read(format!("/proc/{pid}/stat")).is_ok_and(|stat| is_dead_child(&stat, &me))
            })
            .collect();
        for pid in &dead {
            self.reap_one(*pid);
        }
        !dead.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Pid, Known>> {
        lock(&self.0)
    }
}

// === impl Known ===

impl Known {
    /// Reaps the child, which has ended, and notifies its waiter.
    fn settle(self) {
        let outcome = match self.child.wait4() {
            Ok(used) => Outcome {
                end: end_of(used.status),
                usage: ProcessUsage {
                    user_us: micros(used.rusage.utime),
                    system_us: micros(used.rusage.stime),
                    max_rss_bytes: used.rusage.maxrss,
                },
                at: Instant::now(),
                at_ns: now_ns(),
            },
            // Impossible: it is a child of this process and has ended. Report it as killed rather
            // than wait forever.
            Err(_) => Outcome {
                end: End::Signal(9),
                usage: ProcessUsage::default(),
                at: Instant::now(),
                at_ns: now_ns(),
            },
        };
        *lock(&self.slot) = Some(outcome);
        drop(self.ended_tx);
    }
}

// === impl Process ===

impl Process {
    /// How it ended, if it has.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        *lock(&self.slot)
    }

    /// Sends a signal to its group, if the group still exists.
    pub(super) fn signal(&self, signal: Signal) {
        signal_group(self.pid, signal);
    }

    /// Kills the rest of its group, and waits until it is gone: a killed process stays in the
    /// process table, with its files open, until it was scheduled once more.
    pub(super) fn end_group(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        // EPERM: the remaining processes changed their user.
        while kill_process_group(self.pid, Signal::KILL).is_ok() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Sends a signal to a process group, if it still exists.
pub(super) fn signal_group(group: Pid, signal: Signal) {
    // ESRCH: it has ended. EPERM: its processes changed their user, and cannot be signalled.
    kill_process_group(group, signal).ok();
}

fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Code(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
        (None, signal) => End::Signal(signal.and_then(|n| u8::try_from(n).ok()).unwrap_or(9)),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Whether `/proc/PID/stat` describes a zombie whose parent is `me`. The name in parentheses may
/// contain any text.
fn is_dead_child(stat: &[u8], me: &str) -> bool {
    let after = stat.rsplit(|byte| *byte == b')').next().unwrap_or_default();
    let mut fields = after.split(|byte| *byte == b' ').skip(1);
    fields.next() == Some(b"Z") && fields.next() == Some(me.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zombie_child_is_told_by_its_stat() {
        assert!(is_dead_child(b"7 (a b) c) Z 42 7 7", "42"));
        assert!(!is_dead_child(b"7 (a) S 42 7 7", "42"));
        assert!(!is_dead_child(b"7 (a) Z 41 7 7", "42"));
        assert!(!is_dead_child(b"", "42"));
    }
}
