//! Whether a pod is a runner's, and which of its containers are no part of a job. Pure.

use ephemon_discovery::inventory::{RUNNER_CONTAINER, SpecEntry};
use ephemon_journal::HOOK;
use ephemon_model::ContainerType;

use super::evidence::Sighted;
use super::job::RunnerStart;
use super::job_evidence::JobEvidence;

impl JobEvidence {
    /// Whether the pod is a runner's: it has the runner's container, or the hook or the runner has
    /// said something in it. Such a pod is a job from the first sign of one on, and not before: its
    /// init containers and sidecars begin before the runner, and the runner waits.
    pub(super) fn has_runner(&self) -> bool {
        if self.ci().is_some() {
            return false;
        }
        let told = self.running.is_some() || self.completed.is_some();
        told || self.has_runners_container() || self.has_hooks_spec() || self.records.has_file(HOOK)
    }

    /// Whether the spec or the node has the runner's own container.
    pub(super) fn has_runners_container(&self) -> bool {
        let is_runner = |name: &str, container_type| {
            is_runner(name) && container_type != ContainerType::Ephemeral
        };
        let seen = || self.containers.values().any(|one| is_runner(&one.name, one.container_type));
        self.spec.values().any(|one| is_runner(&one.name, one.container_type)) || seen()
    }

    /// Whether the spec has a container of the hook's, which says whose job it is.
    pub(super) fn has_hooks_spec(&self) -> bool {
        self.spec.values().any(is_hooks)
    }

    /// Whether an ephemeral container of a runner's pod is somebody else's than the hook's, which
    /// names the role of each of its own in the spec.
    pub(super) fn is_debug(&self, name: &str) -> bool {
        let entry = self.spec.get(name);
        entry.is_some_and(|entry| {
            entry.container_type == ContainerType::Ephemeral && !is_hooks(entry)
        }) && (self.has_runner() || self.ci().is_some())
    }

    /// How the runner came to a job that began at `job_ns`.
    pub(super) fn runner_start(&self, job_ns: u64) -> Option<RunnerStart> {
        let began = |one: &Sighted| one.born_ns.or(one.started_ns);
        let runners = self.containers.values().filter(|one| is_runner(&one.name));
        let runner_ns = runners.filter_map(began).min()?;
        let pod_ns = self.first_ns()?;
        Some(RunnerStart {
            startup_ns: runner_ns.saturating_sub(pod_ns),
            idle_ns: job_ns.saturating_sub(runner_ns),
        })
    }
}

/// Whether a container of this name is the runner's own.
pub(super) fn is_runner(name: &str) -> bool {
    name == RUNNER_CONTAINER
}

fn is_hooks(entry: &SpecEntry) -> bool {
    entry.job.as_ref().is_some_and(|job| job.role.is_some() && job.ci.is_none())
}
