//! What was counted of jobs, under the job's own name.

use std::sync::Arc;

use ephemon_catalogue::JobSeries;
use ephemon_jobs::tally::{Counts, Labels, Tally};
use opentelemetry_proto::tonic::common::v1::KeyValue;

use super::points::{Subject, text};
use crate::names::{
    CICD_PIPELINE_NAME, CICD_PIPELINE_TASK_NAME, K8S_NAMESPACE_NAME, VCS_OWNER_NAME,
    VCS_REPOSITORY_NAME,
};

/// What was counted of jobs.
#[derive(Debug, Clone, Copy)]
pub struct Jobs<'a> {
    /// By now.
    pub tally: &'a Tally,
    /// By the last time: exemplars that were sent then are not sent again.
    pub before: Option<&'a Tally>,
    /// Leave out names of which nothing new was counted.
    pub only_new: bool,
    /// Counts begin with this where it was not written down, nanoseconds since 1970.
    pub since_ns: u64,
    /// Now.
    pub at_ns: u64,
}

/// All jobs of one name.
#[derive(Debug, Clone)]
pub(super) struct Series {
    labels: Arc<Labels>,
    now: JobSeries,
    before: Option<JobSeries>,
    start_ns: u64,
    at_ns: u64,
}

// === impl Jobs ===

impl Jobs<'_> {
    pub(super) fn series(&self) -> Vec<Series> {
        let all = self.tally.sets().filter_map(|(labels, counts)| {
            let before = self.before.and_then(|before| before.of(labels));
            if self.only_new && before == Some(counts) {
                return None;
            }
            let start_ns = if counts.since_ns == 0 { self.since_ns } else { counts.since_ns };
            Some(Series {
                labels: labels.clone(),
                now: series(counts),
                before: before.map(series),
                start_ns: start_ns.min(self.at_ns),
                at_ns: self.at_ns,
            })
        });
        all.collect()
    }
}

// === impl Series ===

impl Subject for Series {
    type Read = JobSeries;

    fn read(&self) -> &Self::Read {
        &self.now
    }

    fn before(&self) -> Option<&Self::Read> {
        self.before.as_ref()
    }

    fn start_ns(&self) -> u64 {
        self.start_ns
    }

    fn at_ns(&self) -> u64 {
        self.at_ns
    }

    /// The agent's is the resource, so that the job's name is each point's own.
    fn attributes(&self) -> Vec<KeyValue> {
        let Labels { namespace, repository, workflow, job } = &*self.labels;
        let (owner, name) = repository.split_once('/').unwrap_or(("", repository));
        let all = [
            (K8S_NAMESPACE_NAME, namespace.as_str()),
            (VCS_OWNER_NAME, owner),
            (VCS_REPOSITORY_NAME, name),
            (CICD_PIPELINE_NAME, workflow),
            (CICD_PIPELINE_TASK_NAME, job),
        ];
        let known = all.into_iter().filter(|(_, value)| !value.is_empty());
        known.map(|(key, value)| text(key, value)).collect()
    }
}

/// Without the jobs themselves: each of them goes as a trace.
fn series(counts: &Arc<Counts>) -> JobSeries {
    JobSeries { counts: Arc::clone(counts), shown: Vec::new() }
}
