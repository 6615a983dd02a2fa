//! One segment file, read: which records are in it, and how much of them waits.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::error::{Act, Error};
use super::frame::{self, HEADER_BYTES, Header, MARK, PREAMBLE_BYTES};
use super::writer::Writer;

/// How segments are named, after their first sequence.
const SUFFIX: &str = ".spool";
/// How much is read at once when the next record has to be searched for.
const READ_WINDOW_BYTES: usize = 64 << 10;

/// A segment file and what is known of it.
#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    file: File,
    salt: u64,
    first: u64,
    /// One after the last sequence in it.
    end: u64,
    /// Where the last whole record ends.
    length: u64,
    /// When its newest record was appended, since 1970.
    newest_ms: Option<u64>,
    /// Items of the records that are not acknowledged.
    waiting_items: u64,
    /// Where the first of these begins.
    waiting_from: u64,
    /// Nothing is to be appended any more: the kernel lost some of what was written.
    sealed: bool,
}

/// What a file left by a former process is.
#[derive(Debug)]
pub(super) enum Scanned {
    /// Something in it is waited for.
    Waiting(Segment),
    /// Nothing is.
    Done,
    /// Not readable as a segment: so many bytes.
    Damaged(u64),
}

/// What is found at a place.
#[derive(Debug)]
pub(super) enum Found {
    /// The next whole record.
    Record { at: u64, header: Header },
    /// There is none.
    End,
}

// === impl Segment ===

impl Segment {
    /// Looks through a file left by a former process. The end of the last one may be what the
    /// machine had not written yet when it went down: a header with something else for a body is
    /// then no record, as half a header is none.
    pub(super) fn scan(
        first: u64,
        path: &Path,
        acknowledged: u64,
        is_last: bool,
    ) -> Result<Scanned, Error> {
        let wrong = |source| Error::new(Act::Read, path, source);
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(wrong)?;
        let size = file.metadata().map_err(wrong)?.len();
        let mut start = [0; PREAMBLE_BYTES];
        let read = read_at(&file, 0, &mut start).map_err(wrong)?;
        let Some(salt) = frame::salt_of(start.get(..read).unwrap_or_default()) else {
            // The preamble is on the disk before the first record is written: a file that is no
            // longer than one never had any, whatever a crash while it was made left in it.
            let never = size <= PREAMBLE_BYTES as u64;
            return Ok(if never { Scanned::Done } else { Scanned::Damaged(size) });
        };
        let mut segment = Self::empty(file, path, salt, first);
        segment.length = size;
        let mut at = PREAMBLE_BYTES as u64;
        let mut waits = false;
        while let Found::Record { at: found, header } = segment.find(at)? {
            let end = found.saturating_add(header.size());
            let unwritten = is_last
                && matches!(segment.find(end)?, Found::End)
                && segment.body(found, &header)?.is_none();
            if unwritten {
                break;
            }
            at = end;
            segment.end = segment.end.max(header.sequence.saturating_add(1));
            segment.newest_ms = Some(segment.newest_ms.unwrap_or(0).max(header.at_ms));
            if header.sequence >= acknowledged {
                segment.waiting_items =
                    segment.waiting_items.saturating_add(u64::from(header.items));
                waits = true;
            } else {
                segment.waiting_from = at;
            }
        }
        segment.length = at;
        Ok(if waits { Scanned::Waiting(segment) } else { Scanned::Done })
    }

    fn empty(file: File, path: &Path, salt: u64, first: u64) -> Self {
        let length = PREAMBLE_BYTES as u64;
        Self {
            path: path.to_owned(),
            file,
            salt,
            first,
            end: first,
            length,
            newest_ms: None,
            waiting_items: 0,
            waiting_from: length,
            sealed: false,
        }
    }

    /// Makes the file of a new segment.
    pub(super) fn create(directory: &Path, first: u64) -> Result<(Self, Writer), Error> {
        let path = directory.join(format!("{first:020}{SUFFIX}"));
        let wrong = |source| Error::new(Act::Write, &path, source);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&path).map_err(wrong)?;
        let salt = fastrand::u64(..);
        let written = file.write_all_at(&frame::preamble(salt), 0).and_then(|()| file.sync_data());
        // The name must outlive the machine, too.
        let named = written.and_then(|()| File::open(directory)).and_then(|all| all.sync_all());
        if let Err(source) = named {
            drop(std::fs::remove_file(&path));
            return Err(wrong(source));
        }
        let writer =
            Writer::new(file.try_clone().map_err(wrong)?, &path, salt, PREAMBLE_BYTES as u64);
        let segment = Self::empty(file, &path, salt, first);
        Ok((segment, writer))
    }

    /// A writer that goes on where a former process stopped, if there is room.
    pub(super) fn reopen(&mut self, size: u64, limit: u64) -> Option<Writer> {
        if self.sealed || self.length.saturating_add(size) > limit {
            return None;
        }
        let file = self.file.try_clone().ok()?;
        // What follows the last whole record must not come between it and the next.
        file.set_len(self.length).ok()?;
        Some(Writer::new(file, &self.path, self.salt, self.length))
    }

    /// Cuts off a record that was being written when a former process died.
    pub(super) fn cut_tail(&mut self) {
        let size = self.file.metadata().map_or(self.length, |found| found.len());
        if size > self.length {
            let bytes = size.saturating_sub(self.length);
            let cut = self.file.set_len(self.length).and_then(|()| self.file.sync_data());
            let path = self.path.display();
            match cut {
                Ok(()) => tracing::info!("cut an unfinished record of {bytes} bytes off {path}"),
                Err(error) => tracing::warn!("cannot cut the end off {path}: {error}"),
            }
        }
    }

    /// The next whole record at this place or after it.
    pub(super) fn find(&self, from: u64) -> Result<Found, Error> {
        let mut header = [0; HEADER_BYTES];
        let mut at = from;
        loop {
            let read = self.read(at, &mut header)?;
            if read < HEADER_BYTES {
                return Ok(Found::End);
            }
            if let Some(header) = Header::decode(&header, self.salt)
                && at.saturating_add(header.size()) <= self.length
            {
                return Ok(Found::Record { at, header });
            }
            match self.search(at.saturating_add(1))? {
                Some(next) => at = next,
                None => return Ok(Found::End),
            }
        }
    }

    /// Its body; `None` if it is damaged.
    pub(super) fn body(&self, at: u64, header: &Header) -> Result<Option<Vec<u8>>, Error> {
        // `find` has held the length against the file's size.
        let mut body = vec![0; header.length as usize];
        let read = self.read(at.saturating_add(HEADER_BYTES as u64), &mut body)?;
        Ok((read == body.len() && header.fits(&body)).then_some(body))
    }

    /// A record was appended.
    pub(super) fn grow(&mut self, header: &Header) {
        self.length = self.length.saturating_add(header.size());
        self.end = header.sequence.saturating_add(1);
        self.newest_ms = Some(self.newest_ms.unwrap_or(0).max(header.at_ms));
        self.waiting_items = self.waiting_items.saturating_add(u64::from(header.items));
    }

    /// Nothing is appended any more.
    pub(super) fn seal(&mut self) {
        self.sealed = true;
    }

    /// A record with so many items, which ends here, is waited for no more.
    pub(super) fn take_off(&mut self, end: u64, items: u32) {
        self.waiting_items = self.waiting_items.saturating_sub(u64::from(items));
        self.waiting_from = end;
    }

    /// Items and bytes that are waited for.
    pub(super) fn waiting(&self) -> (u64, u64) {
        (self.waiting_items, self.length.saturating_sub(self.waiting_from))
    }

    /// One without records has no age.
    pub(super) fn is_older_than(&self, oldest_ms: u64) -> bool {
        self.newest_ms.is_some_and(|newest_ms| newest_ms < oldest_ms)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Where the next record may begin.
    fn search(&self, from: u64) -> Result<Option<u64>, Error> {
        let mut window = vec![0; READ_WINDOW_BYTES];
        let mut at = from;
        loop {
            let read = self.read(at, &mut window)?;
            let seen = window.get(..read).unwrap_or_default();
            if let Some(found) = seen.windows(MARK.len()).position(|bytes| bytes == MARK) {
                return Ok(Some(at.saturating_add(found as u64)));
            }
            if read < READ_WINDOW_BYTES {
                return Ok(None);
            }
            at = at.saturating_add((READ_WINDOW_BYTES - MARK.len()) as u64);
        }
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<usize, Error> {
        read_at(&self.file, at, into).map_err(|source| Error::new(Act::Read, &self.path, source))
    }
}

/// The first sequence of the segment that has this name.
pub(super) fn first_of(name: &OsStr) -> Option<u64> {
    let digits = name.to_str()?.strip_suffix(SUFFIX)?;
    let whole = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    whole.then(|| digits.parse().ok())?
}

/// Reads as much as there is.
fn read_at(file: &File, at: u64, into: &mut [u8]) -> std::io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
