//! A container's log directory: what lies in it, opened so that no link and no device is followed.
//!
//! Directories are entered step by step from `/var/log/pods`: whoever can write below it cannot
//! lead the agent, which may read everything, to another place.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, readlinkat, statat};
use rustix::io::Errno;

/// Most names taken from one directory; what lies beyond is not the kubelet's doing.
pub(super) const MAX_ENTRIES: usize = 20_000;

/// An open directory.
#[derive(Debug)]
pub(super) struct Directory(OwnedFd);

/// A file's name, and the inode that the directory says it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) inode: u64,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Link,
    /// A directory, a pipe, a device.
    Other,
}

// === impl Directory ===

impl Directory {
    /// Opens `/var/log/pods`, or where links may lead: it may itself be a link to where the node
    /// keeps it.
    pub(super) fn root(path: &Path) -> io::Result<Self> {
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

    /// What a name stands for; `None` if there is no such name.
    pub(super) fn kind(&self, name: &str) -> io::Result<Option<Kind>> {
        match statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(status) => Ok(Some(match FileType::from_raw_mode(status.st_mode) {
                FileType::RegularFile => Kind::File,
                FileType::Symlink => Kind::Link,
                _ => Kind::Other,
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The text of a link, which is not followed.
    pub(super) fn link(&self, name: &str) -> io::Result<PathBuf> {
        let text = readlinkat(&self.0, name, Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(text.into_bytes())))
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
