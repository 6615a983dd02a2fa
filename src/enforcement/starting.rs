//! Detects whether a container's own program runs yet, or still the runtime's stages before it.
//!
//! A limit that is set while runc still works in the cgroup is harmful: its threads do not fit into
//! a small `pids.max`, its memory not into a small `memory.max`, and its last action is to set the
//! limits that it knows, `cpu.max` to none (`procReady` in runc's `libcontainer/process_linux.go`).
//!
//! A process of a job can take the runtime's name. So the name counts only if the process's file
//! does not belong to the container and existed before the container's first process: the runtime
//! creates the copy of itself before that process (`ensure_cloned_binary` comes first in runc's
//! `libcontainer/nsenter/nsexec.c`). And it counts only for some seconds, until the runtime or the
//! API server reports that the container runs.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, StatxFlags, StatxTimestamp, statx};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// The processes in the cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inside {
    /// No process.
    Nothing,
    /// Processes of the runtime, by their names.
    Runtime,
    /// Processes that are not visible, because the agent does not run in the host's PID namespace.
    Unseen,
    /// Processes of the container itself.
    Own,
}

/// After this time a process with the runtime's name counts as one of the container, because a job
/// can choose any name. No healthy node starts a container more slowly.
const RUNTIME_TIMEOUT: Duration = Duration::from_secs(10);
/// After this time invisible processes count as the container's own.
const UNSEEN_TIMEOUT: Duration = Duration::from_secs(1);

/// Programs that create containers.
const RUNTIMES: [&str; 3] = ["runc", "crun", "youki"];

/// Most processes that the runtime has in a cgroup at a time: the last of runc's stages creates
/// none, and one that joins a container has three.
const MAX_RUNTIME: usize = 8;

/// Most bytes read of a process's mounts: about ten thousand mounts.
const MAX_MOUNTINFO_BYTES: u64 = 4 * 1024 * 1024;

/// Nanoseconds of a tick, the resolution of a process's start time (`USER_HZ`).
const TICK_NS: i128 = 10_000_000;
/// A file counts as newer than a process only if the difference exceeds the resolution of both.
const MARGIN_NS: i128 = 2 * TICK_NS;

impl Inside {
    /// Whether to wait for the container's own program, after waiting for `waited`. `started`: the
    /// runtime or the API server reports that it was started.
    pub(super) fn is_starting(self, waited: Duration, started: bool) -> bool {
        match self {
            Self::Nothing => true,
            Self::Runtime => !started && waited < RUNTIME_TIMEOUT,
            Self::Unseen => waited < UNSEEN_TIMEOUT,
            Self::Own => false,
        }
    }
}

/// Inspects the processes of a cgroup; 0 stands for one that is not visible.
pub(super) fn inside(pids: &[u32], proc: &Path) -> Inside {
    if pids.is_empty() {
        return Inside::Nothing;
    }
    let seen: Vec<u32> = pids.iter().copied().filter(|pid| *pid != 0).collect();
    if seen.is_empty() {
        return Inside::Unseen;
    }
    if seen.len() > MAX_RUNTIME {
        return Inside::Own;
    }
    let inner: Vec<u32> = seen.iter().copied().filter(|pid| is_inner(*pid, proc)).collect();
    let began = inner.iter().filter_map(|pid| began_ns(*pid, proc)).min();
    let is_own = |pid: &u32| {
        inner.contains(pid) && is_from_inside(*pid, began, proc) || is_called_otherwise(*pid, proc)
    };
    if seen.iter().any(is_own) { Inside::Own } else { Inside::Runtime }
}

/// Whether neither its name nor that of its file is the runtime's.
fn is_called_otherwise(pid: u32, proc: &Path) -> bool {
    let of = |name: &str| proc.join(pid.to_string()).join(name);
    let Ok(comm) = fs::read_to_string(of("comm")) else {
        return false;
    };
    let comm = comm.trim_end_matches('\n');
    if is_runtime(comm) {
        return false;
    }
    // Until runc sets its own name, it has that of the descriptor it was started from, or "exe"
    // from /proc/self/exe.
    if comm != "exe" && !comm.bytes().all(|byte| byte.is_ascii_digit()) {
        return true;
    }
    fs::read_link(of("exe")).is_ok_and(|path| !is_runtimes_copy(&path))
}

/// Whether a process is in its own PID namespace, which is the container's, not the node's.
fn is_inner(pid: u32, proc: &Path) -> bool {
    fs::read_to_string(proc.join(pid.to_string()).join("status")).is_ok_and(|status| {
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        numbers.is_some_and(|numbers| numbers.split_whitespace().count() > 1)
    })
}

/// When a process started, in nanoseconds since the node's boot.
fn began_ns(pid: u32, proc: &Path) -> Option<i128> {
    let stat = fs::read_to_string(proc.join(pid.to_string()).join("stat")).ok()?;
    // The name in parentheses may contain any text; this is the 20th field after it.
    let ticks: i128 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    Some(ticks * TICK_NS)
}

/// Whether a process runs a file of the container: of a mount that it sees, or one that was created
/// or written since the container's first process `began`. The runtime's stages run a file of the
/// node, or an earlier copy of it without a mount: when they unshared their mounts, the open file
/// stayed in the old namespace (`unshare(CLONE_NEWNS)` moves only root and working directory).
/// `false` if it cannot be determined: before Linux 5.8, and without `CAP_SYS_PTRACE`.
fn is_from_inside(pid: u32, began: Option<i128>, proc: &Path) -> bool {
    let of = |name: &str| proc.join(pid.to_string()).join(name);
    let asked = StatxFlags::MNT_ID | StatxFlags::CTIME;
    let Ok(file) = statx(CWD, of("exe"), AtFlags::empty(), asked) else { return false };
    let told = StatxFlags::from_bits_retain(file.stx_mask);
    if told.contains(StatxFlags::CTIME)
        && began.is_some_and(|began| is_newer(file.stx_ctime, began))
    {
        return true;
    }
    let mount = file.stx_mnt_id.to_string();
    told.contains(StatxFlags::MNT_ID)
        && fs::File::open(of("mountinfo")).is_ok_and(|mounts| has_mount(mounts, &mount))
}

/// Whether a process sees the mount with this id. A job determines how many mounts it has and how
/// long their paths are, so they are read one by one, up to a limit.
fn has_mount(mountinfo: impl Read, id: &str) -> bool {
    let lines = BufReader::new(mountinfo.take(MAX_MOUNTINFO_BYTES)).split(b'\n');
    lines
        .map_while(Result::ok)
        .any(|line| line.split(|byte| *byte == b' ').next() == Some(id.as_bytes()))
}

/// Whether a file was changed after something that began so many nanoseconds after the node's boot.
/// Only the kernel sets the time of a file's last change (`ctime`).
fn is_newer(changed: StatxTimestamp, began_ns: i128) -> bool {
    let nanos = |time: Timespec| i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    let started = nanos(clock_gettime(ClockId::Realtime)) - nanos(clock_gettime(ClockId::Boottime));
    let changed = i128::from(changed.tv_sec) * 1_000_000_000 + i128::from(changed.tv_nsec);
    changed > started + began_ns + MARGIN_NS
}

/// Whether a program's file is the runtime's own, or the copy that it creates of itself and runs:
/// an unnamed file, or a detached bind mount, whose path is then `/`, which no other program has
/// (`try_bindfd` in runc's `libcontainer/nsenter/cloned_binary.c`).
fn is_runtimes_copy(path: &Path) -> bool {
    path == Path::new("/") || path.iter().any(|part| is_runtime(&part.to_string_lossy()))
}

/// `runc`, `runc:[2:INIT]`, `memfd:runc_cloned:`.
fn is_runtime(name: &str) -> bool {
    let name = name.strip_prefix("memfd:").unwrap_or(name);
    RUNTIMES.iter().any(|runtime| name.starts_with(runtime))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::symlink;
    use std::process::{Child, Command, Stdio};

    use super::*;

    #[test]
    fn the_runtimes_stages_are_told_from_the_containers_own_program() {
        let proc = tempfile::tempdir().unwrap();
        let process = |pid: u32, comm: &str, exe: &str| {
            let directory = proc.path().join(pid.to_string());
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("comm"), format!("{comm}\n")).unwrap();
            symlink(exe, directory.join("exe")).unwrap();
        };
        process(1, "runc:[2:INIT]", "/usr/sbin/runc");
        process(2, "exe", "/usr/sbin/runc");
        process(3, "6", "/memfd:runc_cloned:/proc/self/exe (deleted)");
        process(4, "exe", "/bin/busybox");
        process(7, "6", "/");
        process(5, "sh", "/bin/sh");
        let inside = |pids: &[u32]| inside(pids, proc.path());
        assert_eq!(inside(&[]), Inside::Nothing);
        for stage in [1, 2, 3, 7, 99] {
            assert_eq!(inside(&[stage]), Inside::Runtime, "{stage}");
        }
        assert_eq!(inside(&[0, 0]), Inside::Unseen);
        assert_eq!(inside(&[4]), Inside::Own);
        assert_eq!(inside(&[0, 1, 5]), Inside::Own, "runc may join a container that runs");
        assert_eq!(inside(&[1; MAX_RUNTIME + 1]), Inside::Own, "runc has not as many processes");
    }

    #[test]
    fn nobody_passes_for_the_runtime_for_ever() {
        let long = Duration::from_mins(1);
        assert!(Inside::Nothing.is_starting(long, true), "there is nothing to limit");
        for waiting in [Inside::Runtime, Inside::Unseen] {
            assert!(waiting.is_starting(Duration::ZERO, false));
            assert!(!waiting.is_starting(long, false));
        }
        assert!(!Inside::Own.is_starting(Duration::ZERO, false));
        let told = Inside::Runtime.is_starting(Duration::ZERO, true);
        assert!(!told, "the runtime is done when the container runs");
    }

    /// A process in its own namespaces, started by a shell script that prints "ready".
    fn start(script: &str, argument: &Path, input: Stdio) -> Child {
        let own = ["--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child"];
        let mut shell = Command::new("unshare");
        shell.args(own).args(["sh", "-c", script]).arg(argument);
        shell.stdin(input).stdout(Stdio::piped()).spawn().unwrap()
    }

    /// Its process id, once its name, or that of its file, is the runtime's.
    fn pid_of_runtime(parent: &Child) -> u32 {
        let proc = Path::new("/proc");
        let children = proc.join(format!("{0}/task/{0}/children", parent.id()));
        let is_named = |pid: u32| {
            let of = |name: &str| proc.join(format!("{pid}/{name}"));
            let comm = fs::read_to_string(of("comm")).unwrap_or_default();
            let exe = fs::read_link(of("exe")).unwrap_or_default();
            is_runtime(&comm) || is_runtimes_copy(&exe)
        };
        let start = std::time::Instant::now();
        loop {
            let children = fs::read_to_string(&children).unwrap_or_default();
            let child = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
            if let Some(pid) = child.filter(|pid| is_named(*pid)) {
                return pid;
            }
            assert!(start.elapsed() < Duration::from_mins(2), "it does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn end(mut parent: Child) {
        parent.kill().unwrap();
        parent.wait().unwrap();
    }

    #[test]
    fn a_jobs_process_that_is_called_runc_is_its_own() {
        let home = tempfile::tempdir().unwrap();
        for name in ["runc", "runc:[2:INIT]"] {
            let script = "cp \"$(command -v sleep)\" \"$0\" && exec \"$0\" 600";
            let parent = start(script, &home.path().join(name), Stdio::null());
            let pid = pid_of_runtime(&parent);
            assert_eq!(inside(&[pid], Path::new("/proc")), Inside::Own, "{name}");
            end(parent);
        }
    }

    /// The program `sleep` in a memory file with the name that runc gives the copy of itself,
    /// created before the container's first process, like runc's, or after it, like a job's.
    #[test]
    fn a_file_in_memory_is_the_runtimes_only_if_it_was_there_before_the_container() {
        let home = tempfile::tempdir().unwrap();
        let sleep = ["/bin/sleep", "/usr/bin/sleep"].iter().find_map(|path| fs::read(path).ok());
        let sleep = sleep.expect("the program `sleep`");
        for early in [true, false] {
            let flags = rustix::fs::MemfdFlags::empty();
            let memory = rustix::fs::memfd_create("runc_cloned:/proc/self/exe", flags).unwrap();
            let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
            let input = File::open(&path).unwrap();
            let mut memory = Some(File::from(memory));
            let mut fill = || memory.take().unwrap().write_all(&sleep).unwrap();
            if early {
                fill();
            }
            let go = home.path().join(format!("go-{early}"));
            let script = "echo ready; until [ -e \"$0\" ]; do sleep 0.01; done; \
                          exec /proc/self/fd/0 600";
            let mut parent = start(script, &go, input.into());
            let mut ready = [0; 5];
            parent.stdout.take().unwrap().read_exact(&mut ready).unwrap();
            if !early {
                // Later than the process by more than the kernel's ticks.
                std::thread::sleep(Duration::from_millis(50));
                fill();
            }
            File::create(&go).unwrap();
            let pid = pid_of_runtime(&parent);
            let wanted = if early { Inside::Runtime } else { Inside::Own };
            assert_eq!(inside(&[pid], Path::new("/proc")), wanted, "made before: {early}");
            end(parent);
        }
    }
}
