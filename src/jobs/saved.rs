//! What outlives the agent, as one file of its state directory: replaced whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::memory::Memory;
use super::tally::Tally;

/// The file's name.
const NAME: &str = "jobs.json";
/// A file of ours is far smaller; what is longer is none of ours.
const MAX_BYTES: u64 = 32 * 1024 * 1024;
/// How the file is laid out; another number is another agent's.
const VERSION: u32 = 1;

/// Who was counted and sent, and the counts: together, so that no job is counted twice.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Saved {
    version: u32,
    /// Whose jobs were sent.
    pub memory: Memory,
    /// The counts.
    pub tally: Tally,
}

/// The same, as it is written.
#[derive(Serialize)]
struct Kept<'a> {
    version: u32,
    memory: &'a Memory,
    tally: &'a Tally,
}

/// The state could not be kept.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot save jobs to {path}: {source}; after a restart counters begin anew and spans may be sent \
     twice"
)]
pub struct SaveError {
    path: PathBuf,
    source: io::Error,
}

// === impl Saved ===

impl Saved {
    /// What an earlier agent left in the state directory; nothing where there is nothing, or
    /// nothing that can be read, which is said in the log.
    pub fn load(directory: &Path) -> Self {
        let path = directory.join(NAME);
        match read(&path) {
            Ok(saved) => saved,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                let path = path.display();
                tracing::warn!("cannot read {path}: {error}; counting jobs from the beginning");
                Self::default()
            }
        }
    }

    /// Saves these, whole or not at all, without a second copy of them in memory.
    pub fn save(directory: &Path, memory: &Memory, tally: &Tally) -> Result<(), SaveError> {
        let path = directory.join(NAME);
        let kept = Kept { version: VERSION, memory, tally };
        kept.write(directory, &path).map_err(|source| SaveError { path, source })
    }
}

// === impl Kept ===

impl Kept<'_> {
    fn write(&self, directory: &Path, path: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        let new = path.with_extension("json.new");
        let mut file = BufWriter::new(File::create(&new)?);
        serde_json::to_writer(&mut file, self)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()?;
        fs::rename(&new, path)
    }
}

fn read(path: &Path) -> io::Result<Saved> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut text)?;
    let saved: Saved = serde_json::from_slice(&text)?;
    if saved.version == VERSION {
        Ok(saved)
    } else {
        Err(io::Error::other(format!("it is of version {}, not {VERSION}", saved.version)))
    }
}

#[cfg(test)]
mod tests {
    use ephemon_model::PodUid;

    use super::*;

    #[test]
    fn what_is_saved_is_loaded_and_what_is_spoilt_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        assert_eq!(Saved::load(&state), Saved::default());
        let mut memory = Memory::default();
        memory.meet(&PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap(), 1);
        let saved = Saved { version: VERSION, memory, tally: Tally::default() };
        let save = |directory: &Path| Saved::save(directory, &saved.memory, &saved.tally);
        save(&state).unwrap();
        assert_eq!(Saved::load(&state), saved);
        for spoilt in ["", "{}", "{\"version\":2,\"memory\":{\"pods\":{}},\"tally\":{}}"] {
            fs::write(state.join(NAME), spoilt).unwrap();
            assert_eq!(Saved::load(&state), Saved::default(), "{spoilt}");
        }
        let error = save(Path::new("/proc/ephemon")).unwrap_err().to_string();
        assert!(error.contains("/proc/ephemon/jobs.json"), "{error}");
    }
}
