//! What a pod says of its job, by field. Plain values.

use std::sync::Arc;

use ephemon_model::{CiJob, JobEnv};

use super::text;

/// Each field is bounded and clean; a URL is one that links can lead to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// `owner/name`.
    pub(super) repository: Option<Arc<str>>,
    pub(super) repository_url: Option<Arc<str>>,
    /// `vcs.provider.name`.
    pub(super) provider: Option<Arc<str>>,
    /// The pipeline's name: the same for all its runs.
    pub(super) pipeline: Option<Arc<str>>,
    /// The run as the system shows it.
    pub(super) run: Option<Arc<str>>,
    /// What no other run of any system has: ids of traces are derived from it.
    pub(super) run_key: Option<Arc<str>>,
    pub(super) run_url: Option<Arc<str>>,
    /// The job's name: the same in all runs.
    pub(super) job: Option<Arc<str>>,
    /// Its name as people see it, where that is another one.
    pub(super) display_name: Option<Arc<str>>,
    pub(super) job_url: Option<Arc<str>>,
    pub(super) commit: Option<Arc<str>>,
    /// `refs/heads/BRANCH`, `refs/tags/TAG`, or a name of which neither is known.
    pub(super) git_ref: Option<Arc<str>>,
    /// The worker.
    pub(super) runner: Option<Arc<str>>,
    /// When the system ends the job at the latest, nanoseconds since 1970.
    pub(super) deadline_ns: Option<u64>,
}

// === impl Said ===

impl Said {
    /// The job as the spec of every container of the pod tells it.
    pub(super) fn into_env(self, system: &str) -> JobEnv {
        JobEnv {
            repository: self.repository,
            run_id: self.run,
            name: self.job,
            workflow: self.pipeline,
            sha: self.commit,
            git_ref: self.git_ref,
            runner: self.runner,
            display_name: self.display_name,
            ci: Some(Arc::new(CiJob {
                system: system.into(),
                run_key: self.run_key,
                run_url: self.run_url,
                job_url: self.job_url,
                repository_url: self.repository_url,
                provider: self.provider,
                deadline_ns: self.deadline_ns,
                ..CiJob::default()
            })),
            ..JobEnv::default()
        }
    }
}

/// What no other run has: the parts that tell it apart, of which none may be missing. Of what is too long
/// the end is kept: the run's own number or UID is there.
pub(super) fn run_key<const N: usize>(parts: [Option<&str>; N]) -> Option<Arc<str>> {
    let parts: Option<Vec<&str>> = parts.into_iter().collect();
    let key = parts?.join(" ");
    let surplus = key.chars().count().saturating_sub(text::MAX_TEXT);
    let kept: String = key.chars().skip(surplus).collect();
    text::short(&kept)
}
