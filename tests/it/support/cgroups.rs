//! Cgroups for the tests, in every mounted v1 hierarchy or in v2, below one directory of our own.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

const MOUNT: &str = "/sys/fs/cgroup";

/// One directory of cgroups, the same in every hierarchy; removed with all it holds when dropped.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Directories of the hierarchies; one on v2.
    hierarchies: Vec<PathBuf>,
    v2: bool,
    base: String,
}

/// A cgroup's CPU counter, kept open.
#[derive(Debug)]
pub(crate) struct CpuCounter {
    file: File,
    v2: bool,
}

/// Whether v2 is mounted alone.
pub(crate) fn is_v2() -> bool {
    Path::new(MOUNT).join("cgroup.controllers").exists()
}

/// Why no cgroup can be made here.
pub(crate) fn why_not_writable() -> Option<String> {
    let hierarchies = hierarchies();
    if hierarchies.is_empty() {
        return Some(format!("no cgroup hierarchy is mounted below {MOUNT}"));
    }
    let name = format!("ephemon-try-{:016x}", fastrand::u64(..));
    hierarchies.iter().find_map(|hierarchy| {
        let probe = hierarchy.join(&name);
        match fs::create_dir(&probe).and_then(|()| fs::remove_dir(&probe)) {
            Ok(()) => None,
            Err(error) => Some(format!("no cgroup can be made: {}: {error}", probe.display())),
        }
    })
}

/// v2's mount point, or each v1 controller's; the hybrid layout's `unified` has no controllers.
fn hierarchies() -> Vec<PathBuf> {
    if is_v2() {
        return vec![PathBuf::from(MOUNT)];
    }
    let Ok(entries) = fs::read_dir(MOUNT) else {
        return Vec::new();
    };
    // `cpu` and `cpuacct` are often links to the one `cpu,cpuacct`.
    let mounts: BTreeSet<PathBuf> = entries
        .filter_map(|entry| fs::canonicalize(entry.ok()?.path()).ok())
        .filter(|path| path.join("cgroup.procs").exists() && !path.ends_with("unified"))
        .collect();
    mounts.into_iter().collect()
}

// === impl Tree ===

impl Tree {
    /// A directory of a fresh name, empty.
    pub(crate) fn new() -> Self {
        let (hierarchies, v2) = (hierarchies(), is_v2());
        let base = format!("ephemon-it-{:08x}", fastrand::u32(..));
        let tree = Self { hierarchies, v2, base };
        tree.make("");
        tree
    }

    /// The directory's name: what a kubelet calls its `--cgroup-root`.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Makes a cgroup and those above it, as the kubelet does for a pod: in all hierarchies of v1,
    /// with all controllers handed down on v2.
    pub(crate) fn make(&self, path: &str) {
        for hierarchy in &self.hierarchies {
            let mut at = hierarchy.clone();
            for name in [self.base.as_str()].into_iter().chain(path.split('/')) {
                if self.v2 {
                    hand_down(&at);
                }
                at.push(name);
                match fs::create_dir(&at) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        panic!("{}: {error}", at.display())
                    }
                    _ if at.ends_with(name) && hierarchy.ends_with("cpuset") => inherit_cpus(&at),
                    _ => {}
                }
            }
            if self.v2 && path.ends_with(|last: char| last != '/') && !is_container(path) {
                hand_down(&at);
            }
        }
    }

    /// Removes a cgroup, all hierarchies, waiting for processes that are still leaving.
    pub(crate) fn remove(&self, path: &str) {
        for directory in self.directories(path) {
            let start = Instant::now();
            while let Err(error) = fs::remove_dir(&directory) {
                if error.kind() == io::ErrorKind::NotFound {
                    break;
                }
                assert!(
                    start.elapsed() < Duration::from_mins(1),
                    "{}: {error}",
                    directory.display()
                );
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// A cgroup's directory in each hierarchy.
    pub(crate) fn directories(&self, path: &str) -> impl Iterator<Item = PathBuf> {
        let below = Path::new(&self.base).join(path);
        self.hierarchies.iter().map(move |hierarchy| hierarchy.join(&below))
    }

    /// The directory of the hierarchy that counts CPU time.
    pub(crate) fn cpu_directory(&self, path: &str) -> PathBuf {
        self.directories(path)
            .find(|directory| self.v2 || directory.join("cpuacct.usage").exists())
            .unwrap_or_else(|| panic!("no cpuacct hierarchy has {path}"))
    }

    /// The cgroup's CPU counter.
    pub(crate) fn cpu(&self, path: &str) -> CpuCounter {
        CpuCounter::open(&self.cpu_directory(path)).unwrap()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        for directory in self.directories("") {
            remove_all(&directory);
        }
        // On the hybrid layout runc makes its cgroups in the controller-less v2 tree as well.
        remove_all(&Path::new(MOUNT).join("unified").join(&self.base));
    }
}

// === impl CpuCounter ===

impl CpuCounter {
    /// Opens the counter of the cgroup at `directory`.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let v2 = is_v2();
        let name = if v2 { "cpu.stat" } else { "cpuacct.usage" };
        let file = File::open(directory.join(name))?;
        Ok(Self { file, v2 })
    }

    /// Nanoseconds; `None` once the cgroup is removed.
    pub(crate) fn read_ns(&self) -> Option<u64> {
        let mut buffer = [0; 256];
        let length = self.file.read_at(&mut buffer, 0).ok()?;
        let text = std::str::from_utf8(&buffer[..length]).ok()?;
        if self.v2 {
            let line = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
            line?.parse::<u64>().ok().map(|usec| usec * 1000)
        } else {
            text.trim().parse().ok()
        }
    }
}

/// Enables every controller for the children of a v2 cgroup, one by one: some cannot be.
fn hand_down(directory: &Path) {
    let controllers = fs::read_to_string(directory.join("cgroup.controllers")).unwrap_or_default();
    for controller in controllers.split_whitespace() {
        let line = format!("+{controller}");
        fs::write(directory.join("cgroup.subtree_control"), line).unwrap_or_default();
    }
}

/// A new v1 cpuset takes no process until it is given CPUs and memory nodes.
fn inherit_cpus(directory: &Path) {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let above = directory.parent().unwrap().join(name);
        let value = fs::read_to_string(above).unwrap_or_default();
        fs::write(directory.join(name), value.trim()).unwrap_or_default();
    }
}

fn is_container(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.len() == 64)
}

/// Kills what is left in a cgroup and removes it, deepest first.
fn remove_all(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_all(&entry.path());
        }
    }
    let start = Instant::now();
    while fs::remove_dir(directory).is_err()
        && directory.exists()
        && start.elapsed() < Duration::from_secs(5)
    {
        let pids = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        for pid in pids.lines().filter_map(|pid| pid.parse().ok()) {
            super::process::kill(pid);
        }
        thread::sleep(Duration::from_millis(2));
    }
}
