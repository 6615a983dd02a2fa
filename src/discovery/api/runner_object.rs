//! Reads ARC's object of one runner: a `get` by its name, which needs no right to list.
//!
//! Source: actions-runner-controller, `apis/actions.github.com/v1alpha1/ephemeralrunner_types.go`
//! (the fields), `cmd/ghalistener/scaler/scaler.go` (the listener writes those of the job when the
//! service reports that the runner has taken one).

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ephemon_base::lock;
use ephemon_model::JobEnv;
use kube::Client;
use kube::api::GetParams;
use kube::core::Request;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Patience;
use super::failure::Failure;
use crate::pod_view::{job_text, server_url};
use crate::text::clean;

/// Where the objects of a namespace are.
const PREFIX: &str = "/apis/actions.github.com/v1alpha1/namespaces";
const RESOURCE: &str = "ephemeralrunners";

/// One object is answered for at once, and others wait meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks for objects; cheap to clone. All clones know what the last answer was.
#[derive(Clone)]
pub struct RunnerObjects {
    client: Client,
    patience: Duration,
    last: Arc<Mutex<Option<Result<(), String>>>>,
}

/// What the API server has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The job that the runner has taken.
    Job(Arc<JobEnv>),
    /// The object has no job yet.
    NoJob,
    /// There is no such object, or the cluster has none of its kind.
    Missing,
    /// The agent has no right to read it.
    Refused(String),
    /// No answer.
    Failed(String),
}

/// The fields that are read; the spec, which is a whole pod's, is passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Object {
    spec: Spec,
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    #[serde(rename = "githubConfigUrl")]
    config_url: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    runner_name: Text,
    job_repository_name: Text,
    job_workflow_ref: Text,
    workflow_run_id: Text,
    job_display_name: Text,
}

/// A text or a number; what is neither is passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
enum Text {
    Said(String),
    Number(i64),
    Other(IgnoredAny),
    #[default]
    Absent,
}

// === impl RunnerObjects ===

impl RunnerObjects {
    pub(super) fn new(client: Client, patience: Patience) -> Self {
        Self { client, patience: patience.answer.min(PATIENCE), last: Arc::default() }
    }

    /// Asks once for the object of this name.
    pub async fn get(&self, namespace: &str, name: &str) -> Answer {
        let path = format!("{PREFIX}/{namespace}/{RESOURCE}");
        let request = match Request::new(path).get(name, &GetParams::default()) {
            Ok(request) => request,
            Err(error) => return Answer::Failed(clean(&error.to_string())),
        };
        let asked = self.client.request::<Object>(request);
        let answer = match tokio::time::timeout(self.patience, asked).await {
            Ok(Ok(object)) => object.job().map_or(Answer::NoJob, |job| Answer::Job(Arc::new(job))),
            Ok(Err(error)) => refusal(&Failure::of(&error)),
            Err(_) => Answer::Failed(format!("no answer in {} s", self.patience.as_secs())),
        };
        *lock(&self.last) = Some(match &answer {
            Answer::Job(_) | Answer::NoJob | Answer::Missing => Ok(()),
            Answer::Refused(why) | Answer::Failed(why) => Err(why.clone()),
        });
        answer
    }

    /// Whether the last request was answered, or why not; `None` before the first.
    pub fn last(&self) -> Option<Result<(), String>> {
        lock(&self.last).clone()
    }
}

impl fmt::Debug for RunnerObjects {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RunnerObjects").field("last", &self.last()).finish_non_exhaustive()
    }
}

fn refusal(failure: &Failure) -> Answer {
    match failure {
        Failure::Refusal(404, _) => Answer::Missing,
        Failure::Forbidden(message) => Answer::Refused(message.clone()),
        other => Answer::Failed(other.why()),
    }
}

// === impl Object ===

impl Object {
    /// The job; `None` where no field of it is set: the runner waits for one.
    fn job(self) -> Option<JobEnv> {
        let Status {
            runner_name,
            job_repository_name,
            job_workflow_ref,
            workflow_run_id,
            job_display_name,
        } = self.status;
        let job = JobEnv {
            repository: job_repository_name.text().filter(|name| name.len() > 1),
            run_id: workflow_run_id.text(),
            workflow_ref: job_workflow_ref.text(),
            display_name: job_display_name.text(),
            ..JobEnv::default()
        };
        let server_url = self.spec.config_url.text().as_deref().and_then(server);
        let has_job = job != JobEnv::default();
        has_job.then(|| JobEnv { runner: runner_name.text(), server_url, ..job })
    }
}

// === impl Text ===

impl Text {
    fn text(self) -> Option<Arc<str>> {
        match self {
            Self::Said(text) => job_text(&text),
            // The listener writes 0 where it knows none.
            Self::Number(number) if number > 0 => Some(number.to_string().into()),
            Self::Number(_) | Self::Other(IgnoredAny) | Self::Absent => None,
        }
    }
}

/// The server of `https://HOST/ORGANIZATION`.
fn server(config_url: &str) -> Option<Arc<str>> {
    let (scheme, rest) = config_url.split_once("://")?;
    let host = rest.split('/').next()?;
    server_url(&format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(object: serde_json::Value) -> Option<JobEnv> {
        serde_json::from_value::<Object>(object).unwrap().job()
    }

    #[test]
    fn the_status_of_a_runner_at_work_names_its_job() {
        let job = job(json!({
            "spec": {"githubConfigUrl": "https://ghe.example.org/o", "containers": [{"name": "runner"}]},
            "status": {
                "runnerName": "linux-runner-x", "jobRepositoryName": "o/r", "workflowRunId": 71,
                "jobWorkflowRef": "o/r/.github/workflows/ci.yml@refs/heads/a@b",
                "jobDisplayName": "build (1)", "jobRequestId": 9, "jobId": "x", "ready": true,
            },
        }));
        let job = job.unwrap();
        assert_eq!(job.repository.as_deref(), Some("o/r"));
        assert_eq!(job.run_id.as_deref(), Some("71"));
        assert_eq!(job.run_attempt, None);
        assert_eq!(
            job.workflow_ref.as_deref(),
            Some("o/r/.github/workflows/ci.yml@refs/heads/a@b")
        );
        assert_eq!(job.display_name.as_deref(), Some("build (1)"));
        assert_eq!(job.runner.as_deref(), Some("linux-runner-x"));
        assert_eq!(job.server_url.as_deref(), Some("https://ghe.example.org"));
    }

    #[test]
    fn a_runner_that_waits_has_none_and_odd_fields_are_no_failure() {
        for status in [
            json!({}),
            json!({"runnerName": "r", "ready": true}),
            json!({"workflowRunId": 0, "jobRepositoryName": "/"}),
            json!({"workflowRunId": {"a": 1}, "jobRepositoryName": [1, 2], "jobDisplayName": null}),
        ] {
            assert_eq!(job(json!({"status": status})), None, "{status}");
        }
        assert_eq!(job(json!({})), None);
    }

    #[test]
    fn texts_are_bounded_and_on_one_line() {
        let name = format!("a\nb{}", "ä".repeat(4000));
        let job = job(json!({"status": {"jobDisplayName": name}})).unwrap();
        let name = job.display_name.unwrap();
        assert!(name.starts_with("abä") && name.chars().count() == 256, "{name}");
    }

    #[test]
    fn a_missing_object_a_missing_right_and_silence_differ() {
        assert_eq!(refusal(&Failure::Refusal(404, "x".into())), Answer::Missing);
        assert_eq!(refusal(&Failure::Forbidden("no".into())), Answer::Refused("no".into()));
        assert!(matches!(refusal(&Failure::Credentials), Answer::Failed(_)));
    }
}
