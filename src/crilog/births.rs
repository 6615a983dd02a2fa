//! Which containers have a log directory: by inotify at once, by a rescan what that missed.

use std::collections::HashSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ephemon_base::warning::Outage;
use ephemon_discovery::logs::directory_watch::{DirectoryEvent, DirectoryWatch};
use ephemon_discovery::logs::names;
use ephemon_model::PodRef;
use tracing::{info, warn};

use super::directory::{Directory, Entry};
use super::links;

/// A container's log directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Home {
    pub(super) pod: Arc<PodRef>,
    pub(super) container: Arc<str>,
}

/// A watched directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Place {
    Pods,
    Pod(Arc<PodRef>),
    Container(Home),
    /// Where links of the container's log directory lead.
    Linked(Home),
}

/// What is to be looked at.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Directories in which something is new.
    pub(super) homes: HashSet<Home>,
    /// After a rescan: all there are.
    pub(super) all: Option<HashSet<Home>>,
}

/// Watches the directories.
#[derive(Debug)]
pub(super) struct Births {
    pods: PathBuf,
    watch: Option<DirectoryWatch<Place>>,
    unreadable: Outage,
}

// === impl Home ===

impl Home {
    /// Opens it.
    pub(super) fn open(&self, pods: &Path) -> io::Result<Directory> {
        Directory::root(pods)?.enter(&pod_directory(&self.pod))?.enter(&self.container)
    }
}

fn pod_directory(pod: &PodRef) -> String {
    format!("{}_{}_{}", pod.namespace, pod.name, pod.uid)
}

// === impl Births ===

impl Births {
    pub(super) fn new(pods: PathBuf, use_inotify: bool) -> Self {
        Self { pods, watch: use_inotify.then(DirectoryWatch::new), unreadable: Outage::default() }
    }

    /// Readable when there is news.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref()?.descriptor()
    }

    /// What is new since the last call, or everything.
    pub(super) fn take(&mut self, mut rescan: bool) -> News {
        let mut news = News::default();
        let watch = self.watch.as_mut().map(DirectoryWatch::take).unwrap_or_default();
        for event in watch {
            match event {
                DirectoryEvent::Lost => rescan = true,
                DirectoryEvent::Gone(_) => {}
                DirectoryEvent::New(Place::Pods, name) => {
                    if let Ok(pods) = Directory::root(&self.pods) {
                        self.pod(&pods, &name, &mut news.homes);
                    }
                }
                DirectoryEvent::New(Place::Pod(pod), name) => {
                    let entered = Directory::root(&self.pods)
                        .and_then(|pods| pods.enter(&pod_directory(&pod)));
                    if let Ok(directory) = entered {
                        self.container(&directory, &pod, &name, &mut news.homes);
                    }
                }
                DirectoryEvent::New(Place::Container(home), name) => {
                    let log = names::log_file(&name).is_some();
                    if log || names::rotated_log(&name).is_some() {
                        news.homes.insert(home);
                    }
                }
                DirectoryEvent::New(Place::Linked(home), name) => {
                    if links::is_log(&name) {
                        news.homes.insert(home);
                    }
                }
            }
        }
        if rescan && let Some(all) = self.rescan() {
            news.homes.extend(all.iter().cloned());
            news.all = Some(all);
        }
        news
    }

    /// Watches another directory in which files of a container's log come and go.
    pub(super) fn watch_linked(&mut self, home: &Home, directory: &Path) {
        if let Some(watch) = &mut self.watch {
            watch.watch(directory, Place::Linked(home.clone()));
        }
    }

    fn rescan(&mut self) -> Option<HashSet<Home>> {
        // Watched before read: what is made in between is seen twice, not never. Where the
        // directory is a link, what it leads to is watched.
        if let (Some(watch), Ok(path)) = (&mut self.watch, self.pods.canonicalize()) {
            watch.watch(&path, Place::Pods);
        }
        let listed = Directory::root(&self.pods).and_then(|pods| Ok((pods.entries()?, pods)));
        let (entries, pods) = match listed {
            Ok(listed) => {
                self.unreadable.end();
                listed
            }
            Err(error) => {
                self.say_unreadable(&error);
                return None;
            }
        };
        let mut homes = HashSet::new();
        for Entry { name, .. } in &entries {
            self.pod(&pods, name, &mut homes);
        }
        Some(homes)
    }

    fn pod(&mut self, pods: &Directory, name: &str, homes: &mut HashSet<Home>) {
        let Some(pod) = names::pod_directory(name).map(Arc::new) else {
            return;
        };
        // Entered first: a link is not watched either.
        let Ok(directory) = pods.enter(name) else {
            return;
        };
        if let Some(watch) = &mut self.watch {
            watch.watch(&self.pods.join(name), Place::Pod(pod.clone()));
        }
        for Entry { name, .. } in directory.entries().unwrap_or_default() {
            self.container(&directory, &pod, &name, homes);
        }
    }

    fn container(
        &mut self,
        directory: &Directory,
        pod: &Arc<PodRef>,
        name: &str,
        homes: &mut HashSet<Home>,
    ) {
        if !names::is_label(name) || directory.enter(name).is_err() {
            return;
        }
        let home = Home { pod: pod.clone(), container: name.into() };
        if let Some(watch) = &mut self.watch {
            let path = self.pods.join(pod_directory(pod)).join(name);
            watch.watch(&path, Place::Container(home.clone()));
        }
        homes.insert(home);
    }

    fn say_unreadable(&mut self, error: &io::Error) {
        if !self.unreadable.begins() {
            return;
        }
        let directory = self.pods.display();
        if error.kind() == io::ErrorKind::NotFound {
            info!(%directory, "no log directory here yet; looking again every few seconds");
        } else {
            warn!(
                %directory, %error,
                "cannot read the log directory, so no log is followed; mount /var/log from the node"
            );
        }
    }
}
