//! Modes of files in a directory that jobs can write to, as root for most of them.
//!
//! A job can put a link, a second name or a device in the place of anything there, also between two
//! looks. So each step of a path is opened by itself, no link is followed, nothing is opened but as a
//! place (`O_PATH`: no device is driven, no pipe is waited for), and what is changed is what was
//! looked at.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, chmodat, fstat, openat};
use rustix::process::geteuid;

/// A place, whatever becomes of its name.
#[derive(Debug)]
pub(super) struct Held(OwnedFd);

// === impl Held ===

impl Held {
    /// The volume's own directory, which no job can replace.
    pub(super) fn root(path: &Path) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, path, flags, Mode::empty()).ok().map(Self)
    }

    /// A directory below, through directories only.
    pub(super) fn directory(&self, path: &Path) -> Option<Self> {
        let mut held: Option<Self> = None;
        for part in path.components() {
            let Component::Normal(name) = part else { return None };
            let at = held.as_ref().unwrap_or(self);
            held = Some(at.open(name, OFlags::PATH | OFlags::DIRECTORY)?);
        }
        held
    }

    /// At most so many plain files of a directory.
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

    /// Adds these bits, if it is our own and lacks one. What a container made as another user is open
    /// or is its own business.
    pub(super) fn permit(&self, mode: u32) {
        let Ok(stat) = fstat(&self.0) else { return };
        if stat.st_uid != geteuid().as_raw() || stat.st_mode & mode == mode {
            return;
        }
        let mode = Mode::from_raw_mode((stat.st_mode & 0o7777) | mode);
        // The kernel leads from there to this very file, under whatever name it is now (proc(5)).
        // Where /proc is not mounted, the mode stays as it is.
        let path = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        chmodat(CWD, path, mode, AtFlags::empty()).ok();
    }

    fn open(&self, name: impl rustix::path::Arg, flags: OFlags) -> Option<Self> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.0, name, flags, Mode::empty()).ok().map(Self)
    }
}
