//! The pod of another CI system than GitHub Actions: what its containers are, how each ended, and what
//! that is for the job. Pure.
//!
//! The pod is the job from its first container on. Where containers are steps, their exit codes decide;
//! where the system runs its steps in them from outside, nothing in the pod says how the job ended, but the
//! output of GitLab's scripts.

use std::collections::{BTreeMap, BTreeSet};

use ephemon_ci_systems::{CiSystem, GitlabStage, Part};
use ephemon_model::{CiJob, ContainerType, JobEnv};

use super::job::{Container, Role};
use super::job_evidence::JobEvidence;
use super::outcome::{Fault, JobResult, Outcome, ResultSource};
use super::runner_step::StepEvent;

/// Tekton's word for a step that did not run because another had failed.
///
/// Source: tektoncd/pipeline, `pkg/pod/pod.go`, `TerminationReason…`.
const SKIPPED: &str = "Skipped";
/// For a step that took longer than it may.
const TIMED_OUT: &str = "TimeoutExceeded";
/// For a step that was ended.
const CANCELLED: &str = "Cancelled";
/// By how much the clocks of a node and of a CI system's server may differ: 2 s.
const CLOCKS_DIFFER_NS: u64 = 2_000_000_000;

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

    /// A runner's labels alone make no pod GitHub's: anybody's pod may have them, and a mapping may read
    /// them. With the runner's container they do, also while it waits for a job.
    fn is_githubs(&self) -> bool {
        let told = self.told.as_ref();
        let is_told = told.is_some_and(|job| job.run_id.is_some() || self.has_runners_container());
        self.has_hooks_spec() || is_told || self.purpose.is_some()
    }

    /// How the job ended, and who says it.
    pub(super) fn ci_result(
        &self,
        system: &str,
        containers: &[Container],
    ) -> (Outcome, ResultSource) {
        let by_containers = result(system, containers);
        let stages = || self.stages_outcome().filter(|_| self.is_gitlabs());
        match by_containers.result {
            JobResult::Unknown => match stages() {
                Some(outcome) => (outcome, ResultSource::Runner),
                None => (by_containers, ResultSource::Parts),
            },
            _ => (by_containers, ResultSource::Parts),
        }
    }

    /// Whether GitLab has made the pod: its scripts tell of their stages.
    pub(super) fn is_gitlabs(&self) -> bool {
        self.ci().and_then(|ci| system(&ci.system)) == Some(CiSystem::Gitlab)
    }

    /// Whether the script of a stage has said that it begins, and not that it is over.
    pub(super) fn has_open_stage(&self) -> bool {
        let is_begun = |event: &StepEvent| matches!(event, StepEvent::Began { .. });
        self.is_gitlabs() && self.step_log.last().is_some_and(is_begun)
    }

    /// How a GitLab job ended, by what its scripts have said; `None` while that is not known. It failed
    /// with the first of the job's own scripts that failed, or with the last attempt of what is done for
    /// them; it did not fail if the runner got to clean up, and no stage that counts was left without
    /// its end. Where the runner may have ended the stage itself, and began no other, it took too long if
    /// its time was over; else somebody cancelled it, or the runner ended, and nothing says which.
    fn stages_outcome(&self) -> Option<Outcome> {
        let mut codes: BTreeMap<&str, i32> = BTreeMap::new();
        let mut open: BTreeSet<&str> = BTreeSet::new();
        let (mut order, mut is_over) = (Vec::new(), false);
        // When the last stage ended, if none has begun since.
        let mut stopped_ns = None;
        for (at_ns, event, _) in self.step_log.iter() {
            match event {
                // What follows of a script that is over is the job's own.
                StepEvent::Began { name }
                    if GitlabStage::is_script(name) && codes.contains_key(&**name) => {}
                StepEvent::Began { name } if GitlabStage::counts(name) => {
                    open.insert(name);
                    order.push(&**name);
                    // A new attempt: the former one no longer counts.
                    codes.remove(&**name);
                    stopped_ns = None;
                }
                StepEvent::Began { name } => {
                    is_over |= GitlabStage::is_last(name);
                    stopped_ns = None;
                }
                // One that has not begun is the job's own.
                StepEvent::Exited { name, code } if open.remove(&**name) => {
                    codes.insert(name, *code);
                    stopped_ns = Some(at_ns);
                }
                _ => {}
            }
        }
        let failed = order.iter().filter_map(|name| codes.get(name)).find(|code| **code != 0);
        let has_run = codes.keys().any(|name| GitlabStage::is_script(name));
        match (failed, stopped_ns) {
            (Some(code), Some(at_ns)) if GitlabStage::may_be_ended(*code) => {
                self.is_past_deadline(at_ns).then_some(Outcome {
                    result: JobResult::Timeout,
                    fault: None,
                    exit_code: Some(*code),
                })
            }
            (Some(code), _) => Some(Outcome::of_code(*code)),
            (None, _) => (has_run && is_over && open.is_empty()).then_some(Outcome::SUCCESS),
        }
    }

    /// Whether the job's time was over then.
    fn is_past_deadline(&self, at_ns: u64) -> bool {
        let deadline_ns = self.ci().and_then(|ci| ci.deadline_ns);
        deadline_ns.is_some_and(|deadline_ns| at_ns.saturating_add(CLOCKS_DIFFER_NS) >= deadline_ns)
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
fn result(system_name: &str, containers: &[Container]) -> Outcome {
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
