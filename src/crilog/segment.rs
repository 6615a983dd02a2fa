//! One file of a container's log, held open: through rename, compression and deletion.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use super::head::Head;
use super::source::Source;

/// One file.
#[derive(Debug)]
pub(super) struct Segment {
    /// Its place among the log's files.
    pub(super) number: u32,
    pub(super) dev: u64,
    pub(super) ino: u64,
    pub(super) head: Option<Head>,
    /// So many NUL bytes the file begins with, as far as it was looked through.
    pub(super) blank: u64,
    /// None once it is read, or if it could not be found again.
    pub(super) source: Option<Source>,
    /// The next byte to read.
    pub(super) read: u64,
    /// The largest size seen.
    pub(super) size: u64,
    /// Nothing more of it is to be read.
    pub(super) passed: bool,
    /// Nobody wrote to it any more when a checkpoint was made: its size is final.
    pub(super) sized: bool,
    /// What followed in it is lost: no line goes on after it.
    pub(super) broken: bool,
    /// Nobody can open it any more; since when.
    pub(super) unlinked_since: Option<Instant>,
    /// It was seen to be shorter than before.
    pub(super) cut_to: Option<u64>,
    /// When it last grew.
    pub(super) grew: Instant,
    /// The time of its last change, by the kernel: seconds and nanoseconds; none before the first look.
    pub(super) changed: Option<(i64, i64)>,
    /// It ends with part of a record; looked at again only when it has grown.
    pub(super) stuck_at: Option<u64>,
}

/// What a look at a file showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// It is as long as what was read, or longer.
    Whole,
    /// Its end was cut off before it was read: this many bytes.
    Shrunk(u64),
    /// It was emptied and written anew: this many bytes, at least, were never read.
    Truncated(u64),
}

// === impl Segment ===

impl Segment {
    /// A file that is to be read from its beginning.
    pub(super) fn new(number: u32, file: File, packed: bool, now: Instant) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            number,
            dev: metadata.dev(),
            ino: metadata.ino(),
            head: None,
            blank: 0,
            source: Some(Source::new(file, packed)),
            read: 0,
            size: if packed { 0 } else { metadata.len() },
            passed: false,
            sized: false,
            broken: false,
            unlinked_since: (metadata.nlink() == 0).then_some(now),
            cut_to: None,
            grew: now,
            changed: None,
            stuck_at: None,
        })
    }

    /// Whether it is compressed: such a file is whole, and its size is not known before it is read.
    pub(super) fn packed(&self) -> bool {
        matches!(self.source, Some(Source::Packed(_)))
    }

    /// Bytes that wait to be read.
    pub(super) fn unread(&self) -> u64 {
        if self.passed { 0 } else { self.size.saturating_sub(self.read) }
    }

    /// Whether it has not grown for this long.
    pub(super) fn quiet(&self, now: Instant, for_long: Duration) -> bool {
        self.packed() || now.saturating_duration_since(self.grew) >= for_long
    }

    /// Sees how long the file is now and whether it still has a name.
    pub(super) fn look(&mut self, now: Instant) -> io::Result<Look> {
        let Some(Source::Plain(file)) = &self.source else {
            return Ok(Look::Whole);
        };
        let metadata = file.metadata()?;
        if metadata.nlink() == 0 {
            self.unlinked_since.get_or_insert(now);
        }
        let size = metadata.len();
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        let is_changed = self.changed.replace(changed).is_some_and(|before| before != changed);
        let shortest = size.min(self.cut_to.take().unwrap_or(size));
        if shortest < self.size {
            let lost = self.size.saturating_sub(shortest.max(self.read));
            let same = shortest >= self.read && self.still_begins_so()?;
            (self.size, self.grew, self.stuck_at) = (size, now, None);
            return Ok(if same { Look::Shrunk(lost) } else { Look::Truncated(lost) });
        }
        // Emptied and written anew, it may be as long as before, or longer: it begins with another line.
        // The kernel's clock ticks: a file may have grown and its time be the same.
        if (is_changed || size > self.size) && !self.still_begins_so()? {
            let lost = self.unread();
            (self.size, self.grew, self.stuck_at) = (size, now, None);
            return Ok(Look::Truncated(lost));
        }
        if size > self.size {
            (self.size, self.grew, self.stuck_at) = (size, now, None);
        }
        Ok(Look::Whole)
    }

    /// Its head, read if it is not known and can be. The ids of lines have it: once one may be handed
    /// over, it stays.
    pub(super) fn learn_head(&mut self) -> io::Result<Option<Head>> {
        let is_settled = |head: Head| head.end().is_some() || self.read > head.at;
        if !self.head.is_some_and(is_settled)
            && let Some(source) = &mut self.source
        {
            self.blank = source.first_text(self.blank)?;
            let head = source.head(self.blank)?;
            self.head = self
                .head
                .map_or(head, |known| Some(head.map_or(known, |head| known.completed(head))));
            if self.read == 0 {
                // It may be long until it is its turn.
                source.rest();
            }
        }
        Ok(self.head)
    }

    /// Sees whether the file still has a name, and how much was written.
    pub(super) fn look_for_name(&mut self, now: Instant) {
        if let Some(Source::Plain(file)) = &self.source
            && let Ok(metadata) = file.metadata()
        {
            if metadata.nlink() == 0 {
                self.unlinked_since.get_or_insert(now);
            }
            if metadata.len() < self.size {
                self.cut_to = Some(self.cut_to.map_or(metadata.len(), |to| to.min(metadata.len())));
            } else if metadata.len() > self.size && self.cut_to.is_none() {
                if self.still_begins_so().is_ok_and(|same| !same) {
                    // Another file's length says nothing of how much is unread of this one.
                    self.cut_to = Some(0);
                } else {
                    (self.size, self.grew, self.stuck_at) = (metadata.len(), now, None);
                }
            }
        }
    }

    /// Whether its first line is the one that was learnt; so of one that is not known yet.
    pub(super) fn still_begins_so(&mut self) -> io::Result<bool> {
        let (Some(head), Some(source)) = (self.head, self.source.as_mut()) else { return Ok(true) };
        source.has(&head)
    }

    /// Nothing more of it is to be read; the file is let go.
    pub(super) fn pass(&mut self) {
        self.passed = true;
        self.source = None;
    }

    /// The rest of it is lost, and counted by the caller: it is as if it ended here.
    pub(super) fn give_up(&mut self) {
        (self.size, self.broken) = (self.read, true);
        self.pass();
    }
}
