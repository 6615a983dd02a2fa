//! A pod's directory on the node: its emptyDir volumes and its hosts file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::cri_wire::Mount;
use super::super::pod_network::POD_ADDRESS;
use super::translate::{items, text};

/// `/var/lib/kubelet/pods/UID`.
#[derive(Debug, Clone)]
pub(crate) struct PodDirectory(PathBuf);

// === impl PodDirectory ===

impl PodDirectory {
    /// Of a pod on a node with this root.
    pub(crate) fn new(root: &Path, uid: &str) -> Self {
        Self(root.join("var/lib/kubelet/pods").join(uid))
    }

    /// An emptyDir volume.
    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.0.join("volumes/kubernetes.io~empty-dir").join(name)
    }

    /// The one file that is `/etc/hosts` in all containers.
    pub(crate) fn hosts(&self) -> PathBuf {
        self.0.join("etc-hosts")
    }

    /// Makes the emptyDir volumes, open to all.
    pub(super) fn make(&self, pod: &Value) {
        for volume in items(pod, "/spec/volumes") {
            assert!(volume.get("emptyDir").is_some(), "only emptyDir: {volume}");
            let path = self.volume(text(volume, "/name"));
            fs::create_dir_all(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        }
    }

    /// Writes the hosts file from scratch, as before every start of a container.
    ///
    /// Source: `pkg/kubelet/kubelet_pods.go`, `ensureHostsFile`, `managedHostsFileContent`.
    pub(super) fn write_hosts(&self, hostname: &str) {
        let text = format!(
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost \
             ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\n\
             fe00::2\tip6-allrouters\n{POD_ADDRESS}\t{hostname}\n"
        );
        fs::write(self.hosts(), text).unwrap();
    }

    /// A container's mounts: its volumes and the hosts file.
    pub(super) fn mounts(&self, spec: &Value) -> Vec<Mount> {
        let volumes = items(spec, "/volumeMounts").map(|mount| Mount {
            container_path: text(mount, "/mountPath").to_owned(),
            host_path: self.volume(text(mount, "/name")).to_string_lossy().into_owned(),
            readonly: mount.get("readOnly") == Some(&Value::Bool(true)),
        });
        let hosts = Mount {
            container_path: "/etc/hosts".to_owned(),
            host_path: self.hosts().to_string_lossy().into_owned(),
            readonly: false,
        };
        volumes.chain([hosts]).collect()
    }
}
