//! Values to mask that were registered in other containers of the pod, read before a step starts
//! and while its output arrives. The files can only be read by root: an init of another user masks
//! only the values that it got itself.

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

/// Most files that are read; there is one per container.
const MAX_FILES: usize = 512;
/// Shortest interval between reads while output arrives.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Values to mask of other containers.
#[derive(Debug)]
pub(super) struct OtherMasks {
    directory: PathBuf,
    /// The file of this container.
    own: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Length of each file when it was last read.
    lengths: HashMap<OsString, u64>,
    looked: Option<Instant>,
}

// === impl OtherMasks ===

impl OtherMasks {
    /// For the pod of the container.
    pub(super) fn of(config: &Config) -> Self {
        let own = config.volume.container_masks(&config.container);
        Self { directory: config.volume.masks(), own, seen: Mutex::default() }
    }

    /// Adds new values to `masks`, unless they were read a moment ago. A service runs as long as
    /// the job, which registers values meanwhile.
    pub(super) fn learn_again(&self, masks: &Masks) {
        let mut seen = lock(&self.seen);
        if seen.looked.is_none_or(|looked| looked.elapsed() >= LOOK_INTERVAL) {
            self.look(&mut seen, masks);
        }
    }

    /// Adds new values to `masks`.
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
            // A file that cannot be read belongs to another user; the agent reads it.
            let Ok(text) = read(&self.directory, &entry.file_name()) else { continue };
            let values: Vec<Vec<u8>> = values(&text).collect();
            // The masks record that there are too many.
            masks.add(values.iter().map(Vec::as_slice)).ok();
        }
        // A job can create and remove any number of files.
        if seen.lengths.len() > 2 * MAX_FILES {
            seen.lengths.clear();
        }
    }
}

/// Reads a regular file only, because jobs can create anything there.
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
        let others = OtherMasks {
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
