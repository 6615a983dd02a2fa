//! Where a kubelet keeps what belongs to a pod, below a node's root.
//!
//! Source: kubernetes v1.36.2, `pkg/kubelet/kubelet_getters.go`, `pkg/kubelet/kuberuntime/helpers.go`
//! (`BuildPodLogsDirectory`) and `legacy.go` (`legacyLogSymlink`).

use std::path::{Path, PathBuf};

/// The directory of a pod's volumes and of its hosts file.
pub fn pod(root: &Path, uid: &str) -> PathBuf {
    root.join("var/lib/kubelet/pods").join(uid)
}

/// An `emptyDir` of a pod.
pub fn empty_dir(root: &Path, uid: &str, volume: &str) -> PathBuf {
    pod(root, uid).join("volumes/kubernetes.io~empty-dir").join(volume)
}

/// The directory of a pod's logs; `pod` is its namespace and its name.
pub fn pod_logs(root: &Path, (namespace, pod): (&str, &str), uid: &str) -> PathBuf {
    root.join("var/log/pods").join(format!("{namespace}_{pod}_{uid}"))
}

/// The link to a container's log, which connects the file with the container's id.
pub fn log_link(root: &Path, (namespace, pod): (&str, &str), container: &str, id: &str) -> PathBuf {
    root.join("var/log/containers").join(format!("{pod}_{namespace}_{container}-{id}.log"))
}
