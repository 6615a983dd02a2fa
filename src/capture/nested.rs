//! Groups below a container's own, and containers in them.

use std::path::Path;

use ephemon_discovery::cgroups::NestedGroup;

/// What is known of a nested container beside its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nested {
    pub(crate) group: Box<NestedGroup>,
    /// The inventory knows it: it has or had a place.
    pub(crate) is_known: bool,
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
