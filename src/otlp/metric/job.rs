//! The metrics of jobs: counts that only grow and outlive pods and agent, under the job's own name.
//! Of one job's span the conventions have no metric: `cicd.pipeline.run.duration` is a whole
//! workflow's.

use std::collections::BTreeMap;
use std::sync::Arc;

use ephemon_jobs::tally::{
    Counts, DURATION_BOUNDS, Histogram, Labels, MEMORY_BOUNDS, START_BOUNDS, Tally,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;

use super::instrument::{Instrument, Kind, Row, Scope};
use super::names;
use super::points::{Figure, Points, Subject, text};
use crate::names::{
    CICD_PIPELINE_NAME, CICD_PIPELINE_TASK_NAME, CICD_PIPELINE_TASK_RUN_RESULT, CONTAINER_TYPE,
    DISK_IO_DIRECTION, K8S_NAMESPACE_NAME, VCS_OWNER_NAME, VCS_REPOSITORY_NAME,
};

use Kind::Counter;

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
    counts: Arc<Counts>,
    before: Option<Arc<Counts>>,
    start_ns: u64,
    at_ns: u64,
}

/// The rows, in the order of the reference.
pub(super) static ROWS: &[Row<Series>] = &[
    row(names::JOB_STARTED, "Jobs that began.", Counter, "{job}", &[], |job, points| {
        points.put(Some(Figure::Count(job.counts.started)));
    }),
    row(
        names::JOB_COMPLETED,
        "Jobs that are over, by result.",
        Counter,
        "{job}",
        &[CICD_PIPELINE_TASK_RUN_RESULT],
        |job, points| by_result(&job.counts.completed, &[], points),
    ),
    row(
        names::JOB_CPU_TIME,
        "CPU time that jobs' containers used.",
        Counter,
        "s",
        &[],
        |job, points| points.put(Some(Figure::Nanos(job.counts.cpu_ns))),
    ),
    row(
        names::JOB_MEMORY_TIME,
        "Memory that jobs' containers held, over time.",
        Counter,
        "By.s",
        &[],
        |job, points| points.put(Some(Figure::Millis(job.counts.memory_byte_ms))),
    ),
    row(
        names::JOB_DISK_IO,
        "Bytes that jobs' containers read from and wrote to block devices.",
        Counter,
        "By",
        &[DISK_IO_DIRECTION],
        |job, points| {
            let bytes = [("read", job.counts.read_bytes), ("write", job.counts.written_bytes)];
            for (direction, bytes) in bytes {
                points.put_with(&[(DISK_IO_DIRECTION, direction)], Some(Figure::Count(bytes)));
            }
        },
    ),
    row(
        names::JOB_OOM_KILLS,
        "Processes of jobs that the OOM killer ended.",
        Counter,
        "{process}",
        &[],
        |job, points| points.put(Some(Figure::Count(job.counts.oom_kills))),
    ),
    row(
        names::JOB_CONTAINERS,
        "Containers of jobs that are over.",
        Counter,
        "{container}",
        &[CONTAINER_TYPE, CICD_PIPELINE_TASK_RUN_RESULT],
        |job, points| {
            for (container_type, counts) in &job.counts.containers {
                by_result(counts, &[(CONTAINER_TYPE, container_type)], points);
            }
        },
    ),
    row(
        names::JOB_STEPS,
        "Steps of jobs that are over.",
        Counter,
        "{step}",
        &[CICD_PIPELINE_TASK_RUN_RESULT],
        |job, points| by_result(&job.counts.steps, &[], points),
    ),
    histogram(
        names::JOB_DURATION,
        "From the first sign of a job to the last.",
        "s",
        |job, points| job.histogram(|counts| &counts.duration_seconds, DURATION_BOUNDS, points),
    ),
    histogram(
        names::JOB_MEMORY_PEAK,
        "Highest memory use of each of a job's containers.",
        "By",
        |job, points| job.histogram(|counts| &counts.memory_peak_bytes, MEMORY_BOUNDS, points),
    ),
    histogram(
        names::JOB_CONTAINER_START,
        "From a container's cgroup to its own program.",
        "s",
        |job, points| job.histogram(|counts| &counts.container_start_seconds, START_BOUNDS, points),
    ),
    histogram(
        names::JOB_CONTAINER_WAIT,
        "From the request for a container to its cgroup: kubelet and image together.",
        "s",
        |job, points| job.histogram(|counts| &counts.container_wait_seconds, START_BOUNDS, points),
    ),
    histogram(
        names::JOB_IMAGE_PULL,
        "Pulls of containers' images, where the runner may list events.",
        "s",
        |job, points| job.histogram(|counts| &counts.image_pull_seconds, START_BOUNDS, points),
    ),
];

const fn row(
    name: &'static str,
    description: &'static str,
    kind: Kind,
    unit: &'static str,
    attributes: &'static [&'static str],
    read: fn(&Series, &mut Points),
) -> Row<Series> {
    let scope = Scope::Job;
    Row::new(Instrument { name, description, kind, unit, scope, attributes }, read)
}

const fn histogram(
    name: &'static str,
    description: &'static str,
    unit: &'static str,
    read: fn(&Series, &mut Points),
) -> Row<Series> {
    row(name, description, Kind::Histogram, unit, &[], read)
}

fn by_result(counts: &BTreeMap<String, u64>, more: &[(&str, &str)], points: &mut Points) {
    for (result, count) in counts {
        let own = (CICD_PIPELINE_TASK_RUN_RESULT, result.as_str());
        let attributes: Vec<_> = more.iter().copied().chain([own]).collect();
        points.put_with(&attributes, Some(Figure::Count(*count)));
    }
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
                counts: counts.clone(),
                before: before.cloned(),
                start_ns: start_ns.min(self.at_ns),
                at_ns: self.at_ns,
            })
        });
        all.collect()
    }
}

// === impl Series ===

impl Series {
    fn histogram(&self, of: fn(&Counts) -> &Histogram, bounds: &[f64], points: &mut Points) {
        points.histogram(of(&self.counts), self.before.as_deref().map(of), bounds);
    }
}

impl Subject for Series {
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
