//! Which of a pod's containers tell of its job in their logs.

use ephemon_ci_systems::{CiSystem, GitlabStage};
use ephemon_model::PodUid;

use super::facts::Pod;
use super::state::State;

/// Which of a pod's containers tell of its job in their logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Teller {
    /// [`RUNNER_CONTAINER`]: the pod may be a GitHub runner's own.
    Runner,
    /// Those of a GitLab job's pod.
    Gitlab,
    /// None: a runner has created the pod, or another CI system.
    Nobody,
}

/// What actions-runner-controller calls the runner's container.
///
/// Source: actions-runner-controller, `controllers/actions.github.com/constants.go`.
pub const RUNNER_CONTAINER: &str = "runner";

// === impl Teller ===

impl Teller {
    /// Whether the container of this name does.
    pub fn is(self, container: &str) -> bool {
        match self {
            Self::Runner => container == RUNNER_CONTAINER,
            Self::Gitlab => GitlabStage::CONTAINERS.contains(&container),
            Self::Nobody => false,
        }
    }
}

// === impl State ===

impl State {
    /// Who tells of the pod's job in its log.
    pub(super) fn teller(&self, uid: &PodUid) -> Teller {
        match self.pods.get(uid) {
            Some(pod) if system(pod) == Some(CiSystem::Gitlab) && !is_runner(pod) => Teller::Gitlab,
            Some(pod) if !may_be_runner(pod) => Teller::Nobody,
            _ => Teller::Runner,
        }
    }
}

/// The controller's object says so. Where it has none, any pod that nothing says to be another's: neither
/// one that a runner has created nor one of another CI system may name its job by a container's name.
pub(super) fn may_be_runner(pod: &Pod) -> bool {
    let is_created = pod.origin.as_ref().is_some_and(|origin| origin.workflow.is_some());
    is_runner(pod) || (!is_created && system(pod).is_none())
}

fn is_runner(pod: &Pod) -> bool {
    pod.origin.as_ref().is_some_and(|origin| origin.ephemeral_runner.is_some())
}

/// The CI system that has made the pod, by its spec. An operator's mapping is none: it may be for runners.
fn system(pod: &Pod) -> Option<CiSystem> {
    let mut jobs = pod.spec.values().filter_map(|entry| entry.job.as_deref()?.ci.as_deref());
    jobs.find_map(|ci| ci.system.parse().ok())
}
