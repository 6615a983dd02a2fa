//! The steps of a job: the hook's calls joined to the processes that init ran for them. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use ephemon_contract::journals::StepResult;
use ephemon_contract::trace::SpanId;
use ephemon_contract::{Phase, StepKind};

use super::figures::Figures;
use super::identity::Identity;
use super::job::{Container, Proof, Role, Step, StepSource};
use super::outcome::{Fault, Outcome};
use super::time::{Source, Stamp, Window};
use super::written::{Call, Ran, Written};

/// A step with the claims of the journal about what it used.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) step: Step,
    pub(super) ran: Option<Ran>,
}

/// Init's number of a step in a container.
type Place = (Arc<str>, u64);

/// All steps, by their beginnings.
pub(super) fn steps(
    written: &Written,
    identity: &Identity,
    containers: &[Container],
    taken: &mut HashSet<SpanId>,
) -> Vec<Claimed> {
    let key = identity.key();
    let known: HashMap<&str, &Container> =
        containers.iter().map(|container| (&*container.name, container)).collect();
    // What stands in the journal of a container that nobody else knows is made up.
    let is_step = |(container, _): &Place, ran: &Ran| {
        ran.is_of_workflow() && known.contains_key(&**container)
    };
    let mut open: BTreeMap<&Place, &Ran> =
        written.steps.iter().filter(|(place, ran)| is_step(place, ran)).collect();
    // By what a call is told from others: the step's id, and when it began.
    let mut by_call: HashMap<(&str, u64), Vec<&Place>> = HashMap::new();
    for (place, ran) in &open {
        if let Some(called_ns) = ran.called_ns {
            by_call
                .entry((ran.id.as_deref().unwrap_or_default(), called_ns))
                .or_default()
                .push(place);
        }
    }
    let mut all = Vec::new();
    for call in &written.calls {
        let Some(kind) = call.phase.step_kind() else { continue };
        let id = call.name.as_deref().unwrap_or_default();
        let span_id = key.step_span(id, call.at_ns).span_id;
        // A record written twice is one step.
        if !taken.insert(span_id) {
            continue;
        }
        let place = by_call
            .get(&(id, call.at_ns))
            .and_then(|places| places.iter().copied().find(|place| open.contains_key(place)))
            .or_else(|| by_time(call, kind, &open));
        let ran = place.and_then(|place| open.remove(place));
        let container = place
            .map(|(container, _)| container.clone())
            .or_else(|| launched(call, written, containers));
        all.push(joined(call, kind, span_id, container, ran, &known));
    }
    for ((container, number), ran) in open {
        let Some(window) = ran.window() else { continue };
        // Derived, never told: a job writes what it likes to its journal.
        let id = ran.id.as_deref().unwrap_or_default();
        let called = ran.called_ns.map(|called_ns| key.step_span(id, called_ns).span_id);
        let own = || key.step_span(&format!("{container}/{number}"), window.start.ns).span_id;
        let span_id = called.filter(|called| !taken.contains(called)).unwrap_or_else(own);
        if taken.insert(span_id) {
            all.push(alone(container, ran, window, span_id, &known));
        }
    }
    // Of somebody who has no hook: the container is the step.
    let is_step = |one: &&Container| {
        one.role == Role::Other || (one.role == Role::Step && identity.ci.is_some())
    };
    for container in containers.iter().filter(is_step) {
        if written.inits.contains_key(&container.name) {
            continue;
        }
        let began = container.born_ns.unwrap_or(container.window.start.ns);
        let span_id = key.step_span(&container.name, began).span_id;
        if taken.insert(span_id) {
            all.push(as_step(container, span_id));
        }
    }
    let order = |a: &Claimed, b: &Claimed| {
        let rank =
            |one: &Claimed| (one.step.window.start, one.step.name.clone(), one.step.span_id.0);
        rank(a).cmp(&rank(b))
    };
    all.sort_by(order);
    all
}

/// The first process of the kind that began in the call's time and has its name.
fn by_time<'a>(call: &Call, kind: StepKind, open: &BTreeMap<&'a Place, &Ran>) -> Option<&'a Place> {
    let fits = |place: &Place, ran: &Ran| {
        let same_container = call.container.as_deref().is_none_or(|told| *place.0 == *told);
        let same_kind = ran.kind.is_none_or(|other| other == kind);
        let same_name = ran.id.is_none() || ran.id == call.name;
        let in_time = ran.window().is_some_and(|window| call.window.holds(window.start.ns));
        same_container && same_kind && same_name && in_time
    };
    // The earliest, for the order of places is not that of time.
    let fitting = open.iter().filter(|(place, ran)| fits(place, ran));
    fitting.min_by_key(|(place, ran)| (ran.started_ns, **place)).map(|(place, _)| *place)
}

/// The container that a call asked for, where it has no journal.
fn launched(call: &Call, written: &Written, containers: &[Container]) -> Option<Arc<str>> {
    if call.phase != Phase::RunContainerStep {
        return None;
    }
    if let Some(told) = call.container.as_deref() {
        // One that stood by and was not reached in time is still called that.
        let is_told =
            |one: &&Container| matches!(one.role, Role::Step | Role::Standby) && *one.name == *told;
        let told = containers.iter().find(is_told);
        return told.map(|one| one.name.clone());
    }
    // Hooks of before did not say which.
    let asked = |one: &&Container| {
        let at = written.asked.get(&one.name).copied();
        one.role == Role::Step && at.is_some_and(|at| call.window.holds(at))
    };
    // A container that did not come up is tried again without init: the later one ran.
    containers.iter().rfind(asked).map(|one| one.name.clone())
}

fn joined(
    call: &Call,
    kind: StepKind,
    span_id: SpanId,
    container: Option<Arc<str>>,
    ran: Option<&Ran>,
    known: &HashMap<&str, &Container>,
) -> Claimed {
    let inner = ran.and_then(Ran::window);
    let one = container.as_deref().and_then(|name| known.get(name));
    let life = one.map(|one| one.window);
    let inner = inner.map(|inner| life.map_or(inner, |life| inner.within(&life)));
    let mut window = inner.map_or(call.window, |inner| {
        // The hook's call lasted longer than what it waited for, whatever one of them says.
        let inner = Window { end: inner.end.or(call.window.end), ..inner };
        call.window.hull(inner)
    });
    if let (StepKind::Container, Some(life)) = (kind, life.filter(|life| life.end.is_some())) {
        // One that stood by is older than its step.
        let is_older = one.is_some_and(|one| one.taken_ns.is_some());
        let start = if is_older { life.start.max(window.start) } else { life.start };
        window = window.hull(Window { start, ..life });
    }
    let ended = ran.and_then(|ran| ran.ended.as_ref()).map(|ended| (ended.end, ended.cancelled));
    let outcome = outcome(StepResult::of(ended, call.exit_code, call.success));
    let id = ran.and_then(|ran| ran.id.clone());
    let name = call.name.clone().or(id).or_else(|| ran.map(|ran| ran.name.clone()));
    let name = name.filter(|name| !name.is_empty());
    let step = Step {
        name: name.as_deref().unwrap_or(call.phase.as_str()).into(),
        display_name: call.display_name.as_deref().filter(|name| !name.is_empty()).map(Arc::from),
        source: StepSource::Journal,
        kind: Some(kind),
        span_id,
        container,
        window,
        outcome,
        figures: Figures::default(),
        proof: Proof::None,
        max_rss_bytes: None,
        settled: true,
    };
    Claimed { step, ran: ran.cloned() }
}

/// A process that no call of the hook tells of: it still runs, or the hook died.
fn alone(
    container: &Arc<str>,
    ran: &Ran,
    window: Window,
    span_id: SpanId,
    known: &HashMap<&str, &Container>,
) -> Claimed {
    let life = known.get(&**container).map(|one| one.window);
    let mut window = life.map_or(window, |life| window.within(&life));
    let outcome = if let Some(ended) = &ran.ended {
        outcome(StepResult::of(Some((ended.end, ended.cancelled)), None, false))
    } else {
        // Gone with its container, without a word of init's.
        window.end = life.and_then(|life| life.end);
        match window.end {
            Some(_) => Outcome::error(Fault::Lost, None),
            None => Outcome::SUCCESS,
        }
    };
    let name = ran.id.as_deref().unwrap_or(&ran.name);
    let step = Step {
        name: if name.is_empty() { container.clone() } else { name.into() },
        display_name: None,
        source: StepSource::Journal,
        kind: Some(ran.kind.unwrap_or(StepKind::Script)),
        span_id,
        container: Some(container.clone()),
        window,
        outcome,
        figures: Figures::default(),
        proof: Proof::None,
        max_rss_bytes: None,
        settled: false,
    };
    Claimed { step, ran: Some(ran.clone()) }
}

fn outcome(result: StepResult) -> Outcome {
    match result {
        StepResult::Success(Some(code)) | StepResult::Failure(code) => {
            Outcome::of_code(i32::from(code))
        }
        StepResult::Success(None) => Outcome::SUCCESS,
        StepResult::Cancelled(code) => Outcome::cancelled(Some(i32::from(code))),
        StepResult::Error => Outcome::error(Fault::Hook, None),
    }
}

fn as_step(container: &Container, span_id: SpanId) -> Claimed {
    let step = Step {
        name: container.name.clone(),
        display_name: None,
        source: StepSource::Container,
        kind: Some(StepKind::Container),
        span_id,
        container: Some(container.name.clone()),
        window: container.window,
        outcome: container.outcome,
        figures: container.figures,
        proof: container.proof,
        max_rss_bytes: None,
        settled: container.settled,
    };
    Claimed { step, ran: None }
}

/// The end of what has none though all is over.
pub(super) fn close(window: &mut Window, at_ns: u64) -> bool {
    let open = window.end.is_none();
    if open {
        let ns = at_ns.max(window.start.ns);
        window.end = Some(Stamp { ns, source: Source::Derived });
    }
    open
}
