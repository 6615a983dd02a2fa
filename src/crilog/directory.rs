//! A container's log directory: what lies in it, opened so that no link and no device is followed.
//!
//! Directories are entered step by step from `/var/log/pods`: whoever can write below it cannot
//! lead the agent, which may read everything, to another place.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ephemon_discovery::logs::names;
use ephemon_discovery::logs::names::RotatedLog;
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, openat, statat};
use rustix::io::Errno;

/// Most names taken from one directory; what lies beyond is not the kubelet's doing.
const MAX_ENTRIES: usize = 20_000;

/// An open directory.
#[derive(Debug)]
pub(super) struct Directory(OwnedFd);

/// A rotated file's name, and the inode that the directory says it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) inode: u64,
}

// === impl Directory ===

impl Directory {
    /// Opens `/var/log/pods`, which may itself be a link to where the node keeps it.
    pub(super) fn pods(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Self(openat(CWD, path, flags, Mode::empty())?))
    }

    /// Opens a directory in this one, unless it is a link.
    pub(super) fn enter(&self, name: &str) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Self(openat(&self.0, name, flags, Mode::empty())?))
    }

    /// The names in it, up to a bound.
    pub(super) fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in Dir::read_from(&self.0)?.take(MAX_ENTRIES) {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name != "." && name != ".." {
                entries.push(Entry { name: name.to_owned(), inode: entry.ino() });
            }
        }
        Ok(entries)
    }

    /// The rotated files of one start of the container, oldest first. Where compressing was cut
    /// off and both forms are there, the plain one.
    pub(super) fn rotated(&self, attempt: u32) -> io::Result<Vec<(Entry, bool)>> {
        let mut rotated: Vec<(String, bool, Entry)> = Vec::new();
        for entry in self.entries()? {
            if let Some(RotatedLog { attempt: of, time, packed }) = names::rotated_log(&entry.name)
                && of == attempt
            {
                rotated.push((time.to_owned(), packed, entry.clone()));
            }
        }
        rotated.sort_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)));
        rotated.dedup_by(|later, earlier| later.0 == earlier.0);
        Ok(rotated.into_iter().map(|(_, packed, entry)| (entry, packed)).collect())
    }

    /// Opens a regular file for reading. `None`: it is something else, which is never opened for
    /// good: a link, a pipe, a device.
    pub(super) fn file(&self, name: &str) -> io::Result<Option<File>> {
        // Not blocking: to open a pipe would otherwise wait for its writer.
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match openat(&self.0, name, flags, Mode::empty()) {
            Ok(fd) => {
                let file = File::from(fd);
                Ok(file.metadata()?.is_file().then_some(file))
            }
            Err(Errno::LOOP | Errno::NXIO | Errno::ISDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Inode and size of a name that is not opened.
    pub(super) fn status(&self, name: &str) -> Option<(u64, u64)> {
        let status = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some((status.st_ino, u64::try_from(status.st_size).ok()?))
    }
}

/// Device and inode of an open file.
pub(super) fn identity(file: &File) -> io::Result<(u64, u64)> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}
