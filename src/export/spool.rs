//! The spool: a bounded directory on the node that holds requests until a collector has them.
//!
//! Segment files are appended to and named after their first sequence; the oldest is dropped when
//! the directory is over its cap or its age. The cursor says what is acknowledged. What
//! [`Spool::sync`] returned for survives the process and the machine; a record that was being
//! written when the process died is cut off at the next start; a damaged one is skipped and
//! counted. One process owns a spool: the agent's lock on its state directory sees to that.

mod cursor;
mod error;
mod frame;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cursor::Cursor;
use ephemon_self_metrics::Reason;
use error::Act;
pub use error::Error;
use frame::Header;
use segment::{Found, Scanned, Segment};
use writer::Writer;

/// Of a cap, so much is one segment, and so much is lost at once when the spool is full.
const SEGMENT_COUNT: u64 = 8;
/// However large the cap, a segment ends at this size.
const SEGMENT_BYTES_MAX: u64 = 8 << 20;
/// However small the cap, a segment may become this large. The last one is kept up to this size when
/// all of it is acknowledged: to make a new one for each record would cost more.
const SEGMENT_BYTES_MIN: u64 = 64 << 10;

/// How much may wait, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size of all segments.
    pub bytes: u64,
    /// Age of the newest record of a segment.
    pub age: Duration,
}

/// One record, as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the order of all records.
    pub sequence: u64,
    /// What its body is; the spool's user knows.
    pub kind: u8,
    /// How many items are in it.
    pub items: u64,
    /// The body.
    pub body: Vec<u8>,
}

/// What the spool had to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Why.
    pub reason: Reason,
    /// Log records, spans or points. A record that cannot be read counts as one.
    pub items: u64,
    /// Size in the file, as far as it is known.
    pub bytes: u64,
}

/// A durable queue of records.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    limits: Limits,
    /// The oldest first.
    segments: VecDeque<Segment>,
    /// Appends to the last segment.
    writer: Option<Writer>,
    /// In the first segment: where the next record is looked for.
    position: u64,
    /// Every record with a smaller sequence is acknowledged or given up.
    acknowledged: u64,
    /// The sequence of the next record.
    next: u64,
    /// The record that was read last, and where it ends.
    current: Option<(Header, u64)>,
    cursor: Cursor,
    losses: Vec<Loss>,
}

// === impl Spool ===

impl Spool {
    /// Opens a directory, which is made if it is not there, and repairs what a crash left.
    pub fn open(directory: &Path, limits: Limits) -> Result<Self, Error> {
        let act = |act| move |source| Error::new(act, directory, source);
        make_directory(directory).map_err(act(Act::Make))?;
        let cursor = Cursor::read(directory)?;
        let acknowledged = cursor.sequence();
        let listed = fs::read_dir(directory).map_err(act(Act::List))?;
        let mut found: Vec<(u64, PathBuf)> = listed
            .flatten()
            .filter_map(|entry| Some((segment::first_of(&entry.file_name())?, entry.path())))
            .collect();
        found.sort_unstable();
        let mut spool = Self {
            directory: directory.to_owned(),
            limits,
            segments: VecDeque::new(),
            writer: None,
            position: 0,
            acknowledged,
            next: acknowledged,
            current: None,
            cursor,
            losses: Vec::new(),
        };
        let mut damaged = None;
        let last = found.last().map(|(first, _)| *first);
        for (first, path) in found {
            // A file that cannot be read is left alone: it may be readable next time.
            match Segment::scan(first, &path, acknowledged, Some(first) == last) {
                Ok(Scanned::Waiting(segment)) => {
                    if let Some((from, bytes)) = damaged.take() {
                        spool.lose(Reason::SpoolCorrupt, first.saturating_sub(from).max(1), bytes);
                    }
                    spool.next = spool.next.max(segment.end());
                    spool.segments.push_back(segment);
                }
                Ok(Scanned::Done) => remove(&path),
                Ok(Scanned::Damaged(bytes)) => {
                    damaged = Some((first.max(acknowledged), bytes));
                    remove(&path);
                }
                Err(error) => tracing::warn!("{error}: the segment is passed over"),
            }
        }
        if let Some((_, bytes)) = damaged {
            spool.lose(Reason::SpoolCorrupt, 1, bytes);
        }
        // The cursor may be older than the removal of the segments before this one.
        let oldest = spool.segments.front().map_or(0, Segment::first);
        spool.acknowledged = acknowledged.max(oldest);
        if let Some(last) = spool.segments.back_mut() {
            last.cut_tail();
        }
        spool.enter_first();
        Ok(spool)
    }

    /// Appends a record at the end, durable once [`Spool::sync`] has returned. When the disk is
    /// full this is an error and the spool is as it was.
    pub fn append(
        &mut self,
        kind: u8,
        items: u64,
        body: &[u8],
        now: SystemTime,
    ) -> Result<u64, Error> {
        self.expire(now);
        let size = frame::size(body.len());
        self.make_room(size);
        let header = Header::of(kind, items, self.next, frame::milliseconds(now), body);
        let mut writer = match self.writer.take() {
            Some(writer) if writer.has_room(size, self.segment_size()) => writer,
            full => self.next_segment(full, size)?,
        };
        let appended = writer.append(&header, body);
        self.writer = writer.usable();
        appended?;
        if let Some(last) = self.segments.back_mut() {
            last.grow(&header);
        }
        self.next = self.next.saturating_add(1);
        if self.writer.as_ref().is_some_and(Writer::is_due) {
            self.sync()?;
        }
        Ok(header.sequence)
    }

    /// Waits until everything appended is on the disk.
    pub fn sync(&mut self) -> Result<(), Error> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let synced = writer.sync();
        if synced.is_err() {
            // What the kernel has thrown away it reports once only: no more is built on this file.
            self.writer = None;
            if let Some(last) = self.segments.back_mut() {
                last.seal();
            }
        }
        synced
    }

    /// The oldest record that is not acknowledged; damaged ones are skipped and counted.
    pub fn read(&mut self, now: SystemTime) -> Result<Option<Record>, Error> {
        self.expire(now);
        loop {
            let Some(first) = self.segments.front() else { return Ok(None) };
            match first.find(self.position)? {
                Found::Record { at, header } => {
                    let end = at.saturating_add(header.size());
                    if header.sequence < self.acknowledged {
                        self.position = end;
                        continue;
                    }
                    let body = first.body(at, &header)?;
                    self.lose_until(header.sequence);
                    let Some(body) = body else {
                        let items = u64::from(header.items);
                        self.lose(Reason::SpoolCorrupt, items, header.size());
                        self.pass(&header, end);
                        continue;
                    };
                    self.current = Some((header, end));
                    let Header { sequence, kind, items, .. } = header;
                    return Ok(Some(Record { sequence, kind, items: items.into(), body }));
                }
                Found::End => {
                    // The last segment stays while it is written to.
                    if self.segments.len() == 1 && self.writer.is_some() {
                        self.position = first.length();
                        self.lose_until(self.next);
                        return Ok(None);
                    }
                    let after = self.segments.get(1).map_or(self.next, Segment::first);
                    self.lose_until(after);
                    self.remove_first();
                }
            }
        }
    }

    /// The record of this sequence, read last, is delivered or given up for good.
    pub fn acknowledge(&mut self, sequence: u64) -> Result<(), Error> {
        match self.current.take() {
            Some((header, end)) if header.sequence == sequence => self.pass(&header, end),
            // Its segment was dropped in the meantime.
            _ => return Ok(()),
        }
        let length = self.segments.front().map_or(0, Segment::length);
        let is_kept = self.segments.len() == 1 && self.writer.is_some();
        if self.position >= length && !(is_kept && length <= SEGMENT_BYTES_MIN) {
            self.remove_first();
        }
        // An empty spool's cursor is written at once: nothing is sent twice after a quiet end.
        self.cursor.advance(self.acknowledged, self.head().is_none())
    }

    /// Writes down what is acknowledged and waits for the disk.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.cursor.advance(self.acknowledged, true)?;
        self.sync()
    }

    /// The sequence of the oldest record that is not acknowledged.
    pub fn head(&self) -> Option<u64> {
        let first = self.segments.front()?;
        let unread = self.position < first.length() || self.segments.len() > 1;
        unread.then(|| self.acknowledged.max(first.first()))
    }

    /// The sequence that the next record will have.
    pub fn next_sequence(&self) -> u64 {
        self.next
    }

    /// Size of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(Segment::length).sum()
    }

    /// Size of what is not acknowledged.
    pub fn waiting_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.waiting().1).sum()
    }

    /// Largest body that can be appended.
    pub fn largest(&self) -> u64 {
        self.limits
            .bytes
            .saturating_sub(frame::size(0).saturating_add(frame::PREAMBLE_BYTES as u64))
    }

    /// What was lost since this was last asked.
    pub fn take_losses(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.losses)
    }

    fn segment_size(&self) -> u64 {
        (self.limits.bytes / SEGMENT_COUNT).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)
    }

    /// Ends the last segment and begins the next one, or goes on with what a former process left.
    fn next_segment(&mut self, full: Option<Writer>, size: u64) -> Result<Writer, Error> {
        let limit = self.segment_size();
        if let Some(mut full) = full {
            full.sync()?;
        } else if let Some(last) = self.segments.back_mut()
            && let Some(writer) = last.reopen(size, limit)
        {
            return Ok(writer);
        }
        let (segment, writer) = Segment::create(&self.directory, self.next)?;
        self.segments.push_back(segment);
        if self.segments.len() == 1 {
            self.enter_first();
        }
        Ok(writer)
    }

    /// Drops the oldest until this much fits.
    fn make_room(&mut self, size: u64) {
        let size = size.saturating_add(frame::PREAMBLE_BYTES as u64);
        while self.bytes().saturating_add(size) > self.limits.bytes && !self.segments.is_empty() {
            self.drop_first(Reason::SpoolFull);
        }
    }

    fn expire(&mut self, now: SystemTime) {
        let age = u64::try_from(self.limits.age.as_millis()).unwrap_or(u64::MAX);
        let oldest = frame::milliseconds(now).saturating_sub(age);
        while self.segments.front().is_some_and(|first| first.is_older_than(oldest)) {
            self.drop_first(Reason::SpoolExpired);
        }
    }

    fn drop_first(&mut self, reason: Reason) {
        if let Some(first) = self.segments.front() {
            let (items, bytes) = first.waiting();
            if items > 0 {
                self.lose(reason, items, bytes);
            }
        }
        self.remove_first();
    }

    /// Removes the first segment; what was in it is acknowledged or lost.
    fn remove_first(&mut self) {
        let Some(first) = self.segments.pop_front() else { return };
        if self.segments.is_empty() {
            self.writer = None;
        }
        self.acknowledged = self.acknowledged.max(first.end());
        self.current = None;
        remove(first.path());
        self.enter_first();
    }

    fn enter_first(&mut self) {
        self.position = frame::PREAMBLE_BYTES as u64;
    }

    /// This record is behind us.
    fn pass(&mut self, header: &Header, end: u64) {
        self.acknowledged = self.acknowledged.max(header.sequence.saturating_add(1));
        self.position = end;
        if let Some(first) = self.segments.front_mut() {
            first.take_off(end, header.items);
        }
    }

    /// The records from the next expected one up to this one are not there: each is one loss.
    fn lose_until(&mut self, sequence: u64) {
        let missing = sequence.saturating_sub(self.acknowledged);
        if missing > 0 {
            self.lose(Reason::SpoolCorrupt, missing, 0);
            self.acknowledged = sequence;
        }
    }

    fn lose(&mut self, reason: Reason, items: u64, bytes: u64) {
        self.losses.push(Loss { reason, items, bytes });
    }
}

/// For the agent's eyes only: what waits is logs.
fn make_directory(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

fn remove(path: &Path) {
    // Left behind, it is found again at the next start and removed then.
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!("cannot remove {}: {error}", path.display());
    }
}
