//! Parts of a job: what steps, phases and containers have in common, and each of them.

use ephemon_contract::StepKind;
use ephemon_jobs::{Container, Fault, Figures, Job, Outcome, Phase, Proof, Step, Window};
use serde::Serialize;

use super::ms;

/// When something was.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Span {
    pub(crate) start_unix_ms: u64,
    /// `null` while it runs.
    pub(crate) end_unix_ms: Option<u64>,
    /// Who reported the beginning: `kernel`, `runtime`, `journal`, `runner`, `derived`.
    pub(crate) start_source: &'static str,
    pub(crate) end_source: Option<&'static str>,
}

/// How something ended.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ending {
    /// `running`; `ending` while it is over and how it ended is not known yet; or the result in the
    /// words of the semantic conventions.
    pub(crate) result: &'static str,
    /// What kind of failure or error.
    pub(crate) fault: Option<&'static str>,
    pub(crate) exit_code: Option<i32>,
}

/// What something used. What is not known is `null`.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) cpu_throttled_seconds: Option<f64>,
    pub(crate) memory_peak_bytes: Option<u64>,
    pub(crate) oom_kills: Option<u64>,
    pub(crate) read_bytes: Option<u64>,
    pub(crate) written_bytes: Option<u64>,
}

/// A call of the hook that is no step.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PhaseView {
    pub(crate) name: &'static str,
    #[serde(flatten)]
    pub(crate) span: Span,
    #[serde(flatten)]
    pub(crate) ending: Ending,
}

/// A step.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StepView<'a> {
    /// Its id or the action's name.
    pub(crate) name: &'a str,
    /// Its name as GitHub shows it.
    pub(crate) display_name: Option<&'a str>,
    /// Who tells of it: `journal`, `container`, `runner_log`.
    pub(crate) source: &'static str,
    /// `script`, `container`, `service`, `internal`; `null` where nobody says.
    pub(crate) kind: Option<&'static str>,
    /// The name of the container it ran in.
    pub(crate) container: Option<&'a str>,
    #[serde(flatten)]
    pub(crate) span: Span,
    #[serde(flatten)]
    pub(crate) ending: Ending,
    pub(crate) usage: Usage,
    /// How the usage was obtained; `null` if there is none.
    pub(crate) quality: Option<&'static str>,
    pub(crate) max_rss_bytes: Option<u64>,
}

/// A container.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ContainerView<'a> {
    pub(crate) name: &'a str,
    /// The runtime's id.
    pub(crate) id: Option<&'a str>,
    /// Its place in the spec: `container`, `init`, `sidecar`, `ephemeral`, `unknown`.
    #[serde(rename = "type")]
    pub(crate) container_type: &'static str,
    /// What it is for: `job`, `service`, `step`, `standby`, `runner`, `other`, `debug`.
    pub(crate) role: &'static str,
    pub(crate) image: Option<&'a str>,
    #[serde(flatten)]
    pub(crate) span: Span,
    /// When its cgroup was created.
    pub(crate) created_unix_ms: Option<u64>,
    /// When its own program ran.
    pub(crate) started_unix_ms: Option<u64>,
    pub(crate) pull: Option<PullView>,
    #[serde(flatten)]
    pub(crate) ending: Ending,
    pub(crate) usage: Usage,
    pub(crate) quality: Option<&'static str>,
    /// Lines of its log that were exported; `null` if its log is not read.
    pub(crate) log_lines: Option<u64>,
    pub(crate) log_bytes: Option<u64>,
}

/// The pull of an image.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PullView {
    pub(crate) start_unix_ms: u64,
    pub(crate) end_unix_ms: u64,
    pub(crate) bytes: Option<u64>,
}

// === impl Span, Ending, Usage ===

impl From<&Window> for Span {
    fn from(window: &Window) -> Self {
        Self {
            start_unix_ms: ms(window.start.ns),
            end_unix_ms: window.end.map(|end| ms(end.ns)),
            start_source: window.start.source.as_str(),
            end_source: window.end.map(|end| end.source.as_str()),
        }
    }
}

impl Ending {
    /// Of something that is over or not.
    fn of(outcome: &Outcome, over: bool) -> Self {
        if !over {
            return Self { result: "running", fault: None, exit_code: None };
        }
        Self {
            result: outcome.result.as_str(),
            fault: outcome.fault.map(Fault::as_str),
            exit_code: outcome.exit_code,
        }
    }

    /// Of a job. Some of its parts may end, and be reported, after it.
    pub(crate) fn of_job(job: &Job, over: bool) -> Self {
        if !over && job.window.end.is_some() {
            return Self { result: "ending", fault: None, exit_code: None };
        }
        Self::of(&job.outcome, over)
    }

    /// Of a part of a job. The runtime's report of an end comes after it: until the job is over, a
    /// part that nobody has reported on is not lost.
    fn of_part(outcome: &Outcome, window: &Window, job_over: bool) -> Self {
        let is_open = !job_over && outcome.fault == Some(Fault::Lost);
        if window.end.is_some() && is_open {
            return Self { result: "ending", fault: None, exit_code: None };
        }
        Self::of(outcome, window.end.is_some())
    }
}

impl From<&Figures> for Usage {
    fn from(figures: &Figures) -> Self {
        let seconds = |ns: u64| ns as f64 / 1e9;
        Self {
            cpu_seconds: figures.cpu_ns.map(seconds),
            cpu_throttled_seconds: figures.throttled_ns.map(seconds),
            memory_peak_bytes: figures.memory_peak_bytes,
            oom_kills: figures.oom_kills,
            read_bytes: figures.read_bytes,
            written_bytes: figures.written_bytes,
        }
    }
}

// === impl PhaseView, StepView, ContainerView ===

impl PhaseView {
    pub(crate) fn new(phase: &Phase, job_over: bool) -> Self {
        let ending = Ending::of_part(&phase.outcome, &phase.window, job_over);
        let span = (&phase.window).into();
        Self { name: phase.call.as_str(), span, ending }
    }
}

impl<'a> StepView<'a> {
    pub(crate) fn new(step: &'a Step, job_over: bool) -> Self {
        Self {
            name: &step.name,
            display_name: step.display_name.as_deref(),
            source: step.source.as_str(),
            kind: step.kind.map(|kind| match kind {
                StepKind::Script => "script",
                StepKind::Container => "container",
                StepKind::Service => "service",
                StepKind::Internal => "internal",
            }),
            container: step.container.as_deref(),
            span: (&step.window).into(),
            ending: Ending::of_part(&step.outcome, &step.window, job_over),
            usage: (&step.figures).into(),
            quality: Proof::as_str(step.proof),
            max_rss_bytes: step.max_rss_bytes,
        }
    }
}

impl<'a> ContainerView<'a> {
    pub(crate) fn new(container: &'a Container, job_over: bool) -> Self {
        Self {
            name: &container.name,
            id: container.id.as_ref().map(ephemon_model::ContainerId::as_str),
            container_type: container.container_type.as_str(),
            role: container.role.as_str(),
            image: container.image.as_deref(),
            span: (&container.window).into(),
            created_unix_ms: container.born_ns.map(ms),
            started_unix_ms: container.started_ns.map(ms),
            pull: container.pull.map(|pull| PullView {
                start_unix_ms: ms(pull.start_ns),
                end_unix_ms: ms(pull.end_ns),
                bytes: pull.bytes,
            }),
            ending: Ending::of_part(&container.outcome, &container.window, job_over),
            usage: (&container.figures).into(),
            quality: container.proof.as_str(),
            log_lines: container.log.map(|log| log.lines),
            log_bytes: container.log.map(|log| log.bytes),
        }
    }
}
