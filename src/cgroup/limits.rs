//! One cgroup's limits, for either version: reads and sets them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use ephemon_model::Limit;

use super::files::Gone;
use super::format::Quota;
use super::hierarchy::Hierarchy;
use super::{v1, v2};

/// How many levels of child groups are searched.
const MAX_DEPTH: u8 = 3;

/// The limits of one cgroup as the kernel reports them. A limit is `None` if its controller does
/// not exist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InForce {
    /// CPU time.
    pub cpu: Option<Quota>,
    /// The upper bound of a quota in version 1: the parent's quota.
    pub cpu_ceiling: Option<Quota>,
    /// Memory, bytes.
    pub memory_bytes: Option<Limit<u64>>,
    /// Swap in addition to memory, bytes; `None` if swap is not accounted.
    pub swap_bytes: Option<Limit<u64>>,
    /// Tasks.
    pub pids: Option<Limit<u64>>,
}

/// One limit to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// CPU time of each period, microseconds.
    Cpu {
        /// The quota.
        quota_us: u64,
        /// The period, as it is in force.
        period_us: u64,
    },
    /// Memory in bytes, without additional swap.
    Memory {
        /// The limit.
        bytes: u64,
    },
    /// Tasks.
    Pids {
        /// The limit.
        tasks: u64,
    },
}

/// A limit that the kernel rejected.
#[derive(Debug)]
pub struct Refused {
    /// The kernel's file.
    pub path: PathBuf,
    /// Its error.
    pub source: io::Error,
}

/// Reads and sets one cgroup's limits. No file is kept open, because they are read rarely.
#[derive(Debug)]
pub struct LimitFiles(Version);

#[derive(Debug)]
enum Version {
    V1(v1::Directories),
    V2(PathBuf),
}

// === impl LimitFiles ===

impl LimitFiles {
    /// Those of the cgroup at `relative` below the hierarchy's root.
    pub fn at(hierarchy: &Hierarchy, relative: &Path) -> Self {
        Self(match hierarchy {
            Hierarchy::V2 { root } => Version::V2(root.join(relative)),
            Hierarchy::V1 { mounts } => Version::V1(v1::directories(mounts, relative)),
        })
    }

    /// What is in force now.
    pub fn read(&self) -> Result<InForce, Gone> {
        match &self.0 {
            Version::V1(directories) => v1::limits::read(directories),
            Version::V2(directory) => v2::limits::read(directory),
        }
    }

    /// Sets one limit.
    pub fn set(&self, setting: Setting) -> Result<(), Refused> {
        match &self.0 {
            Version::V1(directories) => v1::limits::set(directories, setting),
            Version::V2(directory) => v2::limits::set(directory, setting),
        }
    }

    /// Whether the kernel would accept limits here: opens every file that [`LimitFiles::set`]
    /// writes, without writing. `false` if none of them exists.
    ///
    /// The directory's own mode is not significant: kernfs gives a root cgroup mode 0555
    /// (`kernfs_create_root` in fs/kernfs/dir.c), which restricts root without `CAP_DAC_OVERRIDE`,
    /// but its files belong to root with mode 0644.
    ///
    /// # Errors
    /// The first file that cannot be opened for writing.
    pub fn is_writable(&self) -> Result<bool, Refused> {
        let files = match &self.0 {
            Version::V1(directories) => v1::limits::files(directories),
            Version::V2(directory) => v2::limits::files(directory),
        };
        let mut there = false;
        for path in files {
            match OpenOptions::new().write(true).open(&path) {
                Ok(_) => there = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(Refused { path, source }),
            }
        }
        Ok(there)
    }

    /// Its processes, numbered in the reader's PID namespace: 0 for one that is not visible. If it
    /// has none of its own, those of a child group, because crun puts a container's processes into
    /// one named `container`.
    pub fn pids(&self) -> Vec<u32> {
        let directory = match &self.0 {
            Version::V1(directories) => directories.values().next(),
            Version::V2(directory) => Some(directory),
        };
        directory.map(|directory| processes(directory, MAX_DEPTH)).unwrap_or_default()
    }
}

fn processes(directory: &Path, depth: u8) -> Vec<u32> {
    let text = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    let own: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    if !own.is_empty() || depth == 0 {
        return own;
    }
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut below = groups.map(|group| processes(&group.path(), depth - 1));
    below.find(|pids| !pids.is_empty()).unwrap_or_default()
}

/// Writes an existing file; never creates one.
pub(super) fn write(path: PathBuf, text: &str) -> Result<(), Refused> {
    let opened: io::Result<File> = OpenOptions::new().write(true).open(&path);
    match opened.and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => Ok(()),
        Err(source) => Err(Refused { path, source }),
    }
}

/// Like [`write`], but the file may be missing.
pub(super) fn write_if_there(path: PathBuf, text: &str) -> Result<(), Refused> {
    match write(path, text) {
        Err(refused) if refused.source.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

    use super::*;
    use crate::Controller;

    /// As in the agent: root, but restricted by the modes of files.
    fn without_dac_override<T: Send>(run: impl FnOnce() -> T + Send) -> T {
        let run = || {
            let mut sets = capabilities(None).unwrap();
            sets.effective.remove(CapabilitySet::DAC_OVERRIDE);
            sets.permitted.remove(CapabilitySet::DAC_OVERRIDE);
            set_capabilities(None, sets).unwrap();
            run()
        };
        std::thread::scope(|scope| scope.spawn(run).join().unwrap())
    }

    #[test]
    fn the_files_tell_whether_limits_can_be_set_and_not_the_directory() {
        let root = tempfile::tempdir().unwrap();
        let mode = |path: &Path, mode| set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let v2 = Hierarchy::V2 { root: root.path().to_owned() };
        let mounts = [Controller::Cpu, Controller::Memory, Controller::Pids];
        let mounts = mounts.map(|controller| (controller, root.path().to_owned())).into();
        let v1 = Hierarchy::V1 { mounts };
        let names = [(&v2, "cpu.max"), (&v1, "memory.limit_in_bytes"), (&v1, "cpu.cfs_quota_us")];
        for (at, (hierarchy, name)) in names.into_iter().enumerate() {
            let group = root.path().join(format!("kubepods-{at}"));
            std::fs::create_dir(&group).unwrap();
            let relative = group.strip_prefix(root.path()).unwrap();
            let files = LimitFiles::at(hierarchy, relative);
            assert!(!files.is_writable().unwrap(), "{name}: there is none yet");
            std::fs::write(group.join(name), "max").unwrap();
            mode(&group, 0o555);
            assert!(without_dac_override(|| files.is_writable()).unwrap(), "{name}");
            assert_eq!(std::fs::read_to_string(group.join(name)).unwrap(), "max");
            mode(&group.join(name), 0o444);
            let refused = without_dac_override(|| files.is_writable()).unwrap_err();
            assert_eq!(refused.path, group.join(name));
            assert_eq!(refused.source.kind(), io::ErrorKind::PermissionDenied);
            mode(&group, 0o755);
        }
    }

    #[test]
    fn processes_of_a_group_below_are_found_where_it_has_none_of_its_own() {
        let root = tempfile::tempdir().unwrap();
        let below = root.path().join("pod/scope/container");
        std::fs::create_dir_all(&below).unwrap();
        let hierarchy = Hierarchy::V2 { root: root.path().to_owned() };
        let files = LimitFiles::at(&hierarchy, Path::new("pod/scope"));
        assert_eq!(files.pids(), [0; 0]);
        std::fs::write(root.path().join("pod/scope/cgroup.procs"), "").unwrap();
        std::fs::write(below.join("cgroup.procs"), "7\n0\n").unwrap();
        assert_eq!(files.pids(), [7, 0]);
        std::fs::write(root.path().join("pod/scope/cgroup.procs"), "5\n").unwrap();
        assert_eq!(files.pids(), [5]);
    }
}
