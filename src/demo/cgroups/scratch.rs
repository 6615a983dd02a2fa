//! A tree of plain files in the format of cgroup version 2, for machines where cgroups cannot be
//! written.
//!
//! `CgroupWriter` writes one container's files and its pod's sums. As in the kernel, the pod's
//! counters are never behind its containers': they are written first, under a lock that all
//! containers share.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::kernel::failed;
use super::{Error, Qos};

/// The content of the kernel's root directory.
const CONTROLLERS: &str = "cpu io memory pids\n";

/// The tree's root, which replaces `/sys/fs/cgroup`.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    ledgers: PathBuf,
}

/// What one container, or a whole pod, used. Counters start at its creation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    pub(crate) user_usec: u64,
    pub(crate) system_usec: u64,
    pub(crate) anon_bytes: u64,
    pub(crate) file_bytes: u64,
    pub(crate) memory_peak_bytes: u64,
    pub(crate) minor_faults: u64,
    pub(crate) major_faults: u64,
    pub(crate) read_bytes: u64,
    pub(crate) write_bytes: u64,
    pub(crate) pids: u64,
    pub(crate) pids_peak: u64,
}

/// Writes one container's files.
#[derive(Debug)]
pub(crate) struct CgroupWriter {
    dir: PathBuf,
    ledger: PathBuf,
    device: String,
}

// === impl Tree ===

impl Tree {
    pub(super) fn open(at: &Path, base: &str) -> Result<Self, Error> {
        let tree = Self { root: at.join("cgroup"), ledgers: at.join("ledgers") };
        let kubepods = tree.root.join(base).join("kubepods");
        for qos in [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort] {
            let dir = kubepods.join(qos.directory());
            fs::create_dir_all(&dir).map_err(|e| failed("create", &dir, e))?;
        }
        for file in ["cgroup.controllers", "cgroup.subtree_control"] {
            let path = tree.root.join(file);
            fs::write(&path, CONTROLLERS).map_err(|e| failed("write", &path, e))?;
        }
        let path = tree.root.join("cgroup.procs");
        fs::write(&path, "").map_err(|e| failed("write", &path, e))?;
        Ok(tree)
    }

    pub(super) fn mount(&self) -> &Path {
        &self.root
    }

    /// A group's directory, and where its pod's containers record what they used.
    pub(super) fn directories(&self, relative: &str) -> (PathBuf, PathBuf) {
        let pod = relative.rsplit('/').next().unwrap_or(relative);
        (self.root.join(relative), self.ledgers.join(pod))
    }

    pub(super) fn close(&self) {
        // It is below a temporary directory that is removed with the node.
        drop(fs::remove_dir_all(&self.root));
        drop(fs::remove_dir_all(&self.ledgers));
    }
}

/// Creates a directory with the files of a new cgroup.
pub(super) fn make(dir: &Path, ledger: &Path) -> Result<(), Error> {
    fs::create_dir_all(ledger).map_err(|e| failed("create", ledger, e))?;
    // First the files, then the name, so that whoever sees the directory finds them in it.
    let hidden = ledger.join("new");
    let make = || -> io::Result<()> {
        fs::create_dir_all(&hidden)?;
        fs::write(hidden.join("cgroup.controllers"), CONTROLLERS)?;
        fs::write(hidden.join("cgroup.subtree_control"), "")?;
        fs::write(hidden.join("memory.max"), "max\n")?;
        fs::write(hidden.join("pids.max"), "max\n")?;
        write_files(&hidden, &Counters::default(), "0:0")?;
        fs::write(hidden.join("cgroup.procs"), "")?;
        fs::write(hidden.join("cgroup.events"), "populated 0\nfrozen 0\n")?;
        fs::rename(&hidden, dir)
    };
    make().map_err(|e| failed("create", dir, e))
}

/// Removes a directory with its files.
pub(super) fn remove(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.raw_os_error() != Some(Errno::NOENT.raw_os_error()) => {
            Err(failed("remove", dir, e))
        }
        _ => Ok(()),
    }
}

// === impl CgroupWriter ===

impl CgroupWriter {
    pub(crate) fn new(dir: &Path, ledger: &Path) -> Self {
        use std::os::unix::fs::MetadataExt;
        let device = fs::metadata(dir).map_or(0, |metadata| metadata.dev());
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        Self { dir: dir.to_owned(), ledger: ledger.to_owned(), device: format!("{major}:{minor}") }
    }

    /// Writes new values: the pod's sums, then the container's own, then whether it is populated.
    pub(crate) fn enter(&self, own: &Counters, procs: &str) -> io::Result<()> {
        let pod_dir = self.dir.parent().unwrap_or(&self.dir);
        let id = self.dir.file_name().unwrap_or_default();
        let populated = !procs.is_empty();
        let lock = File::create(self.ledger.join("lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let mut entry = id.to_owned();
        entry.push(".json");
        fs::write(self.ledger.join(entry), serde_json::to_vec(own)?)?;
        let pod = self.sum()?;
        write_files(pod_dir, &pod, &self.device)?;
        rewrite(&pod_dir.join("cgroup.events"), &events(pod.pids > 0))?;
        write_files(&self.dir, own, &self.device)?;
        rewrite(&self.dir.join("cgroup.procs"), procs)?;
        rewrite(&self.dir.join("cgroup.events"), &events(populated))
    }

    fn sum(&self) -> io::Result<Counters> {
        let total = self.ledger.join("pod");
        let read = |path: &Path| -> Option<Counters> {
            serde_json::from_slice(&fs::read(path).ok()?).ok()
        };
        let mut sum = Counters::default();
        for entry in fs::read_dir(&self.ledger)?.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "json")
                && let Some(one) = read(&path)
            {
                sum = sum.plus(&one);
            }
        }
        let before = read(&total).unwrap_or_default();
        let now = sum.anon_bytes.saturating_add(sum.file_bytes);
        sum.memory_peak_bytes = before.memory_peak_bytes.max(now);
        sum.pids_peak = before.pids_peak.max(sum.pids);
        fs::write(total, serde_json::to_vec(&sum)?)?;
        Ok(sum)
    }
}

// === impl Counters ===

impl Counters {
    fn plus(&self, other: &Self) -> Self {
        Self {
            user_usec: self.user_usec.saturating_add(other.user_usec),
            system_usec: self.system_usec.saturating_add(other.system_usec),
            anon_bytes: self.anon_bytes.saturating_add(other.anon_bytes),
            file_bytes: self.file_bytes.saturating_add(other.file_bytes),
            memory_peak_bytes: self.memory_peak_bytes.max(other.memory_peak_bytes),
            minor_faults: self.minor_faults.saturating_add(other.minor_faults),
            major_faults: self.major_faults.saturating_add(other.major_faults),
            read_bytes: self.read_bytes.saturating_add(other.read_bytes),
            write_bytes: self.write_bytes.saturating_add(other.write_bytes),
            pids: self.pids.saturating_add(other.pids),
            pids_peak: self.pids_peak.max(other.pids_peak),
        }
    }
}

fn events(populated: bool) -> String {
    format!("populated {}\nfrozen 0\n", u8::from(populated))
}

fn write_files(dir: &Path, counters: &Counters, device: &str) -> io::Result<()> {
    let c = counters;
    let usage = c.user_usec.saturating_add(c.system_usec);
    let memory = c.anon_bytes.saturating_add(c.file_bytes);
    let faults = c.minor_faults.saturating_add(c.major_faults);
    let io = if c.read_bytes == 0 && c.write_bytes == 0 {
        String::new()
    } else {
        format!("{device} rbytes={} wbytes={}\n", c.read_bytes, c.write_bytes)
    };
    let files = [
        (
            "cpu.stat",
            format!(
                "usage_usec {usage}\nuser_usec {}\nsystem_usec {}\n",
                c.user_usec, c.system_usec
            ),
        ),
        ("memory.current", format!("{memory}\n")),
        ("memory.peak", format!("{}\n", c.memory_peak_bytes)),
        (
            "memory.stat",
            format!(
                "anon {}\nfile {}\ninactive_file 0\npgfault {faults}\npgmajfault {}\n",
                c.anon_bytes, c.file_bytes, c.major_faults
            ),
        ),
        ("memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n".to_owned()),
        ("io.stat", io),
        ("pids.current", format!("{}\n", c.pids)),
        ("pids.peak", format!("{}\n", c.pids_peak)),
    ];
    for (name, text) in files {
        rewrite(&dir.join(name), &text)?;
    }
    Ok(())
}

/// Rewrites a file in place, so that descriptors and inotify watches stay valid; does nothing if
/// nothing has changed. One write, then truncation if the text is shorter.
fn rewrite(path: &Path, text: &str) -> io::Result<()> {
    let mut file = match File::options().read(true).write(true).open(path) {
        Err(e) if e.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {
            return File::create(path)?.write_all(text.as_bytes());
        }
        other => other?,
    };
    let before = io::read_to_string(&mut file)?;
    if before == text {
        return Ok(());
    }
    file.write_all_at(text.as_bytes(), 0)?;
    if before.len() > text.len() {
        file.set_len(u64::try_from(text.len()).unwrap_or(u64::MAX))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroups::Place;

    fn used(usec: u64) -> Counters {
        Counters { user_usec: usec, anon_bytes: 4096, pids: 1, ..Counters::default() }
    }

    #[test]
    fn a_pod_is_the_sum_of_its_containers_and_keeps_what_the_dead_used() {
        let at = tempfile::tempdir().unwrap();
        let tree = Tree::open(at.path(), "base").unwrap();
        let (dir, ledger) = tree.directories("base/kubepods/pod1");
        let pod = Place::Scratch { dir, ledger };
        pod.make_pod(&super::super::Limits::default()).unwrap();
        let cgroup_writer = |id: &str| {
            let place = pod.child(id);
            place.make(&super::super::Limits::default()).unwrap();
            let Place::Scratch { dir, ledger } = place.clone() else { unreachable!() };
            (place, CgroupWriter::new(&dir, &ledger))
        };
        let (a, keep_a) = cgroup_writer("a");
        let (_b, keep_b) = cgroup_writer("b");
        keep_a.enter(&used(1_000), "7\n").unwrap();
        keep_b.enter(&used(500), "8\n").unwrap();
        assert_eq!(a.figures().cpu_ns, Some(1_000_000));
        assert_eq!(pod.figures().cpu_ns, Some(1_500_000));
        keep_a.enter(&Counters { pids: 0, anon_bytes: 0, ..used(2_000) }, "").unwrap();
        a.remove().unwrap();
        keep_b.enter(&used(700), "8\n").unwrap();
        assert_eq!(pod.figures().cpu_ns, Some(2_700_000));
        let Place::Scratch { dir, .. } = &pod else { unreachable!() };
        assert_eq!(fs::read_to_string(dir.join("memory.current")).unwrap(), "4096\n");
        assert_eq!(
            fs::read_to_string(dir.join("cgroup.events")).unwrap(),
            "populated 1\nfrozen 0\n"
        );
    }

    #[test]
    fn rewriting_keeps_the_file_and_its_length_right() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        rewrite(&path, "123456\n").unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        rewrite(&path, "12\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "12\n");
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    }
}
