//! The container's journal in the shared volume: append-only, bounded, and never a reason for a
//! step to fail. The file is opened once, before any step could replace it.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Mutex,
};

use ephemon_base::lock;
use ephemon_contract::{JOURNAL_MAX_BYTES, Record};
use rustix::fs::OFlags;

/// An open journal, or, if it could not be opened, only a count.
#[derive(Debug)]
pub(super) struct Journal(Mutex<State>);

#[derive(Debug)]
struct State {
    file: Option<File>,
    /// The last record may be incomplete because the disk was full. The next one begins with a line
    /// break.
    torn: bool,
    bytes: u64,
    dropped: u64,
}

// === impl Journal ===

impl Journal {
    /// Opens the file for appending. Does not follow links or block on pipes.
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o644)
            .custom_flags(
                i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits())
                    .unwrap_or(0),
            )
            .open(path)?;
        let metadata = file.metadata()?;
        if !metadata.file_type().is_file() {
            return Err(std::io::Error::other("not a regular file"));
        }
        Ok(Self(Mutex::new(State {
            file: Some(file),
            torn: false,
            bytes: metadata.len(),
            dropped: 0,
        })))
    }

    /// A journal that only counts the records.
    pub(super) fn none() -> Self {
        Self(Mutex::new(State { file: None, torn: false, bytes: 0, dropped: 0 }))
    }

    /// Appends a record with one write, or counts it as dropped.
    pub(super) fn append(&self, record: &Record) {
        let mut state = lock(&self.0);
        let fits = |line: &Vec<u8>| state.bytes + line.len() as u64 <= JOURNAL_MAX_BYTES;
        let mut line = record.to_line().filter(fits);
        if let Some(line) = line.as_mut().filter(|_| state.torn) {
            line.insert(0, b'\n');
        }
        let written = match (line, &state.file) {
            (Some(line), Some(file)) => {
                let mut file = file;
                file.write_all(&line).is_ok().then_some(line.len() as u64)
            }
            _ => None,
        };
        state.torn = written.is_none();
        state.bytes += written.unwrap_or_default();
        state.dropped += u64::from(written.is_none());
    }

    /// Number of records that could not be written.
    pub(super) fn dropped(&self) -> u64 {
        lock(&self.0).dropped
    }
}

/// Creates a directory to which containers of any user can write, if it does not exist.
pub(super) fn make_shared_directory(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    match fs::create_dir(path) {
        // In a second call, because the umask applies to the first.
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(0o1777)),
        Err(_) if path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Record {
        Record::ContainerStarted { at_ns: 1, container: text.to_owned(), pid: 1, uid: 0 }
    }

    #[test]
    fn records_are_lines_that_can_be_read_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("job.jsonl");
        let journal = Journal::open(&path).expect("a journal");
        journal.append(&record("job"));
        journal.append(&record("job"));
        let text = fs::read(&path).expect("the file");
        let read: Vec<_> = text.split_inclusive(|b| *b == b'\n').map(Record::from_line).collect();
        assert_eq!(read, [Some(record("job")), Some(record("job"))]);
    }

    #[test]
    fn a_full_journal_drops_and_counts() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("job.jsonl");
        let journal = Journal::open(&path).expect("a journal");
        for _ in 0..300 {
            journal.append(&record(&"x".repeat(4000)));
        }
        let bytes = fs::metadata(&path).expect("the file").len();
        assert!(bytes <= JOURNAL_MAX_BYTES, "{bytes}");
        assert!(journal.dropped() > 0);
    }

    #[test]
    fn a_record_that_is_too_long_is_dropped_and_counted() {
        let journal = Journal::none();
        journal.append(&record(&"x".repeat(9000)));
        assert_eq!(journal.dropped(), 1);
    }

    #[test]
    fn a_link_in_the_journals_place_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("job.jsonl");
        std::os::unix::fs::symlink("/dev/null", &path).expect("a link");
        assert!(Journal::open(&path).is_err());
    }
}
