//! A pod of a node of plain files: the directories and groups that kubelet and runtime make of it.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use ephemon_demo::kubelet::paths;

use super::container::{Container, Place};

/// The namespace of all pods.
const NAMESPACE: &str = "ci";

/// One pod.
pub(crate) struct Pod {
    root: PathBuf,
    pub(crate) uid: String,
    pub(crate) name: String,
}

// === impl Pod ===

impl Pod {
    pub(super) fn create(root: &Path, name: &str, uid: &str) -> Self {
        let pod = Self { root: root.to_owned(), name: name.to_owned(), uid: uid.to_owned() };
        fs::create_dir_all(pod.logs()).unwrap();
        fs::create_dir_all(pod.cgroup()).unwrap();
        pod
    }

    /// Makes the volume in which hook and init keep journals.
    pub(crate) fn with_journals(self) -> Self {
        fs::create_dir_all(self.journals()).unwrap();
        self
    }

    /// Starts a container, as the kubelet and the runtime do.
    pub(crate) fn start(&self, name: &str) -> Container {
        self.start_without(name, "")
    }

    /// The same on a kernel that has no such file for it.
    pub(crate) fn start_without(&self, name: &str, file: &str) -> Container {
        let id = self.id(name);
        let link = paths::log_link(&self.root, (NAMESPACE, &self.name), name, &id);
        Container::start(id, self.place(name), (&self.root, &link), file)
    }

    /// Another writer to a container's log, who may outlive it.
    pub(crate) fn again(&self, name: &str) -> Container {
        Container::again(self.place(name))
    }

    /// Ends a container, for whoever writes no more to its log.
    pub(crate) fn end(&self, name: &str) {
        self.place(name).end();
    }

    /// The log of a container.
    pub(crate) fn log(&self, container: &str) -> PathBuf {
        self.logs().join(container).join("0.log")
    }

    /// Adds bytes to the log of a container, which need not be there.
    pub(crate) fn write_log(&self, container: &str, bytes: &[u8]) {
        let path = self.log(container);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        append(&path, bytes);
    }

    /// Adds bytes to the end of a journal.
    pub(crate) fn write_journal(&self, file: &str, bytes: &[u8]) {
        append(&self.journals().join(format!("{file}.jsonl")), bytes);
    }

    /// What the agent keeps of the pod's job for the case that it is killed.
    pub(crate) fn kept(&self) -> String {
        let path = self.root.join(super::STATE).join(format!("jobs/{}.jsonl", self.uid));
        fs::read_to_string(path).unwrap_or_default()
    }

    /// The kubelet's end of a pod: every log and volume at once.
    pub(crate) fn delete(&self) {
        for directory in [self.cgroup(), self.logs()] {
            fs::remove_dir_all(directory).unwrap();
        }
        if self.volumes().exists() {
            fs::remove_dir_all(self.volumes()).unwrap();
        }
    }

    fn place(&self, container: &str) -> Place {
        let cgroup = self.cgroup().join(self.id(container));
        Place { directory: self.logs().join(container), cgroup }
    }

    /// The runtime's id of a container: another one for each name and pod.
    fn id(&self, container: &str) -> String {
        let name = container.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        let id = format!("{name:0<40}{}", self.uid.split_at(12).1.replace('-', "0"));
        assert_eq!(id.len(), 64, "a name has at most 20 bytes: {container}");
        id
    }

    fn logs(&self) -> PathBuf {
        paths::pod_logs(&self.root, (NAMESPACE, &self.name), &self.uid)
    }

    fn cgroup(&self) -> PathBuf {
        self.root.join(format!("sys/fs/cgroup/kubepods/burstable/pod{}", self.uid))
    }

    fn volumes(&self) -> PathBuf {
        paths::pod(&self.root, &self.uid)
    }

    fn journals(&self) -> PathBuf {
        paths::empty_dir(&self.root, &self.uid, "ephemon").join("journal")
    }
}

/// Adds bytes to the end of a file.
fn append(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}
