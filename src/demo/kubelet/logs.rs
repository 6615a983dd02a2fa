//! Path of a container's log, and the link that connects the file with the container's id.
//!
//! Source: kubernetes v1.36.2, `pkg/kubelet/kuberuntime/helpers.go` (`BuildPodLogsDirectory`) and
//! `legacy.go` (`legacyLogSymlink`).

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The pod's log directory.
pub(super) fn pod_directory(root: &Path, namespace: &str, pod: &str, uid: &str) -> PathBuf {
    root.join("var/log/pods").join(format!("{namespace}_{pod}_{uid}"))
}

/// Creates a container's directory; returns the path of its first log.
pub(super) fn make(pod_directory: &Path, container: &str) -> io::Result<PathBuf> {
    let directory = pod_directory.join(container);
    fs::create_dir_all(&directory)?;
    Ok(directory.join("0.log"))
}

/// Links `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log` to the log.
pub(super) fn link(
    root: &Path,
    (namespace, pod): (&str, &str),
    container: &str,
    id: &str,
    log: &Path,
) -> io::Result<()> {
    symlink(log, link_path(root, (namespace, pod), container, id))
}

/// Removes the link.
pub(super) fn unlink(root: &Path, pod: (&str, &str), container: &str, id: &str) {
    // It may be removed already.
    drop(fs::remove_file(link_path(root, pod, container, id)));
}

fn link_path(root: &Path, (namespace, pod): (&str, &str), container: &str, id: &str) -> PathBuf {
    root.join("var/log/containers").join(format!("{pod}_{namespace}_{container}-{id}.log"))
}
