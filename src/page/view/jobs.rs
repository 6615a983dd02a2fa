//! The list of jobs.

use ephemon_jobs::Job;
use serde::Serialize;

use super::part::{Ending, Span, Usage};
use crate::board::Shown;

/// All jobs of the node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobsAnswer<'a> {
    pub(crate) api_version: &'static str,
    /// The node's name.
    pub(crate) node: &'a str,
    /// The agent's clock.
    pub(crate) now_unix_ms: u64,
    /// Those under way first, and of each kind the one that began last.
    pub(crate) jobs: Vec<Summary<'a>>,
    /// Jobs for which there was no room in this answer.
    pub(crate) left_out: usize,
}

/// A job without its parts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary<'a> {
    /// The UID of its pod.
    pub(crate) id: &'a str,
    /// The name that people know it by.
    pub(crate) name: &'a str,
    pub(crate) repository: Option<&'a str>,
    pub(crate) workflow: Option<&'a str>,
    pub(crate) event: Option<&'a str>,
    pub(crate) git_ref: Option<&'a str>,
    pub(crate) runner: Option<&'a str>,
    pub(crate) run_id: Option<&'a str>,
    pub(crate) run_attempt: Option<&'a str>,
    pub(crate) namespace: &'a str,
    pub(crate) pod: &'a str,
    #[serde(flatten)]
    pub(crate) span: Span,
    #[serde(flatten)]
    pub(crate) ending: Ending,
    pub(crate) usage: Usage,
    pub(crate) step_count: usize,
    pub(crate) container_count: usize,
}

// === impl Summary ===

impl<'a> Summary<'a> {
    pub(crate) fn new(shown: &'a Shown) -> Self {
        let job: &Job = &shown.job;
        let identity = &job.identity;
        let run = identity.run.as_ref();
        Self {
            id: job.pod.uid.as_str(),
            name: identity.name(),
            repository: identity.repository.as_deref(),
            workflow: identity.workflow.as_deref(),
            event: identity.event.as_deref(),
            git_ref: identity.git_ref.as_deref(),
            runner: identity.runner.as_deref(),
            run_id: run.map(|(id, _)| &**id),
            run_attempt: run.map(|(_, attempt)| &**attempt),
            namespace: &job.pod.namespace,
            pod: &job.pod.name,
            span: (&job.window).into(),
            ending: Ending::of_job(job, shown.over),
            usage: (&job.totals.figures).into(),
            step_count: job.steps.len(),
            container_count: job.containers.len(),
        }
    }
}
