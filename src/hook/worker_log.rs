//! The log of the worker that calls us: `_diag` lies beside the work directory. It is nobody's
//! interface: what is found there is a help, and whoever reads it does without.

use std::fs::{self, File};
use std::io::{Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::settings::Settings;

/// A worker's log.
#[derive(Debug)]
pub(super) struct WorkerLog(PathBuf);

// === impl WorkerLog ===

impl WorkerLog {
    /// The newest one, if there is any.
    pub(super) fn newest(settings: &Settings) -> Option<Self> {
        newest(settings.work.as_deref()?).map(Self)
    }

    /// Its beginning, as many bytes at most.
    pub(super) fn head(&self, bytes_max: u64) -> Option<String> {
        text(File::open(&self.0).ok()?, bytes_max)
    }

    /// Its end, as many bytes at most; the first line may be a part of one.
    pub(super) fn tail(&self, bytes_max: u64) -> Option<String> {
        let mut file = File::open(&self.0).ok()?;
        let length = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(bytes_max))).ok()?;
        text(file, bytes_max)
    }
}

fn newest(work: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(work.parent()?.join("_diag")).ok()?;
    let logs = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let name = path.file_name()?.to_str()?;
        // The time stands in the name.
        (name.starts_with("Worker_") && path.extension()? == "log").then(|| path.clone())
    });
    logs.max()
}

fn text(file: File, bytes_max: u64) -> Option<String> {
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
