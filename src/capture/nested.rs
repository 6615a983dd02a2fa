//! Groups below a container's own, and containers in them.

use std::path::{Path, PathBuf};

/// What a nested container is part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nested {
    /// Its group is not below the pod's: it is no part of the pod's own counters.
    pub(crate) beside: bool,
    /// The directory above it, where only the engine's containers are below that.
    pub(crate) engines_directory: Option<PathBuf>,
}

/// Searches for a process in child groups, up to a depth.
pub(crate) fn holds_processes_below(directory: &Path, depth: u8) -> bool {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return false;
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .any(|entry| {
            let procs = std::fs::read(entry.path().join("cgroup.procs"));
            procs.is_ok_and(|procs| !procs.is_empty())
                || (depth > 0 && holds_processes_below(&entry.path(), depth - 1))
        })
}
