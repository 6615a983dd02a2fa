//! What both real back ends need: creating, filling, emptying and removing cgroup directories.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::Error;

/// How often the removal of a busy directory is retried, a millisecond apart: an ending task leaves
/// its cgroup shortly after it is reaped.
const REMOVE_TRIES: usize = 500;

/// One mounted hierarchy.
#[derive(Debug, Clone)]
pub(super) struct Mount {
    /// Its mount point.
    pub(super) point: PathBuf,
    /// `cgroup` or `cgroup2`.
    pub(super) kind: String,
    /// The superblock's options: the controllers, in version 1.
    pub(super) options: Vec<String>,
}

/// The cgroup mounts of this process.
pub(super) fn mounts() -> Vec<Mount> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table.lines().filter_map(parse_mount).collect()
}

/// Parses a line of mountinfo, if it is a cgroup hierarchy. Source: `proc_pid_mountinfo(5)`.
fn parse_mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(4);
    let point = left.next()?.replace("\\040", " ");
    let mut right = right.split(' ');
    let kind = right.next().filter(|kind| matches!(*kind, "cgroup" | "cgroup2"))?;
    let options = right.nth(1).unwrap_or_default();
    Some(Mount {
        point: PathBuf::from(point),
        kind: kind.to_owned(),
        options: options.split(',').map(str::to_owned).collect(),
    })
}

/// Creates a cgroup, unless it exists.
pub(super) fn make(dir: &Path) -> Result<(), Error> {
    match fs::create_dir(dir) {
        Err(e) if e.raw_os_error() != Some(Errno::EXIST.raw_os_error()) => {
            Err(failed("create", dir, e))
        }
        _ => Ok(()),
    }
}

/// Writes a kernel file.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|e| failed("write", path, e))
}

/// The processes directly in a cgroup.
pub(super) fn members(dir: &Path) -> Vec<Pid> {
    fs::read_to_string(dir.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok().and_then(Pid::from_raw))
        .collect()
}

/// Kills every process in the cgroup.
pub(super) fn kill(dir: &Path) {
    for pid in members(dir) {
        // It may have ended already.
        kill_process(pid, Signal::KILL).ok();
    }
}

/// Removes a cgroup, waiting briefly for tasks that are ending.
pub(super) fn remove(dir: &Path) -> Result<(), Error> {
    for _ in 0..REMOVE_TRIES {
        match fs::remove_dir(dir) {
            Err(e) if e.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(e) if e.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => return Ok(()),
            Err(e) => return Err(failed("remove", dir, e)),
            Ok(()) => return Ok(()),
        }
    }
    Err(failed("remove", dir, Errno::BUSY.into()))
}

/// Removes a cgroup with everything below it; kills processes in it. What cannot be removed is left
/// to the next start.
pub(super) fn remove_tree(dir: &Path) {
    let mut seen = HashSet::new();
    let mut stack = vec![dir.to_owned()];
    let mut order = Vec::new();
    while let Some(dir) = stack.pop() {
        if !seen.insert(dir.clone()) {
            continue;
        }
        let below = fs::read_dir(&dir).into_iter().flatten().flatten();
        let is_dir = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        stack.extend(below.filter(is_dir).map(|entry| entry.path()));
        order.push(dir);
    }
    for dir in &order {
        kill(dir);
    }
    for dir in order.iter().rev() {
        drop(remove(dir));
    }
}

/// Whether a process can be moved into a cgroup: that depends on permissions of the common
/// ancestor, so it must be tried.
pub(super) fn can_enter(binary: &Path, dir: &Path) -> bool {
    let child = Command::new(binary)
        .args([crate::helper::NAME, "wait"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        return false;
    };
    let entered = fs::write(dir.join("cgroup.procs"), child.id().to_string()).is_ok();
    drop(child.kill());
    drop(child.wait());
    entered
}

pub(super) fn failed(act: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io { act, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_both_versions_are_understood_and_others_passed_over() {
        let v1 = parse_mount(
            "34 25 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct",
        )
        .unwrap();
        assert_eq!(v1.point, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(v1.options, ["rw", "cpu", "cpuacct"]);
        let v2 = parse_mount("31 23 0:26 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw").unwrap();
        assert_eq!(v2.kind, "cgroup2");
        assert!(parse_mount("25 1 0:22 / /proc rw - proc proc rw").is_none());
        assert!(parse_mount("nonsense").is_none());
    }
}
