//! Opens journals in a volume that the job can write to, relative to an open directory: links are
//! not followed, and only regular files of the volume's own file system are opened.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use ephemon_contract::{is_container_name, plain_file};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, fstat, open, openat, statat};
use rustix::io::Errno;

/// The directory of the journals below the volume's root.
pub(crate) const JOURNALS: &str = "journal";
/// Suffix of a journal's name.
const SUFFIX: &str = ".jsonl";
/// Names that are read in one listing; a job can create as many files as it has inodes.
const MAX_NAMES: usize = 4096;

/// A pod's volume, which only the kubelet can have created, as an open directory.
#[derive(Debug)]
pub(crate) struct Volume(OwnedFd);

/// A directory of a pod's volume with a file for each container, kept open, so that it can be read
/// after its name was removed.
#[derive(Debug)]
pub struct Directory {
    root: OwnedFd,
    name: String,
    open: OwnedFd,
}

/// The result of a listing.
#[derive(Debug)]
pub struct Names {
    /// Without the suffix, sorted.
    pub all: Vec<String>,
    /// Whether there are more entries than are read.
    pub cut: bool,
}

/// A file that was just opened.
#[derive(Debug)]
pub struct Opened {
    pub file: File,
}

/// Flags for opening a directory of a volume.
const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

// === impl Volume ===

impl Volume {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(open(path, DIRECTORY, Mode::empty())?))
    }

    /// The directory with this name below its root.
    pub(crate) fn directory(&self, name: &str) -> io::Result<Directory> {
        let Self(root) = self;
        let directory = openat(root, name, DIRECTORY, Mode::empty())?;
        if fstat(&directory)?.st_dev != fstat(root)?.st_dev {
            return Err(io::Error::other("another file system is mounted over it"));
        }
        Ok(Directory { root: root.try_clone()?, name: name.to_owned(), open: directory })
    }

    /// Changes when an entry is added to or removed from its root, like [`Directory::changed`].
    pub(crate) fn changed(&self) -> io::Result<(i64, u64)> {
        changed(&self.0)
    }
}

// === impl Directory ===

impl Directory {
    /// Opens the directory with this name below the volume's root, which only the kubelet can have
    /// created.
    pub fn open(volume: &Path, name: &str) -> io::Result<Self> {
        Volume::open(volume)?.directory(name)
    }

    /// Changes when an entry is added or removed: seconds and nanoseconds, as set by the kernel.
    /// Not `st_mtime`, which the owner of the directory can set to any time.
    pub(crate) fn changed(&self) -> io::Result<(i64, u64)> {
        changed(&self.open)
    }

    /// Whether another file has the name with which the directory was opened. After the kubelet has
    /// removed the volume, none has.
    pub fn is_replaced(&self) -> io::Result<bool> {
        let Self { root, name, open } = self;
        match statat(root, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(now) => {
                let own = fstat(open)?;
                Ok((now.st_dev, now.st_ino) != (own.st_dev, own.st_ino))
            }
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Names of journals; others are ignored. Empty if the directory was removed.
    pub fn names(&self) -> io::Result<Names> {
        let (mut all, mut cut) = (Vec::new(), false);
        for (count, entry) in Dir::read_from(&self.open)?.enumerate() {
            if count >= MAX_NAMES {
                cut = true;
                break;
            }
            let entry = match entry {
                Err(Errno::NOENT) => break,
                entry => entry?,
            };
            let name = entry.file_name().to_str().ok().and_then(|name| name.strip_suffix(SUFFIX));
            all.extend(name.filter(|name| is_journal(name)).map(str::to_owned));
        }
        all.sort_unstable();
        Ok(Names { all, cut })
    }

    /// Opens a journal of [`Self::names`].
    pub fn open_journal(&self, name: &str) -> io::Result<Opened> {
        let file = plain_file::read_at(&self.open, &format!("{name}{SUFFIX}"))?;
        Ok(Opened { file })
    }
}

fn changed(directory: &OwnedFd) -> io::Result<(i64, u64)> {
    let stat = fstat(directory)?;
    Ok((stat.st_ctime, stat.st_ctime_nsec))
}

/// A container's name, which is a DNS label, or the hook's own.
fn is_journal(name: &str) -> bool {
    name == super::HOOK || is_container_name(name)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_regular_files_with_a_containers_name_are_opened() {
        let volume = tempfile::tempdir().unwrap();
        let journal = volume.path().join("journal");
        fs::create_dir(&journal).unwrap();
        fs::write(volume.path().join("secret"), "of the host").unwrap();
        symlink("../secret", journal.join("link.jsonl")).unwrap();
        symlink("/dev/zero", journal.join("zero.jsonl")).unwrap();
        fs::create_dir(journal.join("directory.jsonl")).unwrap();
        let (kind, mode) = (rustix::fs::FileType::Fifo, Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, journal.join("pipe.jsonl"), kind, mode, 0).unwrap();
        for name in ["job.jsonl", "_hook.jsonl", "UPPER.jsonl", "a b.jsonl", ".jsonl", "job.txt"] {
            fs::write(journal.join(name), "{}\n").unwrap();
        }
        let directory = Directory::open(volume.path(), JOURNALS).unwrap();
        let names = directory.names().unwrap().all;
        assert_eq!(names, ["_hook", "directory", "job", "link", "pipe", "zero"]);
        let opens = names.iter().filter(|name| directory.open_journal(name).is_ok());
        assert_eq!(opens.collect::<Vec<_>>(), ["_hook", "job"]);
    }

    #[test]
    fn a_link_in_place_of_the_directory_is_not_followed() {
        let volume = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(elsewhere.path(), volume.path().join("journal")).unwrap();
        assert!(Directory::open(volume.path(), JOURNALS).is_err());
    }
}
