//! What changes in the tree of cgroups.

use std::path::PathBuf;

use ephemon_model::{ContainerId, PodUid};

use super::NestedGroup;

/// A change in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupEvent {
    /// A pod's directory was created, at this path below the watched root.
    PodCreated(PodUid, PathBuf),
    /// A container's directory was created, at this path below the watched root.
    Created(ContainerId, PodUid, PathBuf),
    /// The group of a nested container was found.
    Nested(Box<NestedGroup>),
    /// In an engine's directory is a group that is not followed, or not of a pod.
    Foreign(PathBuf),
    /// One that may have been such was removed.
    ForeignGone(PathBuf),
    /// A group of podman's monitors was found beside the kubelet's tree; it is reported as
    /// [`Self::Foreign`], too. `from_birth`: its creation was seen.
    #[expect(missing_docs, reason = "said above")]
    Monitors { group: PathBuf, from_birth: bool },
    /// In this directory of an engine groups may have come and gone unseen.
    Unseen(PathBuf),
    /// So many groups of nested containers of a pod were found, below or beside it, and are not followed.
    #[expect(missing_docs, reason = "said above")]
    LeftOut { pod: PodUid, count: u64, beside: bool },
    /// The `cgroup.events` of a container, or of a nested one by its key, changed.
    Changed(ContainerId),
    /// The directory of a container, or of a nested one by its key, was removed.
    Removed(ContainerId),
    /// A pod's directory was removed.
    PodRemoved(PodUid),
    /// The kernel dropped events; only a walk can find the changes.
    Overflow,
}
