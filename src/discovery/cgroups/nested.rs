//! Groups of nested containers: those that an engine (Docker, podman, `BuildKit`, a kubelet) makes
//! below a container's own group, and the directories beside the kubelet's tree in which an engine
//! of a privileged container makes them.
//!
//! A runtime gives a privileged container the node's cgroup namespace, so that an engine in it makes
//! its groups at the root of the hierarchy. Sources: containerd v2, `internal/cri/server/
//! container_create.go`; cri-o v1.34, `server/container_create.go`.
//!
//! The directories are watched, not read again and again. A job can make as many groups as it likes:
//! both the groups and the changes that are followed are bounded.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ephemon_cgroup::nested_name::Engine;
use ephemon_model::{ContainerId, PodUid};
use sha2::{Digest, Sha256};

use super::ancestry::is_within;
use super::beside::Pending;

/// Most groups of the node that are followed at once. Fewer are captured.
pub const MAX_FOLLOWED: usize = 512;
/// Most of one pod.
pub(super) const MAX_FOLLOWED_PER_POD: usize = MAX_FOLLOWED / 2;
/// Most groups that are remembered as left out, so that each is counted once. Beyond it a group may be
/// counted again.
const MAX_LEFT_OUT: usize = 8192;
/// Memory of all that is followed, in bytes: groups, directories, and names of groups that are
/// nobody's.
pub const NESTED_GROUPS_BYTES: usize = 5 * 1024 * 1024 / 2;
/// Most directories that are watched below one container, and in all beside the kubelet's tree.
pub(super) const MAX_DIRECTORIES: usize = 64;
/// Most directories that are watched in all, those of containers themselves apart.
pub(super) const MAX_ALL_DIRECTORIES: usize = 1024;
/// Longest path of a group that is looked at, in bytes.
pub(super) const MAX_PATH: usize = 512;
/// Most names that are read of one directory, the kernel's own files among them.
pub(super) const MAX_NAMES: usize = 1024;
/// How deep they may be: podman's user slices and a kubelet's tree need six levels.
pub(super) const MAX_DEPTH: u8 = 7;
/// The same beside the kubelet's tree: `docker/buildkit`, `libpod_parent/POD`.
pub(super) const MAX_DEPTH_BESIDE: u8 = 2;
/// Most changes below one container that are followed between two walks. A container that makes
/// more is not watched until the next walk.
const MAX_CHANGES: usize = 256;
/// The same for all directories beside the kubelet's tree.
const MAX_CHANGES_BESIDE: usize = 4096;

/// The group of a nested container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NestedGroup {
    /// The agent's own id of it. Not the engine's, which a job could choose to be that of another
    /// container.
    pub key: ContainerId,
    /// The pod that it belongs to.
    pub pod: PodUid,
    /// The container whose engine made it.
    pub outer: ContainerId,
    /// Path of the outer container's group below the watched root.
    pub outer_path: PathBuf,
    /// Path of its group below the watched root.
    pub path: PathBuf,
    /// What made it.
    pub engine: Engine,
    /// The engine's id of it.
    pub id: Arc<str>,
    /// Whether its group is beside the pod's and not below its outer container's.
    pub beside: bool,
    /// The directory above it, where only the engine's containers are below that, so that what they
    /// used can be read there after their end.
    pub engines_directory: Option<PathBuf>,
    /// Whether that directory was seen from its creation.
    pub from_birth: bool,
}

/// What is watched for nested containers.
#[derive(Debug, Default)]
pub(super) struct Groups {
    pub(super) by_path: HashMap<PathBuf, Held>,
    pub(super) directories: HashMap<PathBuf, Directory>,
    /// How many of them are no container's own.
    pub(super) inner: usize,
    /// By outer container; `None` for those beside the kubelet's tree.
    pub(super) counts: HashMap<Option<ContainerId>, Counts>,
    pub(super) pending: Pending,
    /// Hashes of the paths of groups that are not followed because there are too many.
    left_out: HashSet<u64>,
    /// Events were lost: the next walk lists every directory.
    pub(super) lists: bool,
    pub(super) dropped: u64,
}

/// A group that is captured.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) key: ContainerId,
    pub(super) outer: ContainerId,
    pub(super) pod: PodUid,
    pub(super) inode: u64,
    /// The watch of its `cgroup.events`.
    pub(super) events: Option<i32>,
}

/// A directory in which groups appear.
#[derive(Debug, Clone, Default)]
pub(super) struct Directory {
    /// `None` beside the kubelet's tree.
    pub(super) home: Option<Home>,
    pub(super) depth: u8,
    /// Its creation was seen.
    pub(super) from_birth: bool,
    pub(super) watch: Option<i32>,
    /// How many directories in it were not read when it was last listed, because there were too many.
    pub(super) unread: u64,
}

/// The container that a directory is below of.
#[derive(Debug, Clone)]
pub(super) struct Home {
    pub(super) outer: ContainerId,
    pub(super) pod: PodUid,
    pub(super) path: PathBuf,
}

/// What is followed below one container.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) directories: usize,
    /// Since the last walk.
    pub(super) changes: usize,
    /// Not watched until the next walk.
    pub(super) muted: bool,
}

// === impl Groups ===

impl Groups {
    /// Events were lost.
    pub(super) fn list_again(&mut self) {
        self.lists = true;
    }

    /// The container to whose group, or to a group below it, a path of `/proc/PID/cgroup` leads.
    /// `depth`: see [`is_within`].
    pub(super) fn container_at(
        &self,
        shown: &str,
        depth: usize,
    ) -> Option<(ContainerId, PodUid, PathBuf)> {
        let homes = self.directories.values().filter(|directory| directory.depth == 0);
        homes.filter_map(|directory| directory.home.as_ref()).find_map(|home| {
            is_within(shown, &home.path, depth)
                .then(|| (home.outer.clone(), home.pod.clone(), home.path.clone()))
        })
    }

    /// Whether one more group of this pod is not followed.
    pub(super) fn is_full_for(&self, pod: &PodUid) -> bool {
        let of_pod = || self.by_path.values().filter(|held| held.pod == *pod).count();
        self.by_path.len() >= MAX_FOLLOWED || of_pod() >= MAX_FOLLOWED_PER_POD
    }

    /// A group of a pod is not followed; returns whether that is not known yet.
    pub(super) fn leave_out(&mut self, path: &Path) -> bool {
        if self.left_out.len() >= MAX_LEFT_OUT {
            self.left_out.clear();
        }
        self.left_out.insert(hash(path))
    }

    /// A group was removed, or is followed.
    pub(super) fn forget_left_out(&mut self, path: &Path) {
        self.left_out.remove(&hash(path));
    }

    pub(super) fn count(&mut self, home: Option<&Home>) -> &mut Counts {
        self.counts.entry(home.map(|home| home.outer.clone())).or_default()
    }

    /// Whether one more change below this container is followed.
    pub(super) fn follows(&mut self, home: Option<&Home>) -> bool {
        let limit = if home.is_some() { MAX_CHANGES } else { MAX_CHANGES_BESIDE };
        let counts = self.count(home);
        counts.changes += 1;
        counts.changes <= limit
    }
}

fn hash(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

/// The agent's id of a nested container: the same for as long as its group exists.
pub(super) fn key(outer: &ContainerId, path: &Path, inode: u64) -> ContainerId {
    let mut hash = Sha256::new();
    hash.update(outer.as_str());
    hash.update(inode.to_be_bytes());
    hash.update(path.as_os_str().as_encoded_bytes());
    let halves = hash.finalize();
    let halves = halves.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digits: String = halves.filter_map(|half| char::from_digit(u32::from(half), 16)).collect();
    ContainerId::parse(&digits).unwrap_or_else(|_| outer.clone())
}
