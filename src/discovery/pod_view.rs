//! The parts of a pod of the API server that the agent uses; the rest is dropped before the pod is
//! stored. Pure.
//!
//! Invalid values are omitted and returned as an [`InvalidField`], for the caller to log once.

mod ci;
mod job;
mod origin;
mod parse;

use std::sync::Arc;
use std::time::SystemTime;

use ephemon_model::{ContainerId, Exit, PodRef, PodUid};

use super::inventory::{Evidence, EvidenceSource, Observation, SpecEntry};
pub use job::{job_text, server_url};
pub use origin::{Origin, Purpose, WorkflowPod};

/// A reduced pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodView {
    /// Namespace, name and UID.
    pub pod: PodRef,
    /// Where it says to be a static pod's mirror: the UID that the static pod's cgroups and logs carry.
    pub mirrors: Option<PodUid>,
    /// The runner that it belongs to.
    pub origin: Option<Arc<Origin>>,
    /// Every container of the spec.
    pub spec: Vec<SpecEntry>,
    /// Every run of a container in the status: the current and the previous one.
    pub runs: Vec<Run>,
}

/// One run of a container, by its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The container.
    pub id: ContainerId,
    /// Its name.
    pub name: Arc<str>,
    /// The image as the runtime identifies it.
    pub image_id: Option<Arc<str>>,
    /// When it started, to the second.
    pub started: Option<SystemTime>,
    /// When it ended, to the second.
    pub finished: Option<SystemTime>,
    /// How it ended.
    pub exit: Option<Exit>,
}

/// What is invalid in a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InvalidField {
    /// Its UID is invalid; the pod is ignored.
    Uid,
    /// Its name or namespace is invalid; the pod is ignored.
    Name,
    /// The name of a container is invalid; the container is ignored.
    ContainerName,
    /// A container's id is invalid; its status is ignored.
    ContainerId,
}

// === impl PodView ===

impl PodView {
    /// What the inventory learns from the pod.
    pub fn evidence(self) -> Vec<Evidence> {
        let by = EvidenceSource::Api;
        let uid = self.pod.uid.clone();
        let mut evidence = vec![Evidence::Pod { pod: self.pod, by }];
        // Before the spec: whose pod it is decides what its containers are.
        let origin = self.origin.map(|origin| Evidence::Origin { pod: uid.clone(), origin });
        evidence.extend(origin);
        evidence.push(Evidence::Spec { pod: uid.clone(), entries: self.spec });
        evidence.extend(self.runs.into_iter().map(|run| Evidence::Container {
            id: run.id,
            word: Observation {
                pod: Some(uid.clone()),
                name: run.name,
                image: None,
                exit: run.exit,
                started: run.started,
                finished: run.finished,
            },
            by,
        }));
        evidence
    }
}

// === impl InvalidField ===

impl InvalidField {
    /// For the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uid => "a pod has an invalid UID; the pod is ignored",
            Self::Name => "a pod has an invalid name or namespace; the pod is ignored",
            Self::ContainerName => "a container has an invalid name; the container is ignored",
            Self::ContainerId => {
                "a container's id is not of the form RUNTIME://64 digits; its status is ignored"
            }
        }
    }
}
