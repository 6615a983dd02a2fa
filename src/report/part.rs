//! What phases, steps and containers have in common: what is drawn as a bar. Pure.

use ephemon_client::{Container, Ending, Job, Phase, Pull, Span, Step, Usage};
use ephemon_markdown::State;

/// A part of a job.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<'a> {
    /// `phase`, `step` or `container`.
    pub(crate) kind: &'static str,
    /// What people know it by: any text.
    pub(crate) title: &'a str,
    pub(crate) span: &'a Span,
    pub(crate) ending: &'a Ending,
    pub(crate) usage: Usage,
    pub(crate) quality: Option<&'a str>,
    /// When its cgroup was created.
    pub(crate) created_unix_ms: Option<u64>,
    pub(crate) pull: Option<Pull>,
}

/// Of all that a job has: phases, then steps, then containers.
pub(crate) fn parts(job: &Job) -> impl Iterator<Item = Part<'_>> {
    let phases = job.phases.iter().map(Part::from);
    let steps = job.steps.iter().map(Part::from);
    phases.chain(steps).chain(job.containers.iter().map(Part::from))
}

// === impl Part ===

impl Part<'_> {
    pub(crate) fn class(&self) -> &'static str {
        class(&self.ending.result)
    }

    /// As a timeline has it.
    pub(crate) fn state(&self) -> State {
        match (self.class(), self.span.end_unix_ms) {
            ("bad", _) => State::Failed,
            (_, None) => State::Running,
            _ => State::Done,
        }
    }
}

impl<'a> From<&'a Phase> for Part<'a> {
    fn from(of: &'a Phase) -> Self {
        Self {
            kind: "phase",
            title: &of.name,
            span: &of.span,
            ending: &of.ending,
            usage: Usage::default(),
            quality: None,
            created_unix_ms: None,
            pull: None,
        }
    }
}

impl<'a> From<&'a Step> for Part<'a> {
    fn from(of: &'a Step) -> Self {
        Self {
            kind: "step",
            title: of.shown_name(),
            span: &of.span,
            ending: &of.ending,
            usage: of.usage,
            quality: of.quality.as_deref(),
            created_unix_ms: None,
            pull: None,
        }
    }
}

impl<'a> From<&'a Container> for Part<'a> {
    fn from(of: &'a Container) -> Self {
        Self {
            kind: "container",
            title: &of.name,
            span: &of.span,
            ending: &of.ending,
            usage: of.usage,
            quality: of.quality.as_deref(),
            created_unix_ms: of.created_unix_ms,
            pull: of.pull,
        }
    }
}

/// The class of a result: a word of the API's, and nothing else.
pub(crate) fn class(result: &str) -> &'static str {
    match result {
        "success" => "good",
        "failure" | "error" | "timeout" => "bad",
        "cancellation" => "warn",
        "running" | "ending" => "run",
        _ => "grey",
    }
}
