//! Follows the directories in which groups of nested containers appear.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ephemon_cgroup::nested_name::{self, NestedName};
use ephemon_model::{ContainerId, PodUid};
use rustix::fs::inotify::WatchFlags;

use super::beside::Admitted;
use super::foreign::{is_foreign, is_gone, may_be_unseen};
use super::nested::{
    Directory, Held, Home, MAX_ALL_DIRECTORIES, MAX_DEPTH, MAX_DEPTH_BESIDE, MAX_DIRECTORIES,
    MAX_NAMES, MAX_PATH, NestedGroup, key,
};
use super::{CgroupEvent, CgroupTree, Watched, some_directories};

impl CgroupTree {
    /// What was not followed since the last call because there is too much of it, and that is no group of
    /// a pod: see [`CgroupEvent::LeftOut`].
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.nested.dropped)
    }

    /// A container's group was adopted: groups may appear in it.
    pub(super) fn watch_container(
        &mut self,
        id: ContainerId,
        pod: &PodUid,
        path: &Path,
        events: &mut Vec<CgroupEvent>,
    ) {
        let home = Home { outer: id, pod: pod.clone(), path: path.to_owned() };
        let directory = Directory { home: Some(home), depth: 0, ..Directory::default() };
        self.watch_directory(path, directory, events);
    }

    /// A container's group was removed, and with it all that were below it.
    pub(super) fn bury_nested(&mut self, outer: &ContainerId, events: &mut Vec<CgroupEvent>) {
        let of_outer = |home: &Option<Home>| home.as_ref().is_some_and(|home| home.outer == *outer);
        let gone: Vec<PathBuf> = self
            .nested
            .directories
            .iter()
            .filter(|(_, directory)| of_outer(&directory.home))
            .map(|(path, _)| path.clone())
            .collect();
        for path in gone {
            self.forget_directory(&path);
        }
        let held = self.nested.by_path.iter();
        let gone: Vec<PathBuf> =
            held.filter(|(_, held)| held.outer == *outer).map(|(path, _)| path.clone()).collect();
        for path in gone {
            self.nested_removed(&path, events);
        }
        self.nested.counts.remove(&Some(outer.clone()));
    }

    /// A directory appeared in a watched one, or was removed from it.
    pub(super) fn nested_changed(
        &mut self,
        at: &Path,
        name: &str,
        is_new: bool,
        events: &mut Vec<CgroupEvent>,
    ) {
        let Some(directory) = self.nested.directories.get(at).cloned() else { return };
        let path = at.join(name);
        if !is_new {
            self.nested_removed(&path, events);
            self.forget_directory(&path);
        }
        if !self.nested.follows(directory.home.as_ref()) {
            self.mute(directory.home.as_ref(), events);
        } else if is_new {
            self.nested_found(at, &directory, name, true, events);
        }
    }

    /// Handles what no event reported. Lists directories only where events were lost, or a
    /// container made too many changes.
    pub(super) fn walk_nested(&mut self, events: &mut Vec<CgroupEvent>) {
        if self.kubepods().is_none() {
            return;
        }
        if !self.nested.directories.contains_key(Path::new("")) {
            let top = Directory { home: None, depth: 0, ..Directory::default() };
            self.watch_directory(Path::new(""), top, events);
        }
        let all = std::mem::take(&mut self.nested.lists) || !self.is_whole();
        let counts = self.nested.counts.iter_mut();
        let muted: Vec<_> = counts
            .filter_map(|(outer, counts)| {
                counts.changes = 0;
                std::mem::take(&mut counts.muted).then(|| outer.clone())
            })
            .collect();
        if !all && muted.is_empty() {
            return;
        }
        let gone: Vec<PathBuf> =
            self.nested.by_path.keys().filter(|path| !self.exists(path)).cloned().collect();
        for path in gone {
            self.nested_removed(&path, events);
        }
        let root = self.root.clone();
        let is_there = |path: &Path| root.join(path).is_dir();
        let gone = self.nested.pending.retain(is_there);
        for path in &gone {
            is_gone(path, events);
        }
        let mut listed: Vec<(PathBuf, Directory)> = Vec::new();
        for (path, directory) in &self.nested.directories {
            let outer = directory.home.as_ref().map(|home| home.outer.clone());
            if all || muted.contains(&outer) {
                listed.push((path.clone(), directory.clone()));
            }
        }
        for (path, directory) in listed {
            if self.exists(&path) {
                may_be_unseen(&path, events);
                self.watch_directory(&path, Directory { from_birth: false, ..directory }, events);
            } else {
                self.forget_directory(&path);
            }
        }
    }

    fn exists(&self, path: &Path) -> bool {
        self.root.join(path).is_dir()
    }

    fn nested_found(
        &mut self,
        at: &Path,
        directory: &Directory,
        name: &str,
        from_birth: bool,
        events: &mut Vec<CgroupEvent>,
    ) {
        let parent = at.file_name().and_then(|parent| parent.to_str()).unwrap_or_default();
        let path = at.join(name);
        if path.as_os_str().len() > MAX_PATH {
            self.nested.dropped += 1;
            return;
        }
        match (nested_name::parse(parent, name), &directory.home) {
            (NestedName::Container(engine, id), Some(home)) => {
                let admitted = Admitted { path, engine, id: id.into() };
                self.admit_nested(admitted, &home.outer, &home.pod, home.path.clone(), events);
            }
            (NestedName::Container(engine, id), None) => {
                if !self.nested.by_path.contains_key(&path) {
                    let admitted = Admitted { path, engine, id: id.into() };
                    if !self.nested.pending.add(admitted) {
                        self.nested.dropped += 1;
                        is_foreign(&at.join(name), events);
                    }
                }
            }
            (NestedName::Directory, home) => {
                let deepest = if home.is_some() { MAX_DEPTH } else { MAX_DEPTH_BESIDE };
                // One that is known was listed, and is listed again in its turn.
                let is_known = self.nested.directories.contains_key(&path);
                let is_kubelets = home.is_none() && self.is_kubelets(&path);
                if !is_known && directory.depth < deepest && !is_kubelets {
                    let depth = directory.depth + 1;
                    let found =
                        Directory { home: home.clone(), depth, from_birth, ..Directory::default() };
                    self.watch_directory(&path, found, events);
                }
            }
            // What an engine's own processes use there is no container's: podman's monitors start and
            // remove containers.
            (NestedName::Other, home) => {
                is_foreign(&path, events);
                if home.is_none() && nested_name::is_monitors(&path) {
                    events.push(CgroupEvent::Monitors { group: path, from_birth });
                }
            }
        }
    }

    /// Whether the kubelet's tree is at or below this path, whose containers are no nested ones.
    fn is_kubelets(&self, path: &Path) -> bool {
        self.kubepods().is_some_and(|kubepods| kubepods.starts_with(path))
    }

    /// Starts to capture a nested container.
    pub(super) fn admit_nested(
        &mut self,
        Admitted { path, engine, id }: Admitted,
        outer: &ContainerId,
        pod: &PodUid,
        outer_path: PathBuf,
        events: &mut Vec<CgroupEvent>,
    ) {
        let is_known = self.nested.by_path.contains_key(&path);
        if !is_known && self.nested.is_full_for(pod) {
            if self.nested.leave_out(&path) {
                let beside = !path.starts_with(&outer_path);
                events.push(CgroupEvent::LeftOut { pod: pod.clone(), count: 1, beside });
                is_foreign(&path, events);
            }
            return;
        }
        let metadata = std::fs::metadata(self.root.join(&path)).ok();
        let inode = metadata.as_ref().map(Metadata::ino).unwrap_or_default();
        match self.nested.by_path.get(&path) {
            Some(held) if held.inode == inode => return,
            // Made again under its name, and the removal was not reported.
            Some(_) => self.nested_removed(&path, events),
            None => {}
        }
        self.nested.forget_left_out(&path);
        let key = key(outer, &path, inode);
        let events_file = self
            .watch_events_files
            .then(|| self.watch(&path.join("cgroup.events"), WatchFlags::MODIFY))
            .flatten();
        if let Some(watch) = events_file {
            self.watches.insert(watch, Watched::Events(key.clone()));
        }
        let (held_key, outer_id) = (key.clone(), outer.clone());
        let pod_uid = pod.clone();
        let held =
            Held { key: held_key, outer: outer_id, pod: pod_uid, inode, events: events_file };
        self.nested.by_path.insert(path.clone(), held);
        events.push(CgroupEvent::Nested(Box::new(NestedGroup {
            key,
            pod: pod.clone(),
            outer: outer.clone(),
            beside: !path.starts_with(&outer_path),
            from_birth: self.is_from_birth(&path),
            engines_directory: nested_name::engines_directory(&path).map(Path::to_owned),
            outer_path,
            path,
            engine,
            id,
        })));
    }

    fn is_from_birth(&self, group: &Path) -> bool {
        let directory = group.parent().and_then(|parent| self.nested.directories.get(parent));
        directory.is_some_and(|directory| directory.from_birth)
    }

    fn nested_removed(&mut self, path: &Path, events: &mut Vec<CgroupEvent>) {
        self.nested.pending.remove(path);
        let Some(held) = self.nested.by_path.remove(path) else {
            self.nested.forget_left_out(path);
            return is_gone(path, events);
        };
        if let Some(watch) = held.events {
            self.unwatch(watch);
        }
        events.push(CgroupEvent::Removed(held.key));
    }

    /// Watches a directory, and lists it once: groups may have been made before the watch.
    fn watch_directory(
        &mut self,
        path: &Path,
        mut directory: Directory,
        events: &mut Vec<CgroupEvent>,
    ) {
        let is_known = self.nested.directories.contains_key(path);
        if !is_known {
            let is_full = directory.depth > 0 && self.nested.inner >= MAX_ALL_DIRECTORIES;
            let counts = self.nested.count(directory.home.as_ref());
            if is_full || counts.directories >= MAX_DIRECTORIES {
                self.nested.dropped += 1;
                return;
            }
            counts.directories += 1;
            self.nested.inner += usize::from(directory.depth > 0);
        }
        let mask = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | WatchFlags::ONLYDIR;
        directory.watch = self.watch(path, mask);
        if let Some(watch) = directory.watch {
            self.watches.insert(watch, Watched::Nested(path.to_owned()));
        }
        // A directory has one link for each directory in it, and two of its own.
        let at = self.root.join(path);
        let links = std::fs::metadata(&at).map(|metadata| metadata.nlink());
        let unread = links.as_ref().map_or(0, |links| links.saturating_sub(2 + MAX_NAMES as u64));
        let before = std::mem::replace(&mut directory.unread, unread);
        self.nested.directories.insert(path.to_owned(), directory.clone());
        if links.is_ok_and(|links| links == 2) {
            return;
        }
        let count = unread.saturating_sub(before);
        match &directory.home {
            Some(Home { pod, .. }) if count > 0 => {
                events.push(CgroupEvent::LeftOut { pod: pod.clone(), count, beside: false });
            }
            _ => self.nested.dropped += count,
        }
        for name in some_directories(&at, MAX_NAMES) {
            self.nested_found(path, &directory, &name, directory.from_birth, events);
        }
    }

    fn forget_directory(&mut self, path: &Path) {
        let Some(directory) = self.nested.directories.remove(path) else { return };
        if let Some(watch) = directory.watch {
            self.unwatch(watch);
        }
        self.nested.inner -= usize::from(directory.depth > 0);
        let counts = self.nested.count(directory.home.as_ref());
        counts.directories = counts.directories.saturating_sub(1);
    }

    /// Stops watching below a container until the next walk.
    fn mute(&mut self, home: Option<&Home>, events: &mut Vec<CgroupEvent>) {
        let counts = self.nested.count(home);
        if std::mem::replace(&mut counts.muted, true) {
            return;
        }
        self.nested.dropped += 1;
        let outer = home.map(|home| home.outer.clone());
        let all = self.nested.directories.iter_mut();
        let of_home =
            all.filter(|(_, one)| one.home.as_ref().map(|home| home.outer.clone()) == outer);
        let mut watches = Vec::new();
        for (path, directory) in of_home {
            may_be_unseen(path, events);
            watches.extend(directory.watch.take());
        }
        for watch in watches {
            self.unwatch(watch);
        }
    }
}
