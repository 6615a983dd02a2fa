//! What phases, steps and containers have in common: what is drawn as a bar. Pure.

use ephemon_client::{Container, Ending, Job, Phase, Pull, Span, Step, Usage};
use ephemon_markdown::State;

use super::text::name;

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
    /// The class of its result.
    pub(crate) fn class(&self, job: &Job) -> &'static str {
        if self.is_lost(job) { "grey" } else { class(&self.ending.result) }
    }

    /// How it ended, in one line.
    pub(crate) fn outcome(&self, job: &Job) -> String {
        if self.is_lost(job) { "end not known".to_owned() } else { outcome(self.ending) }
    }

    /// As a timeline has it.
    pub(crate) fn state(&self, job: &Job) -> State {
        match (self.class(job), self.span.end_unix_ms) {
            _ if self.is_lost(job) => State::Unknown,
            ("bad", _) => State::Failed,
            (_, None) => State::Running,
            _ => State::Done,
        }
    }

    /// Whether it has no end although the job is over.
    fn is_lost(&self, job: &Job) -> bool {
        self.span.end_unix_ms.is_none() && job.summary.ending.is_over()
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

/// In one line: how a part ended.
pub(crate) fn outcome(of: &Ending) -> String {
    let code = of.exit_code.filter(|code| *code != 0).map(|code| format!("exit code {code}"));
    let said = [Some(name(&of.result)), of.fault.as_deref().map(name), code];
    said.into_iter().flatten().collect::<Vec<_>>().join(", ")
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
