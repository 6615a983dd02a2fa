//! A container's first log, and the link that connects the file with the container's id.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::paths;

/// Creates a container's directory; returns the path of its first log.
pub(super) fn make(pod_directory: &Path, container: &str) -> io::Result<PathBuf> {
    let directory = pod_directory.join(container);
    fs::create_dir_all(&directory)?;
    Ok(directory.join("0.log"))
}

/// Links `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log` to the log.
pub(super) fn link(
    root: &Path,
    pod: (&str, &str),
    container: &str,
    id: &str,
    log: &Path,
) -> io::Result<()> {
    symlink(log, paths::log_link(root, pod, container, id))
}

/// Removes the link.
pub(super) fn unlink(root: &Path, pod: (&str, &str), container: &str, id: &str) {
    // It may be removed already.
    drop(fs::remove_file(paths::log_link(root, pod, container, id)));
}
