//! What we need of a pod as the API server shows it; the rest is let go before it is stored. Pure.
//!
//! What makes no sense is absent and comes back as an [`Oddity`], for the caller to say once.

mod job;
mod parse;

use std::sync::Arc;
use std::time::SystemTime;

use ephemon_model::{ContainerId, Exit, PodRef, PodUid};

use super::inventory::{Evidence, EvidenceSource, Observation, SpecEntry};

/// A pod, slimmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodView {
    /// Namespace, name and UID.
    pub pod: PodRef,
    /// Where it says to be a static pod's mirror: the UID that the static pod's cgroups and logs carry.
    pub mirrors: Option<PodUid>,
    /// Every container of the spec.
    pub spec: Vec<SpecEntry>,
    /// Every run of a container the status tells of: the current one and the one before.
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

/// What was wrong with a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Oddity {
    /// Its UID is none; the pod is passed over.
    Uid,
    /// Its name or namespace is none; the pod is passed over.
    Name,
    /// The name of a container is none; the container is passed over.
    ContainerName,
    /// A container's id is none; its status is passed over.
    ContainerId,
}

// === impl PodView ===

impl PodView {
    /// What the inventory learns from it.
    pub fn evidence(self) -> Vec<Evidence> {
        let by = EvidenceSource::Api;
        let uid = self.pod.uid.clone();
        let mut evidence = vec![
            Evidence::Pod { pod: self.pod, by },
            Evidence::Spec { pod: uid.clone(), entries: self.spec },
        ];
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

// === impl Oddity ===

impl Oddity {
    /// For the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uid => "a pod's UID makes no sense; the pod is passed over",
            Self::Name => "a pod's name or namespace makes no sense; the pod is passed over",
            Self::ContainerName => {
                "a container's name makes no sense; the container is passed over"
            }
            Self::ContainerId => {
                "a container's id is not a runtime's (RUNTIME://64 digits); its status is passed \
                 over"
            }
        }
    }
}
