//! Changes modes of files in a directory to which jobs can write, in most cases as root.
//!
//! A job can replace any entry there by a link, a second hard link or a device at any time. So each
//! part of a path is opened separately, no link is followed, and files are opened with `O_PATH`
//! only (which neither accesses devices nor waits for pipes), so that the checked file is the one
//! that is changed.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, chmodat, fstat, openat};
use rustix::process::geteuid;

/// A file or directory, independent of later changes of its name.
#[derive(Debug)]
pub(super) struct Held(OwnedFd);

// === impl Held ===

impl Held {
    /// The root directory of the volume, which jobs cannot replace.
    pub(super) fn root(path: &Path) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, path, flags, Mode::empty()).ok().map(Self)
    }

    /// A directory below it; each part of the path must be a directory.
    pub(super) fn directory(&self, path: &Path) -> Option<Self> {
        let mut held: Option<Self> = None;
        for part in path.components() {
            let Component::Normal(name) = part else { return None };
            let at = held.as_ref().unwrap_or(self);
            held = Some(at.open(name, OFlags::PATH | OFlags::DIRECTORY)?);
        }
        held
    }

    /// The regular files of a directory, at most `most`.
    pub(super) fn files(&self, most: usize) -> impl Iterator<Item = Self> {
        let directory = self.open(".", OFlags::RDONLY | OFlags::DIRECTORY);
        let entries = directory.and_then(|directory| Dir::new(directory.0).ok());
        let entries = entries.into_iter().flatten().flatten().take(most);
        entries.filter_map(|entry| self.open(entry.file_name(), OFlags::PATH)).filter(|file| {
            fstat(&file.0).is_ok_and(|stat| {
                FileType::from_raw_mode(stat.st_mode).is_file() && stat.st_nlink == 1
            })
        })
    }

    /// Adds these mode bits if this user owns the file and one is missing. Files that a container
    /// created as another user are left unchanged.
    pub(super) fn permit(&self, mode: u32) {
        let Ok(stat) = fstat(&self.0) else { return };
        if stat.st_uid != geteuid().as_raw() || stat.st_mode & mode == mode {
            return;
        }
        let mode = Mode::from_raw_mode((stat.st_mode & 0o7777) | mode);
        // The kernel resolves this to exactly this file, whatever its name is now (proc(5)). If
        // /proc is not mounted, the mode is not changed.
        let path = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        chmodat(CWD, path, mode, AtFlags::empty()).ok();
    }

    fn open(&self, name: impl rustix::path::Arg, flags: OFlags) -> Option<Self> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.0, name, flags, Mode::empty()).ok().map(Self)
    }
}
