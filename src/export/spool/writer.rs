//! Appends to the last segment, and makes it durable.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::error::{Act, Error};
use super::frame::{HEADER_BYTES, Header};

/// So much may be appended before it is written through to the disk, whoever asks.
const UNSYNCED_BYTES_MAX: u64 = 4 << 20;

/// The open end of a segment.
#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    path: PathBuf,
    salt: u64,
    length: u64,
    synced: u64,
    broken: bool,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(file: File, path: &Path, salt: u64, length: u64) -> Self {
        Self { file, path: path.to_owned(), salt, length, synced: 0, broken: false }
    }

    pub(super) fn has_room(&self, size: u64, limit: u64) -> bool {
        self.length.saturating_add(size) <= limit
    }

    /// Appends one record. On an error the file ends where it ended before.
    pub(super) fn append(&mut self, header: &Header, body: &[u8]) -> Result<(), Error> {
        let after = self.length.saturating_add(HEADER_BYTES as u64);
        // The body first: a header is never on the disk without what it speaks of, unless the
        // machine died, and then the body's checksum tells.
        let written = self
            .file
            .write_all_at(body, after)
            .and_then(|()| self.file.write_all_at(&header.encode(self.salt), self.length));
        if let Err(source) = written {
            self.broken = self.file.set_len(self.length).is_err();
            return Err(Error::new(Act::Write, &self.path, source));
        }
        self.length = self.length.saturating_add(header.size());
        Ok(())
    }

    /// Whether so much was appended that it is time to write it through.
    pub(super) fn is_due(&self) -> bool {
        self.length.saturating_sub(self.synced) > UNSYNCED_BYTES_MAX
    }

    /// Waits until everything appended is on the disk.
    pub(super) fn sync(&mut self) -> Result<(), Error> {
        if self.synced < self.length {
            let synced = self.file.sync_data();
            synced.map_err(|source| Error::new(Act::Sync, &self.path, source))?;
            self.synced = self.length;
        }
        Ok(())
    }

    /// The writer, unless its file is in a state that no one can add to.
    pub(super) fn usable(self) -> Option<Self> {
        (!self.broken).then_some(self)
    }
}
