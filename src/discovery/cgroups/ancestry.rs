//! The container that a process was started from: the chain of its parents.
//!
//! All of this is written by the kernel (`proc_pid_status(5)`, `cgroups(7)`), but names of groups
//! are chosen by jobs, so that a path is compared with that of a known container in full.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::path::{Component, Path};

/// Most parents that are looked at.
const MAX_PARENTS: usize = 32;
/// More than `/proc/PID/status` and `/proc/PID/cgroup` have.
const MAX_BYTES: u64 = 64 * 1024;
/// Most processes of one group that are returned.
const MAX_PROCESSES: usize = 64;

/// Whose a process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner<T> {
    /// The container, and the nearest parent in it: the engine's process that started the group.
    Container(T, u32),
    /// No parent is in a container of a pod.
    Foreign,
    /// A process of the chain has ended, or may not be read.
    Unknown,
}

/// Looks for the first process, from `pid` on up, for whose groups `find` has an answer. `find` takes
/// all paths that `/proc/PID/cgroup` shows: with cgroup v1 one for each hierarchy. They differ: an
/// engine in a container does not see every hierarchy, and in one that it does not see (v2 beside v1,
/// for one) its containers stay in the group of the container that it runs in.
pub(crate) fn owner<T>(proc: &Path, pid: u32, find: impl Fn(&[&str]) -> Option<T>) -> Owner<T> {
    let mut at = pid;
    for _ in 0..MAX_PARENTS {
        let directory = proc.join(at.to_string());
        let (Some(groups), Some(status)) =
            (read(&directory.join("cgroup")), read(&directory.join("status")))
        else {
            return Owner::Unknown;
        };
        let shown: Vec<&str> = shown_paths(&groups).collect();
        if let Some(found) = find(&shown) {
            return Owner::Container(found, at);
        }
        match parent(&status) {
            Some(0) => return Owner::Foreign,
            Some(parent) => at = parent,
            None => return Owner::Unknown,
        }
    }
    Owner::Foreign
}

/// How many levels the root of the reader's cgroup namespace lies below that of the hierarchy: what
/// the kernel shows of process 1, which is in a group of the root, leads up that far.
pub(crate) fn namespace_depth(proc: &Path) -> usize {
    let groups = read(&proc.join("1/cgroup")).unwrap_or_default();
    shown_paths(&groups).map(levels_up).max().unwrap_or(0)
}

/// Whether a path of `/proc/PID/cgroup` leads to this group or to one below it.
///
/// The kernel shows the path relative to the group that is the root of the reader's cgroup
/// namespace, `depth` levels down, with `..` for each level between that and their common parent.
/// What follows must be exactly the rest of the group's own path: a job can make a group beside the
/// kubelet's tree that has the name of one in it.
pub(crate) fn is_within(shown: &str, group: &Path, depth: usize) -> bool {
    let Some(common) = depth.checked_sub(levels_up(shown)) else { return false };
    let shown: Vec<&OsStr> = names(Path::new(shown)).collect();
    let group: Vec<&OsStr> = names(group).collect();
    group.get(common..).is_some_and(|rest| !rest.is_empty() && shown.starts_with(rest))
}

fn levels_up(shown: &str) -> usize {
    let components = Path::new(shown).components();
    components.filter(|component| *component == Component::ParentDir).count()
}

fn names(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        _ => None,
    })
}

/// The processes of a group or, if an engine keeps them in groups of their own in it (podman's
/// `container`), of those.
pub(crate) fn processes(group: &Path) -> Vec<u32> {
    let own = pids(group);
    if !own.is_empty() {
        return own;
    }
    let entries = std::fs::read_dir(group).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .take(MAX_PROCESSES)
        .map(|entry| pids(&entry.path()))
        .find(|pids| !pids.is_empty())
        .unwrap_or_default()
}

/// Without processes of PID namespaces that the reader cannot see, which the kernel lists as 0.
fn pids(group: &Path) -> Vec<u32> {
    let text = read(&group.join("cgroup.procs")).unwrap_or_default();
    let pids = text.lines().filter_map(|line| line.parse().ok());
    pids.filter(|pid| *pid != 0).take(MAX_PROCESSES).collect()
}

fn shown_paths(groups: &str) -> impl Iterator<Item = &str> {
    groups.lines().filter_map(|line| line.splitn(3, ':').nth(2))
}

fn parent(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn process(proc: &Path, pid: u32, parent: u32, group: &str) {
        let directory = proc.join(pid.to_string());
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("status"), format!("Name:\tx\nPPid:\t{parent}\n")).unwrap();
        fs::write(directory.join("cgroup"), format!("1:cpu,cpuacct:/x\n0::{group}\n")).unwrap();
    }

    const CONTAINER: &str = "kubepods.slice/kubepods-pod1.slice/cri-containerd-a.scope";

    #[test]
    fn the_chain_of_parents_leads_from_a_nested_container_to_the_one_it_is_in() {
        let proc = tempfile::tempdir().unwrap();
        process(proc.path(), 40, 30, "/docker/b");
        process(proc.path(), 30, 20, &format!("/{CONTAINER}/init"));
        process(proc.path(), 20, 1, "/system.slice/containerd.service");
        process(proc.path(), 50, 20, "/docker/c");
        process(proc.path(), 1, 0, "/init.scope");
        process(proc.path(), 60, 61, "/docker/d");
        let find = |shown: &[&str]| {
            shown.iter().any(|shown| is_within(shown, Path::new(CONTAINER), 0)).then_some(())
        };
        assert_eq!(owner(proc.path(), 40, find), Owner::Container((), 30));
        assert_eq!(owner(proc.path(), 50, find), Owner::Foreign, "the node's own Docker");
        assert_eq!(owner(proc.path(), 60, find), Owner::Unknown, "its parent has ended");
        process(proc.path(), 70, 70, "/docker/e");
        assert_eq!(owner(proc.path(), 70, find), Owner::Foreign, "a circle has an end");
    }

    #[test]
    fn a_path_is_compared_with_the_groups_own_in_full() {
        let fake = "cri-containerd-a.scope";
        for (shown, depth, expected) in [
            (format!("/{CONTAINER}"), 0, true),
            (format!("/{CONTAINER}/docker/b"), 0, true),
            // From a group three levels down, with nothing, one and two levels in common.
            (format!("/../../../{CONTAINER}"), 3, true),
            ("/../../kubepods-pod1.slice/cri-containerd-a.scope/init".to_owned(), 3, true),
            (format!("/../{fake}"), 3, true),
            // Groups that have the name of the container's and are not below it.
            (format!("/docker/{CONTAINER}"), 0, false),
            (format!("/{fake}"), 0, false),
            (format!("/../../../{fake}"), 3, false),
            ("/kubepods.slice/kubepods-pod1.slice".to_owned(), 0, false),
            (format!("/../{CONTAINER}"), 0, false),
            ("/../../../..".to_owned(), 3, false),
            ("/".to_owned(), 3, false),
            (String::new(), 0, false),
        ] {
            assert_eq!(is_within(&shown, Path::new(CONTAINER), depth), expected, "{shown}");
        }
    }

    #[test]
    fn the_depth_of_the_readers_namespace_is_what_process_1_shows() {
        let proc = tempfile::tempdir().unwrap();
        assert_eq!(namespace_depth(proc.path()), 0);
        process(proc.path(), 1, 0, "/../../../init.scope");
        assert_eq!(namespace_depth(proc.path()), 3);
    }

    #[test]
    fn processes_are_in_the_group_or_in_those_in_it() {
        let group = tempfile::tempdir().unwrap();
        let put = |text: &str| fs::write(group.path().join("cgroup.procs"), text).unwrap();
        put("0\n7\n8\n");
        assert_eq!(processes(group.path()), [7, 8]);
        put("");
        assert!(processes(group.path()).is_empty());
        fs::create_dir(group.path().join("container")).unwrap();
        fs::write(group.path().join("container/cgroup.procs"), "9\n").unwrap();
        assert_eq!(processes(group.path()), [9]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(shown in any::<String>(), group in any::<String>()) {
            let _ = is_within(&shown, Path::new(&group), 2);
            let _ = (shown_paths(&shown).count(), parent(&group));
        }
    }
}
