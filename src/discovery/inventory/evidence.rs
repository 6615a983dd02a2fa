//! What sources tell the inventory, and how far each is believed. Plain data.

use std::sync::Arc;
use std::time::SystemTime;

use ephemon_contract::{Limits, LimitsError};
use ephemon_model::{ContainerId, ContainerType, Exit, JobEnv, PodRef, PodUid};

/// Who says so, the most believed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EvidenceSource {
    /// The API server: a pod's spec and status.
    Api,
    /// The container runtime.
    Cri,
    /// A symbolic link the kubelet made in `/var/log/containers`.
    Link,
    /// The name of a directory in `/var/log/pods`.
    LogDirectory,
}

/// What one witness says of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// The pod it says the container is of, if it says; the kernel has the last word on that.
    pub pod: Option<PodUid>,
    /// The container's name.
    pub name: Arc<str>,
    /// The image as the spec names it.
    pub image: Option<Arc<str>>,
    /// How it ended.
    pub exit: Option<Exit>,
    /// When it started.
    pub started: Option<SystemTime>,
    /// When it ended.
    pub finished: Option<SystemTime>,
}

/// A container as a pod's spec lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecEntry {
    /// `name`.
    pub name: Arc<str>,
    /// The list it stands in.
    pub container_type: ContainerType,
    /// `image`.
    pub image: Option<Arc<str>>,
    /// What it is to be limited to, or what is wrong with the text that says so; `None` where it
    /// says nothing.
    pub limits: Option<Result<Limits, LimitsError>>,
    /// Which job it says it is of, if it says.
    pub job: Option<Arc<JobEnv>>,
}

impl SpecEntry {
    /// What it takes of memory in a table that has just grown, bytes.
    pub fn bytes(&self) -> usize {
        /// Beside a text: an `Arc`'s counts, and the allocator's word and rounding.
        const TEXT: usize = 32;
        let length = |text: &Arc<str>| text.len() + TEXT;
        let job = self.job.as_deref().map_or(0, |job| {
            size_of_val(job) + TEXT + job.texts().into_iter().flatten().map(length).sum::<usize>()
        });
        2 * size_of::<(Arc<str>, Self)>()
            + length(&self.name)
            + self.image.as_ref().map_or(0, length)
            + job
    }
}

/// One thing a source found out. Told in any order, the same evidence gives the same answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// A pod's name.
    Pod {
        /// The pod.
        pod: PodRef,
        /// Who says so.
        by: EvidenceSource,
    },
    /// A pod's containers as its spec has them.
    Spec {
        /// The pod.
        pod: PodUid,
        /// All its containers.
        entries: Vec<SpecEntry>,
    },
    /// A container's name and what is known with it.
    Container {
        /// The container.
        id: ContainerId,
        /// What is said.
        word: Observation,
        /// Who says so.
        by: EvidenceSource,
    },
    /// The container is its pod's sandbox.
    Sandbox {
        /// The container.
        id: ContainerId,
        /// Its pod, if known.
        pod: Option<PodUid>,
    },
    /// A container's log directory or file was made.
    Log {
        /// The pod.
        pod: PodUid,
        /// The container's name.
        container: Arc<str>,
        /// The number of the start.
        attempt: u32,
        /// When it was made.
        made: SystemTime,
    },
}
