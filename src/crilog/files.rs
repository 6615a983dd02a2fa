//! The files of one log by their names: as the kubelet calls them, or as Docker does behind a link.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use ephemon_discovery::logs::names;
use ephemon_discovery::logs::names::RotatedLog;
use ephemon_model::LogRefusal;

use super::directory::{Directory, Entry, Kind, MAX_ENTRIES};
use super::links::{LinkDirectories, Target, rotated};

/// Where the files of one start of a container are.
#[derive(Debug)]
pub(super) enum LogFiles<'a> {
    /// In the container's log directory.
    Kubelet(&'a Directory, u32),
    /// In Docker's own.
    Docker(Directory, Target),
}

/// The rotated files of a log.
#[derive(Debug, Default)]
pub(super) struct Rotated {
    /// Oldest first, each with whether it is compressed.
    pub(super) files: Vec<(Entry, bool)>,
    /// The directory has more names than were looked at.
    pub(super) cut: bool,
}

// === impl LogFiles ===

impl<'a> LogFiles<'a> {
    /// The files of a start, which may lie where its link leads.
    pub(super) fn of(
        directory: &'a Directory,
        attempt: u32,
        links: &LinkDirectories,
    ) -> Result<Self, LogRefusal> {
        let name = format!("{attempt}.log");
        match directory.kind(&name) {
            // Renamed just now, or gone.
            Ok(Some(Kind::File) | None) => Ok(Self::Kubelet(directory, attempt)),
            Ok(Some(Kind::Link)) => {
                let link = directory.link(&name).map_err(|_| LogRefusal::Unreadable)?;
                let target = links.target(&link)?;
                let linked = target.open().map_err(|_| LogRefusal::Unreadable)?;
                match linked.kind(&target.file()) {
                    // Being rotated.
                    Ok(Some(Kind::File) | None) => Ok(Self::Docker(linked, target)),
                    Ok(_) => Err(LogRefusal::Target),
                    Err(_) => Err(LogRefusal::Unreadable),
                }
            }
            Ok(Some(Kind::Other)) => Err(LogRefusal::Target),
            Err(_) => Err(LogRefusal::Unreadable),
        }
    }

    /// Where else than in the container's log directory files of it come and go.
    pub(super) fn elsewhere(&self) -> Option<PathBuf> {
        match self {
            Self::Kubelet(..) => None,
            Self::Docker(_, target) => Some(target.path()),
        }
    }

    /// The file being written; `None` if it is not there.
    pub(super) fn live(&self) -> io::Result<Option<File>> {
        match self.open(&self.live_name()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other,
        }
    }

    /// Inode and size of the file being written, unopened.
    pub(super) fn live_status(&self) -> Option<(u64, u64)> {
        self.status(&self.live_name())
    }

    /// Inode and size of a file, unopened.
    pub(super) fn status(&self, name: &str) -> Option<(u64, u64)> {
        self.directory().status(name)
    }

    /// Opens a file by its name; `None`: it is no regular file.
    pub(super) fn open(&self, name: &str) -> io::Result<Option<File>> {
        self.directory().file(name)
    }

    /// The rotated files. Where compressing was cut off, or is being done, and both forms are there,
    /// the plain one.
    pub(super) fn rotated(&self) -> io::Result<Rotated> {
        let entries = self.directory().entries()?;
        let cut = entries.len() >= MAX_ENTRIES;
        let mut files = match self {
            Self::Kubelet(_, attempt) => {
                oldest_first(entries, |name| match names::rotated_log(name)? {
                    RotatedLog { attempt: of, time, packed } if of == *attempt => {
                        Some((time.to_owned(), packed))
                    }
                    _ => None,
                })
            }
            Self::Docker(_, target) => {
                let live = target.file();
                oldest_first(entries, |name| {
                    let (number, packed) = rotated(name, &live)?;
                    Some((u32::MAX - number, packed))
                })
            }
        };
        files.shrink_to_fit();
        Ok(Rotated { files, cut })
    }

    fn directory(&self) -> &Directory {
        match self {
            Self::Kubelet(directory, _) => directory,
            Self::Docker(directory, _) => directory,
        }
    }

    fn live_name(&self) -> String {
        match self {
            Self::Kubelet(_, attempt) => format!("{attempt}.log"),
            Self::Docker(_, target) => target.file(),
        }
    }
}

fn oldest_first<Age: Ord>(
    entries: Vec<Entry>,
    age: impl Fn(&str) -> Option<(Age, bool)>,
) -> Vec<(Entry, bool)> {
    let aged = |entry: Entry| Some((age(&entry.name)?, entry));
    let mut rotated: Vec<((Age, bool), Entry)> = entries.into_iter().filter_map(aged).collect();
    rotated.sort_by(|(one, _), (other, _)| one.cmp(other));
    rotated.dedup_by(|(later, _), (earlier, _)| later.0 == earlier.0);
    rotated.into_iter().map(|((_, packed), entry)| (entry, packed)).collect()
}
