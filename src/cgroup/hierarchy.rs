//! Finds the mounts of the hierarchies: version 2, version 1, or version 1 with an empty version 2
//! ("hybrid"). Detected from the directories alone, so that a fixture tree works like a kernel.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// A version 1 controller whose values are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Controller {
    /// CPU time.
    Cpuacct,
    /// CPU bandwidth.
    Cpu,
    /// Memory.
    Memory,
    /// Block I/O.
    Blkio,
    /// Tasks.
    Pids,
}

/// The node's cgroup mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hierarchy {
    /// One tree for everything.
    V2 {
        /// Its mount point.
        root: PathBuf,
    },
    /// A tree for each controller, or for several joined (`cpu,cpuacct`).
    V1 {
        /// Mount point of each controller that is there.
        mounts: BTreeMap<Controller, PathBuf>,
    },
}

/// A version in words, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detected<'a>(pub &'a Hierarchy);

/// There is no cgroup file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoHierarchy {
    /// The expected path.
    pub at: PathBuf,
}

// === impl Controller ===

impl Controller {
    const ALL: [Self; 5] = [Self::Cpuacct, Self::Cpu, Self::Memory, Self::Blkio, Self::Pids];

    fn as_str(self) -> &'static str {
        match self {
            Self::Cpuacct => "cpuacct",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Blkio => "blkio",
            Self::Pids => "pids",
        }
    }
}

// === impl Hierarchy ===

impl Hierarchy {
    /// Detects what is mounted at `at` (`/sys/fs/cgroup`).
    ///
    /// `cgroup.controllers` at the top exists only in version 2; otherwise each directory is a
    /// version 1 mount named after its controllers. Version 1 needs `cpuacct` or `memory`, without
    /// which nothing can be reported.
    pub fn detect(at: &Path) -> Result<Self, NoHierarchy> {
        if at.join("cgroup.controllers").exists() {
            return Ok(Self::V2 { root: at.to_owned() });
        }
        let mut mounts = BTreeMap::new();
        let mut names: Vec<String> = std::fs::read_dir(at)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        for name in names {
            for controller in Controller::ALL {
                let joined = name.split(',').any(|part| part == controller.as_str());
                let path = at.join(&name);
                if joined && path.is_dir() {
                    mounts.entry(controller).or_insert(path);
                }
            }
        }
        if mounts.contains_key(&Controller::Cpuacct) || mounts.contains_key(&Controller::Memory) {
            Ok(Self::V1 { mounts })
        } else {
            Err(NoHierarchy { at: at.to_owned() })
        }
    }

    /// The tree in which creation and removal are watched. In version 1 it is that of `cpuacct`:
    /// runc creates it after that of `memory`, so most files exist when it appears.
    pub fn watched_root(&self) -> Option<&Path> {
        match self {
            Self::V2 { root } => Some(root),
            Self::V1 { mounts } => mounts
                .get(&Controller::Cpuacct)
                .or_else(|| mounts.get(&Controller::Memory))
                .map(PathBuf::as_path),
        }
    }

    /// Whether `cgroup.events` reports emptiness (version 2).
    pub fn has_events(&self) -> bool {
        matches!(self, Self::V2 { .. })
    }
}

impl fmt::Display for Detected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Hierarchy::V2 { root } => write!(f, "cgroup v2 at {}", root.display()),
            Hierarchy::V1 { mounts } => {
                write!(f, "cgroup v1 (")?;
                for (at, controller) in mounts.keys().enumerate() {
                    let comma = if at == 0 { "" } else { ", " };
                    write!(f, "{comma}{}", controller.as_str())?;
                }
                write!(f, ")")
            }
        }
    }
}

// === impl NoHierarchy ===

impl fmt::Display for NoHierarchy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no cgroup file system at {}: mount the host's /sys/fs/cgroup there, or set --node-root",
            self.at.display()
        )
    }
}

impl std::error::Error for NoHierarchy {}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(directories: &[&str]) -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        for directory in directories {
            std::fs::create_dir_all(tree.path().join(directory)).unwrap();
        }
        tree
    }

    #[test]
    fn version_2_has_its_controllers_file() {
        let tree = tree(&["kubepods.slice"]);
        std::fs::write(tree.path().join("cgroup.controllers"), "cpu memory\n").unwrap();
        let found = Hierarchy::detect(tree.path()).unwrap();
        assert_eq!(found, Hierarchy::V2 { root: tree.path().to_owned() });
        assert!(found.has_events());
    }

    #[test]
    fn version_1_takes_joined_and_separate_mounts() {
        let tree = tree(&["cpu,cpuacct", "memory", "pids", "systemd", "unified"]);
        let found = Hierarchy::detect(tree.path()).unwrap();
        let joined = tree.path().join("cpu,cpuacct");
        assert_eq!(found.watched_root(), Some(joined.as_path()));
        let Hierarchy::V1 { mounts } = &found else { panic!("{found:?}") };
        assert_eq!(mounts.get(&Controller::Cpu), Some(&joined));
        assert_eq!(mounts.get(&Controller::Blkio), None);
        assert_eq!(Detected(&found).to_string(), "cgroup v1 (cpuacct, cpu, memory, pids)");
    }

    #[test]
    fn nothing_mounted_says_where_and_what_to_do() {
        let tree = tree(&["systemd"]);
        let error = Hierarchy::detect(tree.path()).unwrap_err().to_string();
        assert!(error.contains(tree.path().to_str().unwrap()), "{error}");
        assert!(error.contains("--node-root"), "{error}");
    }
}
