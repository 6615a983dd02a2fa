//! A node of our own: the host's kernel below a root directory with its own log directories.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use ephemon_demo::kubelet::paths;
use tempfile::TempDir;

use super::cgroups::Tree;

/// Where the pods of the middle class of service are.
const BURSTABLE: &str = "kubepods/burstable";

/// The node. Its directory and its cgroups go when it does.
#[derive(Debug)]
pub(crate) struct Node {
    cgroups: Tree,
    directory: TempDir,
}

/// A pod's place on the node.
#[derive(Debug, Clone)]
pub(crate) struct PodPlace {
    /// `metadata.namespace`.
    pub(crate) namespace: String,
    /// `metadata.name`.
    pub(crate) name: String,
    /// `metadata.uid`.
    pub(crate) uid: String,
}

impl Node {
    /// An empty node.
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("ephemon-it-").tempdir().unwrap();
        let root = directory.path().join("root");
        for below in ["sys/fs", "var/log/pods", "var/log/containers"] {
            fs::create_dir_all(root.join(below)).unwrap();
        }
        symlink("/sys/fs/cgroup", root.join("sys/fs/cgroup")).unwrap();
        symlink("/proc", root.join("proc")).unwrap();
        let cgroups = Tree::new();
        cgroups.make(BURSTABLE);
        Self { cgroups, directory }
    }

    /// `--node-root`.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// A directory beside the root, for the parts that make up the node.
    pub(crate) fn scratch(&self) -> &Path {
        self.directory.path()
    }

    /// `--kubepods`: where the pods' cgroups are.
    pub(crate) fn kubepods(&self) -> String {
        format!("{}/kubepods", self.cgroups.base())
    }

    /// The node's cgroups.
    pub(crate) fn cgroups(&self) -> &Tree {
        &self.cgroups
    }

    /// The directory of a pod's logs.
    pub(crate) fn pod_logs(&self, pod: &PodPlace) -> PathBuf {
        paths::pod_logs(&self.root(), (&pod.namespace, &pod.name), &pod.uid)
    }

    /// Makes the directory of a container's logs, as the kubelet does before it creates it.
    pub(crate) fn make_log_directory(&self, pod: &PodPlace, container: &str) {
        fs::create_dir_all(self.pod_logs(pod).join(container)).unwrap();
    }

    /// Makes the link in `/var/log/containers`, as the kubelet does once the container is started.
    pub(crate) fn link_log(&self, pod: &PodPlace, container: &str, id: &str) {
        let log = self.pod_logs(pod).join(container).join("0.log");
        let link = paths::log_link(&self.root(), (&pod.namespace, &pod.name), container, id);
        symlink(log, link).unwrap();
    }
}

impl PodPlace {
    /// A pod of the given name and a fresh uid.
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        let bits = fastrand::u128(..);
        let digits = format!("{bits:032x}");
        let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
        let uid = [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-");
        Self { namespace: namespace.to_owned(), name: name.to_owned(), uid }
    }

    /// Its cgroup below the node's directory of cgroups.
    pub(crate) fn cgroup(&self) -> String {
        format!("{BURSTABLE}/pod{}", self.uid)
    }

    /// How the kubelet names its cgroup to the runtime.
    pub(crate) fn cgroup_parent(&self, tree: &Tree) -> String {
        format!("/{}/{}", tree.base(), self.cgroup())
    }
}
