//! One job with its parts.

use serde::Serialize;

use super::jobs::Summary;
use super::part::{ContainerView, PhaseView, StepView, Usage};
use super::{VERSION, ms};
use crate::board::Shown;

/// Most steps of an answer: the last ones.
const MAX_STEPS: usize = 1500;
/// Most containers of an answer: the last ones.
const MAX_CONTAINERS: usize = 500;

/// A job.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobAnswer<'a> {
    pub(crate) api_version: &'static str,
    pub(crate) node: &'a str,
    pub(crate) now_unix_ms: u64,
    #[serde(flatten)]
    pub(crate) summary: Summary<'a>,
    pub(crate) workflow_ref: Option<&'a str>,
    /// The job's key in the workflow.
    pub(crate) job: Option<&'a str>,
    pub(crate) sha: Option<&'a str>,
    pub(crate) trace_id: String,
    /// Who said how it ended: `runner` or `parts`.
    pub(crate) result_source: &'static str,
    pub(crate) links: &'a [LinkView],
    pub(crate) phases: Vec<PhaseView>,
    /// By their beginnings.
    pub(crate) steps: Vec<StepView<'a>>,
    /// By their beginnings.
    pub(crate) containers: Vec<ContainerView<'a>>,
    /// Roles of the containers whose usage is the job's.
    pub(crate) usage_roles: Vec<&'static str>,
    /// What the runner's own containers used beside the job's.
    pub(crate) runner_usage: Usage,
    /// What the pod's init containers used.
    pub(crate) init_usage: Usage,
    pub(crate) runner_startup_ms: Option<u64>,
    pub(crate) runner_idle_ms: Option<u64>,
    /// Parts that found no room in the record or in the agent's memory.
    pub(crate) parts_left_out: u64,
}

/// A link to another system.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LinkView {
    /// `run`, `trace` or `logs`.
    pub(crate) rel: &'static str,
    /// Begins with `https://` or `http://`.
    pub(crate) href: String,
}

// === impl JobAnswer ===

impl<'a> JobAnswer<'a> {
    /// One of so many shares of the parts.
    pub(crate) fn new(
        shown: &'a Shown,
        (node, share): (&'a str, usize),
        now_unix_ms: u64,
        links: &'a [LinkView],
    ) -> Self {
        let (job, over) = (&*shown.job, shown.over);
        let steps = job.steps.len().saturating_sub(MAX_STEPS / share);
        let containers = job.containers.len().saturating_sub(MAX_CONTAINERS / share);
        let cut = shown.cut.saturating_add(steps).saturating_add(containers);
        let cut = u64::try_from(cut).unwrap_or(u64::MAX);
        Self {
            api_version: VERSION,
            node,
            now_unix_ms,
            summary: Summary::new(shown),
            workflow_ref: job.identity.workflow_ref.as_deref(),
            job: job.identity.job.as_deref(),
            sha: job.identity.sha.as_deref(),
            trace_id: job.span.trace_id.to_string(),
            result_source: job.judged_by.as_str(),
            links,
            phases: job.phases.iter().map(|phase| PhaseView::new(phase, over)).collect(),
            steps: job.steps.iter().skip(steps).map(|step| StepView::new(step, over)).collect(),
            containers: job
                .containers
                .iter()
                .skip(containers)
                .map(|one| ContainerView::new(one, over))
                .collect(),
            usage_roles: job.totals.included.iter().map(|role| role.as_str()).collect(),
            runner_usage: (&job.totals.runner).into(),
            init_usage: (&job.totals.init).into(),
            runner_startup_ms: job.runner_start.map(|start| ms(start.startup_ns)),
            runner_idle_ms: job.runner_start.map(|start| ms(start.idle_ns)),
            parts_left_out: job.left_out.saturating_add(cut),
        }
    }
}
