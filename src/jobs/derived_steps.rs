//! Steps that nobody but the runner's log tells of: they ran as processes of the runner's own
//! container. Pure.
//!
//! What such a step used is what the container's counters grew by between two readings, at the line
//! with which the step began and the one with which it ended: all that ran in the container is in it,
//! the runner's own work too. Windows do not overlap, so the steps together have never used more than
//! the container.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ephemon_ci_systems::GitlabStage;
use ephemon_contract::trace::SpanId;
use ephemon_contract::{Phase, StepKind};
use ephemon_discovery::inventory::RUNNER_CONTAINER;

use super::evidence::StepReading;
use super::figures::Figures;
use super::identity::Identity;
use super::job::{Container, Proof, Role, Step, StepSource};
use super::job_evidence::JobEvidence;
use super::outcome::{Fault, JobResult, Outcome};
use super::runner::Said;
use super::runner_step::StepEvent;
use super::time::{Source, Stamp, Window};
use super::written::Written;

/// A step that has begun.
struct Open {
    name: Arc<str>,
    start_ns: u64,
    reading: Option<StepReading>,
    /// Its id, if it runs beside others.
    id: Option<Arc<str>>,
}

/// Steps under construction.
struct Builder<'a> {
    identity: &'a Identity,
    is_gitlabs: bool,
    taken: &'a mut HashSet<SpanId>,
    steps: Vec<Step>,
    open: Option<Open>,
    /// Steps that run beside others, by their ids.
    beside: HashMap<Arc<str>, usize>,
}

/// The steps by the runner's log, but for those that are among the journals' `own`, and none where the
/// job has a container of its own, whose steps its journal tells of. A GitLab job's steps are its stages,
/// each in a container that runs several.
pub(super) fn derived_steps(
    job_evidence: &JobEvidence,
    written: &Written,
    identity: &Identity,
    containers: &[Container],
    own: &[Step],
    taken: &mut HashSet<SpanId>,
) -> Vec<Step> {
    let is_gitlabs = job_evidence.is_gitlabs();
    if !is_gitlabs && runs_elsewhere(written, containers) {
        return Vec::new();
    }
    let steps = Vec::new();
    let beside = HashMap::new();
    let mut builder = Builder { identity, is_gitlabs, taken, steps, open: None, beside };
    for (at_ns, event, reading) in job_evidence.step_log.iter() {
        builder.take(at_ns, event, reading);
    }
    let mut steps = builder.finish(job_evidence.completed.as_ref());
    if runs_in_another_pod(containers) {
        for step in &mut steps {
            (step.figures, step.proof, step.container) = (Figures::default(), Proof::None, None);
        }
    }
    let is_told = |step: &Step| own.iter().any(|own| step.window.holds(own.window.start.ns));
    steps.retain(|step| !is_told(step));
    steps
}

/// Whether script steps run in a container of the job's own, where their journal tells of them.
fn runs_elsewhere(written: &Written, containers: &[Container]) -> bool {
    containers.iter().any(|one| one.role == Role::Job && one.pod.is_none())
        || written.calls.iter().any(|call| call.phase == Phase::RunScriptStep)
        || written.steps.values().any(|ran| ran.kind == Some(StepKind::Script))
}

/// Whether the runner has created a pod for the job, in whose container its steps run: what the
/// runner's own container used is not theirs.
fn runs_in_another_pod(containers: &[Container]) -> bool {
    containers.iter().any(|one| one.role == Role::Job && one.pod.is_some())
}

// === impl Builder ===

impl Builder<'_> {
    fn take(&mut self, at_ns: u64, event: &StepEvent, reading: Option<StepReading>) {
        match event {
            StepEvent::Began { name } => {
                // The line of the former one's end is missing.
                if let Some(open) = self.open.take() {
                    let end = Stamp { ns: at_ns, source: Source::Derived };
                    let lost = Outcome::error(Fault::Lost, None);
                    self.push(open, Some(end), lost, None);
                }
                self.open = Some(Open { name: name.clone(), start_ns: at_ns, reading, id: None });
            }
            StepEvent::Queued { id } => {
                if let Some(open) = &mut self.open {
                    open.id = Some(id.clone());
                }
            }
            StepEvent::Ended { result } => {
                let Some(mut open) = self.open.take() else { return };
                let id = open.id.take();
                if let Some(result) = result {
                    self.push(open, Some(stamp(at_ns)), outcome(*result), reading);
                } else {
                    self.push(open, None, Outcome::SUCCESS, None);
                    let at = self.steps.len().saturating_sub(1);
                    self.beside.extend(id.map(|id| (id, at)));
                }
            }
            StepEvent::Exited { name, code } => {
                if let Some(open) = self.open.take_if(|open| open.name == *name) {
                    self.push(open, Some(stamp(at_ns)), Outcome::of_code(*code), reading);
                }
            }
            StepEvent::BackgroundEnded { id, result } => {
                let at = self.beside.remove(id);
                if let Some(step) = at.and_then(|at| self.steps.get_mut(at)) {
                    step.window = Window::new(step.window.start, Some(stamp(at_ns)));
                    step.outcome = outcome(*result);
                }
            }
        }
    }

    /// `completed`: when the runner said that the job was over, and how. What is open then ended with it.
    fn finish(mut self, completed: Option<&(u64, Said)>) -> Vec<Step> {
        if let Some(open) = self.open.take() {
            self.push(open, None, Outcome::SUCCESS, None);
        }
        if let Some((at_ns, Said::Completed { result, .. })) = completed {
            for step in self.steps.iter_mut().filter(|step| step.window.end.is_none()) {
                step.window = Window::new(step.window.start, Some(stamp(*at_ns)));
                step.outcome = match result {
                    JobResult::Cancellation => Outcome::cancelled(None),
                    _ => Outcome::error(Fault::Lost, None),
                };
            }
        }
        self.steps
    }

    fn push(
        &mut self,
        open: Open,
        end: Option<Stamp>,
        mut outcome: Outcome,
        reading: Option<StepReading>,
    ) {
        let Open { name, start_ns, reading: before, .. } = open;
        let figures = before.zip(reading).map_or(Figures::default(), |(a, b)| between(&a, &b));
        let of_stage = GitlabStage::container(&name).filter(|_| self.is_gitlabs);
        let container = of_stage.unwrap_or(RUNNER_CONTAINER);
        let killed = figures.oom_kills.is_some_and(|kills| kills > 0);
        if killed && outcome.result == JobResult::Failure {
            outcome.fault = Some(Fault::OomKilled);
        }
        // Two of one name at one moment, of which the number makes two.
        let number = self.steps.len();
        let span = |id: &str| self.identity.key().step_span(id, start_ns).span_id;
        let mut span_id = span(&name);
        if !self.taken.insert(span_id) {
            span_id = span(&format!("{name}/{number}"));
            self.taken.insert(span_id);
        }
        self.steps.push(Step {
            name,
            display_name: None,
            source: StepSource::RunnerLog,
            kind: None,
            span_id,
            container: Some(container.into()),
            window: Window::new(stamp(start_ns), end),
            outcome,
            figures,
            proof: if figures == Figures::default() { Proof::None } else { Proof::Window },
            max_rss_bytes: None,
            settled: true,
        });
    }
}

fn stamp(ns: u64) -> Stamp {
    Stamp { ns, source: Source::Runner }
}

fn outcome(result: JobResult) -> Outcome {
    let fault = match result {
        JobResult::Failure => Some(Fault::Other),
        JobResult::Error => Some(Fault::Lost),
        JobResult::Success
        | JobResult::Timeout
        | JobResult::Cancellation
        | JobResult::Skip
        | JobResult::Unknown => None,
    };
    Outcome { result, fault, exit_code: None }
}

/// What the counters grew by. Counters that fell are another container's, and say nothing; the peak is
/// the step's own only if it rose in its time.
fn between(before: &StepReading, after: &StepReading) -> Figures {
    let (a, b) = (before.figures, after.figures);
    let grown = |a: Option<u64>, b: Option<u64>| b?.checked_sub(a?);
    let counters = [
        (a.cpu_ns, b.cpu_ns),
        (a.throttled_ns, b.throttled_ns),
        (a.oom_kills, b.oom_kills),
        (a.read_bytes, b.read_bytes),
        (a.written_bytes, b.written_bytes),
    ];
    let fell = counters.iter().any(|(a, b)| a.zip(*b).is_some_and(|(a, b)| b < a));
    if fell || after.at_ns < before.at_ns {
        return Figures::default();
    }
    let rose = a.memory_peak_bytes.zip(b.memory_peak_bytes).filter(|(a, b)| b > a);
    Figures {
        cpu_ns: grown(a.cpu_ns, b.cpu_ns),
        throttled_ns: grown(a.throttled_ns, b.throttled_ns),
        memory_peak_bytes: rose.map(|(_, peak)| peak),
        memory_byte_ms: None,
        oom_kills: grown(a.oom_kills, b.oom_kills),
        read_bytes: grown(a.read_bytes, b.read_bytes),
        written_bytes: grown(a.written_bytes, b.written_bytes),
    }
}
