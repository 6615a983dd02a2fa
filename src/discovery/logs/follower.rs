//! Reads log directories and updates the inventory, from inotify events and by full scans.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use ephemon_model::node::NodeRoot;
use ephemon_model::{ContainerId, PodRef, PodUid};
use tracing::{debug, info, warn};

use super::directory_watch::{DirectoryEvent, DirectoryWatch};
use super::names;
use crate::inventory::{Evidence, EvidenceSource, Inventory, Observation};

/// Most names read from one directory; the kubelet does not create more.
const MAX_ENTRIES: usize = 20_000;

/// A watched directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Place {
    /// `/var/log/pods`.
    Pods,
    /// `/var/log/containers`.
    Links,
    /// A pod's directory.
    Pod(Arc<PodRef>, PathBuf),
    /// A container's directory.
    Container(PodUid, Arc<str>, PathBuf),
}

#[derive(Debug)]
pub(super) struct Follower {
    pods: PathBuf,
    links: PathBuf,
    inventory: Inventory,
    watch: DirectoryWatch<Place>,
    /// Links already reported, from the last scan and later events.
    known_links: HashSet<ContainerId>,
    warned: HashSet<PathBuf>,
}

// === impl Follower ===

impl Follower {
    pub(super) fn new(node: &NodeRoot, inventory: Inventory) -> Self {
        Self {
            pods: node.pod_logs(),
            links: node.container_logs(),
            inventory,
            watch: DirectoryWatch::new(),
            known_links: HashSet::new(),
            warned: HashSet::new(),
        }
    }

    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.watch.descriptor()
    }

    /// Handles inotify events, and reads everything again if `rescan` or if events were lost.
    /// Returns whether both directories exist.
    pub(super) fn turn(&mut self, mut rescan: bool) -> bool {
        for event in self.watch.take() {
            match event {
                DirectoryEvent::Lost => rescan = true,
                DirectoryEvent::Gone(Place::Pod(pod, _)) => {
                    self.inventory.log_directory_gone(&pod.uid);
                }
                DirectoryEvent::Gone(_) => {}
                DirectoryEvent::New(Place::Pods, name) => self.read_pod(&name),
                DirectoryEvent::New(Place::Links, name) => self.read_link(&name),
                DirectoryEvent::New(Place::Pod(pod, path), name) => {
                    self.read_container(&pod, &path, &name);
                }
                DirectoryEvent::New(Place::Container(uid, container, path), name) => {
                    if let Some(attempt) = names::log_file(&name) {
                        self.tell_log(&uid, &container, attempt, &path, &path.join(&name));
                    }
                }
            }
        }
        !rescan || self.rescan()
    }

    fn rescan(&mut self) -> bool {
        let (pods, links) = (self.pods.clone(), self.links.clone());
        // The watch is added before the directory is read, so that entries created in between are
        // seen twice rather than never.
        self.watch.watch(&pods, Place::Pods);
        let names = self.list(&pods);
        for name in names.iter().flatten() {
            self.read_pod(name);
        }
        self.watch.watch(&links, Place::Links);
        let link_names = self.list(&links);
        let mut present = HashSet::new();
        for name in link_names.iter().flatten() {
            self.read_link(name);
            present.extend(names::link(name).map(|link| link.id));
        }
        self.known_links = present;
        names.is_some() && link_names.is_some()
    }

    fn read_pod(&mut self, name: &str) {
        let Some(pod) = names::pod_directory(name) else {
            debug!(name, "not a pod's log directory");
            return;
        };
        let path = self.pods.join(name);
        self.inventory.learn(Evidence::Pod { pod: pod.clone(), by: EvidenceSource::LogDirectory });
        let pod = Arc::new(pod);
        self.watch.watch(&path, Place::Pod(pod.clone(), path.clone()));
        for container in self.list(&path).iter().flatten() {
            self.read_container(&pod, &path, container);
        }
    }

    fn read_container(&mut self, pod: &PodRef, pod_path: &Path, name: &str) {
        let path = pod_path.join(name);
        if !names::is_label(name) || !is_directory(&path) {
            return;
        }
        let container: Arc<str> = name.into();
        let place = Place::Container(pod.uid.clone(), container.clone(), path.clone());
        self.watch.watch(&path, place);
        let files = self.list(&path).unwrap_or_default();
        let mut attempts = files.iter().filter_map(|file| names::log_file(file));
        let Some(first) = attempts.next() else {
            // Created just now; the file follows.
            self.tell_log(&pod.uid, &container, 0, &path, &path);
            return;
        };
        for attempt in attempts.chain([first]) {
            let file = path.join(format!("{attempt}.log"));
            self.tell_log(&pod.uid, &container, attempt, &path, &file);
        }
    }

    fn read_link(&mut self, name: &str) {
        let Some(link) = names::link(name) else {
            return;
        };
        if self.known_links.len() >= MAX_ENTRIES || !self.known_links.insert(link.id.clone()) {
            return;
        }
        // Only the text of the link is read, no file is opened: it leads to
        // `.../NS_POD_UID/NAME/N.log`.
        let pod = fs::read_link(self.links.join(name))
            .ok()
            .and_then(|target| pod_of_target(&target))
            .filter(|pod| *pod.namespace == *link.namespace && *pod.name == *link.pod);
        let uid = pod.as_ref().map(|pod| pod.uid.clone());
        if let Some(pod) = pod {
            let by = EvidenceSource::Link;
            self.inventory.learn(Evidence::Pod { pod, by });
        }
        self.inventory.learn(Evidence::Container {
            id: link.id,
            word: Observation { pod: uid, name: link.container.into(), ..Observation::default() },
            by: EvidenceSource::Link,
        });
    }

    fn tell_log(
        &self,
        pod: &PodUid,
        container: &Arc<str>,
        attempt: u32,
        directory: &Path,
        of: &Path,
    ) {
        if let Some(made) = made(directory, of) {
            self.inventory.learn(Evidence::Log {
                pod: pod.clone(),
                container: container.clone(),
                attempt,
                made,
            });
        }
    }

    /// The names in a directory; `None` if it cannot be read, which is logged once if it matters.
    fn list(&mut self, directory: &Path) -> Option<Vec<String>> {
        match fs::read_dir(directory) {
            Ok(entries) => {
                self.warned.remove(directory);
                let names = entries
                    .take(MAX_ENTRIES)
                    .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
                Some(names.collect())
            }
            Err(error) => {
                let root = directory == self.pods || directory == self.links;
                if root && self.warned.insert(directory.to_owned()) {
                    say_unreadable(directory, &error);
                }
                None
            }
        }
    }
}

fn say_unreadable(directory: &Path, error: &io::Error) {
    let directory = directory.display();
    if error.kind() == io::ErrorKind::NotFound {
        info!(%directory, "the log directory does not exist yet; checking again every few seconds");
    } else {
        warn!(
            %directory, %error,
            "cannot read log directories, so pods and containers have no names from there; mount \
             /var/log from the node and run as a user that can read it"
        );
    }
}

fn pod_of_target(target: &Path) -> Option<PodRef> {
    names::pod_directory(target.parent()?.parent()?.file_name()?.to_str()?)
}

fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// When a log was created. If the file system does not store creation times, the directory's
/// modification time is used, which changes when a log is created in it, but not when the log is
/// written.
fn made(directory: &Path, of: &Path) -> Option<SystemTime> {
    let created = fs::symlink_metadata(of).and_then(|metadata| metadata.created());
    let changed =
        || fs::symlink_metadata(directory).and_then(|metadata: Metadata| metadata.modified());
    created.or_else(|_| changed()).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use ephemon_model::ContainerType;

    use super::*;

    const UID: &str = "0e269fa4-f505-4963-9096-958063077203";

    struct Node {
        root: tempfile::TempDir,
        inventory: Inventory,
        follower: Follower,
        pod: PodUid,
    }

    fn node() -> Node {
        let root = tempfile::tempdir().unwrap();
        let inventory = Inventory::default();
        Node {
            follower: Follower::new(&NodeRoot::new(root.path()), inventory.clone()),
            pod: PodUid::parse(UID).unwrap(),
            root,
            inventory,
        }
    }

    impl Node {
        fn make_log(&self, container: &str, file: &str) {
            let directory = self.path(&format!("pods/default_runner_{UID}/{container}"));
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(file), "").unwrap();
        }

        fn make_link(&self, container: &str, id: &ContainerId) {
            fs::create_dir_all(self.path("containers")).unwrap();
            symlink(
                format!("/var/log/pods/default_runner_{UID}/{container}/0.log"),
                self.path(&format!("containers/runner_default_{container}-{id}.log")),
            )
            .unwrap();
        }

        fn path(&self, path: &str) -> PathBuf {
            self.root.path().join("var/log").join(path)
        }

        fn name(&self, id: &ContainerId) -> Option<String> {
            let facts = self.inventory.container(&self.pod, id)?;
            assert_eq!(facts.container_type, ContainerType::Unknown);
            Some(facts.name.to_string())
        }

        fn born_soon(&self, n: u8) -> ContainerId {
            let id = ContainerId::parse(&format!("{n:064x}")).unwrap();
            let at = SystemTime::now() + Duration::from_secs(1);
            self.inventory.created(&self.pod, &id, at);
            id
        }
    }

    #[test]
    fn directories_that_are_not_there_yet_are_found_by_a_later_rescan() {
        let mut node = node();
        assert!(!node.follower.turn(true));
        node.make_log("job", "0.log");
        let id = node.born_soon(1);
        node.make_link("job", &id);
        assert!(node.follower.turn(true));
        assert_eq!(&*node.inventory.pod(&node.pod).unwrap().name, "runner");
        assert_eq!(node.name(&id).unwrap(), "job");
    }

    #[test]
    fn new_directories_and_links_are_told_by_inotify_alone() {
        let mut node = node();
        fs::create_dir_all(node.path("pods")).unwrap();
        fs::create_dir_all(node.path("containers")).unwrap();
        assert!(node.follower.turn(true));
        node.make_log("job", "0.log");
        node.follower.turn(false);
        let first = node.born_soon(1);
        assert_eq!(node.name(&first).unwrap(), "job");
        node.make_link("better", &first);
        node.make_log("step-1", "0.log");
        node.follower.turn(false);
        let second = node.born_soon(2);
        assert_eq!(node.name(&first).unwrap(), "better");
        assert_eq!(node.name(&second).unwrap(), "step-1");
    }

    #[test]
    fn what_is_not_the_kubelets_tells_nothing_and_harms_nothing() {
        let mut node = node();
        node.make_log("job", "0.log.20261123-121910");
        fs::create_dir_all(node.path("pods/lost+found")).unwrap();
        fs::create_dir_all(node.path("containers")).unwrap();
        fs::write(node.path("containers/x_y_z.log"), "").unwrap();
        fs::write(node.path(&format!("pods/default_runner_{UID}/file")), "").unwrap();
        assert!(node.follower.turn(true));
        let (first, second) = (node.born_soon(1), node.born_soon(2));
        assert_eq!(node.name(&first).unwrap(), "job");
        assert_eq!(node.name(&second), None);
    }

    #[test]
    fn a_pod_whose_directory_is_gone_is_let_go() {
        let mut node = node();
        node.make_log("job", "0.log");
        fs::create_dir_all(node.path("containers")).unwrap();
        node.follower.turn(true);
        assert!(node.inventory.pod(&node.pod).is_some());
        fs::remove_dir_all(node.path("pods")).unwrap();
        node.follower.turn(false);
        assert!(node.inventory.pod(&node.pod).is_none());
    }
}
