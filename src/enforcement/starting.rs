//! Whether a container's own program runs yet, or still the runtime's stages that lead to it.
//!
//! A limit set while runc still works in the cgroup harms: its threads do not fit under a small
//! `pids.max`, its memory not under a small `memory.max`, and the last thing it does is to set the
//! limits it knows of, `cpu.max` to none (`procReady` in runc's `libcontainer/process_linux.go`).
//!
//! A job's process may take the runtime's name, so the name is believed only of a process that was
//! not started from a file of the container, and only until somebody says that the container runs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

/// What is in the cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inside {
    /// No process.
    Nothing,
    /// The runtime's, by their names.
    Runtime,
    /// Some that cannot be seen, for want of the host's PID namespace.
    Unseen,
    /// The container's own.
    Own,
}

/// What looks like the runtime for this long is none: a job may take any name. A node that starts
/// a container more slowly than this has other troubles.
const RUNTIME_PATIENCE: Duration = Duration::from_secs(30);
/// What cannot be seen is the container's own after this time.
const UNSEEN_PATIENCE: Duration = Duration::from_secs(1);

/// Programs that make containers.
const RUNTIMES: [&str; 3] = ["runc", "crun", "youki"];

/// More processes than this are not looked at.
const MAX_LOOKED_AT: usize = 64;

impl Inside {
    /// Whether to wait for the container's own program, after having waited for so long. `started`:
    /// the runtime or the API server says that it was started.
    pub(super) fn is_starting(self, waited: Duration, started: bool) -> bool {
        match self {
            Self::Nothing => true,
            Self::Runtime => !started && waited < RUNTIME_PATIENCE,
            Self::Unseen => waited < UNSEEN_PATIENCE,
            Self::Own => false,
        }
    }
}

/// Looks at the processes of a cgroup; 0 stands for one that cannot be seen.
pub(super) fn inside(pids: &[u32], proc: &Path) -> Inside {
    if pids.is_empty() {
        return Inside::Nothing;
    }
    let mut seen = pids.iter().take(MAX_LOOKED_AT).filter(|pid| **pid != 0).peekable();
    if seen.peek().is_none() {
        Inside::Unseen
    } else if seen.any(|pid| is_own(*pid, proc)) {
        Inside::Own
    } else {
        Inside::Runtime
    }
}

fn is_own(pid: u32, proc: &Path) -> bool {
    let of = |name: &str| proc.join(pid.to_string()).join(name);
    let Ok(comm) = fs::read_to_string(of("comm")) else {
        return false;
    };
    let comm = comm.trim_end_matches('\n');
    if is_from_own_mounts(pid, proc) {
        return true;
    }
    if is_runtime(comm) {
        return false;
    }
    // Until it gives itself a name runc is called after the descriptor it was started from, or
    // "exe" after /proc/self/exe.
    if comm != "exe" && !comm.bytes().all(|byte| byte.is_ascii_digit()) {
        return true;
    }
    fs::read_link(of("exe")).is_ok_and(|path| !is_runtimes_copy(&path))
}

/// Whether a process in a PID namespace of its own runs a file of a mount that it sees. The runtime's
/// stages in that namespace run a file of the node, or one without a mount: when they unshared their
/// mounts the file stayed behind, for it was open (`unshare(CLONE_NEWNS)` moves root and working
/// directory alone). `false` where this cannot be told: before Linux 5.8, and without
/// `CAP_SYS_PTRACE`.
fn is_from_own_mounts(pid: u32, proc: &Path) -> bool {
    let of = |name: &str| proc.join(pid.to_string()).join(name);
    let inner = fs::read_to_string(of("status")).is_ok_and(|status| {
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        numbers.is_some_and(|numbers| numbers.split_whitespace().count() > 1)
    });
    if !inner {
        return false;
    }
    let file = match statx(CWD, of("exe"), AtFlags::empty(), StatxFlags::MNT_ID) {
        Ok(file) if StatxFlags::from_bits_retain(file.stx_mask).contains(StatxFlags::MNT_ID) => {
            file
        }
        _ => return false,
    };
    let mount = file.stx_mnt_id.to_string();
    fs::read_to_string(of("mountinfo")).is_ok_and(|mounts| {
        mounts.lines().any(|line| line.split(' ').next() == Some(mount.as_str()))
    })
}

/// Whether a program's file is the runtime's own, or the copy it makes of itself and starts: an
/// unnamed file, or a bind mount that is detached again, whose path is then `/` and no program's
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
    use std::os::unix::fs::symlink;

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

    /// The program `sleep` under the runtime's name, in namespaces of its own.
    fn impostor(name: &Path) -> std::process::Child {
        use std::process::{Command, Stdio};
        let script = "cp \"$(command -v sleep)\" \"$0\" && echo ready && exec \"$0\" 600";
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child"])
            .args(["sh", "-c", script])
            .arg(name)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    #[test]
    fn a_jobs_process_that_is_called_runc_is_its_own() {
        let home = tempfile::tempdir().unwrap();
        for name in ["runc", "runc:[2:INIT]"] {
            let mut parent = impostor(&home.path().join(name));
            let proc = Path::new("/proc");
            let children = proc.join(format!("{0}/task/{0}/children", parent.id()));
            let start = std::time::Instant::now();
            let named = loop {
                let children = fs::read_to_string(&children).unwrap_or_default();
                let child = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
                let comm = |pid: u32| fs::read_to_string(proc.join(format!("{pid}/comm")));
                if let Some(pid) = child.filter(|pid| comm(*pid).is_ok_and(|it| is_runtime(&it))) {
                    break pid;
                }
                assert!(start.elapsed() < Duration::from_secs(30), "it does not start");
                std::thread::sleep(Duration::from_millis(5));
            };
            assert_eq!(inside(&[named], proc), Inside::Own, "{name}");
            parent.kill().unwrap();
            parent.wait().unwrap();
        }
    }
}
