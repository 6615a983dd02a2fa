//! The node's file system as the agent sees it: every host path is joined to `--node-root`, so that
//! the agent works on the host, in a `DaemonSet` with the host mounted elsewhere, and on a fixture
//! tree.

use std::path::{Path, PathBuf};

use crate::PodUid;

/// Where the node's root directory is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRoot(PathBuf);

impl NodeRoot {
    /// Takes `--node-root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// Joins a path of the node, absolute there, to the root.
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Where the cgroup hierarchies are mounted: `/sys/fs/cgroup`.
    pub fn cgroup(&self) -> PathBuf {
        self.join("sys/fs/cgroup")
    }

    /// The process file system: `/proc`.
    pub fn proc(&self) -> PathBuf {
        self.join("proc")
    }

    /// The kubelet's log directories, `NAMESPACE_POD_UID/CONTAINER/N.log`.
    ///
    /// Source: kubernetes v1.36.2, `pkg/kubelet/kuberuntime/helpers.go`, `BuildPodLogsDirectory`.
    pub fn pod_logs(&self) -> PathBuf {
        self.join("var/log/pods")
    }

    /// The kubelet's symbolic links `POD_NAMESPACE_CONTAINER-ID.log`, the only place on disk that
    /// connects a container's id with its name.
    ///
    /// Source: kubernetes v1.36.2, `pkg/kubelet/kuberuntime/legacy.go`, `legacyLogSymlink`.
    pub fn container_logs(&self) -> PathBuf {
        self.join("var/log/containers")
    }

    /// A pod's `emptyDir` with this name, below the kubelet's directory (`--kubelet-root`, usually
    /// `/var/lib/kubelet`).
    ///
    /// Source: kubernetes v1.36.2, `pkg/kubelet/kubelet_getters.go`, `getPodVolumeDir`.
    pub fn empty_dir(&self, kubelet_root: &Path, pod: &PodUid, volume: &str) -> PathBuf {
        let volumes = self.join(kubelet_root).join("pods").join(pod.as_str()).join("volumes");
        volumes.join("kubernetes.io~empty-dir").join(volume)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_and_relative_paths_stay_below_the_root() {
        let node = NodeRoot::new("/host");
        assert_eq!(node.join("/proc/1"), Path::new("/host/proc/1"));
        assert_eq!(node.join("proc/1"), Path::new("/host/proc/1"));
        assert_eq!(node.cgroup(), Path::new("/host/sys/fs/cgroup"));
    }
}
