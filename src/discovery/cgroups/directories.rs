//! Lists directories.

use std::path::Path;

use ephemon_cgroup::name;
use ephemon_model::ContainerId;

/// The groups of containers in a pod's directory: their ids, and the directories' names.
pub fn containers_in(pod: &Path) -> impl Iterator<Item = (ContainerId, String)> + use<> {
    directories(pod).into_iter().filter_map(|name| Some((name::container(&name)?, name)))
}

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
