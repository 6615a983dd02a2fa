//! The list of a node's jobs.

use serde::{Deserialize, Serialize};

use super::at_most;
use super::part::{Ending, Span, Usage};

/// The jobs of one node: those under way first, and of each kind the one that began last.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Jobs {
    /// The agent's clock.
    pub now_unix_ms: u64,
    /// The node's name.
    pub node: String,
    /// The jobs.
    #[serde(deserialize_with = "at_most::<{ super::MAX_JOBS }, _, _>")]
    pub jobs: Vec<JobSummary>,
    /// Jobs for which there was no room in the answer.
    pub left_out: u64,
}

/// A job without its parts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobSummary {
    /// The UID of the job's pod.
    pub id: String,
    /// The name that people know it by: any text.
    pub name: String,
    /// `owner/name`.
    pub repository: Option<String>,
    /// The workflow's name.
    pub workflow: Option<String>,
    /// The event that started the run.
    pub event: Option<String>,
    /// The Git ref.
    pub git_ref: Option<String>,
    /// The runner's name.
    pub runner: Option<String>,
    /// The run.
    pub run_id: Option<String>,
    /// The run's attempt.
    pub run_attempt: Option<String>,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// When it was.
    #[serde(flatten)]
    pub span: Span,
    /// How it ended.
    #[serde(flatten)]
    pub ending: Ending,
    /// What it used.
    pub usage: Usage,
    /// Number of steps.
    pub step_count: u64,
    /// Number of containers.
    pub container_count: u64,
}
