//! One kernel file, opened once and read repeatedly.
//!
//! A read at offset 0 of an open descriptor makes the kernel generate the text again: 1 µs instead
//! of six for open, read and close. A descriptor keeps the cgroup's memory allocated, so it is
//! closed with the container.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// `ENODEV`: the kernel's answer on an open descriptor after the cgroup was removed.
const ENODEV: i32 = 19;
/// `EOPNOTSUPP`: PSI is compiled in but disabled (`psi=0`, `cgroup.pressure` 0).
const EOPNOTSUPP: i32 = 95;
/// `ENOENT`.
const ENOENT: i32 = 2;

/// More than any cgroup file has: `io.stat` with several hundred devices, `memory.stat` 4 KiB.
const MAX_BYTES: usize = 256 * 1024;

/// A file by its name, and whether it is open.
#[derive(Debug)]
pub(super) struct Kept {
    name: &'static str,
    state: State,
}

#[derive(Debug)]
enum State {
    /// It did not exist at the last attempt; controllers of version 1 appear one after the other.
    Missing,
    /// Open.
    Open(File),
    /// This kernel does not support it; it is not tried again.
    Unserved,
}

/// Why a file could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadError {
    /// The cgroup was removed.
    Gone,
    /// The file cannot be read, is not text, or is longer than any such file can be.
    Unreadable,
}

// === impl Kept ===

impl Kept {
    /// A file not yet opened.
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, state: State::Missing }
    }

    /// Opens a file for one reading.
    pub(super) fn opened(path: &Path) -> Result<Self, ReadError> {
        match File::open(path) {
            Ok(file) => Ok(Self { name: "", state: State::Open(file) }),
            Err(error) => match error.raw_os_error() {
                Some(ENODEV | ENOENT) => Err(ReadError::Gone),
                _ => Err(ReadError::Unreadable),
            },
        }
    }

    /// Opens the file below `directory`, if it exists and is not open yet.
    pub(super) fn open(&mut self, directory: &Path) {
        if matches!(self.state, State::Missing)
            && let Ok(file) = File::open(directory.join(self.name))
        {
            self.state = State::Open(file);
        }
    }

    /// Whether the file is open.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Reads the whole file: `Ok(None)` if it does not exist.
    pub(super) fn read<'a>(
        &mut self,
        buffer: &'a mut Vec<u8>,
    ) -> Result<Option<&'a str>, ReadError> {
        let State::Open(file) = &self.state else {
            return Ok(None);
        };
        match read_whole(file, buffer) {
            Ok(text) => Ok(Some(text)),
            Err(error) => match error.raw_os_error() {
                Some(ENODEV | ENOENT) => Err(ReadError::Gone),
                Some(EOPNOTSUPP) => {
                    self.state = State::Unserved;
                    Ok(None)
                }
                _ => Err(ReadError::Unreadable),
            },
        }
    }
}

/// Reads from offset 0 to the end. A read that does not fill the buffer was the last one, because
/// the kernel generates these files as one record.
fn read_whole<'a>(file: &File, buffer: &'a mut Vec<u8>) -> io::Result<&'a str> {
    const FIRST: usize = 16 * 1024;
    if buffer.len() < FIRST {
        buffer.resize(FIRST, 0);
    }
    let mut filled = 0;
    while let Some(free) = buffer.get_mut(filled..) {
        let room = free.len();
        let read = file.read_at(free, filled as u64)?;
        filled += read;
        if read < room {
            break;
        }
        if filled >= MAX_BYTES {
            return Err(io::Error::other("longer than any cgroup file"));
        }
        buffer.resize((filled * 2).min(MAX_BYTES), 0);
    }
    let bytes = buffer.get(..filled).unwrap_or_default();
    std::str::from_utf8(bytes).map_err(|_| io::Error::other("not text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(content: &[u8]) -> (tempfile::TempDir, Kept) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("cpu.stat"), content).unwrap();
        let mut kept = Kept::new("cpu.stat");
        kept.open(directory.path());
        (directory, kept)
    }

    #[test]
    fn a_file_is_read_anew_each_time() {
        let (directory, mut kept) = kept(b"usage_usec 1\n");
        let mut buffer = Vec::new();
        assert_eq!(kept.read(&mut buffer), Ok(Some("usage_usec 1\n")));
        let file = File::options().write(true).open(directory.path().join("cpu.stat")).unwrap();
        file.write_at(b"usage_usec 2\n", 0).unwrap();
        assert_eq!(kept.read(&mut buffer), Ok(Some("usage_usec 2\n")));
    }

    #[test]
    fn an_absent_file_is_no_trouble_and_may_come_later() {
        let directory = tempfile::tempdir().unwrap();
        let mut kept = Kept::new("pids.peak");
        kept.open(directory.path());
        assert_eq!(kept.read(&mut Vec::new()), Ok(None));
        std::fs::write(directory.path().join("pids.peak"), "3\n").unwrap();
        kept.open(directory.path());
        assert_eq!(kept.read(&mut Vec::new()), Ok(Some("3\n")));
    }

    #[test]
    fn garbage_and_endless_files_are_unreadable() {
        let (_directory, mut binary) = kept(b"usage_usec \xff\xfe\n");
        assert_eq!(binary.read(&mut Vec::new()), Err(ReadError::Unreadable));
        let (_directory, mut endless) = kept(&vec![b'x'; MAX_BYTES + 1]);
        assert_eq!(endless.read(&mut Vec::new()), Err(ReadError::Unreadable));
    }

    #[test]
    fn a_long_file_is_read_to_its_end() {
        let content = "8:0 rbytes=1 wbytes=2\n".repeat(2000);
        let (_directory, mut kept) = kept(content.as_bytes());
        assert_eq!(kept.read(&mut Vec::new()), Ok(Some(content.as_str())));
    }
}
