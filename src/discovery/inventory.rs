//! Who is on this node, by every source's word: pods by UID, container names by id.
//!
//! Pure state behind one lock. Sources write what they know; `capture` asks whether a pod is
//! wanted, `metrics` asks for names. Nothing waits for a source.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use crate::model::{ContainerId, ContainerType, Exit, PodRef, PodUid};

/// Whether a pod's containers are to be captured and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Wanted,
    /// Its pod is not among those the API server lists for the selector.
    Unwanted,
    /// The API server has not answered yet: capture, do not show.
    Open,
}

/// What is known of one container beside its figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerFacts {
    /// Its name in the pod's spec.
    pub name: Arc<str>,
    /// Its place in the spec.
    pub container_type: ContainerType,
    /// The image as the spec names it.
    pub image: Option<Arc<str>>,
    /// How it ended.
    pub exit: Option<Exit>,
}

/// Shared, cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Inventory(Arc<Mutex<()>>);

impl Inventory {
    /// Whether this pod's containers are wanted.
    pub fn verdict(&self, _uid: &PodUid) -> Verdict {
        Verdict::Wanted
    }

    /// A container's cgroup was born; called by `capture` the moment it is seen, so that log
    /// directories made just before can be matched to it where no better source gives the name.
    pub fn born(&self, _pod: &PodUid, _id: &ContainerId, _at: SystemTime) {}

    /// The container is its pod's sandbox.
    pub fn is_sandbox(&self, _id: &ContainerId) {}

    /// The pod, if any source named it.
    pub fn pod(&self, _uid: &PodUid) -> Option<Arc<PodRef>> {
        None
    }

    /// The container, if any source named it.
    pub fn container(&self, _pod: &PodUid, _id: &ContainerId) -> Option<Arc<ContainerFacts>> {
        None
    }
}
