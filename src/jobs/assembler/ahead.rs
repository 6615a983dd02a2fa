//! Which spans of a job under way go ahead of the rest: those that would be the same at its end. Pure.

use std::collections::HashSet;

use ephemon_contract::Phase;
use ephemon_contract::trace::SpanId;

use super::{PATIENCE_NS, SETTLING_NS};
use crate::job::{Container, Job, Proof, Role, Step};
use crate::outcome::{Fault, JobResult};
use crate::time::Window;

/// Parts that are over, of which nothing more is to come, and that were not sent.
pub(super) fn ahead(job: &Job, sent: &HashSet<SpanId>, now_ns: u64) -> HashSet<SpanId> {
    let phases = job.phases.iter().filter(|phase| phase.call == Phase::PrepareJob);
    let steps = job.steps.iter().filter(|step| is_settled(step, now_ns));
    let mut over: HashSet<SpanId> =
        phases.map(|phase| phase.span_id).chain(steps.map(|step| step.span_id)).collect();
    // The step says what the container's span hangs under, and its time. Those of the job and its
    // services end with the job; when they were told to, the hook says last.
    let goes = |one: &&Container| {
        let mut steps = job.steps.iter().filter(|step| one.is_of_step(step));
        let with_step = matches!(
            (steps.next(), steps.next()),
            (Some(step), None) if over.contains(&step.span_id)
        );
        let wait_ns = if one.settled { SETTLING_NS } else { PATIENCE_NS };
        matches!(one.role, Role::Step | Role::Other)
            && with_step
            && is_past(&one.window, wait_ns, now_ns)
    };
    let containers: Vec<SpanId> =
        job.containers.iter().filter(goes).map(|one| one.span_id).collect();
    over.extend(containers);
    over.retain(|span| !sent.contains(span));
    over
}

fn is_settled(step: &Step, now_ns: u64) -> bool {
    // Whether somebody has ended it, or the runner's end did, is known at the job's end.
    let is_cut_off = step.outcome.result == JobResult::Cancellation
        || matches!(step.outcome.fault, Some(Fault::Lost | Fault::Runner));
    // The kernel's figures of a container are read once a second or so, later on a busy node. A
    // step that goes without them would go otherwise if it had to be sent again.
    let settled = step.settled && step.proof != Proof::Unconfirmed;
    let wait_ns = if settled { 2 * SETTLING_NS } else { PATIENCE_NS };
    !is_cut_off && is_past(&step.window, wait_ns, now_ns)
}

fn is_past(window: &Window, wait_ns: u64, now_ns: u64) -> bool {
    window.end.is_some_and(|end| now_ns.saturating_sub(end.ns) >= wait_ns)
}
