//! A pod's volumes and its hosts file, as directories and a file of the node.
//!
//! Source: kubernetes v1.36.2, `pkg/kubelet/kubelet_pods.go` (`ensureHostsFile`: written from scratch
//! at every start of a container).

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::paths;
use crate::api::object::{items, text};
use crate::view::{Mount, MountMode};

/// The pod's directory on the node.
#[derive(Debug, Clone)]
pub(crate) struct Volumes {
    root: PathBuf,
    uid: String,
    /// Whether each volume has a short path as well, which sockets need (`sun_path`, 107 bytes).
    is_short: bool,
}

// === impl Volumes ===

impl Volumes {
    pub(crate) fn new(root: &Path, uid: &str, mount_mode: MountMode) -> Self {
        let is_short = mount_mode == MountMode::Textual;
        Self { root: root.to_owned(), uid: uid.to_owned(), is_short }
    }

    fn directory(&self) -> PathBuf {
        paths::pod(&self.root, &self.uid)
    }

    /// An `emptyDir`'s directory.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        paths::empty_dir(&self.root, &self.uid, name)
    }

    /// The short path of a volume, if containers use paths of the node.
    fn short(&self, name: &str) -> Option<PathBuf> {
        let uid = self.uid.split('-').next().unwrap_or_default();
        self.is_short.then(|| self.root.join("v").join(format!("{uid}-{name}")))
    }

    /// A volume as its containers reach it from this machine.
    pub(crate) fn source(&self, name: &str) -> PathBuf {
        self.short(name).unwrap_or_else(|| self.path(name))
    }

    /// The pod's hosts file.
    pub(super) fn hosts(&self) -> PathBuf {
        self.directory().join("etc-hosts")
    }

    /// Creates every `emptyDir`, writable for all users, as by the kubelet.
    pub(super) fn make(&self, pod: &Value) -> io::Result<()> {
        for volume in items(pod, "/spec/volumes").filter(|volume| volume.get("emptyDir").is_some())
        {
            let name = text(volume, "/name").unwrap_or_default();
            let path = self.path(name);
            fs::create_dir_all(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
            if let Some(short) = self.short(name) {
                fs::create_dir_all(short.parent().unwrap_or(&short))?;
                symlink(&path, &short)?;
            }
        }
        fs::create_dir_all(self.directory())
    }

    /// Rewrites the hosts file, which removes lines that were added.
    pub(super) fn write_hosts(&self, pod: &str) -> io::Result<()> {
        let text = format!(
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n\
             ::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
             fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n\
             127.0.0.1\t{pod}\n"
        );
        let path = self.hosts();
        let is_new = !path.exists();
        // In place, because running containers have this file mounted.
        fs::write(&path, text)?;
        if is_new {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        }
        Ok(())
    }

    /// A container's mounts. Other kinds of volumes are not supported.
    pub(super) fn mounts(&self, container: &Value) -> Vec<Mount> {
        let all = items(container, "/volumeMounts").map(|mount| Mount {
            source: self.source(text(mount, "/name").unwrap_or_default()),
            target: PathBuf::from(text(mount, "/mountPath").unwrap_or_default()),
            read_only: mount.get("readOnly").and_then(Value::as_bool).unwrap_or(false),
        });
        all.filter(|mount| mount.source.is_dir()).collect()
    }

    /// Removes everything, with the pod.
    pub(super) fn remove(&self) {
        // Files that a container created as another user are removed with the node.
        drop(fs::remove_dir_all(self.directory()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn volumes_are_made_mounted_and_removed_and_other_kinds_left_out() {
        let root = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(root.path(), "u", MountMode::Namespace);
        let list =
            json!([{"name": "work", "emptyDir": {}}, {"name": "host", "hostPath": {"path": "/"}}]);
        volumes.make(&json!({"spec": {"volumes": list}})).unwrap();
        let container = json!({"volumeMounts": [
            {"name": "work", "mountPath": "/__w", "readOnly": true},
            {"name": "host", "mountPath": "/h"},
        ]});
        let mounts = volumes.mounts(&container);
        assert_eq!(mounts.len(), 1);
        assert_eq!((mounts[0].target.to_str(), mounts[0].read_only), (Some("/__w"), true));
        let mode = fs::metadata(&mounts[0].source).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o777);
        volumes.remove();
        assert!(!volumes.path("work").exists());
    }

    #[test]
    fn the_hosts_file_forgets_what_was_added() {
        let root = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(root.path(), "u", MountMode::Namespace);
        volumes.make(&json!({})).unwrap();
        volumes.write_hosts("runner-1").unwrap();
        let before = fs::read_to_string(volumes.hosts()).unwrap();
        fs::write(volumes.hosts(), format!("{before}127.0.0.1 redis\n")).unwrap();
        volumes.write_hosts("runner-1").unwrap();
        assert_eq!(fs::read_to_string(volumes.hosts()).unwrap(), before);
        assert!(before.contains("\trunner-1\n"));
    }
}
