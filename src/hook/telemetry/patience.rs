//! How long a call waits for the collector: less for a while after one waited in vain, so that a
//! silent collector does not cost every step the same again.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use ephemon_contract::Volume;
use ephemon_contract::plain_file;

/// The wait of a call that knows nothing bad of the collector.
const FULL: Duration = Duration::from_millis(250);
/// The wait while the collector is known to be silent.
const SHORT: Duration = Duration::from_millis(25);
/// How long it is known.
const REMEMBERED: Duration = Duration::from_mins(1);

/// The wait at a call's end, and where a vain one is remembered: a file whose age counts.
#[derive(Debug)]
pub(super) struct Patience {
    mark: PathBuf,
    pub(super) wait: Duration,
}

// === impl Patience ===

impl Patience {
    pub(super) fn of(volume: &Volume) -> Self {
        // No container has this name: DNS labels have no underscore.
        let mark = volume.run().join("_collector_silent");
        let age = fs::symlink_metadata(&mark).and_then(|mark| mark.modified()).ok();
        let age = age.and_then(|at| SystemTime::now().duration_since(at).ok());
        let wait = if age.is_some_and(|age| age < REMEMBERED) { SHORT } else { FULL };
        Self { mark, wait }
    }

    /// The collector was silent for as long as a call could wait.
    pub(super) fn in_vain(&self) {
        if self.wait == SHORT {
            // It is asked properly again when the first mark is old.
            return;
        }
        let mut how = OpenOptions::new();
        how.write(true).truncate(true);
        let mark = plain_file::open(&self.mark, &how, Some(0o644));
        // A mark that cannot be made costs the next call its full wait.
        drop(mark.and_then(|mark| mark.set_modified(SystemTime::now())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vain_wait_shortens_those_of_the_next_minute() {
        let directory = tempfile::tempdir().unwrap();
        let volume = Volume::new(directory.path());
        fs::create_dir(volume.run()).unwrap();
        let first = Patience::of(&volume);
        assert_eq!(first.wait, FULL);
        first.in_vain();
        let second = Patience::of(&volume);
        assert_eq!(second.wait, SHORT);
        let old = SystemTime::now() - REMEMBERED * 2;
        OpenOptions::new().write(true).open(&first.mark).unwrap().set_modified(old).unwrap();
        second.in_vain();
        assert_eq!(Patience::of(&volume).wait, FULL);
    }
}
