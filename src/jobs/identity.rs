//! Which job: from the environment that the hook gave the containers, else from what the runner's
//! controller and labels say, else from the pod. Pure.

use std::sync::Arc;

use ephemon_contract::trace::{JobKey, RunKey};
use ephemon_model::{CiJob, JobEnv, PodRef};

/// Which job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `owner/name`.
    pub repository: Option<Arc<str>>,
    /// The workflow's name.
    pub workflow: Option<Arc<str>>,
    /// `owner/name/.github/workflows/file@ref`.
    pub workflow_ref: Option<Arc<str>>,
    /// The job's key in the workflow.
    pub job: Option<Arc<str>>,
    /// The job's name as people see it, by the runner's log.
    pub display_name: Option<Arc<str>>,
    /// `github.sha`.
    pub sha: Option<Arc<str>>,
    /// `github.ref`.
    pub git_ref: Option<Arc<str>>,
    /// `github.event_name`.
    pub event: Option<Arc<str>>,
    /// The runner's name.
    pub runner: Option<Arc<str>>,
    /// Where the run is shown, without a slash at its end.
    pub server_url: Option<Arc<str>>,
    /// What the pod of another CI system than GitHub Actions says.
    pub ci: Option<Arc<CiJob>>,
    /// The run, though its attempt may not be known.
    pub run_id: Option<Arc<str>>,
    /// Its run and attempt, where both are known; else ids are derived from the pod.
    pub run: Option<(Arc<str>, Arc<str>)>,
    /// The pod's UID: what ids are derived from where no run is known.
    pod_uid: Arc<str>,
    /// The pod's name.
    pod_name: Arc<str>,
}

// === impl Identity ===

impl Identity {
    /// From what the containers say. Each is asked in the order of names, and the first who says
    /// something has said it: the hook tells all of them the same.
    pub(super) fn of<'a>(
        pod: &PodRef,
        said: &(impl Iterator<Item = &'a JobEnv> + Clone),
        display_name: Option<Arc<str>>,
    ) -> Self {
        let first = |get: fn(&JobEnv) -> Option<&Arc<str>>| said.clone().find_map(get).cloned();
        let run_id = first(|env| env.run_id.as_ref());
        let run = run_id.clone().zip(first(|env| env.run_attempt.as_ref()));
        Self {
            repository: first(|env| env.repository.as_ref()),
            workflow: first(|env| env.workflow.as_ref())
                .or_else(|| first(|env| env.workflow_ref.as_ref()).as_deref().and_then(workflow)),
            workflow_ref: first(|env| env.workflow_ref.as_ref()),
            job: first(|env| env.name.as_ref()),
            display_name: display_name.or_else(|| first(|env| env.display_name.as_ref())),
            sha: first(|env| env.sha.as_ref()),
            git_ref: first(|env| env.git_ref.as_ref()),
            event: first(|env| env.event.as_ref()),
            runner: first(|env| env.runner.as_ref()),
            server_url: first(|env| env.server_url.as_ref()),
            run_id,
            ci: said.clone().find_map(|env| env.ci.clone()),
            run,
            pod_uid: pod.uid.as_str().into(),
            pod_name: pod.name.clone(),
        }
    }

    /// What all ids are derived from. Without a run it is the pod's UID, in a trace of its own.
    pub fn key(&self) -> JobKey<'_> {
        if let Some(ci) = &self.ci {
            return JobKey::of_pod(ci.run_key.as_deref(), &self.pod_uid);
        }
        match &self.run {
            Some((run_id, run_attempt)) => JobKey {
                run: RunKey { run_id, run_attempt },
                job: self.job.as_deref().unwrap_or_default(),
                runner: self.runner.as_deref().unwrap_or_default(),
            },
            None => JobKey {
                run: RunKey { run_id: &self.pod_uid, run_attempt: "" },
                job: "",
                runner: "",
            },
        }
    }

    /// The attempt before this one, of a run that was started anew.
    pub fn previous_attempt(&self) -> Option<String> {
        let (_, attempt) = self.run.as_ref()?;
        let before = attempt.parse::<u64>().ok()?.checked_sub(1).filter(|before| *before > 0)?;
        Some(before.to_string())
    }

    /// The name people know it by: the runner's word, the key in the workflow, the pod.
    pub fn name(&self) -> &str {
        let named = self.display_name.as_deref().or(self.job.as_deref());
        named.unwrap_or(&self.pod_name)
    }
}

/// The workflow's file, `OWNER/NAME/PATH@REF`: what GitHub itself calls a workflow whose file gives it
/// no name.
fn workflow(workflow_ref: &str) -> Option<Arc<str>> {
    let (file, _) = workflow_ref.rsplit_once('@').unwrap_or((workflow_ref, ""));
    let path = file.splitn(3, '/').nth(2)?;
    (!path.is_empty()).then(|| path.into())
}

#[cfg(test)]
mod tests {
    use ephemon_model::PodUid;

    use super::*;

    fn pod() -> PodRef {
        let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
        PodRef { namespace: "ci".into(), name: "runner-1".into(), uid }
    }

    #[test]
    fn without_a_run_the_pod_is_the_job() {
        let identity = Identity::of(&pod(), &std::iter::empty(), None);
        assert_eq!(identity.name(), "runner-1");
        assert_eq!(identity.key().run.run_id, "0e269fa4-f505-4963-9096-958063077203");
        assert_eq!(identity.previous_attempt(), None);
        let half = JobEnv { run_id: Some("7".into()), ..JobEnv::default() };
        let identity = Identity::of(&pod(), &[&half].into_iter(), None);
        assert_eq!((identity.run_id.as_deref(), &identity.run), (Some("7"), &None));
        assert_eq!(identity.key().run.run_id, "0e269fa4-f505-4963-9096-958063077203");
    }

    #[test]
    fn a_workflow_is_named_by_its_file() {
        for (said, name) in [
            ("o/r/.github/workflows/ci.yml@refs/heads/main", Some(".github/workflows/ci.yml")),
            ("o/r/.github/workflows/ci.yml", Some(".github/workflows/ci.yml")),
            ("o/r", None),
            ("", None),
        ] {
            assert_eq!(workflow(said).as_deref(), name, "{said}");
        }
    }

    #[test]
    fn only_a_later_attempt_has_one_before() {
        for (attempt, before) in [("1", None), ("2", Some("1")), ("0", None), ("x", None)] {
            let env = JobEnv {
                run_id: Some("7".into()),
                run_attempt: Some(attempt.into()),
                ..JobEnv::default()
            };
            let identity = Identity::of(&pod(), &[&env].into_iter(), None);
            assert_eq!(identity.previous_attempt().as_deref(), before, "{attempt}");
        }
    }
}
