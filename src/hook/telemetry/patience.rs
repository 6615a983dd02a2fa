//! How long a call waits for the collector: less for a while after one waited without success, so
//! that an unavailable collector does not delay every step by the same time.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use ephemon_contract::Volume;
use ephemon_contract::plain_file;

/// The wait after a recent failure.
const SHORT: Duration = Duration::from_millis(25);
/// How long a failure is remembered.
const REMEMBERED: Duration = Duration::from_mins(1);

/// The wait at the end of a call, and the file whose modification time records the last failure.
#[derive(Debug)]
pub(super) struct Patience {
    mark: PathBuf,
    pub(super) wait: Duration,
}

// === impl Patience ===

impl Patience {
    /// `full` is the wait unless the last one was in vain.
    pub(super) fn of(volume: &Volume, full: Duration) -> Self {
        // No container has this name: DNS labels have no underscore.
        let mark = volume.run().join("_collector_silent");
        let age = fs::symlink_metadata(&mark).and_then(|mark| mark.modified()).ok();
        let age = age.and_then(|at| SystemTime::now().duration_since(at).ok());
        let wait = if age.is_some_and(|age| age < REMEMBERED) { full.min(SHORT) } else { full };
        Self { mark, wait }
    }

    /// Records that the collector did not answer within the wait.
    pub(super) fn in_vain(&self) {
        if self.wait <= SHORT {
            // The full wait is used again when the first record is old.
            return;
        }
        let mut how = OpenOptions::new();
        how.write(true).truncate(true);
        let mark = plain_file::open(&self.mark, &how, Some(0o644));
        // If the file cannot be written, the next call waits for the full time.
        drop(mark.and_then(|mark| mark.set_modified(SystemTime::now())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vain_wait_shortens_those_of_the_next_minute() {
        const FULL: Duration = Duration::from_millis(250);
        let directory = tempfile::tempdir().unwrap();
        let volume = Volume::new(directory.path());
        fs::create_dir(volume.run()).unwrap();
        let first = Patience::of(&volume, FULL);
        assert_eq!(first.wait, FULL);
        first.in_vain();
        let second = Patience::of(&volume, FULL);
        assert_eq!(second.wait, SHORT);
        let shorter = SHORT / 2;
        assert_eq!(Patience::of(&volume, shorter).wait, shorter);
        let old = SystemTime::now() - REMEMBERED * 2;
        OpenOptions::new().write(true).open(&first.mark).unwrap().set_modified(old).unwrap();
        second.in_vain();
        assert_eq!(Patience::of(&volume, FULL).wait, FULL);
    }
}
