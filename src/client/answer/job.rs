//! A job with its parts.

use serde::{Deserialize, Serialize};

use super::at_most;
use super::jobs::JobSummary;
use super::part::{Ending, Span, Usage};
use super::samples::ContainerSamples;

/// A job with its steps and containers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Job {
    /// The agent's clock.
    pub now_unix_ms: u64,
    /// The node's name.
    pub node: String,
    /// What the list has of it, too.
    #[serde(flatten)]
    pub summary: JobSummary,
    /// `owner/name/.github/workflows/file@ref`.
    pub workflow_ref: Option<String>,
    /// The job's key in the workflow.
    pub job: Option<String>,
    /// The commit.
    pub sha: Option<String>,
    /// The trace that the job's spans are in.
    pub trace_id: String,
    /// Who said how the job ended: `runner` or `parts`.
    pub result_source: String,
    /// Links to the run, the trace and the logs.
    #[serde(deserialize_with = "at_most::<{ super::MAX_PARTS }, _, _>")]
    pub links: Vec<Link>,
    /// Calls of the hook that are no steps.
    #[serde(deserialize_with = "at_most::<{ super::MAX_PARTS }, _, _>")]
    pub phases: Vec<Phase>,
    /// By their beginnings.
    #[serde(deserialize_with = "at_most::<{ super::MAX_PARTS }, _, _>")]
    pub steps: Vec<Step>,
    /// By their beginnings.
    #[serde(deserialize_with = "at_most::<{ super::MAX_PARTS }, _, _>")]
    pub containers: Vec<Container>,
    /// Roles of the containers whose usage is the job's.
    pub usage_roles: Vec<String>,
    /// What the runner's own containers used beside the job's.
    pub runner_usage: Usage,
    /// What the pod's init containers used.
    pub init_usage: Usage,
    /// From the pod's first container to the runner's own.
    pub runner_startup_ms: Option<u64>,
    /// From the runner's start to the job's.
    pub runner_idle_ms: Option<u64>,
    /// Parts for which there was no room.
    pub parts_left_out: u64,
}

/// A link to another system.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Link {
    /// `run`, `trace` or `logs`.
    pub rel: String,
    /// Where to.
    pub href: String,
}

/// A call of the hook that is no step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Phase {
    /// `prepare_job` or `cleanup_job`.
    pub name: String,
    /// When it was.
    #[serde(flatten)]
    pub span: Span,
    /// How it ended.
    #[serde(flatten)]
    pub ending: Ending,
}

/// A step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Step {
    /// Its id, or the action's name: any text.
    pub name: String,
    /// Its name as GitHub shows it: any text.
    pub display_name: Option<String>,
    /// Who reported it: `journal`, `container` or `runner_log`.
    pub source: String,
    /// `script`, `container`, `service` or `internal`.
    pub kind: Option<String>,
    /// The name of the container it ran in.
    pub container: Option<String>,
    /// When it was.
    #[serde(flatten)]
    pub span: Span,
    /// How it ended.
    #[serde(flatten)]
    pub ending: Ending,
    /// What it used.
    pub usage: Usage,
    /// How the usage was obtained.
    pub quality: Option<String>,
    /// Highest resident set of one of its processes.
    pub max_rss_bytes: Option<u64>,
}

/// A container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Its name in the pod.
    pub name: String,
    /// The runtime's id.
    pub id: Option<String>,
    /// Its place in the pod's spec.
    #[serde(rename = "type")]
    pub container_type: String,
    /// What it is for: `job`, `service`, `step`, `runner`, `other` or `debug`.
    pub role: String,
    /// Its image as the spec names it.
    pub image: Option<String>,
    /// When it was.
    #[serde(flatten)]
    pub span: Span,
    /// When its cgroup was created.
    pub created_unix_ms: Option<u64>,
    /// When its own program ran.
    pub started_unix_ms: Option<u64>,
    /// The pull of its image.
    pub pull: Option<Pull>,
    /// How it ended.
    #[serde(flatten)]
    pub ending: Ending,
    /// What it used.
    pub usage: Usage,
    /// How the usage was obtained.
    pub quality: Option<String>,
    /// Lines of its log that were read.
    pub log_lines: Option<u64>,
    /// Bytes of its log that were read.
    pub log_bytes: Option<u64>,
}

/// The pull of an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pull {
    /// When it began.
    pub start_unix_ms: u64,
    /// When it was done.
    pub end_unix_ms: u64,
    /// The image's size.
    pub bytes: Option<u64>,
}

// === impl Job ===

impl Job {
    /// Whether what a container uses is the job's, as in its `usage`: by the container's role.
    pub fn counts(&self, samples: &ContainerSamples) -> bool {
        let is_it = |one: &&Container| match &one.id {
            Some(id) => *id == samples.id,
            None => one.name == samples.name,
        };
        self.containers.iter().find(is_it).is_some_and(|one| self.usage_roles.contains(&one.role))
    }
}

// === impl Step ===

impl Step {
    /// The name that people know it by.
    pub fn shown_name(&self) -> &str {
        self.display_name.as_deref().filter(|name| !name.is_empty()).unwrap_or(&self.name)
    }
}
