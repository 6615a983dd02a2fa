//! Accounting of the directories in which an engine makes the groups of its containers: the kernel
//! keeps there what removed groups have used, so that the final values of a nested container that
//! were missed, even of one that was over before it was seen, follow as those of a pod's container
//! do from the pod.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use ephemon_cgroup::{Files, Hierarchy, cpu_ns};
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
        let others = self.foreign.iter().chain(&self.pending);
        let others: Vec<&PathBuf> = others.filter(|group| group.starts_with(path)).collect();
        let is_overfull = self.overfull.iter().any(|directory| directory.starts_with(path));
        if is_overfull || others.len() > MAX_OTHERS_READ {
            return None;
        }
        let mut known = living.clone();
        for group in others {
            known.add(&Additive::of_cpu(cpu_ns(hierarchy, group, buffer)?));
        }
        Some(known)
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
mod tests {
    use super::*;

    struct Rig {
        root: tempfile::TempDir,
        engines: EnginesDirectories,
    }

    impl Rig {
        fn new() -> Self {
            Self { root: tempfile::tempdir().unwrap(), engines: EnginesDirectories::default() }
        }

        fn hierarchy(&self) -> Hierarchy {
            Hierarchy::V2 { root: self.root.path().to_owned() }
        }

        fn uses(&self, path: &str, usec: u64) {
            let directory = self.root.path().join(path);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("cpu.stat"), format!("usage_usec {usec}\n")).unwrap();
        }

        fn open(&mut self, path: &str, from_birth: bool, living: u64) {
            let hierarchy = self.hierarchy();
            let path = Path::new(path);
            if self.engines.add(path, from_birth, &hierarchy, &mut Vec::new()) {
                self.engines.open(path, &cpu(living), &hierarchy, &mut Vec::new());
            }
        }

        fn residual(&mut self, path: &str, living: u64) -> Option<u64> {
            let (hierarchy, living) = (self.hierarchy(), cpu(living));
            let path = Path::new(path);
            self.engines.residual(path, &living, &hierarchy, &mut Vec::new())?.cpu_ns()
        }
    }

    fn cpu(usec: u64) -> Additive {
        let mut usage = Usage::default();
        usage.cpu.usage_ns = Some(usec * 1000);
        Additive::of(&usage)
    }

    #[test]
    fn what_is_left_in_an_engines_directory_is_the_missed_ones() {
        let mut rig = Rig::new();
        rig.uses("c/docker", 500);
        rig.open("c/docker", true, 0);
        assert_eq!(rig.residual("c/docker", 100), Some(400_000), "of its birth on");
        rig.engines.settle(Path::new("c/docker/buildkit"), &cpu(300));
        assert_eq!(rig.residual("c/docker", 100), Some(100_000));
        rig.uses("d/docker", 500);
        rig.open("d/docker", false, 20);
        rig.uses("d/docker", 700);
        assert_eq!(rig.residual("d/docker", 20), Some(200_000), "what was before is nobody's");
        assert_eq!(rig.residual("e/docker", 0), None);
    }

    #[test]
    fn what_others_in_the_directory_use_is_taken_off() {
        let mut rig = Rig::new();
        rig.uses("docker", 500);
        rig.open("docker", true, 0);
        rig.uses("docker/x", 70);
        rig.uses("docker/buildkit/y", 30);
        rig.engines.set_pending(vec![PathBuf::from("docker/x")]);
        rig.engines.is_foreign(PathBuf::from("docker/buildkit/y"));
        assert_eq!(rig.residual("docker", 100), Some(300_000));
        rig.engines.is_captured(Path::new("docker/x"));
        assert_eq!(rig.residual("docker", 170), Some(300_000), "it is one of the living now");
        rig.uses("c/docker", 500);
        rig.open("c/docker", true, 0);
        assert_eq!(rig.residual("c/docker", 0), Some(500_000), "in another directory");
        fs::remove_dir_all(rig.root.path().join("docker/buildkit")).unwrap();
        assert_eq!(rig.residual("docker", 170), None, "nobody says what it has used");
    }

    #[test]
    fn once_the_last_other_is_gone_the_directory_is_its_containers_again() {
        let mut rig = Rig::new();
        let hierarchy = rig.hierarchy();
        rig.uses("docker", 500);
        rig.open("docker", true, 0);
        // One of which an event was seen, and one of which none was.
        for is_seen in [true, false] {
            let group = PathBuf::from("docker/x");
            rig.uses("docker/x", 70);
            rig.engines.is_foreign(group.clone());
            fs::remove_dir_all(rig.root.path().join(&group)).unwrap();
            if is_seen {
                rig.engines.is_gone(&group);
            }
            assert_eq!(
                rig.engines.disturbed(&hierarchy, &HashSet::new()),
                [PathBuf::from("docker")]
            );
            assert_eq!(rig.residual("docker", 100), None, "its use is in the directory's counter");
            rig.uses("docker", 700);
            let living = cpu(150);
            rig.engines.open(Path::new("docker"), &living, &hierarchy, &mut Vec::new());
            assert!(rig.engines.disturbed(&hierarchy, &HashSet::new()).is_empty());
            rig.uses("docker", 900);
            assert_eq!(rig.residual("docker", 160), Some(190_000));
        }
    }

    #[test]
    fn without_room_for_names_nothing_follows_in_that_directory_until_all_are_known() {
        let mut rig = Rig::new();
        let hierarchy = rig.hierarchy();
        for path in ["docker", "c/docker"] {
            rig.uses(path, 500);
            rig.open(path, true, 0);
        }
        let group = |number: usize| PathBuf::from(format!("docker/{number:064x}"));
        (0..MAX_OTHERS).for_each(|number| rig.engines.is_foreign(format!("x/{number}").into()));
        for number in 0..3 {
            rig.uses(group(number).to_str().unwrap(), 10);
            // Each listing reports them again.
            (0..2).for_each(|_| rig.engines.is_foreign(group(number)));
        }
        assert_eq!(rig.residual("docker", 0), None);
        assert_eq!(rig.residual("c/docker", 0), Some(500_000), "in another directory");
        // The named are gone, of which no event is seen; one of the further ones is held.
        let held = group(0);
        let disturbed = rig.engines.disturbed(&hierarchy, &HashSet::from([&*held]));
        assert_eq!(disturbed, [PathBuf::from("docker")]);
        rig.engines.open(Path::new("docker"), &cpu(10), &hierarchy, &mut Vec::new());
        rig.uses("docker", 600);
        assert_eq!(rig.residual("docker", 10), Some(100_000));
        for number in 0..=MAX_OTHERS_READ {
            rig.uses(&format!("docker/{number}"), 1);
            rig.engines.is_foreign(PathBuf::from(format!("docker/{number}")));
        }
        assert_eq!(rig.residual("docker", 0), None, "too many to be read for one");
    }

    #[test]
    fn an_overfull_directory_that_is_removed_is_forgotten() {
        let mut rig = Rig::new();
        let hierarchy = rig.hierarchy();
        (0..=MAX_OTHERS)
            .for_each(|number| rig.engines.is_foreign(format!("docker/{number}").into()));
        rig.engines.disturbed(&hierarchy, &HashSet::new());
        assert!(rig.engines.overfull.is_empty());
    }
}
