//! From a pod's evidence to its job's record. Pure: the same evidence gives the same record, in
//! whatever order it came.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use ephemon_contract::Phase as Call;
use ephemon_contract::trace::SpanId;

use super::containers::all_containers;
use super::derived_steps::derived_steps;
use super::identity::Identity;
use super::job::{Container, Job, Phase, Role, Step, Totals};
use super::job_evidence::JobEvidence;
use super::job_result::Parts;
use super::outcome::{Fault, Outcome};
use super::reconcile::reconcile;
use super::runner::Said;
use super::runner_end::RunnerEnd;
use super::steps::{Claimed, close, steps};
use super::time::{Source, Stamp, Window};
use super::written::Written;

impl JobEvidence {
    /// The job as it stands. `closed_ns`: when it was found to be over; what has no end of its own
    /// then ends with the rest, or at that moment. None where nothing is known that is of a job.
    pub fn job(&self, closed_ns: Option<u64>) -> Option<Job> {
        let display = self.running.as_ref().map(|(_, name)| name.clone());
        let display = display.or_else(|| match &self.completed {
            Some((_, Said::Completed { name, .. })) => Some(name.clone()),
            _ => None,
        });
        let said = self.job_envs();
        let identity = Identity::of(&self.pod, &said, display);
        let written = Written::of(self);
        let mut containers = all_containers(self, &written, &identity);
        if !self.is_job(&containers, &written, closed_ns.is_some()) {
            return None;
        }
        let mut phases = phases(&written, &identity);
        let mut taken: HashSet<SpanId> = containers.iter().map(|one| one.span_id).collect();
        taken.extend(phases.iter().map(|phase| phase.span_id));
        taken.insert(identity.key().span().span_id);
        let mut claimed = steps(&written, &identity, &containers, &mut taken);
        self.enter_step_records(&mut claimed);
        self.weigh(&containers, &mut claimed);
        let mut steps: Vec<Step> = claimed.into_iter().map(|claimed| claimed.step).collect();
        let derived = derived_steps(self, &written, &identity, &containers, &steps, &mut taken);
        if !derived.is_empty() {
            steps.extend(derived);
            steps.sort_by_key(|step| step.window.start);
        }
        let mut window = self.window(&phases, &steps, &containers)?;
        if let Some(closed_ns) = closed_ns {
            let at = latest(&phases, &steps, &containers, self).unwrap_or(closed_ns);
            if window.end.is_none_or(|end| end.ns < at) {
                window.end = Some(Stamp { ns: at.max(window.start.ns), source: Source::Derived });
            }
            // Told at the call's end: a hook that was killed in it has told nothing.
            let cleaned = written.call(Call::CleanupJob).map(|call| call.success);
            shut(&mut phases, &mut steps, &mut containers, at, cleaned);
        }
        let runner_end = RunnerEnd::of(self, &written, &containers);
        if let Some(end) = &runner_end {
            end.enter(&mut steps, &mut containers);
        }
        let is_others = |one: &Container| matches!(one.role, Role::Debug | Role::Nested);
        let of_its_time = |one: &Container| !is_others(one) || window.meets(&one.window);
        containers.retain(of_its_time);
        let totals = Totals::of(&containers);
        // What the pod did before its job, as its init containers did, is no part of the job's time. It is
        // counted, and not shown with times that are not its own.
        containers.retain(|one| one.role.is_of_job() || window.meets(&one.window));
        fit(&window, &mut phases, &mut steps, &mut containers);
        let parts = Parts { phases: &phases, steps: &steps, containers: &containers };
        let completed = self.completed.as_ref().map(|(_, said)| said);
        let (outcome, judged_by) = match &identity.ci {
            Some(ci) => self.ci_result(&ci.system, &containers),
            None => parts.result(completed, runner_end.as_ref()),
        };
        let span = identity.key().span();
        Some(Job {
            identity,
            pod: Arc::clone(&self.pod),
            span,
            window,
            outcome,
            judged_by,
            phases,
            steps,
            containers,
            runner_start: self.runner_start(window.start.ns),
            totals,
            is_part: self.purpose.is_some(),
            left_out: self.left_out(),
        })
    }

    /// Whether anything says that a job is or was here, and not a runner that waits for one.
    fn is_job(&self, containers: &[Container], written: &Written, is_over: bool) -> bool {
        let is_named = self.told.as_ref().is_some_and(|job| job.run_id.is_some());
        let said = self.running.is_some() || self.completed.is_some();
        let told = !written.calls.is_empty() || said || is_named;
        if told || containers.iter().any(|one| one.role.is_of_job()) {
            return true;
        }
        if self.has_runner() || containers.is_empty() {
            return false;
        }
        // Where nobody says what the pod consists of, an init container looks like any other, and a
        // runner may be to come.
        !self.spec.is_empty() || is_over
    }

    /// Enters what each step used.
    fn weigh(&self, containers: &[Container], claimed: &mut [Claimed]) {
        let mut by_container: BTreeMap<Arc<str>, Vec<&mut Claimed>> = BTreeMap::new();
        for one in claimed.iter_mut() {
            if let Some(name) = one.step.container.clone() {
                by_container.entry(name).or_default().push(one);
            }
        }
        for (name, mut steps) in by_container {
            let container =
                containers.iter().rev().find(|one| one.pod.is_none() && one.name == name);
            let Some(container) = container else { continue };
            let sighted = container.id.as_ref().and_then(|id| self.containers.get(id));
            let read_ns = sighted.and_then(|one| one.reading).map(|reading| reading.at_ns);
            reconcile(container, read_ns, &mut steps);
        }
    }

    /// From the first sign of the job to the last.
    fn window(&self, phases: &[Phase], steps: &[Step], containers: &[Container]) -> Option<Window> {
        let own = containers.iter().filter(|one| one.role.is_of_job());
        let own: Vec<Window> = own.map(|one| one.window).collect();
        let mut all: Vec<Window> = phases.iter().map(|phase| phase.window).collect();
        all.extend(steps.iter().map(|step| step.window));
        all.extend(own);
        let by = |ns| Stamp { ns, source: Source::Runner };
        if let Some((at, _)) = self.running {
            all.push(Window::new(by(at), self.completed.as_ref().map(|(end, _)| by(*end))));
        } else if let Some((end, _)) = self.completed {
            all.push(Window::new(by(end), Some(by(end))));
        }
        if all.is_empty() {
            all.extend(containers.iter().map(|one| one.window));
        }
        let mut hull = all.into_iter().reduce(Window::hull)?;
        if let Some(first) = containers.first().filter(|_| self.ci().is_some()) {
            // The pod was made for the job.
            hull.start = hull.start.min(first.window.start);
        }
        hull.skewed = false;
        Some(hull)
    }
}

fn phases(written: &Written, identity: &Identity) -> Vec<Phase> {
    let named = [(Call::PrepareJob, "prepare"), (Call::CleanupJob, "cleanup")];
    let phases = named.into_iter().filter_map(|(call, name)| {
        let told = written.call(call)?;
        let code = told.exit_code.map(i32::from);
        let outcome = match (told.success, code) {
            (true, _) => Outcome::SUCCESS,
            (false, Some(130 | 143)) => Outcome::cancelled(code),
            (false, _) => Outcome::error(Fault::Hook, code),
        };
        let span_id = identity.key().phase_span(name).span_id;
        Some(Phase { call, span_id, window: told.window, outcome })
    });
    phases.collect()
}

/// When the last of what is known to be over was over; containers that are no part of the job do not count.
fn latest(
    phases: &[Phase],
    steps: &[Step],
    containers: &[Container],
    job_evidence: &JobEvidence,
) -> Option<u64> {
    let own = containers.iter().filter(|one| one.role.is_of_job()).map(|one| one.window);
    let phases = phases.iter().map(|phase| phase.window);
    let all = phases.chain(steps.iter().map(|step| step.window)).chain(own);
    let ends = all.filter_map(|window| window.end).map(|end| end.ns);
    ends.chain(job_evidence.completed.as_ref().map(|(at, _)| *at)).max()
}

/// Ends what has no end of its own. A service may live on after the hook's cleanup, which cannot stop
/// one without an init: the kubelet does, with the pod. `cleaned`: how the cleanup ended, if it did. After
/// one that failed nobody says how a service ended, and without one it is lost.
fn shut(
    phases: &mut [Phase],
    steps: &mut [Step],
    containers: &mut [Container],
    at_ns: u64,
    cleaned: Option<bool>,
) {
    for phase in phases {
        close(&mut phase.window, at_ns);
    }
    for step in steps {
        if close(&mut step.window, at_ns) {
            step.outcome = Outcome::error(Fault::Lost, None);
        }
    }
    for one in containers {
        let is_open = close(&mut one.window, at_ns) && one.role.is_of_job();
        if is_open && one.outcome == Outcome::SUCCESS {
            one.outcome = match cleaned.filter(|_| one.role == Role::Service) {
                Some(true) => Outcome::SUCCESS,
                Some(false) => Outcome::UNKNOWN,
                None => Outcome::error(Fault::Lost, None),
            };
        }
    }
}

/// Every part lies within the job. Containers that are no part of it may live longer, and are shown as far
/// as they were there with it.
fn fit(job: &Window, phases: &mut [Phase], steps: &mut [Step], containers: &mut [Container]) {
    for phase in phases {
        phase.window = phase.window.within(job);
    }
    for step in steps {
        step.window = step.window.within(job);
    }
    for one in containers {
        let skewed = one.window.skewed;
        one.window = one.window.within(job);
        if !one.role.is_of_job() {
            one.window.skewed = skewed;
        }
    }
}
