//! The metrics of jobs: counts that only grow and outlive pods and agent, under the job's own name.
//! Of one job's span OpenTelemetry's conventions have no metric: `cicd.pipeline.run.duration` is a
//! whole workflow's.

use std::collections::BTreeMap;
use std::sync::Arc;

use ephemon_jobs::tally::{Counts, DURATION_BOUNDS, MEMORY_BOUNDS, START_BOUNDS};
use ephemon_jobs::{Job, JobResult};
use ephemon_model::ContainerType;

use super::names::{CICD_PIPELINE_TASK_RUN_RESULT, CONTAINER_TYPE, DISK_IO_DIRECTION};
use super::row::{Label, Metric, Row};
use super::value::{LabelValue, Points, Value};

/// All jobs of one name.
#[derive(Debug, Clone, Default)]
pub struct JobSeries {
    /// What was counted of them.
    pub counts: Arc<Counts>,
    /// Those under way, and those that ended a short time ago.
    pub shown: Vec<Arc<Job>>,
}

const POD: Label = Label::prometheus("pod");
const RESULT: Label = Label::both("result", CICD_PIPELINE_TASK_RUN_RESULT);

/// The rows, in the order of the exposition.
pub static ROWS: &[Row<JobSeries>] = &[
    // In OTLP each job is a trace.
    Metric::info("A job that is under way or ended a short time ago.")
        .family("ephemon_job_info")
        .labels(&[
            POD,
            Label::prometheus("run_id"),
            Label::prometheus("run_attempt"),
            Label::prometheus("event_name"),
            Label::prometheus("workflow_ref"),
            Label::prometheus("runner_name"),
            Label::prometheus("trace_id"),
        ])
        .many(info),
    // What is learnt later is in families of its own: the labels of a series stay as they are.
    Metric::info("The job's name as GitHub shows it, where the runner's log is read.")
        .family("ephemon_job_name_info")
        .labels(&[POD, Label::prometheus("job_name")])
        .many(|job, points| {
            for shown in &job.shown {
                let Some(name) = shown.identity.display_name.as_deref() else { continue };
                points.put(&[(*shown.pod.name).into(), name.into()], Some(Value::Count(1)));
            }
        }),
    Metric::info("How a job ended, once it is over.")
        .family("ephemon_job_result_info")
        .labels(&[POD, Label::prometheus("result")])
        .many(|job, points| {
            for shown in job.shown.iter().filter(|shown| shown.window.end.is_some()) {
                let labels = [(*shown.pod.name).into(), shown.outcome.result.as_str().into()];
                points.put(&labels, Some(Value::Count(1)));
            }
        }),
    Metric::counter("{job}", "Jobs that began.")
        .family("ephemon_job_started_total")
        .instrument("ephemon.job.started")
        .one(|job| Some(Value::Count(job.counts.started))),
    Metric::counter("{job}", "Jobs that are over, by result.")
        .family("ephemon_job_completed_total")
        .instrument("ephemon.job.completed")
        .labels(&[RESULT])
        .many(|job, points| by_result(&job.counts.completed, points)),
    Metric::counter("s", "CPU time that jobs' containers used.")
        .family("ephemon_job_cpu_usage_seconds_total")
        .instrument("ephemon.job.cpu.time")
        .one(|job| Some(Value::Nanos(job.counts.cpu_ns))),
    Metric::counter("By.s", "Memory that jobs' containers held, over time.")
        .family("ephemon_job_memory_byte_seconds_total")
        .instrument("ephemon.job.memory.time")
        .one(|job| Some(Value::Millis(job.counts.memory_byte_ms))),
    Metric::counter("By", "Bytes that jobs' containers read from and wrote to block devices.")
        .family("ephemon_job_io_bytes_total")
        .instrument("ephemon.job.disk.io")
        .labels(&[Label::both("operation", DISK_IO_DIRECTION)])
        .many(|job, points| {
            points.put(&["read".into()], Some(Value::Count(job.counts.read_bytes)));
            points.put(&["write".into()], Some(Value::Count(job.counts.written_bytes)));
        }),
    Metric::counter("{process}", "Processes of jobs that the OOM killer ended.")
        .family("ephemon_job_oom_kills_total")
        .instrument("ephemon.job.oom.kills")
        .one(|job| Some(Value::Count(job.counts.oom_kills))),
    Metric::counter("{container}", "Containers of jobs that are over.")
        .family("ephemon_job_containers_total")
        .instrument("ephemon.job.containers")
        .labels(&[Label::both("container_type", CONTAINER_TYPE), RESULT])
        .many(containers),
    Metric::counter("{step}", "Steps of jobs that are over.")
        .family("ephemon_job_steps_total")
        .instrument("ephemon.job.steps")
        .labels(&[RESULT])
        .many(|job, points| by_result(&job.counts.steps, points)),
    Metric::histogram("s", "From the first sign of a job to the last.")
        .family("ephemon_job_duration_seconds")
        .instrument("ephemon.job.duration")
        .buckets(|job| &job.counts.duration_seconds, DURATION_BOUNDS),
    Metric::histogram("By", "Highest memory use of each of a job's containers.")
        .family("ephemon_job_container_memory_peak_bytes")
        .instrument("ephemon.job.container.memory.peak")
        .buckets(|job| &job.counts.memory_peak_bytes, MEMORY_BOUNDS),
    Metric::histogram("s", "From a container's cgroup to its own program.")
        .family("ephemon_job_container_start_duration_seconds")
        .instrument("ephemon.job.container.start")
        .buckets(|job| &job.counts.container_start_seconds, START_BOUNDS),
    Metric::histogram(
        "s",
        "From the request for a container to its cgroup: kubelet and image together.",
    )
    .family("ephemon_job_container_wait_duration_seconds")
    .instrument("ephemon.job.container.wait")
    .buckets(|job| &job.counts.container_wait_seconds, START_BOUNDS),
    Metric::histogram("s", "Pulls of containers' images, where the runner may list events, and those ahead of the kubelet.")
        .family("ephemon_job_image_pull_duration_seconds")
        .instrument("ephemon.job.image.pull")
        .buckets(|job| &job.counts.image_pull_seconds, START_BOUNDS),
];

fn info(job: &JobSeries, points: &mut dyn Points) {
    for shown in &job.shown {
        let trace_id = shown.span.trace_id.to_string();
        let (run_id, run_attempt) = match &shown.identity.run {
            Some((run_id, run_attempt)) => (&**run_id, &**run_attempt),
            None => (shown.identity.run_id.as_deref().unwrap_or_default(), ""),
        };
        let labels = [
            (*shown.pod.name).into(),
            run_id.into(),
            run_attempt.into(),
            shown.identity.event.as_deref().unwrap_or_default().into(),
            shown.identity.workflow_ref.as_deref().unwrap_or_default().into(),
            shown.identity.runner.as_deref().unwrap_or_default().into(),
            trace_id.as_str().into(),
        ];
        points.put(&labels, Some(Value::Count(1)));
    }
}

fn by_result(counts: &BTreeMap<String, u64>, points: &mut dyn Points) {
    results(counts, points, |result| [result]);
}

fn containers(job: &JobSeries, points: &mut dyn Points) {
    let none = BTreeMap::new();
    let ephemeral = ContainerType::Ephemeral.as_str();
    let seen = &job.counts.containers;
    let unseen = (!seen.contains_key(ephemeral)).then_some((ephemeral, &none));
    let seen = seen.iter().map(|(container_type, counts)| (container_type.as_str(), counts));
    for (container_type, counts) in seen.chain(unseen) {
        results(counts, points, |result| [container_type.into(), result]);
    }
}

/// A point for every result of the conventions, and for those of which nothing is known, if there are any.
fn results<'a, const N: usize>(
    counts: &BTreeMap<String, u64>,
    points: &mut dyn Points,
    labels: impl Fn(LabelValue<'a>) -> [LabelValue<'a>; N],
) {
    for result in JobResult::ALL.map(JobResult::as_str) {
        let labels = labels(result.into());
        match counts.get(result) {
            Some(count) => points.put(&labels, Some(Value::Count(*count))),
            None => points.unseen(&labels),
        }
    }
    let unknown = JobResult::Unknown.as_str();
    if let Some(count) = counts.get(unknown) {
        points.put(&labels(unknown.into()), Some(Value::Count(*count)));
    }
}
