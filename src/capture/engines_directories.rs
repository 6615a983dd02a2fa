//! Accounting of the directories in which an engine makes the groups of its containers: the kernel
//! keeps there what removed groups have used, so that the final values of a nested container that
//! were missed, even of one that was over before it was seen, follow as those of a pod's container
//! do from the pod.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use ephemon_cgroup::{Files, Hierarchy, cpu_ns, nested_name};
use ephemon_discovery::cgroups::holds_processes;
use ephemon_model::Usage;

use super::additive::Additive;
use super::ledger::Ledger;

/// Most directories whose accounting is kept; a nested container in a further one whose end is
/// missed keeps its last sample.
const MAX_DIRECTORIES: usize = 128;
/// Most groups of no captured container that are known by name.
const MAX_OTHERS: usize = 1024;
/// Most directories with further ones that are known: of as many, events are reported at once.
const MAX_OVERFULL: usize = 1024;
/// Most names that are read at once to know the further ones.
const MAX_LISTED: usize = 4096;
/// Most of them in one directory that are read for one remainder.
const MAX_OTHERS_READ: usize = 64;

/// The directories, by their paths below the watched root.
#[derive(Debug, Default)]
pub(crate) struct EnginesDirectories {
    directories: HashMap<PathBuf, Directory>,
    /// Groups in such directories whose container is not captured.
    foreign: HashSet<PathBuf>,
    /// Directories with such groups that are not known by name: of these no remainder is anybody's.
    overfull: HashSet<PathBuf>,
    /// Groups whose container is not known yet.
    pending: Vec<PathBuf>,
}

#[derive(Debug)]
struct Directory {
    files: Files,
    ledger: Ledger,
    /// Since the baseline was set something was used that nobody accounts for.
    is_disturbed: bool,
}

// === impl EnginesDirectories ===

impl EnginesDirectories {
    /// A container was found in the directory. Returns whether its baseline is to be set.
    pub(crate) fn add(
        &mut self,
        path: &Path,
        from_birth: bool,
        hierarchy: &Hierarchy,
        buffer: &mut Vec<u8>,
    ) -> bool {
        // A directory that was removed and made again is another one.
        if self.directories.get_mut(path).is_some_and(|held| held.read(buffer).is_none()) {
            self.directories.remove(path);
        }
        if !self.directories.contains_key(path) {
            // Those that were removed meanwhile make room.
            if self.directories.len() >= MAX_DIRECTORIES {
                self.directories.retain(|_, directory| directory.read(buffer).is_some());
            }
            if self.directories.len() >= MAX_DIRECTORIES {
                return false;
            }
            let files = Files::open(hierarchy, path);
            let ledger = if from_birth { Ledger::from_birth() } else { Ledger::from_now() };
            let is_disturbed = !from_birth;
            self.directories.insert(path.to_owned(), Directory { files, ledger, is_disturbed });
        }
        self.directories.get(path).is_some_and(|directory| !directory.ledger.is_open())
    }

    /// Sets the baseline, unless a group in the directory cannot be read now. `living`: Σ of the
    /// containers in it that are held.
    pub(crate) fn open(
        &mut self,
        path: &Path,
        living: &Additive,
        hierarchy: &Hierarchy,
        buffer: &mut Vec<u8>,
    ) {
        let Some(known) = self.with_others(path, living, hierarchy, buffer) else { return };
        let Some(directory) = self.directories.get_mut(path) else { return };
        if let Some(own) = directory.read(buffer) {
            directory.ledger = Ledger::from_now();
            directory.ledger.open(&own, &known);
            directory.is_disturbed = false;
        }
    }

    /// There is a group in such a directory whose container is not captured.
    pub(crate) fn is_foreign(&mut self, group: PathBuf) {
        if self.foreign.len() < MAX_OTHERS {
            self.foreign.insert(group);
        } else if !self.foreign.contains(&group)
            && self.overfull.len() < MAX_OVERFULL
            && let Some(directory) = group.parent()
        {
            self.overfull.insert(directory.to_owned());
        }
    }

    /// A group in such a directory was removed whose container was not captured: what it had used stays
    /// in the directory's counter.
    pub(crate) fn is_gone(&mut self, group: &Path) {
        self.foreign.remove(group);
        self.disturb(group);
    }

    /// At this path, or below it, something was used that nobody accounts for.
    pub(crate) fn disturb(&mut self, path: &Path) {
        for above in path.ancestors() {
            if let Some(directory) = self.directories.get_mut(above) {
                directory.is_disturbed = true;
            }
        }
    }

    /// How many containers of no pod are in the directory.
    pub(crate) fn others_of_nobody(&self, directory: &Path) -> u64 {
        let others = self.foreign.iter().filter(|group| {
            let is_monitors = nested_name::is_monitors(group);
            group.parent() == Some(directory) && !is_monitors && !self.pending.contains(group)
        });
        others.count() as u64
    }

    /// These groups are waiting for whose they are.
    pub(crate) fn set_pending(&mut self, groups: Vec<PathBuf>) {
        self.pending = groups;
    }

    /// A group's container is held from now on.
    pub(crate) fn is_captured(&mut self, group: &Path) {
        self.pending.retain(|pending| pending != group);
        self.foreign.remove(group);
    }

    /// The directories whose baseline is to be set again. `held`: groups whose container is held.
    pub(crate) fn disturbed(
        &mut self,
        hierarchy: &Hierarchy,
        held: &HashSet<&Path>,
    ) -> Vec<PathBuf> {
        let root = hierarchy.watched_root().unwrap_or(Path::new("/"));
        // Of these no event was seen.
        let gone: Vec<PathBuf> =
            self.foreign.iter().filter(|group| !root.join(group).is_dir()).cloned().collect();
        for group in gone {
            self.foreign.remove(&group);
            self.disturb(&group);
        }
        self.name_others(root, held);
        let disturbed = self.directories.iter().filter(|(_, directory)| directory.is_disturbed);
        disturbed.map(|(path, _)| path.clone()).collect()
    }

    /// Reads the names in overfull directories. Those of which all are known now, or that are gone, are
    /// overfull no more.
    fn name_others(&mut self, root: &Path, held: &HashSet<&Path>) {
        let mut unread = MAX_LISTED;
        for directory in self.overfull.clone() {
            let mut others = HashSet::new();
            // An error: it is gone, and what is in it with it.
            for entry in fs::read_dir(root.join(&directory)).into_iter().flatten() {
                let Some(left) = unread.checked_sub(1) else { return };
                unread = left;
                let Ok(entry) = entry else { continue };
                let group = directory.join(entry.file_name());
                let is_known = held.contains(&*group) || self.pending.contains(&group);
                if !is_known && holds_processes(&group) {
                    others.insert(group);
                }
            }
            others.retain(|group| !self.foreign.contains(group));
            if self.foreign.len() + others.len() <= MAX_OTHERS {
                self.foreign.extend(others);
                self.overfull.remove(&directory);
                self.disturb(&directory);
            }
        }
    }

    /// Whether a remainder in the directory may tell what a container used, before anything is read.
    pub(crate) fn tells(&self, path: &Path) -> bool {
        let directory = self.directories.get(path);
        directory.is_some_and(|directory| !directory.is_disturbed && directory.ledger.is_open())
            && self.others(path).is_some()
    }

    /// What was used in the directory and no container accounts for. `None` if it is gone, or the
    /// remainder may be another container's.
    pub(crate) fn residual(
        &mut self,
        path: &Path,
        living: &Additive,
        hierarchy: &Hierarchy,
        buffer: &mut Vec<u8>,
    ) -> Option<Additive> {
        let known = self.with_others(path, living, hierarchy, buffer)?;
        let directory = self.directories.get_mut(path).filter(|one| !one.is_disturbed)?;
        let own = directory.read(buffer)?;
        directory.ledger.residual(&own, &known)
    }

    /// Adds what the groups in the directory have used whose container is not captured. `None` if that
    /// is not known.
    fn with_others(
        &self,
        path: &Path,
        living: &Additive,
        hierarchy: &Hierarchy,
        buffer: &mut Vec<u8>,
    ) -> Option<Additive> {
        let mut known = living.clone();
        for group in self.others(path)? {
            known.add(&Additive::of_cpu(cpu_ns(hierarchy, group, buffer)?));
        }
        Some(known)
    }

    /// The groups in the directory whose container is not captured. `None` if not all are known, or they
    /// are too many.
    fn others(&self, path: &Path) -> Option<Vec<&PathBuf>> {
        if self.overfull.iter().any(|directory| directory.starts_with(path)) {
            return None;
        }
        let others = self.foreign.iter().chain(&self.pending);
        let others = others.filter(|group| group.starts_with(path));
        let others: Vec<&PathBuf> = others.take(MAX_OTHERS_READ + 1).collect();
        (others.len() <= MAX_OTHERS_READ).then_some(others)
    }

    /// Adds a final reading of a container in this directory.
    pub(crate) fn settle(&mut self, path: &Path, last: &Additive) {
        for above in path.ancestors() {
            if let Some(directory) = self.directories.get_mut(above) {
                directory.ledger.settle(last);
            }
        }
    }

    /// Removes a final reading, because the container has a process again.
    pub(crate) fn unsettle(&mut self, path: &Path, last: &Additive) {
        for above in path.ancestors() {
            if let Some(directory) = self.directories.get_mut(above) {
                directory.ledger.unsettle(last);
            }
        }
    }
}

// === impl Directory ===

impl Directory {
    /// `None`: it was removed.
    fn read(&mut self, buffer: &mut Vec<u8>) -> Option<Additive> {
        let mut usage = Usage::default();
        self.files.reopen();
        self.files.read(&mut usage, buffer).ok()?;
        usage.cpu.usage_ns?;
        Some(Additive::of(&usage))
    }
}

#[cfg(test)]
mod tests;
