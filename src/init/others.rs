//! Values that were told in other containers of the pod, taken before a step begins and while its output
//! comes. Their files are root's to read: an init of another user masks by what it was told itself.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

use ephemon_base::lock;
use ephemon_contract::plain_file;
use ephemon_mask::Masks;
use ephemon_mask::shared::{MAX_FILE_BYTES, values};

use super::config::Config;

/// Most files looked at: one a container.
const MAX_FILES: usize = 512;
/// While output comes they are looked at no more often.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// What was told in others.
#[derive(Debug)]
pub(super) struct Others {
    directory: PathBuf,
    /// The file of this container.
    own: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// How long each file was when it was read.
    lengths: HashMap<OsString, u64>,
    looked: Option<Instant>,
}

// === impl Others ===

impl Others {
    /// Of the container's pod.
    pub(super) fn of(config: &Config) -> Self {
        let own = config.volume.container_masks(&config.container);
        Self { directory: config.volume.masks(), own, seen: Mutex::default() }
    }

    /// Adds to `masks` what is new, unless somebody looked a moment ago: a service runs for as long as
    /// the job, which tells values meanwhile.
    pub(super) fn learn_again(&self, masks: &Masks) {
        let mut seen = lock(&self.seen);
        if seen.looked.is_none_or(|looked| looked.elapsed() >= LOOK_INTERVAL) {
            self.look(&mut seen, masks);
        }
    }

    /// Adds to `masks` what is new.
    pub(super) fn learn(&self, masks: &Masks) {
        self.look(&mut lock(&self.seen), masks);
    }

    fn look(&self, seen: &mut Seen, masks: &Masks) {
        seen.looked = Some(Instant::now());
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten().take(MAX_FILES) {
            let path = entry.path();
            let length = entry.metadata().map_or(0, |file| file.len());
            if path == self.own || seen.lengths.insert(entry.file_name(), length) == Some(length) {
                continue;
            }
            // What cannot be read is another user's: the agent knows it.
            let Ok(text) = read(&self.directory, &entry.file_name()) else { continue };
            let values: Vec<Vec<u8>> = values(&text).collect();
            // Too many is remembered by the masks themselves.
            masks.add(values.iter().map(Vec::as_slice)).ok();
        }
        // A job may make and remove as many as it likes.
        if seen.lengths.len() > 2 * MAX_FILES {
            seen.lengths.clear();
        }
    }
}

/// A plain file's text: jobs can put anything there.
fn read(directory: &Path, name: &OsStr) -> io::Result<Vec<u8>> {
    let name = name.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
    let mut text = Vec::new();
    let file = plain_file::read_at(File::open(directory)?, name)?;
    file.take(MAX_FILE_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use ephemon_mask::shared::SharedMasks;

    use super::*;

    #[test]
    fn what_other_containers_told_is_masked_here() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str| directory.path().join(format!("{name}.jsonl"));
        SharedMasks::open(&file("job")).expect("a file").tell(Some(b"hunter2"));
        SharedMasks::open(&file("step")).expect("a file").tell(Some(b"own"));
        std::os::unix::fs::symlink("/dev/zero", file("zero")).expect("a link");
        fs::write(file("bad"), "garbage\n").expect("a file");
        let masks = Masks::default();
        let others = Others {
            directory: directory.path().to_owned(),
            own: file("step"),
            seen: Mutex::default(),
        };
        let shown = |masks: &Masks| {
            let mut shown = Vec::new();
            let matcher = masks.matcher().expect("few");
            matcher.mask(b"hunter2 own later", usize::MAX, &mut shown).expect("no limit");
            String::from_utf8(shown).expect("ASCII")
        };
        others.learn(&masks);
        assert_eq!(shown(&masks), "*** own later");
        SharedMasks::open(&file("job")).expect("a file").tell(Some(b"later"));
        others.learn(&masks);
        assert_eq!(shown(&masks), "*** own ***");
    }
}
