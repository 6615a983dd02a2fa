//! Steps that are containers which start together and wait for their turn: when each began, and how it
//! ended, by the system's record or by the step before. Pure.

use ephemon_ci_systems::CiSystem;
use ephemon_model::CiJob;

use super::ci_pod::system;
use super::job_evidence::JobEvidence;
use super::outcome::{JobResult, Outcome};
use super::steps::Claimed;
use super::time::{Source, Stamp};

impl JobEvidence {
    /// Enters names, beginnings and ends of the steps of another CI system's pod. The container's life
    /// stays what it is: it holds the step.
    pub(super) fn enter_step_records(&self, claimed: &mut [Claimed]) {
        let Some(ci) = self.ci() else { return };
        let in_turn = system(&ci.system).is_some_and(CiSystem::is_sequential);
        // By their ends; what still runs has its turn after all that are over.
        let end = |one: &Claimed| one.step.window.end.map_or(u64::MAX, |end| end.ns);
        claimed.sort_by_key(|one| (end(one), one.step.window.start));
        let mut before_ns = 0;
        for one in claimed.iter_mut() {
            let ci = one.step.container.as_ref().and_then(|name| self.ci_of(name));
            let record = ci.and_then(|ci| ci.step.as_ref());
            let began = match record {
                Some(record) => Some((record.started_ns, Source::System)),
                None => in_turn.then_some((before_ns, Source::Derived)),
            };
            let window = &mut one.step.window;
            if let Some((ns, source)) = began.filter(|(ns, _)| *ns > window.start.ns) {
                window.start = Stamp { ns: window.nearest(ns), source };
            }
            before_ns = window.end.map_or(before_ns, |end| end.ns.max(before_ns));
            // Of a step whose failure is passed over: its container succeeds. No record makes a success of
            // a container that failed.
            let passed_over = one.step.outcome.result == JobResult::Success;
            if let Some(code) = record.and_then(|record| record.exit_code).filter(|_| passed_over) {
                one.step.outcome = Outcome::of_code(code);
            }
            one.step.display_name = ci.and_then(|ci| ci.step_name.clone());
        }
        claimed.sort_by(|a, b| {
            let rank = |one: &Claimed| (one.step.window.start, one.step.span_id.0);
            rank(a).cmp(&rank(b)).then_with(|| a.step.name.cmp(&b.step.name))
        });
    }

    fn ci_of(&self, container: &str) -> Option<&CiJob> {
        self.spec.get(container)?.job.as_ref()?.ci.as_deref()
    }
}
