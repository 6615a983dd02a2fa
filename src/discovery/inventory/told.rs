//! What the runtime tells by its events, beside the evidence of sources that are asked.

use std::time::Instant;

use ephemon_model::{ContainerId, PodRef};

use super::state::State;
use super::{EvidenceSource, Inventory, Observation};

/// What the runtime tells of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeWord {
    /// The container.
    pub id: ContainerId,
    /// What it tells of it. Without a pod, that of earlier words counts.
    pub word: Observation,
    /// The pod's name, if it is known.
    pub pod: Option<PodRef>,
    /// The pod's sandbox, if it is known.
    pub sandbox: Option<ContainerId>,
    /// The container is about to be created: what was told of its id before was of another.
    pub is_new: bool,
    /// It has ended.
    pub is_over: bool,
}

// === impl Inventory ===

impl Inventory {
    /// The runtime tells of a container (NRI). Of pods that are not selected nothing is kept.
    pub fn told_by_runtime(&self, told: RuntimeWord) {
        self.tell(|state, now| state.told(told, now));
    }

    /// The runtime lists its pods with their sandboxes, and its containers. `is_complete`: there are no
    /// others, so that what it told before of a container that the kernel never showed, and is not listed,
    /// no longer holds.
    pub fn listed_by_runtime(
        &self,
        pods: Vec<(PodRef, ContainerId)>,
        containers: Vec<RuntimeWord>,
        is_complete: bool,
    ) {
        self.tell(|state, now| state.told_all(pods, containers, is_complete, now));
    }

    /// The sources that have reported a container by name, the most trusted first.
    pub fn sources(&self, id: &ContainerId) -> Vec<EvidenceSource> {
        self.state().sources(id)
    }

    fn tell(&self, act: impl FnOnce(&mut State, Instant)) {
        self.change(|state| act(state, Instant::now()));
        self.0.news.notify_one();
    }
}
