//! One cgroup of the embedded node, for any back end: created, entered, read and removed.
//!
//! It is passed to the shim as JSON, so that the shim does not depend on the back end.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::kernel::{kill, make, members, remove, remove_tree, write};
use super::{Error, scratch, v2};

/// The cgroup of a container or pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// A directory in every version 1 hierarchy, by controller.
    V1 {
        /// Controller to directory.
        dirs: BTreeMap<String, PathBuf>,
    },
    /// A version 2 directory.
    V2 {
        /// The directory.
        dir: PathBuf,
    },
    /// A directory of plain files.
    Scratch {
        /// The directory.
        dir: PathBuf,
        /// Where the pod's containers record what they used.
        ledger: PathBuf,
    },
}

/// Limits for the kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Thousandths of a CPU.
    pub cpu_millis: Option<u64>,
}

/// The values in a cgroup's own files. A value is `None` if its file does not exist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// CPU time in nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Most memory at once, bytes.
    pub memory_peak_bytes: Option<u64>,
    /// Processes that the OOM killer killed.
    pub oom_kills: Option<u64>,
    /// Most tasks at once.
    pub pids_peak: Option<u64>,
}

/// Microseconds of a CFS period: the kubelet's default.
const PERIOD_USEC: u64 = 100_000;

// === impl Place ===

impl Place {
    /// A child of this cgroup.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        match self {
            Self::V1 { dirs } => Self::V1 {
                dirs: dirs
                    .iter()
                    .map(|(controller, dir)| (controller.clone(), dir.join(name)))
                    .collect(),
            },
            Self::V2 { dir } => Self::V2 { dir: dir.join(name) },
            Self::Scratch { dir, ledger } => {
                Self::Scratch { dir: dir.join(name), ledger: ledger.clone() }
            }
        }
    }

    /// Creates a container's cgroup and sets its limits. If memory runs out, all its processes are
    /// killed.
    ///
    /// Source: kubernetes v1.36.2, `kuberuntime_container_linux.go`: `memory.oom.group` is set for
    /// containers, not for pods, and in version 2 only.
    pub fn make(&self, limits: &Limits) -> Result<(), Error> {
        self.create(limits)?;
        if let Self::V2 { dir } = self {
            // Only if memory is accounted.
            drop(write(&dir.join("memory.oom.group"), "1"));
        }
        Ok(())
    }

    /// Creates a pod's cgroup, ready for containers in it.
    pub fn make_pod(&self, limits: &Limits) -> Result<(), Error> {
        self.create(limits)?;
        if let Self::V2 { dir } = self {
            v2::delegate(dir);
        }
        Ok(())
    }

    fn create(&self, limits: &Limits) -> Result<(), Error> {
        match self {
            Self::V1 { dirs } => {
                for dir in distinct(dirs) {
                    make(dir)?;
                }
                limit_v1(dirs, limits)
            }
            Self::V2 { dir } => {
                make(dir)?;
                limit_v2(dir, limits)
            }
            Self::Scratch { dir, ledger } => scratch::make(dir, ledger),
        }
    }

    /// The files to which a process writes its id to enter; empty for the scratch tree.
    pub fn entrances(&self) -> Vec<PathBuf> {
        match self {
            Self::V1 { dirs } => distinct(dirs).map(|dir| dir.join("cgroup.procs")).collect(),
            Self::V2 { dir } => vec![dir.join("cgroup.procs")],
            Self::Scratch { .. } => Vec::new(),
        }
    }

    /// What a container sees at `/sys/fs/cgroup`: its own directory, or one for each controller,
    /// with its name.
    pub fn shown(&self) -> Vec<(Option<String>, PathBuf)> {
        match self {
            Self::V1 { dirs } => {
                dirs.iter().map(|(name, dir)| (Some(name.clone()), dir.clone())).collect()
            }
            Self::V2 { dir } | Self::Scratch { dir, .. } => vec![(None, dir.clone())],
        }
    }

    /// The processes in it that the kernel knows.
    pub fn members(&self) -> Vec<Pid> {
        match self {
            Self::V1 { dirs } => distinct(dirs).flat_map(|dir| members(dir)).collect(),
            Self::V2 { dir } => members(dir),
            Self::Scratch { .. } => Vec::new(),
        }
    }

    /// Kills the processes in it that the kernel knows.
    pub fn kill(&self) {
        match self {
            Self::V1 { dirs } => distinct(dirs).for_each(|dir| kill(dir)),
            Self::V2 { dir } => kill(dir),
            Self::Scratch { .. } => {}
        }
    }

    /// Reads the cgroup's own figures.
    pub fn figures(&self) -> Figures {
        match self {
            Self::V1 { dirs } => {
                let file = |controller, name| number(&dirs.get::<str>(controller)?.join(name));
                let dir = dirs.get("memory");
                Figures {
                    cpu_ns: file("cpuacct", "cpuacct.usage"),
                    memory_peak_bytes: file("memory", "memory.max_usage_in_bytes"),
                    oom_kills: dir.and_then(|d| field(&d.join("memory.oom_control"), "oom_kill")),
                    pids_peak: file("pids", "pids.peak"),
                }
            }
            Self::V2 { dir } | Self::Scratch { dir, .. } => Figures {
                cpu_ns: field(&dir.join("cpu.stat"), "usage_usec")
                    .map(|usec| usec.saturating_mul(1000)),
                memory_peak_bytes: number(&dir.join("memory.peak")),
                oom_kills: field(&dir.join("memory.events"), "oom_kill"),
                pids_peak: number(&dir.join("pids.peak")),
            },
        }
    }

    /// Removes it in runc's order: all hierarchies, one after the other.
    pub fn remove(&self) -> Result<(), Error> {
        match self {
            Self::V1 { dirs } => distinct(dirs).try_for_each(|dir| remove(dir)),
            Self::V2 { dir } => remove(dir),
            Self::Scratch { dir, .. } => scratch::remove(dir),
        }
    }

    /// Removes it with everything below it; kills processes in it.
    pub fn remove_tree(&self) {
        match self {
            Self::V1 { dirs } => distinct(dirs).for_each(|dir| remove_tree(dir)),
            Self::V2 { dir } => remove_tree(dir),
            Self::Scratch { dir, .. } => drop(scratch::remove(dir)),
        }
    }
}

fn limit_v1(dirs: &BTreeMap<String, PathBuf>, limits: &Limits) -> Result<(), Error> {
    if let (Some(bytes), Some(dir)) = (limits.memory_bytes, dirs.get("memory")) {
        write(&dir.join("memory.limit_in_bytes"), &bytes.to_string())?;
        // Only if swap is accounted.
        drop(write(&dir.join("memory.memsw.limit_in_bytes"), &bytes.to_string()));
    }
    if let (Some(millis), Some(dir)) = (limits.cpu_millis, dirs.get("cpu")) {
        write(&dir.join("cpu.cfs_period_us"), &PERIOD_USEC.to_string())?;
        let quota = millis.saturating_mul(PERIOD_USEC) / 1000;
        write(&dir.join("cpu.cfs_quota_us"), &quota.to_string())?;
    }
    Ok(())
}

fn limit_v2(dir: &Path, limits: &Limits) -> Result<(), Error> {
    let has = |file: &str| dir.join(file).exists();
    if let Some(bytes) = limits.memory_bytes.filter(|_| has("memory.max")) {
        write(&dir.join("memory.max"), &bytes.to_string())?;
        drop(write(&dir.join("memory.swap.max"), "0"));
    }
    if let Some(millis) = limits.cpu_millis.filter(|_| has("cpu.max")) {
        let quota = millis.saturating_mul(PERIOD_USEC) / 1000;
        write(&dir.join("cpu.max"), &format!("{quota} {PERIOD_USEC}"))?;
    }
    Ok(())
}

fn distinct(dirs: &BTreeMap<String, PathBuf>) -> impl Iterator<Item = &PathBuf> {
    let mut all: Vec<_> = dirs.values().collect();
    all.sort();
    all.dedup();
    all.into_iter()
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn field(path: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let mut pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.find(|(name, _)| *name == key)?.1.trim().parse().ok()
}
