//! The job of a container, from its environment or from whoever else knows it.

use std::sync::Arc;

/// The allow-listed variables in the spec of one container, written by the hook, not by the job,
/// because the spec of an ephemeral container cannot be changed; or what the controller of the
/// runners says of the job of a whole pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobEnv {
    /// `owner/name` of the repository.
    pub repository: Option<Arc<str>>,
    /// `github.run_id`.
    pub run_id: Option<Arc<str>>,
    /// `github.run_attempt`.
    pub run_attempt: Option<Arc<str>>,
    /// `github.job`, the job's key in the workflow.
    pub name: Option<Arc<str>>,
    /// `github.workflow`.
    pub workflow: Option<Arc<str>>,
    /// `github.workflow_ref`.
    pub workflow_ref: Option<Arc<str>>,
    /// `github.sha`.
    pub sha: Option<Arc<str>>,
    /// `github.ref`.
    pub git_ref: Option<Arc<str>>,
    /// `github.event_name`.
    pub event: Option<Arc<str>>,
    /// `RUNNER_NAME`.
    pub runner: Option<Arc<str>>,
    /// The purpose of the container: `job`, `service` or `step`.
    pub role: Option<Arc<str>>,
    /// W3C trace context of the container's span.
    pub traceparent: Option<Arc<str>>,
    /// `github.server_url`, without a trailing slash.
    pub server_url: Option<Arc<str>>,
    /// The job's name as people see it.
    pub display_name: Option<Arc<str>>,
    /// What a pod says that another CI system has made.
    pub ci: Option<Arc<CiJob>>,
}

/// What a pod of another CI system says beside the fields of [`JobEnv`]. Written by that system, which
/// has made the pod; the job cannot change it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CiJob {
    /// The system's name, such as `tekton`; `custom` by an operator's mapping.
    pub system: Arc<str>,
    /// What no other run of any system has.
    pub run_key: Option<Arc<str>>,
    /// The run's page.
    pub run_url: Option<Arc<str>>,
    /// The job's page.
    pub job_url: Option<Arc<str>>,
    /// The repository's page.
    pub repository_url: Option<Arc<str>>,
    /// Who hosts the repository, as `vcs.provider.name` has it.
    pub provider: Option<Arc<str>>,
    /// When the system ends the job at the latest, nanoseconds since 1970.
    pub deadline_ns: Option<u64>,
    /// The name of the step that the container is.
    pub step_name: Option<Arc<str>>,
    /// How that step went, once the system has written it down.
    pub step: Option<StepStatus>,
}

/// A CI system's own record of a step that is a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepStatus {
    /// When it began, nanoseconds since 1970: its container may have waited before.
    pub started_ns: u64,
    /// The exit code of a failure that the system ignores: the container's own is 0.
    pub exit_code: Option<i32>,
    /// The system's word for another end than that of its own accord.
    pub reason: Option<Arc<str>>,
}

impl JobEnv {
    /// With what another says of the same job, where this one says nothing.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        let or = |own: Option<Arc<str>>, other: &Option<Arc<str>>| own.or_else(|| other.clone());
        Self {
            repository: or(self.repository, &other.repository),
            run_id: or(self.run_id, &other.run_id),
            run_attempt: or(self.run_attempt, &other.run_attempt),
            name: or(self.name, &other.name),
            workflow: or(self.workflow, &other.workflow),
            workflow_ref: or(self.workflow_ref, &other.workflow_ref),
            sha: or(self.sha, &other.sha),
            git_ref: or(self.git_ref, &other.git_ref),
            event: or(self.event, &other.event),
            runner: or(self.runner, &other.runner),
            role: or(self.role, &other.role),
            traceparent: or(self.traceparent, &other.traceparent),
            server_url: or(self.server_url, &other.server_url),
            display_name: or(self.display_name, &other.display_name),
            ci: self.ci.or_else(|| other.ci.clone()),
        }
    }

    /// All of its texts but those of `ci`, in the order of the fields.
    pub fn texts(&self) -> [Option<&Arc<str>>; 14] {
        let Self { repository, run_id, run_attempt, name, workflow, workflow_ref, .. } = self;
        let Self {
            sha, git_ref, event, runner, role, traceparent, server_url, display_name, ..
        } = self;
        let job = [repository, run_id, run_attempt, name, workflow, workflow_ref];
        let rest = [sha, git_ref, event, runner, role, traceparent, server_url, display_name];
        let mut all = job.into_iter().chain(rest);
        std::array::from_fn(|_| all.next().and_then(Option::as_ref))
    }
}

// === impl CiJob ===

impl CiJob {
    /// All of its texts that there are.
    pub fn texts(&self) -> impl Iterator<Item = &Arc<str>> {
        let Self { system, run_key, run_url, job_url, .. } = self;
        let Self { repository_url, provider, step_name, step, .. } = self;
        let texts = [run_key, run_url, job_url, repository_url, provider, step_name];
        let reason = step.as_ref().and_then(|step| step.reason.as_ref());
        std::iter::once(system).chain(texts.into_iter().flatten()).chain(reason)
    }
}
