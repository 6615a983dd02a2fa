//! One job as one trace: its record as an `ExportTraceServiceRequest`. Pure.
//!
//! The tree: job → prepare, services, the job's container, steps, cleanup; a step's own container
//! under its step; wait, pull, create, run under each container, and standby before run where it was
//! made ahead for a step, which it is older than. Ids are derived from the job, so that a
//! second sending is the same spans.

mod attributes;
mod names;

use ephemon_contract::Phase;
use ephemon_contract::trace::{RunKey, SpanId};
use ephemon_jobs::{Container, Job, JobResult, Outcome, Role, Step, Which, Window};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use prost::Message as _;

pub use attributes::job_url;
use attributes::{Attributes, resource};

/// The W3C flag of what is sampled, and that it is known whether the parent is another process's.
const LOCAL: u32 = 0x101;
/// As [`LOCAL`], with a parent of another process.
const REMOTE: u32 = 0x301;

/// Most spans of one request: with it, some 400 KB. Collectors take 4 MiB unless told otherwise.
pub const MAX_SPANS: usize = 500;

/// What a job's span hangs under.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Parent {
    /// Nothing: where no receiver sends the run's span, a parent would be missing for ever.
    #[default]
    None,
    /// The span of the run, as the OpenTelemetry Collector's GitHub receiver sends it.
    GithubRun,
}

/// What is the same for all jobs.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What a job's span hangs under.
    pub parent: Parent,
    /// The node's name in the API.
    pub node_name: Option<String>,
    /// Attributes of the resource that go over ours.
    pub resource: Vec<(String, String)>,
}

/// The spans of a job that are chosen and over. None of them: no request.
pub fn request(job: &Job, which: &Which, options: &Options) -> Option<ExportTraceServiceRequest> {
    let mut all = Vec::new();
    trace(job, which, options, &mut |spans| all.extend(spans));
    (!all.is_empty()).then(|| request_of(job, all, options))
}

fn trace(job: &Job, which: &Which, options: &Options, full: &mut dyn FnMut(Vec<Span>)) {
    let url = job_url(&job.identity);
    let mut trace = Trace { job, which, url, spans: Vec::new(), full };
    trace.all(options);
    trace.hand_over();
}

fn request_of(job: &Job, spans: Vec<Span>, options: &Options) -> ExportTraceServiceRequest {
    let scope = InstrumentationScope {
        name: names::SCOPE.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let schema_url = names::SCHEMA_URL.to_owned();
    let scope_spans = ScopeSpans { scope: Some(scope), spans, schema_url: schema_url.clone() };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource(job, options)),
            scope_spans: vec![scope_spans],
            schema_url,
        }],
    }
}

/// Some spans, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// An `ExportTraceServiceRequest` as protobuf.
    pub body: Vec<u8>,
    /// How many spans it has.
    pub spans: usize,
}

/// The spans that are chosen and over, as one request, or as several where they are very many.
pub fn encoded(job: &Job, which: &Which, options: &Options) -> Vec<Encoded> {
    let mut parts = Vec::new();
    encode(job, which, options, |part| parts.push(part));
    parts
}

/// The same, one request after the other: all of a large job's together are more than is to be held
/// at once.
pub fn encode(job: &Job, which: &Which, options: &Options, mut tell: impl FnMut(Encoded)) {
    trace(job, which, options, &mut |part| {
        let spans = part.len();
        tell(Encoded { body: request_of(job, part, options).encode_to_vec(), spans });
    });
}

/// How many spans a request has.
pub fn count(request: &ExportTraceServiceRequest) -> usize {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.map(|scope| scope.spans.len()).sum()
}

/// A job's spans under way.
struct Trace<'a> {
    job: &'a Job,
    which: &'a Which,
    url: Option<String>,
    spans: Vec<Span>,
    /// Takes as many as go into one request.
    full: &'a mut dyn FnMut(Vec<Span>),
}

// === impl Trace ===

impl Trace<'_> {
    fn all(&mut self, options: &Options) {
        let job = self.job;
        if self.which.has(job.span.span_id) {
            self.job(options);
        }
        for phase in &job.phases {
            let name = match phase.call {
                Phase::PrepareJob => "prepare",
                Phase::CleanupJob => "cleanup",
                other => other.as_str(),
            };
            if self.which.has(phase.span_id) {
                let mut attributes = Attributes::default();
                attributes.task(name, phase.span_id, self.url.as_deref());
                attributes.outcome(phase.outcome);
                attributes.times(&phase.window);
                let span = self.span(name, phase.span_id, job.span.span_id, &phase.window);
                self.push(span, attributes, phase.outcome);
            }
        }
        for step in job.steps.iter().filter(|step| self.which.has(step.span_id)) {
            self.step(step);
        }
        for container in job.containers.iter().filter(|one| self.which.has(one.span_id)) {
            self.container(container);
        }
    }

    fn job(&mut self, options: &Options) {
        let job = self.job;
        let identity = &job.identity;
        let name = identity.name();
        // The receiver's spans are of GitHub's runs.
        let run = identity.run.as_ref().filter(|_| identity.ci.is_none());
        let run = run.map(|(run_id, run_attempt)| RunKey { run_id, run_attempt });
        let parent = run.filter(|_| options.parent == Parent::GithubRun).map(RunKey::span_id);
        let Some(mut span) = self.span(name, job.span.span_id, SpanId([0; 8]), &job.window) else {
            return;
        };
        span.parent_span_id = parent.map(|parent| parent.0.to_vec()).unwrap_or_default();
        span.flags = if parent.is_some() { REMOTE } else { LOCAL };
        if let (Some(run), Some(before)) = (run, identity.previous_attempt()) {
            let before = RunKey { run_attempt: &before, ..run };
            span.links.push(Link {
                trace_id: before.trace_id().0.to_vec(),
                span_id: before.span_id().0.to_vec(),
                flags: REMOTE,
                ..Link::default()
            });
        }
        let mut attributes = Attributes::default();
        attributes.task(name, job.span.span_id, self.url.as_deref());
        attributes.outcome(job.outcome);
        attributes.text(names::RESULT_SOURCE, Some(job.judged_by.as_str()));
        attributes.totals(&job.totals);
        attributes.runner_start(job.runner_start);
        attributes.int(names::LEFT_OUT, Some(job.left_out).filter(|count| *count > 0));
        attributes.times(&job.window);
        self.push(Some(span), attributes, job.outcome);
    }

    fn step(&mut self, step: &Step) {
        let mut attributes = Attributes::default();
        let name = step.display_name.as_deref().unwrap_or(&step.name);
        attributes.task(name, step.span_id, self.url.as_deref());
        attributes.outcome(step.outcome);
        attributes.step(step);
        attributes.times(&step.window);
        let mut span = self.span(name, step.span_id, self.job.span.span_id, &step.window);
        if let Some(span) = &mut span {
            span.events.extend(oom(step.figures.oom_kills, &step.window));
        }
        self.push(span, attributes, step.outcome);
    }

    fn container(&mut self, container: &Container) {
        let job = self.job;
        let step = job.steps.iter().find(|step| {
            let own = matches!(container.role, Role::Step | Role::Other);
            // A container that waited for its turn is longer than its step.
            let holds = step.window.start.ns <= container.window.start.ns;
            own && holds && container.is_of_step(step)
        });
        let around = container.name.split_once('/').filter(|_| container.role == Role::Nested);
        let around = around.and_then(|(outer, _)| {
            let holds =
                |one: &&Container| *one.name == *outer && one.window.meets(&container.window);
            job.containers.iter().find(holds)
        });
        let (parent, outer) = match (step, around) {
            (Some(step), _) => (step.span_id, &step.window),
            (None, Some(around)) => (around.span_id, &around.window),
            (None, None) => (job.span.span_id, &job.window),
        };
        let window = container.window.within(outer);
        let Some(mut span) = self.span(&container.name, container.span_id, parent, &window) else {
            return;
        };
        span.events = events(container, &window);
        let mut attributes = Attributes::default();
        attributes.container(container);
        attributes.outcome(container.outcome);
        attributes.times(&window);
        self.push(Some(span), attributes, container.outcome);
        self.stages(container, &window);
    }

    /// What a container's time went into, as far as it is known.
    fn stages(&mut self, container: &Container, window: &Window) {
        // The runner's own are older than the job, and outlive it.
        let stands_by = container.role == Role::Standby;
        let is_told = stands_by || container.role.is_of_job();
        let Some(end) = window.end.filter(|_| is_told) else { return };
        let created = container.born_ns.map(|ns| window.nearest(ns));
        let started = container.started_ns.map(|ns| window.nearest(ns));
        let asked =
            Some(window.start.ns).filter(|asked| created.is_some_and(|created| *asked < created));
        // Meanwhile the container waits for its turn at the kubelet, before its pull and after it; or
        // it was not asked for yet.
        let is_ahead = container.pull.is_some_and(|pull| pull.is_ahead);
        let within = if is_ahead { &self.job.window } else { window };
        let pull = container.pull.map(|pull| (pull.start_ns, pull.end_ns));
        let pull = pull.map(|(from, to)| (within.nearest(from), within.nearest(to)));
        let ready = started.or(created);
        let taken = container.taken_ns.map(|ns| window.nearest(ns));
        let stood = taken.or(stands_by.then_some(end.ns));
        let ran = taken.or(ready).filter(|_| !stands_by);
        let stages = [
            ("wait", asked.zip(pull.filter(|_| !is_ahead).map(|(from, _)| from).or(created))),
            ("pull", pull),
            ("create", created.zip(started)),
            ("standby", ready.zip(stood)),
            ("run", ran.map(|from| (from, end.ns))),
        ];
        let key = self.job.identity.key();
        // Of two runs under one name, each has its own.
        let container_key = container.key();
        let is_latest = key.container_span(&container_key).span_id == container.span_id;
        let run = container.id.as_ref().filter(|_| !is_latest);
        let name = run.map_or_else(
            || container_key.to_string(),
            |run| format!("{container_key}/{}", run.as_str()),
        );
        for (stage, times) in stages {
            let Some((from, to)) = times else { continue };
            let id = key.stage_span(&name, stage).span_id;
            let mut part = *window;
            part.start.ns = from;
            part.end = Some(ephemon_jobs::Stamp { ns: to.max(from), ..end });
            let span = self.span(stage, id, container.span_id, &part);
            let mut attributes = Attributes::default();
            attributes.text(names::K8S_CONTAINER, Some(&*container.name));
            if stage == "pull" {
                attributes.image(container);
                let bytes = container.pull.and_then(|pull| pull.bytes);
                attributes.int(names::IMAGE_BYTES, bytes);
                attributes.flag(names::IMAGE_PRE_PULLED, is_ahead);
            }
            self.push(span, attributes, Outcome::SUCCESS);
        }
    }

    /// A span without attributes; none of what is not over.
    fn span(&self, name: &str, id: SpanId, parent: SpanId, window: &Window) -> Option<Span> {
        Some(Span {
            trace_id: self.job.span.trace_id.0.to_vec(),
            span_id: id.0.to_vec(),
            parent_span_id: parent.0.to_vec(),
            flags: LOCAL,
            name: name.to_owned(),
            kind: SpanKind::Internal.into(),
            start_time_unix_nano: window.start.ns,
            end_time_unix_nano: window.end?.ns.max(window.start.ns),
            ..Span::default()
        })
    }

    fn push(&mut self, span: Option<Span>, attributes: Attributes, outcome: Outcome) {
        if let Some(mut span) = span {
            span.attributes = attributes.into_list();
            span.status = status(outcome);
            self.spans.push(span);
            if self.spans.len() >= MAX_SPANS {
                self.hand_over();
            }
        }
    }

    fn hand_over(&mut self) {
        if !self.spans.is_empty() {
            (self.full)(std::mem::take(&mut self.spans));
        }
    }
}

/// Unset where nothing went wrong, as the conventions ask.
fn status(outcome: Outcome) -> Option<Status> {
    if matches!(outcome.result, JobResult::Success | JobResult::Skip | JobResult::Unknown) {
        return None;
    }
    let code = outcome.exit_code.map(|code| format!(" (exit code {code})")).unwrap_or_default();
    let fault = outcome.fault.map(|fault| format!(": {}", fault.as_str())).unwrap_or_default();
    let message = format!("{}{fault}{code}", outcome.result.as_str());
    Some(Status { message, code: StatusCode::Error.into() })
}

fn events(container: &Container, window: &Window) -> Vec<Event> {
    let at = |name: &str, ns: u64| Event {
        time_unix_nano: ns,
        name: name.to_owned(),
        ..Event::default()
    };
    let inside = |ns: &u64| window.holds(*ns);
    let mut events = Vec::new();
    // One that was pulled before the container was asked for was ready then.
    let pulled = container.pull.map(|pull| pull.end_ns.max(window.start.ns));
    let pulled = pulled.or(container.born_ns).filter(inside);
    events.extend(pulled.map(|ns| at(names::EVENT_IMAGE_READY, ns)));
    let started = container.started_ns.filter(inside);
    events.extend(started.map(|ns| at(names::EVENT_STARTED, ns)));
    events.extend(oom(container.figures.oom_kills, window));
    if let Some(end) = window.end.filter(|_| container.role.is_of_job()) {
        let mut exited = at(names::EVENT_EXITED, end.ns);
        let mut attributes = Attributes::default();
        attributes.outcome(container.outcome);
        exited.attributes = attributes.into_list();
        events.push(exited);
    }
    events
}

/// The kernel counts kills and does not say when: the event stands at the end.
fn oom(kills: Option<u64>, window: &Window) -> Option<Event> {
    let kills = kills.filter(|kills| *kills > 0)?;
    let mut attributes = Attributes::default();
    attributes.int(names::OOM_KILLS, Some(kills));
    Some(Event {
        time_unix_nano: window.end?.ns,
        name: names::EVENT_OOM_KILL.to_owned(),
        attributes: attributes.into_list(),
        ..Event::default()
    })
}

#[cfg(test)]
mod tests;
