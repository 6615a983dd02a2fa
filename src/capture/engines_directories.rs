//! Accounting of the directories in which an engine makes the groups of its containers: the kernel
//! keeps there what removed groups have used, so that the final values of a nested container that
//! were missed, even of one that was over before it was seen, follow as those of a pod's container
//! do from the pod.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use ephemon_cgroup::{Files, Hierarchy};
use ephemon_model::Usage;

use super::additive::Additive;
use super::ledger::Ledger;

/// Most directories whose accounting is kept; a nested container in a further one whose end is
/// missed keeps its last sample.
const MAX_DIRECTORIES: usize = 128;

/// The directories, by their paths below the watched root.
#[derive(Debug, Default)]
pub(crate) struct EnginesDirectories {
    directories: HashMap<PathBuf, Directory>,
    /// Directories with containers that are not captured: a remainder may be theirs.
    shared: HashSet<PathBuf>,
    /// Groups whose container is not known yet: a remainder may be theirs.
    pending: Vec<PathBuf>,
}

#[derive(Debug)]
struct Directory {
    files: Files,
    ledger: Ledger,
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
            self.directories.insert(path.to_owned(), Directory { files, ledger });
        }
        self.directories.get(path).is_some_and(|directory| !directory.ledger.is_open())
    }

    /// Sets the baseline. `living`: Σ of the containers in the directory that are held.
    pub(crate) fn open(&mut self, path: &Path, living: &Additive, buffer: &mut Vec<u8>) {
        let Some(directory) = self.directories.get_mut(path) else { return };
        if let Some(own) = directory.read(buffer) {
            directory.ledger.open(&own, living);
        }
    }

    /// There are containers in the directory that are not captured.
    pub(crate) fn has_foreign(&mut self, path: PathBuf) {
        if self.shared.len() >= MAX_DIRECTORIES {
            // Without room for names, every directory counts as one.
            self.shared.clear();
            self.shared.insert(PathBuf::new());
        } else if !self.shared.contains(Path::new("")) {
            self.shared.insert(path);
        }
    }

    /// These groups are waiting for whose they are.
    pub(crate) fn set_pending(&mut self, groups: Vec<PathBuf>) {
        self.pending = groups;
    }

    /// What was used in the directory and no container accounts for. `None` if it is gone, or the
    /// remainder may be another container's.
    pub(crate) fn residual(
        &mut self,
        path: &Path,
        living: &Additive,
        buffer: &mut Vec<u8>,
    ) -> Option<Additive> {
        let is_shared =
            |shared: &PathBuf| shared.starts_with(path) || shared.as_os_str().is_empty();
        let is_pending = self.pending.iter().any(|group| group.starts_with(path));
        if is_pending || self.shared.iter().any(is_shared) {
            return None;
        }
        let directory = self.directories.get_mut(path)?;
        let own = directory.read(buffer)?;
        directory.ledger.residual(&own, living)
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

        fn uses(&self, path: &str, usec: u64) {
            let directory = self.root.path().join(path);
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join("cpu.stat"), format!("usage_usec {usec}\n")).unwrap();
        }

        fn open(&mut self, path: &str, from_birth: bool, living: u64) {
            let hierarchy = Hierarchy::V2 { root: self.root.path().to_owned() };
            let living = cpu(living);
            let path = Path::new(path);
            if self.engines.add(path, from_birth, &hierarchy, &mut Vec::new()) {
                self.engines.open(path, &living, &mut Vec::new());
            }
        }

        fn residual(&mut self, path: &str, living: u64) -> Option<u64> {
            let living = cpu(living);
            self.engines.residual(Path::new(path), &living, &mut Vec::new())?.cpu_ns()
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
    fn nothing_follows_where_others_are_in_the_directory_too() {
        let mut rig = Rig::new();
        rig.uses("docker", 500);
        rig.open("docker", true, 0);
        rig.engines.set_pending(vec![PathBuf::from("docker/x")]);
        assert_eq!(rig.residual("docker", 0), None);
        rig.engines.set_pending(Vec::new());
        assert_eq!(rig.residual("docker", 0), Some(500_000));
        rig.engines.has_foreign(PathBuf::from("docker/buildkit"));
        assert_eq!(rig.residual("docker", 0), None);
        rig.uses("c/docker", 500);
        rig.open("c/docker", true, 0);
        assert_eq!(rig.residual("c/docker", 0), Some(500_000));
        for number in 0..=MAX_DIRECTORIES {
            rig.engines.has_foreign(PathBuf::from(format!("x/{number}")));
        }
        assert_eq!(rig.residual("c/docker", 0), None, "without room for names none is trusted");
    }
}
