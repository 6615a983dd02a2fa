//! The hook's own journal in the shared volume, with the durations of its calls for the agent.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use ephemon_contract::plain_file;
use ephemon_contract::{JOURNAL_MAX_BYTES, Record, Volume};

/// Appends one record. A job does not fail if the journal cannot be written.
pub(super) fn append(volume: &Volume, record: &Record) -> io::Result<()> {
    let Some(mut line) = record.to_line() else { return Ok(()) };
    let mut how = OpenOptions::new();
    how.read(true).append(true);
    let mut file = plain_file::open(&volume.hook_journal(), &how, Some(0o644))?;
    let written = file.metadata()?.len();
    let mut last = [b'\n'];
    if let Some(at) = written.checked_sub(1) {
        file.read_at(&mut last, at)?;
    }
    // A call that was killed, or found no space, may have left an incomplete record, which must not
    // damage the next one.
    if last != [b'\n'] {
        line.insert(0, b'\n');
    }
    let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
    if written.saturating_add(length) > JOURNAL_MAX_BYTES {
        return Ok(());
    }
    file.write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn record(at_ns: u64) -> Record {
        let (container, image) = ("job".to_owned(), "node:22".to_owned());
        Record::HookLaunched { at_ns, container, image, running_at_ns: None }
    }

    #[test]
    fn records_are_appended_a_line_each() {
        let directory = tempfile::tempdir().unwrap();
        let volume = Volume::new(directory.path());
        fs::create_dir(volume.journal()).unwrap();
        for at_ns in [1, 2] {
            append(&volume, &record(at_ns)).unwrap();
        }
        let text = fs::read_to_string(volume.hook_journal()).unwrap();
        let read: Vec<_> = text.lines().map(|line| Record::from_line(line.as_bytes())).collect();
        assert_eq!(read, [Some(record(1)), Some(record(2))]);
    }

    #[test]
    fn half_a_record_of_a_call_that_was_killed_spoils_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let volume = Volume::new(directory.path());
        fs::create_dir(volume.journal()).unwrap();
        let first = record(1).to_line().unwrap();
        for length in 0..=first.len() {
            fs::write(volume.hook_journal(), &first[..length]).unwrap();
            append(&volume, &record(2)).unwrap();
            let text = fs::read_to_string(volume.hook_journal()).unwrap();
            let read: Vec<_> =
                text.lines().filter_map(|line| Record::from_line(line.as_bytes())).collect();
            let wanted =
                if length + 1 < first.len() { &[record(2)][..] } else { &[record(1), record(2)] };
            assert_eq!(read, wanted, "{length}");
        }
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let volume = Volume::new(directory.path());
        fs::create_dir(volume.journal()).unwrap();
        let victim = directory.path().join("victim");
        std::os::unix::fs::symlink(&victim, volume.hook_journal()).unwrap();
        assert!(append(&volume, &record(1)).is_err());
        assert!(!victim.exists());
    }
}
