//! Creation and removal of cgroups: inotify on kubepods, the `QoS` directories and each pod, and a
//! walk of the tree that finds whatever the events missed.
//!
//! `nested` has the groups of containers in containers, `nested_watch` follows them, and `beside`
//! finds whose those are that lie outside the kubelet's tree.
//!
//! Not a separate thread: `capture` owns one instance and polls it, because the code that takes
//! final readings must learn of a removal immediately.

pub(crate) mod ancestry;
mod beside;
mod directories;
mod error;
mod event;
mod foreign;
mod nested;
mod nested_watch;

use std::collections::{HashMap, HashSet};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use ephemon_cgroup::name;
use ephemon_cgroup::name::Below;
use ephemon_model::{ContainerId, PodUid};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

pub use directories::containers_in;
use directories::{directories, some_directories};
pub use error::WatchError;
pub use event::CgroupEvent;
pub use foreign::holds_processes;
use nested::Groups;
pub use nested::{MAX_FOLLOWED, NESTED_GROUPS_BYTES, NestedGroup};

/// Buffer for one read of events, in bytes: about 800 events.
const EVENT_BUFFER_BYTES: usize = 64 * 1024;

/// The watched tree.
#[derive(Debug)]
pub struct CgroupTree {
    root: PathBuf,
    kubepods: Option<PathBuf>,
    inotify: Option<OwnedFd>,
    /// By watch descriptor. The kernel does not reuse descriptors.
    watches: HashMap<i32, Watched>,
    by_container: HashMap<ContainerId, (PodUid, Option<i32>)>,
    pods: HashMap<PodUid, PathBuf>,
    nested: Groups,
    watch_events_files: bool,
    buffer: Vec<MaybeUninit<u8>>,
    trouble: Vec<WatchError>,
    out_of_watches: bool,
}

#[derive(Debug, Clone)]
enum Watched {
    /// The kubepods root or a `QoS` directory, with pods and `QoS` directories in it.
    Pods(PathBuf),
    /// A pod's directory, with containers in it.
    Pod(PodUid, PathBuf),
    /// The `cgroup.events` of a container, or of a nested one.
    Events(ContainerId),
    /// A directory in which engines make groups.
    Nested(PathBuf),
}

// === impl CgroupTree ===

impl CgroupTree {
    /// Watches below `root` (a hierarchy's mount). `kubepods` sets the path of the kubelet's tree
    /// relative to it; without it, each walk tries the usual paths until one exists.
    pub fn new(root: PathBuf, kubepods: Option<PathBuf>, watch_events_files: bool) -> Self {
        let mut trouble = Vec::new();
        let inotify = match inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK) {
            Ok(inotify) => Some(inotify),
            Err(error) => {
                trouble.push(WatchError::NoInstance(error.into()));
                None
            }
        };
        Self {
            root,
            kubepods,
            inotify,
            watches: HashMap::new(),
            by_container: HashMap::new(),
            pods: HashMap::new(),
            nested: Groups::default(),
            watch_events_files,
            buffer: vec![MaybeUninit::uninit(); EVENT_BUFFER_BYTES],
            trouble,
            out_of_watches: false,
        }
    }

    /// The descriptor to poll, if there is one.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Whether events report every change. If not, walk often.
    pub fn is_whole(&self) -> bool {
        self.inotify.is_some() && !self.out_of_watches
    }

    /// The problems since the last call, each once.
    pub fn take_errors(&mut self) -> Vec<WatchError> {
        std::mem::take(&mut self.trouble)
    }

    /// The kubelet's tree, relative to the watched root, once it is found.
    pub fn kubepods(&self) -> Option<&Path> {
        let found = |path: &PathBuf| self.root.join(path).is_dir();
        match &self.kubepods {
            Some(path) => found(path).then_some(path),
            None => name::KUBEPODS_ROOTS.iter().map(Path::new).find(|at| found(&at.to_path_buf())),
        }
    }

    /// Reads the available events without blocking.
    pub fn read(&mut self, events: &mut Vec<CgroupEvent>) {
        let mut batch = Vec::new();
        while let Some(inotify) = &self.inotify {
            // One buffer at a time, because handling the borrowed events needs `&mut self`.
            let mut reader = inotify::Reader::new(inotify, &mut self.buffer);
            while let Ok(event) = reader.next() {
                let name = event.file_name().and_then(|name| name.to_str().ok());
                batch.push((event.wd(), event.events(), name.map(str::to_owned)));
                if reader.is_buffer_empty() {
                    break;
                }
            }
            if batch.is_empty() {
                break;
            }
            for (watch, mask, name) in batch.drain(..) {
                self.take(watch, mask, name.as_deref(), events);
            }
        }
    }

    fn take(
        &mut self,
        watch: i32,
        mask: ReadFlags,
        name: Option<&str>,
        events: &mut Vec<CgroupEvent>,
    ) {
        if mask.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.nested.list_again();
            events.push(CgroupEvent::Overflow);
            return;
        }
        if mask.contains(ReadFlags::IGNORED) {
            self.watches.remove(&watch);
            return;
        }
        let Some(watched) = self.watches.get(&watch).cloned() else {
            return;
        };
        match (watched, name) {
            (Watched::Events(id), _) => events.push(CgroupEvent::Changed(id)),
            (Watched::Pods(path), Some(name)) => {
                if mask.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
                    self.adopt_below_kubepods(&path, name, events);
                } else if let Some(Below::Pod(uid)) = name::below_kubepods(name) {
                    self.bury_pod(&uid, events);
                }
            }
            (Watched::Pod(uid, path), Some(name)) => {
                let Some(id) = name::container(name) else {
                    return;
                };
                if mask.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
                    self.adopt_container(&uid, &path, name, id, events);
                } else {
                    self.bury(&id, events);
                }
            }
            (Watched::Nested(at), Some(name)) if mask.contains(ReadFlags::ISDIR) => {
                let is_new = mask.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
                self.nested_changed(&at, name, is_new, events);
            }
            (Watched::Nested(_), _) | (Watched::Pods(_) | Watched::Pod(..), None) => {}
        }
    }

    /// Walks the tree and reports every difference from the known state. Returns how many
    /// containers were found without an event.
    pub fn walk(&mut self, events: &mut Vec<CgroupEvent>) -> usize {
        let before = events.len();
        let (mut pods, mut containers) = (HashSet::new(), HashSet::new());
        if let Some(kubepods) = self.kubepods().map(Path::to_owned) {
            self.out_of_watches = false;
            self.watch_once(&kubepods, || Watched::Pods(kubepods.clone()));
            self.walk_pods(&kubepods, &mut pods, &mut containers, events);
        }
        let dead: Vec<_> =
            self.by_container.keys().filter(|id| !containers.contains(*id)).cloned().collect();
        for id in dead {
            self.bury(&id, events);
        }
        let dead: Vec<_> = self.pods.keys().filter(|uid| !pods.contains(*uid)).cloned().collect();
        for uid in dead {
            self.bury_pod(&uid, events);
        }
        self.walk_nested(events);
        let found = events.get(before..).unwrap_or_default();
        found.iter().filter(|event| matches!(event, CgroupEvent::Created(..))).count()
    }

    fn walk_pods(
        &mut self,
        at: &Path,
        pods: &mut HashSet<PodUid>,
        containers: &mut HashSet<ContainerId>,
        events: &mut Vec<CgroupEvent>,
    ) {
        for name in directories(&self.root.join(at)) {
            match name::below_kubepods(&name) {
                Some(Below::Qos) => {
                    let qos = at.join(&name);
                    self.watch_once(&qos, || Watched::Pods(qos.clone()));
                    self.walk_pods(&qos, pods, containers, events);
                }
                Some(Below::Pod(uid)) => {
                    let path = at.join(&name);
                    self.adopt_pod(&uid, &path, events);
                    for (id, name) in containers_in(&self.root.join(&path)) {
                        containers.insert(id.clone());
                        self.adopt_container(&uid, &path, &name, id, events);
                    }
                    pods.insert(uid);
                }
                None => {}
            }
        }
    }

    /// A directory appeared below kubepods or a `QoS` directory. Directories that were created in
    /// it before the watch existed are found by listing it once.
    fn adopt_below_kubepods(&mut self, at: &Path, name: &str, events: &mut Vec<CgroupEvent>) {
        let path = at.join(name);
        match name::below_kubepods(name) {
            Some(Below::Qos) => {
                self.watch_once(&path, || Watched::Pods(path.clone()));
                for name in directories(&self.root.join(&path)) {
                    self.adopt_below_kubepods(&path, &name, events);
                }
            }
            Some(Below::Pod(uid)) => {
                self.adopt_pod(&uid, &path, events);
                for (id, name) in containers_in(&self.root.join(&path)) {
                    self.adopt_container(&uid, &path, &name, id, events);
                }
            }
            None => {}
        }
    }

    fn adopt_pod(&mut self, uid: &PodUid, path: &Path, events: &mut Vec<CgroupEvent>) {
        self.watch_once(path, || Watched::Pod(uid.clone(), path.to_owned()));
        if self.pods.insert(uid.clone(), path.to_owned()).is_none() {
            events.push(CgroupEvent::PodCreated(uid.clone(), path.to_owned()));
        }
    }

    fn adopt_container(
        &mut self,
        uid: &PodUid,
        pod: &Path,
        name: &str,
        id: ContainerId,
        events: &mut Vec<CgroupEvent>,
    ) {
        if self.by_container.contains_key(&id) {
            return;
        }
        let path = pod.join(name);
        let mut watch = None;
        if self.watch_events_files {
            watch = self.watch(&path.join("cgroup.events"), WatchFlags::MODIFY);
            if let Some(watch) = &watch {
                self.watches.insert(*watch, Watched::Events(id.clone()));
            }
        }
        self.by_container.insert(id.clone(), (uid.clone(), watch));
        events.push(CgroupEvent::Created(id.clone(), uid.clone(), path.clone()));
        self.watch_container(id, uid, &path, events);
    }

    fn bury(&mut self, id: &ContainerId, events: &mut Vec<CgroupEvent>) {
        let Some((_, watch)) = self.by_container.remove(id) else {
            return;
        };
        if let Some(watch) = watch {
            self.unwatch(watch);
        }
        self.bury_nested(id, events);
        events.push(CgroupEvent::Removed(id.clone()));
    }

    fn bury_pod(&mut self, uid: &PodUid, events: &mut Vec<CgroupEvent>) {
        if self.pods.remove(uid).is_none() {
            return;
        }
        // Its own removal is reported by the parent's watch, possibly before that of its children.
        let left: Vec<_> = self
            .by_container
            .iter()
            .filter(|(_, (pod, _))| pod == uid)
            .map(|(id, _)| id.clone())
            .collect();
        for id in left {
            self.bury(&id, events);
        }
        let watch = self.watches.iter().find_map(|(watch, watched)| match watched {
            Watched::Pod(pod, _) if pod == uid => Some(*watch),
            _ => None,
        });
        if let Some(watch) = watch {
            self.unwatch(watch);
        }
        events.push(CgroupEvent::PodRemoved(uid.clone()));
    }

    /// Adds a watch for a directory. Adding it again returns the same descriptor, so a walk also
    /// repairs a watch that failed before.
    fn watch_once(&mut self, at: &Path, watched: impl FnOnce() -> Watched) {
        let mask = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::ONLYDIR;
        if let Some(watch) = self.watch(at, mask) {
            self.watches.entry(watch).or_insert_with(watched);
        }
    }

    fn watch(&mut self, at: &Path, mask: WatchFlags) -> Option<i32> {
        let path = self.root.join(at);
        match inotify::add_watch(self.inotify.as_ref()?, &path, mask) {
            Ok(watch) => Some(watch),
            Err(error) => {
                if error == Errno::NOSPC && !self.out_of_watches {
                    self.out_of_watches = true;
                    self.trouble.push(WatchError::NoWatch { path });
                }
                None
            }
        }
    }

    /// With cgroup v2 the removal of a group is not reported on the file itself (before Linux 7.1),
    /// and a remaining watch would keep its inode. An error is ignored, because the kernel may have
    /// removed the watch already.
    fn unwatch(&mut self, watch: i32) {
        self.watches.remove(&watch);
        if let Some(inotify) = &self.inotify
            && let Err(error) = inotify::remove_watch(inotify, watch)
        {
            tracing::trace!(%error, "the watch was already removed");
        }
    }
}

#[cfg(test)]
mod layouts;
#[cfg(test)]
mod tests;
