//! What is acknowledged, in a file that is replaced as a whole.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::{Act, Error};

/// Acknowledgements are written down at this interval: a crash sends again what came in between.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// The cursor, and when it was last written.
#[derive(Debug)]
pub(super) struct Cursor {
    path: PathBuf,
    sequence: u64,
    written: u64,
    at: Option<Instant>,
}

// === impl Cursor ===

impl Cursor {
    /// Reads it. One that is missing or damaged stands at the beginning: all that is there is sent.
    pub(super) fn read(directory: &Path) -> Result<Self, Error> {
        let path = directory.join("cursor");
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(64).read_to_string(&mut text));
        match read {
            Err(error)
                if ![ErrorKind::NotFound, ErrorKind::InvalidData].contains(&error.kind()) =>
            {
                return Err(Error::new(Act::Read, &path, error));
            }
            _ => {}
        }
        let sequence = parse(&text).unwrap_or_else(|| {
            if !text.is_empty() {
                tracing::warn!("{} is damaged: what is in the spool is sent again", path.display());
            }
            0
        });
        Ok(Self { path, sequence, written: sequence, at: None })
    }

    /// Every record with a smaller sequence is acknowledged.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Moves on, and writes it down if `now` or if it is time.
    pub(super) fn advance(&mut self, sequence: u64, now: bool) -> Result<(), Error> {
        self.sequence = self.sequence.max(sequence);
        let due = now || self.at.is_none_or(|at| at.elapsed() >= WRITE_INTERVAL);
        if self.written == self.sequence || !due {
            return Ok(());
        }
        self.at = Some(Instant::now());
        self.write().map_err(|source| Error::new(Act::Write, &self.path, source))?;
        self.written = self.sequence;
        Ok(())
    }

    fn write(&self) -> std::io::Result<()> {
        let new = self.path.with_extension("new");
        let mut options = File::options();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&new)?;
        file.write_all(print(self.sequence).as_bytes())?;
        file.sync_data()?;
        fs::rename(&new, &self.path)
    }
}

fn print(sequence: u64) -> String {
    format!("{sequence} {:08x}\n", crc32c::crc32c(&sequence.to_le_bytes()))
}

fn parse(text: &str) -> Option<u64> {
    let sequence: u64 = text.split(' ').next()?.parse().ok()?;
    (text == print(sequence)).then_some(sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_cursor_stands_at_the_beginning() {
        let directory = tempfile::tempdir().unwrap();
        let mut cursor = Cursor::read(directory.path()).unwrap();
        assert_eq!(cursor.sequence(), 0);
        cursor.advance(41, true).unwrap();
        assert_eq!(Cursor::read(directory.path()).unwrap().sequence(), 41);
        for damaged in ["", "41", "42 00000000\n", "\u{0}\u{0}"] {
            fs::write(directory.path().join("cursor"), damaged).unwrap();
            assert_eq!(Cursor::read(directory.path()).unwrap().sequence(), 0, "{damaged:?}");
        }
    }
}
