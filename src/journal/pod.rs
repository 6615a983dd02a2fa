//! The journals of one pod: whether it has any, which are open, and the positions of the readers.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use ephemon_contract::Record;
use ephemon_self_metrics::{Reason, SelfMetrics, Signal};

use super::file::Journal;
use super::volume::{Directory, JOURNALS, Volume};

/// Names in one pod that are not journals, remembered so that each is counted once.
const MAX_REFUSED: usize = 64;

/// Modification time of a directory.
type Changed = (i64, u64);

/// The journals of one pod.
#[derive(Debug, Default)]
pub(super) struct Pod {
    place: Place,
    /// Modification time of the directory at the last listing.
    pub(super) listed: Option<Changed>,
    journals: BTreeMap<Arc<str>, Journal>,
    /// The readers that want it, each with the journal that was read last when the pod's turn
    /// ended: the others are read first.
    wanted: BTreeMap<usize, Option<Arc<str>>>,
    /// Names that are not journals and were counted.
    refused: HashSet<String>,
    crowded: bool,
}

/// Where the journals are.
#[derive(Debug, Default)]
enum Place {
    /// Unknown since the pod has changed.
    #[default]
    Unknown,
    /// The pod has no volume of the hook.
    None,
    /// The volume, and the modification time of its root when it contained no journals.
    Volume(Volume, Option<Changed>),
    /// The directory of journals.
    Directory(Directory),
}

// === impl Pod ===

impl Pod {
    /// Journals that are known.
    pub(super) fn files(&self) -> usize {
        self.journals.len()
    }

    /// Adds a reader that wants it.
    pub(super) fn want(&mut self, reader: usize) {
        self.wanted.entry(reader).or_default();
    }

    pub(super) fn is_wanted_by(&self, reader: usize) -> bool {
        self.wanted.contains_key(&reader)
    }

    /// Removes a reader, which starts from the beginning if it wants the pod again; returns whether
    /// another reader wants it.
    pub(super) fn let_go(&mut self, reader: usize) -> bool {
        if self.wanted.remove(&reader).is_some() {
            self.journals.values_mut().for_each(|journal| journal.rewind(reader));
        }
        !self.wanted.is_empty()
    }

    /// Looks again for a volume that did not exist.
    pub(super) fn ask_again(&mut self) {
        if matches!(self.place, Place::None) {
            self.place = Place::Unknown;
        }
    }

    /// Whether the pod has a volume of the hook.
    pub(super) fn has_volume(&self) -> bool {
        matches!(self.place, Place::Volume(..) | Place::Directory(_))
    }

    /// Opens new journals, at most `room`.
    pub(super) fn find(
        &mut self,
        volume: impl Fn() -> PathBuf,
        room: usize,
        self_metrics: &SelfMetrics,
    ) {
        self.place.look(volume);
        let Place::Directory(directory) = &self.place else { return };
        let Ok(changed) = directory.changed() else { return };
        if self.listed == Some(changed) {
            return;
        }
        let Ok(names) = directory.names() else { return };
        self.listed = settled(changed);
        if names.cut && !std::mem::replace(&mut self.crowded, true) {
            self_metrics.dropped(Signal::Journal, Reason::Cap);
        }
        for name in names.all {
            if self.journals.contains_key(name.as_str()) || self.refused.contains(&name) {
                continue;
            }
            if self.journals.len() >= room {
                if !std::mem::replace(&mut self.crowded, true) {
                    self_metrics.dropped(Signal::Journal, Reason::Cap);
                }
                break;
            }
            match directory.open_journal(&name) {
                Ok(opened) => {
                    self.journals.insert(name.into(), Journal::new(opened.file));
                }
                // Removed in the meantime; a later listing shows it if it is created again.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::debug!(name, %error, "a journal is ignored");
                    self_metrics.dropped(Signal::Journal, Reason::Unreadable);
                    if self.refused.len() < MAX_REFUSED {
                        self.refused.insert(name);
                    }
                }
            }
        }
    }

    /// Reads new data for a reader, up to about a number of bytes; returns how many were read.
    pub(super) fn read(
        &mut self,
        reader: usize,
        buffer: &mut [u8],
        most: usize,
        self_metrics: &SelfMetrics,
        mut tell: impl FnMut(&Arc<str>, u64, Record),
    ) -> usize {
        let mut taken = 0_usize;
        let last = self.wanted.get_mut(&reader).and_then(Option::take);
        let comes_first = |name: &Arc<str>| last.as_ref().is_none_or(|last| name > last);
        for first in [true, false] {
            let some = self.journals.iter_mut().filter(|(name, _)| comes_first(name) == first);
            for (name, journal) in some {
                loop {
                    if taken >= most {
                        self.wanted.insert(reader, Some(Arc::clone(name)));
                        return taken;
                    }
                    let (read, bad) =
                        journal.read(reader, buffer, |at, record| tell(name, at, record));
                    if bad > 0 {
                        self_metrics.dropped_by(Signal::Journal, Reason::Unreadable, bad);
                    }
                    if read == 0 {
                        break;
                    }
                    taken = taken.saturating_add(read);
                }
            }
        }
        taken
    }
}

// === impl Place ===

impl Place {
    /// Looks for the directory if it was not found yet and may exist by now.
    fn look(&mut self, volume: impl Fn() -> PathBuf) {
        if matches!(self, Self::Unknown) {
            match Volume::open(&volume()) {
                Ok(volume) => *self = Self::Volume(volume, None),
                Err(error) if error.kind() == io::ErrorKind::NotFound => *self = Self::None,
                // It is unknown whether it exists: the next look tries again.
                Err(_) => {}
            }
        }
        if let Self::Volume(volume, looked) = self {
            // It does not exist before the first container that writes a journal; its creation
            // changes the volume's root.
            let changed = volume.changed().ok();
            if looked.is_some() && *looked == changed {
                return;
            }
            match volume.directory(JOURNALS) {
                Ok(directory) => *self = Self::Directory(directory),
                Err(_) => *looked = changed.and_then(settled),
            }
        }
    }
}

/// A modification time that can be remembered. A file system's clock has a resolution of
/// milliseconds: a change within a tick of a look may not change the time.
fn settled(changed: Changed) -> Option<Changed> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now_s = i64::try_from(now.as_secs()).ok()?;
    (now_s.saturating_sub(changed.0) > 1).then_some(changed)
}
