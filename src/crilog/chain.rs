//! The files of one log in the order they were written, and how those in the directory are known
//! again: by inode while held open, by inode and first line after a restart, by first line alone
//! when compressed.
//!
//! The kubelet deletes the oldest first. So what sorts before a known file has been read, what
//! sorts after the last known one is new, and if none is known, all are new. Where the last known one
//! is not there, others may be gone; one of which nothing was read is not asked for.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Seek};
use std::time::Instant;

use super::directory::{Entry, identity};
use super::files::{LogFiles, Rotated};
use super::head::Head;
use super::segment::Segment;
use super::source::Source;

/// How often a directory is read again because the kubelet was at work in it.
const OPEN_ATTEMPTS: usize = 4;

/// Files kept in mind after they were read, to know their compressed forms: the kubelet keeps five.
const REMEMBERED_FILES_LIMIT: usize = 8;

/// Most rotated files of one log that are looked at; `containerLogMaxFiles` is 5 by default.
const MAX_ROTATED: usize = 256;

/// A name in the directory whose file is known.
#[derive(Debug)]
struct Settled {
    entry: Entry,
    dev: u64,
    ino: u64,
    /// None: older than all that is read here.
    number: Option<u32>,
}

/// A file in the directory.
#[derive(Debug)]
struct Candidate {
    /// None for the log being written, whose name passes from file to file.
    entry: Option<Entry>,
    packed: bool,
    /// None: it is settled.
    file: Option<File>,
    dev: u64,
    ino: u64,
    number: Option<u32>,
}

/// The files of one log.
#[derive(Debug, Default)]
pub(super) struct Chain {
    segments: VecDeque<Segment>,
    next: u32,
    settled: Vec<Settled>,
    /// Files were passed over unread: more than are looked at, or no regular ones.
    passed_over: bool,
    /// Files may have been removed before they were met.
    missed: bool,
}

// === impl Chain ===

impl Chain {
    /// Goes on with the files of a checkpoint, none of which is found yet.
    pub(super) fn resume(segments: Vec<Segment>) -> Self {
        let next = segments.last().map_or(0, |last| last.number.saturating_add(1));
        Self { segments: segments.into(), next, ..Self::default() }
    }

    /// All files in mind.
    pub(super) fn segments(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.segments.iter()
    }

    /// The same, to be looked at.
    pub(super) fn segments_mut(&mut self) -> impl Iterator<Item = &mut Segment> {
        self.segments.iter_mut()
    }

    /// The file to read from, and how many come after it.
    pub(super) fn current(&mut self) -> Option<(&mut Segment, usize)> {
        let at = self.segments.iter().position(|segment| !segment.passed)?;
        let later = self.segments.len().saturating_sub(at).saturating_sub(1);
        self.segments.get_mut(at).map(|segment| (segment, later))
    }

    /// The number of the next file to come.
    pub(super) fn next_number(&self) -> u32 {
        self.next
    }

    /// Whether files of the log were passed over unread.
    pub(super) fn has_passed_over(&self) -> bool {
        self.passed_over
    }

    /// Whether files of the log may have been removed before they were met.
    pub(super) fn has_missed(&self) -> bool {
        self.missed
    }

    /// Whether none of its files was ever seen.
    pub(super) fn is_unseen(&self) -> bool {
        self.next == 0
    }

    /// Lets files be forgotten that lie before the one numbered `needed`.
    pub(super) fn prune(&mut self, needed: u32) {
        while self.segments.len() > REMEMBERED_FILES_LIMIT
            && self.segments.front().is_some_and(|front| front.passed && front.number < needed)
        {
            self.segments.pop_front();
        }
    }

    /// The current file was written anew from its beginning: it counts as another one.
    pub(super) fn renew_current(&mut self, now: Instant) {
        let number = self.next;
        let Some((current, later)) = self.current() else {
            return;
        };
        let source = current.source.take();
        let (dev, ino, size) = (current.dev, current.ino, current.size);
        current.give_up();
        let unlinked_since = current.unlinked_since;
        if later > 0 {
            // Rotated files are never written anew; order cannot be kept, so it ends here.
            return;
        }
        self.segments.push_back(Segment {
            number,
            dev,
            ino,
            head: None,
            blank: 0,
            source,
            read: 0,
            size,
            passed: false,
            sized: false,
            changed: None,
            broken: false,
            unlinked_since,
            cut_to: None,
            grew: now,
            stuck_at: None,
        });
        self.next = number.saturating_add(1);
    }

    /// Reads the directory: takes in files that are new, finds again those of a checkpoint.
    ///
    /// The log being written is opened before the names are read, so that every file older than it
    /// has its rotated name by then; if it was renamed meanwhile, all is done again.
    pub(super) fn meet(&mut self, files: &LogFiles<'_>, now: Instant) -> io::Result<()> {
        for _ in 0..OPEN_ATTEMPTS {
            let file = files.live()?;
            let Some(mut candidates) = self.candidates(files)? else {
                continue;
            };
            if let Some(file) = file {
                let (dev, ino) = identity(&file)?;
                if candidates.iter().any(|found| (found.dev, found.ino) == (dev, ino)) {
                    continue;
                }
                let (entry, file, number) = (None, Some(file), None);
                candidates.push(Candidate { entry, packed: false, file, dev, ino, number });
            }
            return self.take(candidates, now);
        }
        // The next event or rescan comes back to it.
        Ok(())
    }

    /// The rotated files, opened if they are not known. `None`: one vanished in between.
    fn candidates(&mut self, files: &LogFiles<'_>) -> io::Result<Option<Vec<Candidate>>> {
        let Rotated { files: rotated, cut } = files.rotated()?;
        self.settled.retain(|settled| rotated.iter().any(|(entry, _)| *entry == settled.entry));
        let mut candidates = Vec::new();
        let beyond = rotated.len().saturating_sub(MAX_ROTATED);
        self.passed_over |= cut || beyond > 0;
        for (entry, packed) in rotated.into_iter().skip(beyond) {
            if let Some(known) = self.settled.iter().find(|settled| settled.entry == entry) {
                // Written to after all: a runtime that was slow.
                let read = self.segments.iter().find(|file| Some(file.number) == known.number);
                let grown = |file: &Segment| {
                    let size = || files.status(&entry.name).map(|(_, size)| size);
                    file.passed && !packed && size().is_some_and(|size| size > file.size)
                };
                self.passed_over |= read.is_some_and(grown);
                let (dev, ino, number) = (known.dev, known.ino, known.number);
                let entry = Some(entry);
                candidates.push(Candidate { entry, packed, file: None, dev, ino, number });
                continue;
            }
            match files.open(&entry.name) {
                Ok(Some(file)) => {
                    let (dev, ino) = identity(&file)?;
                    let has_inode = |other: &Candidate| (other.dev, other.ino) == (dev, ino);
                    if candidates.iter().any(has_inode) {
                        // Seen under its old name and its new one: the older place is the new one.
                        continue;
                    }
                    let (entry, file, number) = (Some(entry), Some(file), None);
                    candidates.push(Candidate { entry, packed, file, dev, ino, number });
                }
                Ok(None) => self.passed_over = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(candidates))
    }

    fn take(&mut self, mut candidates: Vec<Candidate>, now: Instant) -> io::Result<()> {
        let mut latest = None;
        // Whether no unknown file stands between a candidate and the known one before it.
        let mut follows_known = true;
        for candidate in &mut candidates {
            if candidate.number.is_none() && candidate.file.is_some() {
                let known = self.recognize(candidate, follows_known);
                candidate.number = known.filter(|number| Some(*number) > latest);
            }
            follows_known = candidate.number.is_some();
            latest = latest.max(candidate.number);
        }
        self.passed_over |= has_unknown_between(&candidates);
        // One of which nothing was read, and that is not open, cannot be told from another.
        let is_knowable = |file: &&Segment| file.source.is_some() || file.head.is_some();
        let last = self.segments.iter().rfind(is_knowable).map(|last| last.number);
        if may_have_missed(&candidates, last) {
            self.missed = true;
            if let Some(last) = self.segments.back_mut() {
                // What its last line went on with may be what is gone.
                last.broken = true;
            }
        }
        let known = candidates.iter().rposition(|candidate| candidate.number.is_some());
        let first_new = known.map_or(0, |at| at.saturating_add(1));
        for (at, candidate) in candidates.into_iter().enumerate() {
            let Candidate { entry, packed, file, dev, ino, mut number } = candidate;
            let Some(file) = file else {
                continue;
            };
            if at >= first_new {
                let file = rewound(file)?;
                self.segments.push_back(Segment::new(self.next, file, packed, now)?);
                number = Some(self.next);
                self.next = self.next.saturating_add(1);
            } else if let Some(number) = number {
                self.attach(number, file, packed, now)?;
            }
            if let Some(entry) = entry {
                self.settled.push(Settled { entry, dev, ino, number });
            }
        }
        Ok(())
    }

    /// Which of the files in mind this is. `follows_known`: no unknown file stands between it and the
    /// known one before it.
    fn recognize(&mut self, candidate: &Candidate, follows_known: bool) -> Option<u32> {
        let (dev, ino) = (candidate.dev, candidate.ino);
        if !candidate.packed
            && let Some(held) = self
                .segments
                .iter()
                .rev()
                .find(|held| held.source.is_some() && (held.dev, held.ino) == (dev, ino))
        {
            // Its inode cannot be another's while it is open.
            return Some(held.number);
        }
        // A file without a first line is known by its inode alone, which is free for another once the
        // file is compressed or removed. The log being written is still that file if it was not
        // rotated, and a rotation leaves an unknown file in front of it.
        let is_in_place = candidate.entry.is_none() && follows_known;
        let file = candidate.file.as_ref()?.try_clone().ok()?;
        let mut source = Source::new(file, candidate.packed);
        for segment in self.segments.iter_mut().rev() {
            let same_inode = (segment.dev, segment.ino) == (dev, ino);
            if !candidate.packed && !same_inode {
                continue;
            }
            // An unread file is learnt only now if it was opened a moment ago.
            let head = segment.learn_head().ok().flatten();
            let same = match head {
                Some(head) => source.has(&head).unwrap_or_default(),
                None => is_in_place && same_inode && !segment.passed && segment.read == 0,
            };
            if same {
                return Some(segment.number);
            }
        }
        None
    }

    /// A file of the checkpoint is found again.
    fn attach(&mut self, number: u32, file: File, packed: bool, now: Instant) -> io::Result<()> {
        let found = self.segments.iter_mut().find(|segment| segment.number == number);
        if let Some(segment) = found
            && segment.source.is_none()
            && !segment.passed
        {
            let fresh = Segment::new(number, rewound(file)?, packed, now)?;
            segment.source = fresh.source;
            (segment.dev, segment.ino) = (fresh.dev, fresh.ino);
            // A compressed file's size is learnt by reading; a shorter plain one is seen by a look.
            segment.size = segment.size.max(fresh.size);
            segment.grew = now;
        }
        Ok(())
    }
}

/// Whether a file that is not known lies between two that are: it was not there when those were met,
/// and its place has been read past.
fn has_unknown_between(candidates: &[Candidate]) -> bool {
    let known = |candidate: &Candidate| candidate.number.is_some();
    let (first, last) = (candidates.iter().position(known), candidates.iter().rposition(known));
    let between = first.zip(last).and_then(|(first, last)| candidates.get(first..last));
    between
        .unwrap_or_default()
        .iter()
        .any(|candidate| !known(candidate) && candidate.file.is_some())
}

/// Whether files may have been removed before they were met. The oldest are removed first, so what is newer
/// than the newest that was met (`last`) is still there as long as that is. Of a log that is met for the first
/// time, files may be gone if one was rotated.
fn may_have_missed(candidates: &[Candidate], last: Option<u32>) -> bool {
    let Some(last) = last else {
        return candidates.iter().any(|candidate| candidate.entry.is_some());
    };
    let is_new = |candidate: &Candidate| candidate.number.is_none() && candidate.file.is_some();
    candidates.iter().any(is_new)
        && !candidates.iter().any(|candidate| candidate.number == Some(last))
}

/// A clone of the file was read, and clones share their place in it.
fn rewound(mut file: File) -> io::Result<File> {
    file.rewind()?;
    Ok(file)
}

/// A file of a checkpoint, not found yet.
pub(super) fn missing(
    number: u32,
    dev: u64,
    ino: u64,
    head: Option<Head>,
    now: Instant,
) -> Segment {
    Segment {
        number,
        dev,
        ino,
        head,
        blank: 0,
        source: None,
        read: 0,
        size: 0,
        passed: false,
        sized: false,
        changed: None,
        broken: false,
        unlinked_since: None,
        cut_to: None,
        grew: now,
        stuck_at: None,
    }
}

#[cfg(test)]
mod tests;
