//! How a job ended, by the runner's word or by its parts. Pure.

use super::job::{Container, Phase, Role, Step, StepSource};
use super::outcome::{Fault, JobResult, Outcome, ResultSource};
use super::runner::Said;
use super::runner_end::RunnerEnd;
use super::runner_pod::is_runner;

/// A job's parts.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) phases: &'a [Phase],
    pub(super) steps: &'a [Step],
    pub(super) containers: &'a [Container],
}

// === impl Parts ===

impl Parts<'_> {
    /// The job's result. `completed`: what the runner said of it; `runner_end`: that it ended first.
    pub(super) fn result(
        self,
        completed: Option<&Said>,
        runner_end: Option<&RunnerEnd>,
    ) -> (Outcome, ResultSource) {
        if let Some(Said::Completed { result, .. }) = completed {
            return (self.said(*result), ResultSource::Runner);
        }
        if let Some(end) = runner_end {
            return (end.outcome, ResultSource::Parts);
        }
        let worst = [JobResult::Error, JobResult::Cancellation, JobResult::Failure]
            .into_iter()
            .find(|result| self.outcomes().any(|part| part.result == *result));
        let outcome = worst.map_or(Outcome::SUCCESS, |result| Outcome {
            result,
            fault: self.fault(result),
            exit_code: None,
        });
        (outcome, ResultSource::Parts)
    }

    /// GitHub knows failures only; that it was what the job ran on is for us to say.
    fn said(self, result: JobResult) -> Outcome {
        let fault = match result {
            JobResult::Failure => self.fault(JobResult::Failure).or(Some(Fault::Other)),
            JobResult::Error => self.fault(JobResult::Error).or(Some(Fault::Other)),
            _ => None,
        };
        let told = Outcome { result, fault, exit_code: None };
        if result != JobResult::Failure {
            return told;
        }
        if let Some(error) = self.outcomes().find(|part| part.result == JobResult::Error) {
            return Outcome { exit_code: None, ..error };
        }
        // The OOM killer took a process of the runner's own container, its worker perhaps. It stays the
        // failure that the runner told of: the kill may be of a child that a step could do without.
        let failed_by_itself = self.outcomes().any(|part| part.result == JobResult::Failure);
        if !failed_by_itself && self.runner_was_short_of_memory() {
            return Outcome { fault: Some(Fault::OomKilled), ..told };
        }
        told
    }

    fn runner_was_short_of_memory(self) -> bool {
        let kills = |one: &Container| one.figures.oom_kills.is_some_and(|kills| kills > 0);
        self.containers
            .iter()
            .any(|one| one.role == Role::Runner && is_runner(&one.name) && kills(one))
    }

    fn fault(self, result: JobResult) -> Option<Fault> {
        self.outcomes().find(|part| part.result == result).and_then(|part| part.fault)
    }

    fn outcomes(self) -> impl Iterator<Item = Outcome> {
        let phases = self.phases.iter().map(|phase| phase.outcome);
        // What the runner's log says of steps is in what it says of the job.
        let told = |step: &&Step| step.source != StepSource::RunnerLog;
        let steps = self.steps.iter().filter(told).map(|step| step.outcome);
        let own = self.containers.iter().filter(|one| one.role.is_of_job());
        phases.chain(steps).chain(own.map(|one| one.outcome))
    }
}
