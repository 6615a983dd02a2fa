//! Lists directories.

use std::path::Path;

/// Names of the directories below a path; empty if it does not exist.
pub(super) fn directories(path: &Path) -> Vec<String> {
    some_directories(path, usize::MAX)
}

/// The same, of the first so many names.
pub(super) fn some_directories(path: &Path, limit: usize) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(path) else {
        return Vec::new();
    };
    entries
        .take(limit)
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}
