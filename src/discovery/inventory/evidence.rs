//! What sources report to the inventory, and how far each is trusted. Plain data.

use std::sync::Arc;
use std::time::SystemTime;

use ephemon_contract::{Limits, LimitsError};
use ephemon_model::{ContainerId, ContainerType, Exit, JobEnv, PodRef, PodUid};

use crate::pod_view::Origin;

/// The sources, the most trusted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EvidenceSource {
    /// The API server: a pod's spec and status.
    Api,
    /// The container runtime, asked.
    Cri,
    /// The container runtime, by its events (NRI).
    Nri,
    /// A symbolic link that the kubelet created in `/var/log/containers`.
    Link,
    /// The name of a directory in `/var/log/pods`.
    LogDirectory,
}

// === impl EvidenceSource ===

impl EvidenceSource {
    /// Its name in `/debug/state`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Cri => "cri",
            Self::Nri => "nri",
            Self::Link => "link",
            Self::LogDirectory => "log_directory",
        }
    }
}

/// What one source reports of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// The container's pod, if the source knows it; the kernel's answer takes precedence.
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

/// A container in a pod's spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecEntry {
    /// `name`.
    pub name: Arc<str>,
    /// The list that contains it.
    pub container_type: ContainerType,
    /// `image`.
    pub image: Option<Arc<str>>,
    /// Its limits, or why their text is not valid; `None` if it has none.
    pub limits: Option<Result<Limits, LimitsError>>,
    /// Whether it asks for init in front of its image's own entrypoint, and mounts it.
    pub wants_init: bool,
    /// Its job, if its environment identifies one.
    pub job: Option<Arc<JobEnv>>,
}

impl SpecEntry {
    /// Approximate memory in bytes, in a table that has just grown.
    pub fn bytes(&self) -> usize {
        /// Overhead of a text in bytes: reference counts, and the allocator's header and rounding.
        const TEXT: usize = 32;
        let length = |text: &Arc<str>| text.len() + TEXT;
        let job = self.job.as_deref().map_or(0, |job| {
            let ci = job
                .ci
                .as_deref()
                .map_or(0, |ci| size_of_val(ci) + TEXT + ci.texts().map(length).sum::<usize>());
            let texts = job.texts().into_iter().flatten().map(length).sum::<usize>();
            size_of_val(job) + TEXT + texts + ci
        });
        2 * size_of::<(Arc<str>, Self)>()
            + length(&self.name)
            + self.image.as_ref().map_or(0, length)
            + job
    }
}

/// One finding of a source. The same evidence gives the same answers in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// A pod's name.
    Pod {
        /// The pod.
        pod: PodRef,
        /// The source.
        by: EvidenceSource,
    },
    /// The containers in a pod's spec.
    Spec {
        /// The pod.
        pod: PodUid,
        /// All its containers.
        entries: Vec<SpecEntry>,
    },
    /// The runner that a pod belongs to, by the pod's own labels and owners.
    Origin {
        /// The pod.
        pod: PodUid,
        /// What they say.
        origin: Arc<Origin>,
    },
    /// The job of a whole pod, by the runner's controller.
    Job {
        /// The pod.
        pod: PodUid,
        /// The job.
        job: Arc<JobEnv>,
    },
    /// The job of a runner, by the message in the runner's log. The controller's word goes before it.
    Message {
        /// The runner's pod.
        pod: PodUid,
        /// The job.
        job: Arc<JobEnv>,
    },
    /// A container's name and what is known with it.
    Container {
        /// The container.
        id: ContainerId,
        /// What is reported.
        word: Observation,
        /// The source.
        by: EvidenceSource,
    },
    /// The container is its pod's sandbox.
    Sandbox {
        /// The container.
        id: ContainerId,
        /// Its pod, if known.
        pod: Option<PodUid>,
    },
    /// A container's log directory or file was created.
    Log {
        /// The pod.
        pod: PodUid,
        /// The container's name.
        container: Arc<str>,
        /// The number of the attempt.
        attempt: u32,
        /// When it was created.
        made: SystemTime,
    },
}
