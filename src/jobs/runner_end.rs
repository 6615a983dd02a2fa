//! The end of a runner before its job's. Pure.
//!
//! With the runner's container its pod is over: the kubelet stops the job's containers, and each step
//! under way looks as if somebody had cancelled it. Nobody has.

use ephemon_contract::Phase;

use super::job::{Container, Role, Step};
use super::job_evidence::JobEvidence;
use super::outcome::{Fault, JobResult, Outcome};
use super::runner_pod::is_runner;
use super::written::Written;

/// Exit codes of a container that was told to stop: of its own accord, by SIGINT, SIGKILL, SIGTERM.
const TOLD_TO_STOP: [i32; 4] = [0, 130, 137, 143];

/// An end is stamped when it is seen, and can be seen so much later than another one that followed.
const SEEN_LATE_NS: u64 = 1_000_000_000;

/// How a runner ended that should not have.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunnerEnd {
    at_ns: u64,
    /// What that is for the job.
    pub(super) outcome: Outcome,
}

// === impl RunnerEnd ===

impl RunnerEnd {
    /// None where the runner lives, was told to stop, or has said how the job ended; nor where the
    /// hook was called for the job's end, after which nothing can happen to it.
    pub(super) fn of(
        job_evidence: &JobEvidence,
        written: &Written,
        containers: &[Container],
    ) -> Option<Self> {
        if job_evidence.completed.is_some() || written.call(Phase::CleanupJob).is_some() {
            return None;
        }
        let mut runners =
            containers.iter().filter(|one| one.role == Role::Runner && is_runner(&one.name));
        runners.find_map(|one| {
            let at_ns = one.window.end?.ns;
            let code = one.outcome.exit_code?;
            let fault = match one.outcome.fault? {
                Fault::OomKilled => Fault::OomKilled,
                _ if TOLD_TO_STOP.contains(&code) => return None,
                _ => Fault::Runner,
            };
            Some(Self { at_ns, outcome: Outcome::error(fault, Some(code)) })
        })
    }

    /// What ended with the runner, or after it, did so for no other reason.
    pub(super) fn enter(&self, steps: &mut [Step], containers: &mut [Container]) {
        let from_ns = self.at_ns.saturating_sub(SEEN_LATE_NS);
        let follows = |end: Option<super::time::Stamp>| end.is_some_and(|end| end.ns >= from_ns);
        for step in steps.iter_mut().filter(|step| follows(step.window.end)) {
            let lost = step.outcome.fault == Some(Fault::Lost);
            if lost || step.outcome.result == JobResult::Cancellation {
                step.outcome = Outcome::error(Fault::Runner, step.outcome.exit_code);
            }
        }
        for one in containers.iter_mut().filter(|one| follows(one.window.end)) {
            let code = one.outcome.exit_code;
            let stopped = code.is_none_or(|code| TOLD_TO_STOP.contains(&code));
            let by_itself = matches!(one.outcome.fault, Some(Fault::OomKilled | Fault::Start));
            let done = code == Some(0) && matches!(one.role, Role::Step | Role::Other);
            if !stopped || by_itself || done {
                continue;
            }
            one.outcome = match one.role {
                Role::Job | Role::Service | Role::Standby => {
                    Outcome { exit_code: code, ..Outcome::SUCCESS }
                }
                Role::Step | Role::Other => Outcome::error(Fault::Runner, code),
                Role::Runner | Role::Debug | Role::Nested => continue,
            };
        }
    }
}
