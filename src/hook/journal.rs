//! The hook's own journal in the shared volume: how long its calls took, for the agent.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::contract::{JOURNAL_MAX_BYTES, Record, Volume};

/// Appends one record. The journal is a courtesy: a job does not fail for want of it.
pub(super) fn append(volume: &Volume, record: &Record) -> io::Result<()> {
    let Some(line) = record.to_line() else { return Ok(()) };
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o644)
        // Jobs can write to the volume: nothing else may be put in the file's place.
        .custom_flags(flags.bits().cast_signed())
        .open(volume.hook_journal())?;
    let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
    if file.metadata()?.len().saturating_add(length) > JOURNAL_MAX_BYTES {
        return Ok(());
    }
    file.write_all(&line)
}

/// Now, in nanoseconds since 1970.
pub(super) fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    nanos(since)
}

/// A duration in nanoseconds.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
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
