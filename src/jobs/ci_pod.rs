//! The pod of another CI system than GitHub Actions: what its containers are, how each ended, and what
//! that is for the job. Pure.
//!
//! The pod is the job from its first container on. Where containers are steps, their exit codes decide;
//! where the system runs its steps in them from outside, nothing in the pod says how the job ended.

use ephemon_ci_systems::{CiSystem, Part};
use ephemon_model::{CiJob, ContainerType, JobEnv};

use super::job::{Container, Role};
use super::job_evidence::JobEvidence;
use super::outcome::{Fault, JobResult, Outcome};

/// Tekton's word for a step that did not run because another had failed.
///
/// Source: tektoncd/pipeline, `pkg/pod/pod.go`, `TerminationReason…`.
const SKIPPED: &str = "Skipped";
/// For a step that took longer than it may.
const TIMED_OUT: &str = "TimeoutExceeded";
/// For a step that was ended.
const CANCELLED: &str = "Cancelled";

impl JobEvidence {
    /// What the pod says that another CI system has made. Where the hook works in it, or a runner's
    /// controller knows it, it is GitHub's.
    pub(super) fn ci(&self) -> Option<&CiJob> {
        let first = self.spec.values().find_map(|entry| entry.job.as_deref()?.ci.as_deref());
        first.filter(|_| !self.is_githubs())
    }

    /// What the containers' environment and the runner's controller say of the job. They go before an
    /// operator's mapping.
    pub(super) fn job_envs(&self) -> impl Iterator<Item = &JobEnv> + Clone {
        let is_githubs = self.is_githubs();
        let all = self.spec.values().filter_map(|entry| entry.job.as_deref());
        all.filter(move |env| !is_githubs || env.ci.is_none()).chain(self.told.as_deref())
    }

    fn is_githubs(&self) -> bool {
        self.has_hooks_spec() || self.told.is_some() || self.purpose.is_some()
    }

    /// Whether a container is a part of the job of another CI system's pod.
    pub(super) fn is_ci_part(&self, name: &str) -> bool {
        let job = self.spec.get(name).and_then(|entry| entry.job.as_deref());
        self.ci().is_some()
            && job.is_some_and(|job| job.ci.is_some() && role(job.role.as_deref()).is_of_job())
    }
}

/// What a container is for, by its part in the system's pod.
pub(super) fn role(part: Option<&str>) -> Role {
    let parts = [(Part::Step, Role::Step), (Part::Job, Role::Job), (Part::Service, Role::Service)];
    let known = parts.into_iter().find(|(known, _)| Some(known.as_str()) == part);
    known.map_or(Role::Runner, |(_, role)| role)
}

/// How a container ended, by its exit code and by the system's record of it.
pub(super) fn outcome(ci: Option<&CiJob>, by_code: Outcome) -> Outcome {
    let record = ci.and_then(|ci| ci.step.as_ref());
    let reason = record.and_then(|record| record.reason.as_deref());
    match (reason, by_code.result) {
        // Whatever was written before the kernel ended it.
        (_, JobResult::Error | JobResult::Success) => by_code,
        (Some(SKIPPED), _) => Outcome { result: JobResult::Skip, fault: None, ..by_code },
        (Some(TIMED_OUT), _) => Outcome { result: JobResult::Timeout, fault: None, ..by_code },
        (Some(CANCELLED), _) => Outcome::cancelled(by_code.exit_code),
        _ => by_code,
    }
}

/// Whether the system has written down how a container's step went, if it does so at all.
pub(super) fn is_recorded(ci: &CiJob, role: Role) -> bool {
    let writes = system(&ci.system).is_some_and(CiSystem::tells_steps) && role == Role::Step;
    !writes || ci.step.is_some()
}

/// The system of this name; none for an operator's mapping.
pub(super) fn system(name: &str) -> Option<CiSystem> {
    name.parse().ok()
}

/// How the job ended, by its containers.
pub(super) fn result(system_name: &str, containers: &[Container]) -> Outcome {
    let own_decide = system(system_name).is_some_and(CiSystem::own_containers_decide);
    let of = |role: Role| containers.iter().filter(move |one| one.role == role);
    let init = containers.iter().filter(|one| one.container_type == ContainerType::Init);
    if let Some(failed) = init.map(|one| one.outcome).find(|outcome| is_bad(*outcome)) {
        return Outcome { result: JobResult::Error, ..failed };
    }
    let deciding = of(Role::Step).chain(of(Role::Job));
    let deciding = deciding.chain(of(Role::Service).filter(|_| own_decide));
    let deciding: Vec<Outcome> = deciding.map(|one| one.outcome).collect();
    let order = [JobResult::Error, JobResult::Cancellation, JobResult::Timeout, JobResult::Failure];
    let worst = |result: &JobResult| deciding.iter().find(|one| one.result == *result).copied();
    if let Some(worst) = order.iter().find_map(worst) {
        return Outcome { exit_code: None, ..worst };
    }
    let mut own = of(Role::Runner).filter(|_| own_decide).map(|one| one.outcome);
    if let Some(failed) = own.find(|outcome| is_bad(*outcome)) {
        return Outcome { result: JobResult::Error, exit_code: None, ..failed };
    }
    if of(Role::Job).next().is_some() {
        Outcome::UNKNOWN
    } else if of(Role::Step).next().is_none() {
        Outcome::error(Fault::Lost, None)
    } else {
        Outcome::SUCCESS
    }
}

/// Whether one of the system's own containers failed. One that was told to stop did not.
fn is_bad(outcome: Outcome) -> bool {
    let told_to_stop = matches!(outcome.exit_code, None | Some(137 | 143))
        && outcome.fault != Some(Fault::OomKilled);
    matches!(outcome.result, JobResult::Failure | JobResult::Error) && !told_to_stop
}
