//! One agent per node: a lock on a file in the state directory. The kernel releases it when the
//! process ends for any reason.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// Held while the process runs.
#[derive(Debug)]
pub(super) struct NodeLock(#[expect(dead_code, reason = "held, not read")] File);

/// Why the lock is not held.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another agent holds it.
    #[error(
        "another ephemon agent{} runs on this node: it holds the lock {path}; stop it first, or \
         set another --state-dir for this one",
        holder.as_ref().map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    Held {
        /// The lock file.
        path: PathBuf,
        /// The process id that the other agent wrote.
        holder: Option<u32>,
    },
    /// The state directory cannot be written.
    #[error("cannot lock {path}: {source}")]
    Unwritable {
        /// The lock file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl NodeLock {
    /// Takes the lock in `directory`, which is created if necessary.
    pub(super) fn take(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join("agent.lock");
        let unwritable = |source| LockError::Unwritable { path: path.clone(), source };
        fs::create_dir_all(directory).map_err(unwritable)?;
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(unwritable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut text = String::new();
                let read = (&mut file).take(32).read_to_string(&mut text);
                let holder = read.ok().and_then(|_| text.trim().parse().ok());
                return Err(LockError::Held { path, holder });
            }
            Err(fs::TryLockError::Error(source)) => return Err(unwritable(source)),
        }
        file.set_len(0).map_err(unwritable)?;
        file.rewind().map_err(unwritable)?;
        writeln!(file, "{}", std::process::id()).map_err(unwritable)?;
        Ok(Self(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_agent_is_told_who_holds_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("a/b");
        let first = NodeLock::take(&state).unwrap();
        let error = NodeLock::take(&state).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        assert!(error.contains("--state-dir"), "{error}");
        drop(first);
        NodeLock::take(&state).unwrap();
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let error = NodeLock::take(Path::new("/proc/ephemon")).unwrap_err();
        assert!(matches!(error, LockError::Unwritable { .. }));
        assert!(error.to_string().contains("/proc/ephemon/agent.lock"), "{error}");
    }
}
