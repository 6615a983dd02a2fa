//! Real cgroups, version 1: one directory in every hierarchy that provides values.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::kernel::{self, can_enter, make, mounts, remove_tree};
use super::place::Place;
use super::{Error, Qos};

/// Controllers that are used if mounted. `cpuset` is not: a new cpuset accepts no process before it
/// is configured, and provides no values.
const WANTED: [&str; 5] = ["cpuacct", "cpu", "memory", "pids", "blkio"];

/// The hierarchies and the directory they are mounted below.
#[derive(Debug)]
pub(super) struct Tree {
    mount: PathBuf,
    /// By controller; controllers of one mount share a directory.
    hierarchies: BTreeMap<&'static str, PathBuf>,
}

// === impl Tree ===

impl Tree {
    pub(super) fn open(binary: &Path, base: &str) -> Result<Self, Error> {
        let mut hierarchies = BTreeMap::new();
        for mount in mounts().iter().filter(|mount| mount.kind == "cgroup") {
            for wanted in WANTED {
                if mount.options.iter().any(|option| option == wanted) {
                    hierarchies.entry(wanted).or_insert_with(|| mount.point.clone());
                }
            }
        }
        let cpuacct = hierarchies.get("cpuacct").ok_or(Error::NotMounted("version 1"))?;
        let mount = cpuacct.parent().unwrap_or(cpuacct).to_owned();
        // The agent expects all hierarchies in one directory.
        hierarchies.retain(|_, dir| dir.parent() == Some(&mount));
        let tree = Self { mount, hierarchies };
        tree.make_base(binary, base).inspect_err(|_| tree.close(base))?;
        Ok(tree)
    }

    pub(super) fn has(&self, controller: &str) -> bool {
        self.hierarchies.contains_key(controller)
    }

    pub(super) fn controllers(&self) -> String {
        let names: Vec<_> = self.hierarchies.keys().copied().collect();
        names.join(", ")
    }

    pub(super) fn mount(&self) -> &Path {
        &self.mount
    }

    pub(super) fn place(&self, relative: &str) -> Place {
        let below =
            |(controller, dir): (&&str, &PathBuf)| ((*controller).to_owned(), dir.join(relative));
        Place::V1 { dirs: self.hierarchies.iter().map(below).collect() }
    }

    pub(super) fn close(&self, base: &str) {
        for dir in self.distinct() {
            remove_tree(&dir.join(base));
        }
    }

    fn make_base(&self, binary: &Path, base: &str) -> Result<(), Error> {
        for hierarchy in self.distinct() {
            let base = hierarchy.join(base);
            make(&base)?;
            let kubepods = base.join("kubepods");
            make(&kubepods)?;
            for qos in [Qos::Burstable, Qos::BestEffort] {
                make(&kubepods.join(qos.directory()))?;
            }
            // Before Linux 5.11 hierarchical accounting of memory had to be enabled.
            drop(kernel::write(&base.join("memory.use_hierarchy"), "1"));
            if !can_enter(binary, &kubepods) {
                return Err(Error::NoEntry(kubepods));
            }
        }
        Ok(())
    }

    fn distinct(&self) -> Vec<&PathBuf> {
        let mut dirs: Vec<_> = self.hierarchies.values().collect();
        dirs.sort();
        dirs.dedup();
        dirs
    }
}
