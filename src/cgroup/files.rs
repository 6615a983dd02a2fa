//! One cgroup's files, for either version.

use std::path::{Path, PathBuf};

use ephemon_model::Usage;

use super::hierarchy::{Controller, Hierarchy};
use super::kept::{Kept, ReadError};
use super::{format, v1, v2};

/// The kept files of one cgroup.
#[derive(Debug)]
pub struct Files(Version);

#[derive(Debug)]
enum Version {
    V1 { directories: v1::Directories, files: Box<v1::Files> },
    V2 { directory: PathBuf, files: Box<v2::Files> },
}

/// The group below a container's own that holds its processes.
///
/// Source: crun, `src/libcrun/cgroup-systemd.c`, `find_systemd_subgroup`: with systemd on cgroup v2, unless
/// the annotation `run.oci.systemd.subgroup` names another.
const CRUN_GROUP: &str = "container";

/// The cgroup was removed: its CPU counter can no longer be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// CPU time of the cgroup at `relative` below the hierarchy's root, in nanoseconds, by a file that is
/// opened for this reading. `None`: it was removed, or the kernel counts none.
pub fn cpu_ns(hierarchy: &Hierarchy, relative: &Path, buffer: &mut Vec<u8>) -> Option<u64> {
    let mut read = |path: &Path, take: &dyn Fn(&str) -> Option<u64>| {
        let mut file = Kept::opened(path).ok()?;
        take(file.read(buffer).ok()??)
    };
    match hierarchy {
        Hierarchy::V2 { root } => {
            let usec = |text: &str| format::flat_value(text, "usage_usec")?.checked_mul(1000);
            read(&root.join(relative).join("cpu.stat"), &usec)
        }
        Hierarchy::V1 { mounts } => {
            let directories = v1::directories(mounts, relative);
            let directory = directories.get(&Controller::Cpuacct)?;
            read(&directory.join("cpuacct.usage"), &|text| format::single(text))
        }
    }
}

// === impl Files ===

impl Files {
    /// Opens the files of the cgroup at `relative` below the hierarchy's root.
    pub fn open(hierarchy: &Hierarchy, relative: &Path) -> Self {
        Self(match hierarchy {
            Hierarchy::V2 { root } => {
                let directory = root.join(relative);
                Version::V2 { files: Box::new(v2::Files::open(&directory)), directory }
            }
            Hierarchy::V1 { mounts } => {
                let directories = v1::directories(mounts, relative);
                Version::V1 { files: Box::new(v1::Files::open(&directories)), directories }
            }
        })
    }

    /// Opens files that did not exist before.
    pub fn reopen(&mut self) {
        match &mut self.0 {
            Version::V1 { directories, files } => files.reopen(directories),
            Version::V2 { directory, files } => files.reopen(directory),
        }
    }

    /// Whether the cgroup could be opened at all.
    pub fn is_open(&self) -> bool {
        match &self.0 {
            Version::V1 { files, .. } => files.is_open(),
            Version::V2 { files, .. } => files.is_open(),
        }
    }

    /// Whether a process is in it: `None` where the kernel does not say.
    pub fn populated(&mut self, buffer: &mut Vec<u8>) -> Result<Option<bool>, Gone> {
        let populated = match &mut self.0 {
            Version::V1 { files, .. } => files.populated(buffer),
            Version::V2 { files, .. } => files.populated(buffer),
        };
        match populated {
            Ok(populated) => Ok(populated),
            Err(ReadError::Gone) => Err(Gone),
            Err(ReadError::Unreadable) => Ok(None),
        }
    }

    /// The processes in it, numbered in the reader's PID namespace. Processes of namespaces that
    /// the reader cannot see are listed as 0 by the kernel, and omitted here. On version 2, if it has
    /// none of its own, those of the group that crun makes below it.
    pub fn pids(&mut self, buffer: &mut Vec<u8>) -> Vec<u32> {
        match &mut self.0 {
            Version::V1 { files, .. } => numbers(files.procs(buffer).unwrap_or_default()),
            Version::V2 { files, directory } => {
                let own = numbers(files.procs(buffer).unwrap_or_default());
                if own.is_empty() { crun_pids(directory, buffer) } else { own }
            }
        }
    }

    /// Reads the CPU total into `usage`. `Ok(false)`: the kernel provides none.
    pub fn read_cpu(&mut self, usage: &mut Usage, buffer: &mut Vec<u8>) -> Result<bool, Gone> {
        let read = match &mut self.0 {
            Version::V1 { files, .. } => files.read_cpu(usage, buffer),
            Version::V2 { files, .. } => files.read_cpu(usage, buffer),
        };
        match read {
            Ok(read) => Ok(read),
            Err(ReadError::Gone) => Err(Gone),
            Err(ReadError::Unreadable) => Ok(false),
        }
    }

    /// Reads everything into `usage`, CPU first. A file that cannot be read leaves its earlier
    /// values. Returns how many could not be read for another reason than the removal of the
    /// cgroup.
    pub fn read(&mut self, usage: &mut Usage, buffer: &mut Vec<u8>) -> Result<u32, Gone> {
        self.read_cpu(usage, buffer)?;
        let mut unreadable = 0;
        let mut trouble = |trouble| {
            if trouble == ReadError::Unreadable {
                unreadable += 1;
            }
        };
        match &mut self.0 {
            Version::V1 { files, .. } => files.read_rest(usage, buffer, &mut trouble),
            Version::V2 { files, .. } => files.read_rest(usage, buffer, &mut trouble),
        }
        Ok(unreadable)
    }

    /// Reads what changes every second: CPU time and, if that has increased since the last read,
    /// memory and tasks. At one read per second each file costs several times what it costs in a
    /// loop, because nothing is in the caches.
    ///
    /// Returns as [`Self::read`] does.
    pub fn read_moving(&mut self, usage: &mut Usage, buffer: &mut Vec<u8>) -> Result<u32, Gone> {
        let before_ns = usage.cpu.usage_ns;
        let read = self.read_cpu(usage, buffer)?;
        if read && usage.cpu.usage_ns == before_ns {
            return Ok(0);
        }
        let memory = &usage.memory;
        let inactive_file = memory.usage_bytes.zip(memory.working_set_bytes);
        let mut unreadable = 0;
        let mut trouble = |trouble| {
            if trouble == ReadError::Unreadable {
                unreadable += 1;
            }
        };
        match &mut self.0 {
            Version::V1 { files, .. } => files.read_gauges(usage, buffer, &mut trouble),
            Version::V2 { files, .. } => files.read_gauges(usage, buffer, &mut trouble),
        }
        let inactive_file = inactive_file.map(|(usage, working)| usage.saturating_sub(working));
        let memory = &mut usage.memory;
        memory.working_set_bytes =
            memory.usage_bytes.zip(inactive_file).map(|(usage, file)| usage.saturating_sub(file));
        Ok(unreadable)
    }

    /// Reads how long tasks waited: that grows without CPU time. Version 1 has no such files.
    ///
    /// Returns how many files could not be read.
    pub fn read_pressure(&mut self, usage: &mut Usage, buffer: &mut Vec<u8>) -> u32 {
        let mut unreadable = 0;
        let mut trouble = |trouble| {
            if trouble == ReadError::Unreadable {
                unreadable += 1;
            }
        };
        match &mut self.0 {
            Version::V1 { .. } => {}
            Version::V2 { files, .. } => files.read_pressure(usage, buffer, &mut trouble),
        }
        unreadable
    }

    /// Reads the limits into `usage`.
    pub fn read_limits(&self, usage: &mut Usage) {
        match &self.0 {
            Version::V1 { directories, .. } => v1::Files::read_limits(directories, usage),
            Version::V2 { directory, .. } => v2::Files::read_limits(directory, usage),
        }
    }
}

fn numbers(text: &str) -> Vec<u32> {
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect()
}

fn crun_pids(directory: &Path, buffer: &mut Vec<u8>) -> Vec<u32> {
    let kept = Kept::opened(&directory.join(CRUN_GROUP).join("cgroup.procs"));
    let text =
        kept.and_then(|mut kept| kept.read(buffer).map(|text| numbers(text.unwrap_or_default())));
    text.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_one_level_below_the_scope_are_the_containers() {
        let root = tempfile::tempdir().unwrap();
        let hierarchy = Hierarchy::V2 { root: root.path().to_owned() };
        let make = |path: &str, procs: &str| {
            let directory = root.path().join(path);
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join("cgroup.procs"), procs).unwrap();
        };
        make("runc", "7\n0\n9\n");
        make("crun", "");
        make("crun/container", "11\n");
        make("empty", "");
        // Another group below, of an engine inside the container.
        make("nested", "");
        make("nested/docker", "13\n");
        let pids = |name: &str| Files::open(&hierarchy, Path::new(name)).pids(&mut Vec::new());
        assert_eq!(pids("runc"), [7, 9]);
        assert_eq!(pids("crun"), [11]);
        assert_eq!(pids("empty"), [0; 0]);
        assert_eq!(pids("nested"), [0; 0]);
    }
}
