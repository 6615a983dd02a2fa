//! What the pod of another CI system says, as the evidence store keeps it. Pure.

use std::sync::Arc;

use ephemon_model::{CiJob, StepStatus};
use serde::{Deserialize, Serialize};

/// The fields of a [`CiJob`]; what an older agent did not write is missing.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct StoredCi {
    system: String,
    run_key: Option<String>,
    run_url: Option<String>,
    job_url: Option<String>,
    repository_url: Option<String>,
    provider: Option<String>,
    deadline_ns: Option<u64>,
    step_name: Option<String>,
    /// When the step began, the exit code that is ignored, the reason.
    step: Option<(u64, Option<i32>, Option<String>)>,
}

// === impl StoredCi ===

impl StoredCi {
    pub(super) fn of(ci: &CiJob) -> Self {
        let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
        let step = ci.step.as_ref();
        Self {
            system: ci.system.to_string(),
            run_key: text(&ci.run_key),
            run_url: text(&ci.run_url),
            job_url: text(&ci.job_url),
            repository_url: text(&ci.repository_url),
            provider: text(&ci.provider),
            deadline_ns: ci.deadline_ns,
            step_name: text(&ci.step_name),
            step: step.map(|step| (step.started_ns, step.exit_code, text(&step.reason))),
        }
    }

    pub(super) fn into_ci(self) -> CiJob {
        let text = |text: Option<String>| text.map(Arc::from);
        CiJob {
            system: self.system.into(),
            run_key: text(self.run_key),
            run_url: text(self.run_url),
            job_url: text(self.job_url),
            repository_url: text(self.repository_url),
            provider: text(self.provider),
            deadline_ns: self.deadline_ns,
            step_name: text(self.step_name),
            step: self.step.map(|(started_ns, exit_code, reason)| StepStatus {
                started_ns,
                exit_code,
                reason: reason.map(Arc::from),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pod_says_comes_back_as_it_was() {
        let text = |text: &str| Some(Arc::from(text));
        let step = StepStatus { started_ns: 7, exit_code: Some(3), reason: text("Skipped") };
        let ci = CiJob {
            system: "tekton".into(),
            run_key: text("b"),
            run_url: text("c"),
            job_url: text("d"),
            repository_url: text("e"),
            provider: text("f"),
            deadline_ns: Some(9),
            step_name: text("g"),
            step: Some(step),
        };
        let line = serde_json::to_string(&StoredCi::of(&ci)).unwrap();
        let back: StoredCi = serde_json::from_str(&line).unwrap();
        assert_eq!(back.into_ci(), ci);
        let older: StoredCi = serde_json::from_str(r#"{"system":"argo"}"#).unwrap();
        assert_eq!(older.into_ci(), CiJob { system: "argo".into(), ..CiJob::default() });
    }
}
