//! The agent's API as this reads it (`/api/v1/openapi.json` describes all of it). Plain values.
//!
//! A field that is missing is as one that is `null`: another version of the agent may lack it.

use serde::Deserialize;

/// Most steps, and most containers, of a report.
const MOST_PARTS: usize = 2000;
/// Most log lines of a report: the last ones.
const MOST_LINES: usize = 2000;

/// Why an answer is of no use.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not the API's.
    #[error("the answer is not one of an agent's API v1: {0}")]
    NotTheApi(#[from] serde_json::Error),
    /// Another version.
    #[error("the agent has version {0:?} of the API, and this program reads v1")]
    Version(String),
}

/// All there is about a job.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// The job.
    pub job: Job,
    /// What its containers used over time.
    pub samples: Samples,
    /// The last lines of its logs.
    pub log: Log,
}

/// A job with its parts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the API's description has them")]
pub struct Job {
    pub api_version: String,
    pub now_unix_ms: u64,
    pub node: String,
    pub id: String,
    pub name: String,
    pub repository: Option<String>,
    pub workflow: Option<String>,
    pub event: Option<String>,
    pub git_ref: Option<String>,
    pub runner: Option<String>,
    pub namespace: String,
    pub pod: String,
    pub start_unix_ms: u64,
    pub end_unix_ms: Option<u64>,
    pub result: String,
    pub fault: Option<String>,
    pub exit_code: Option<i64>,
    pub usage: Usage,
    pub job: Option<String>,
    pub sha: Option<String>,
    pub run_id: Option<String>,
    pub run_attempt: Option<String>,
    pub trace_id: String,
    pub result_source: String,
    pub links: Vec<Link>,
    pub phases: Vec<Part>,
    pub steps: Vec<Part>,
    pub containers: Vec<Part>,
    pub usage_roles: Vec<String>,
    pub runner_usage: Usage,
    pub runner_startup_ms: Option<u64>,
    pub runner_idle_ms: Option<u64>,
    pub parts_left_out: u64,
}

/// What something used.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    pub cpu_seconds: Option<f64>,
    pub cpu_throttled_seconds: Option<f64>,
    pub memory_peak_bytes: Option<u64>,
    pub oom_kills: Option<u64>,
    pub read_bytes: Option<u64>,
    pub written_bytes: Option<u64>,
}

/// A link to another system.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Link {
    pub rel: String,
    pub href: String,
}

/// A phase, a step or a container: fields that one kind has not are `None`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Part {
    pub name: String,
    pub display_name: Option<String>,
    pub container: Option<String>,
    pub role: Option<String>,
    pub image: Option<String>,
    pub start_unix_ms: u64,
    pub end_unix_ms: Option<u64>,
    pub created_unix_ms: Option<u64>,
    pub pull: Option<Pull>,
    pub result: String,
    pub fault: Option<String>,
    pub exit_code: Option<i64>,
    pub usage: Usage,
    pub quality: Option<String>,
    pub log_lines: Option<u64>,
}

/// The pull of an image.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pull {
    pub start_unix_ms: u64,
    pub end_unix_ms: u64,
}

/// Samples of a job's containers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the API's description has them")]
pub struct Samples {
    pub containers: Vec<ContainerSamples>,
    pub left_out: u64,
}

/// One container's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerSamples {
    pub name: String,
    pub cpu_limit_millicores: Option<u64>,
    pub memory_limit_bytes: Option<u64>,
    pub oom_kills_unix_ms: Vec<u64>,
    pub base_unix_ms: u64,
    pub usage: UsageColumns,
    pub activity: ActivityColumns,
}

/// CPU and memory.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UsageColumns {
    pub from: Vec<u64>,
    pub to: Vec<u64>,
    pub cpu_millicores: Vec<Option<u64>>,
    pub memory_kibibytes: Vec<Option<u64>>,
}

/// What is read less often.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ActivityColumns {
    pub from: Vec<u64>,
    pub to: Vec<u64>,
    pub throttled_permille: Vec<Option<u64>>,
}

/// The last lines of a job's logs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the API's description has them")]
pub struct Log {
    pub served: bool,
    pub reason: Option<String>,
    pub lines: Vec<Line>,
    pub left_out: u64,
}

/// A line.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Line {
    pub container: String,
    pub at_unix_ms: u64,
    pub severity: Option<String>,
    pub text: String,
    pub cut_bytes: u64,
}

// === impl Record ===

impl Record {
    /// From the API's three answers about a job.
    pub fn parse(job: &[u8], samples: &[u8], log: &[u8]) -> Result<Self, RecordError> {
        let mut job: Job = serde_json::from_slice(job)?;
        if job.api_version != "v1" {
            return Err(RecordError::Version(job.api_version.chars().take(20).collect()));
        }
        for parts in [&mut job.phases, &mut job.steps, &mut job.containers] {
            let surplus = parts.len().saturating_sub(MOST_PARTS);
            parts.drain(..surplus);
            job.parts_left_out = job.parts_left_out.saturating_add(surplus as u64);
        }
        let mut log: Log = serde_json::from_slice(log)?;
        let surplus = log.lines.len().saturating_sub(MOST_LINES);
        log.lines.drain(..surplus);
        log.left_out = log.left_out.saturating_add(surplus as u64);
        Ok(Self { job, samples: serde_json::from_slice(samples)?, log })
    }
}

// === impl Part ===

impl Part {
    /// What people know it by.
    pub(crate) fn title(&self) -> &str {
        self.display_name.as_deref().filter(|name| !name.is_empty()).unwrap_or(&self.name)
    }
}
