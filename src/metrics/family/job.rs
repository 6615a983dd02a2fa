//! The families of jobs: counts that only grow and outlive pods and agent, under the job's own name.

use std::collections::BTreeMap;

use ephemon_jobs::JobResult;
use ephemon_jobs::tally::{Counts, DURATION_BOUNDS, Histogram, MEMORY_BOUNDS, START_BOUNDS};
use ephemon_model::ContainerType;

use super::{Family, Kind, Row, Scope};
use crate::exposition::{Figure, Points};
use crate::view::JobView;

/// The rows, in the order of the exposition.
pub(crate) static ROWS: &[Row<JobView>] = &[
    row(
        "ephemon_job_info",
        "A job that is under way or ended a short time ago.",
        Kind::Info,
        &["pod", "run_id", "run_attempt", "runner", "trace_id", "result"],
        info,
    ),
    row("ephemon_job_started_total", "Jobs that began.", Kind::Counter, &[], |job, points| {
        points.put(Some(Figure::Count(job.counts.started)));
    }),
    row(
        "ephemon_job_completed_total",
        "Jobs that are over, by result.",
        Kind::Counter,
        &["result"],
        |job, points| by_result(&job.counts.completed, points),
    ),
    row(
        "ephemon_job_cpu_seconds_total",
        "CPU time that jobs' containers used.",
        Kind::Counter,
        &[],
        |job, points| points.put(Some(Figure::Nanos(job.counts.cpu_ns))),
    ),
    row(
        "ephemon_job_memory_byte_seconds_total",
        "Memory that jobs' containers held, over time.",
        Kind::Counter,
        &[],
        |job, points| points.put(Some(Figure::Millis(job.counts.memory_byte_ms))),
    ),
    row(
        "ephemon_job_io_bytes_total",
        "Bytes that jobs' containers read from and wrote to block devices.",
        Kind::Counter,
        &["operation"],
        |job, points| {
            let bytes = [("read", job.counts.read_bytes), ("write", job.counts.written_bytes)];
            for (operation, bytes) in bytes {
                points.put_with(&[("operation", operation)], Some(Figure::Count(bytes)));
            }
        },
    ),
    row(
        "ephemon_job_oom_kills_total",
        "Processes of jobs that the OOM killer ended.",
        Kind::Counter,
        &[],
        |job, points| points.put(Some(Figure::Count(job.counts.oom_kills))),
    ),
    row(
        "ephemon_job_containers_total",
        "Containers of jobs that are over.",
        Kind::Counter,
        &["container_type", "result"],
        containers,
    ),
    row(
        "ephemon_job_steps_total",
        "Steps of jobs that are over.",
        Kind::Counter,
        &["result"],
        |job, points| by_result(&job.counts.steps, points),
    ),
    row(
        "ephemon_job_duration_seconds",
        "From the first sign of a job to the last.",
        Kind::Histogram,
        &[],
        |job, points| histogram(&job.counts, |c| &c.duration_seconds, DURATION_BOUNDS, points),
    ),
    row(
        "ephemon_job_memory_peak_bytes",
        "Highest memory use of each of a job's containers.",
        Kind::Histogram,
        &[],
        |job, points| histogram(&job.counts, |c| &c.memory_peak_bytes, MEMORY_BOUNDS, points),
    ),
    row(
        "ephemon_job_container_start_seconds",
        "From a container's cgroup to its own program.",
        Kind::Histogram,
        &[],
        |job, points| {
            histogram(&job.counts, |c| &c.container_start_seconds, START_BOUNDS, points);
        },
    ),
    row(
        "ephemon_job_container_wait_seconds",
        "From the request for a container to its cgroup: kubelet and image together.",
        Kind::Histogram,
        &[],
        |job, points| {
            histogram(&job.counts, |c| &c.container_wait_seconds, START_BOUNDS, points);
        },
    ),
    row(
        "ephemon_job_image_pull_seconds",
        "Pulls of containers' images, where the runner may list events.",
        Kind::Histogram,
        &[],
        |job, points| histogram(&job.counts, |c| &c.image_pull_seconds, START_BOUNDS, points),
    ),
];

const fn row(
    name: &'static str,
    help: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    read: fn(&JobView, &mut Points<'_>),
) -> Row<JobView> {
    Row::many(Family { name, help, kind, scope: Scope::Job, labels }, read)
}

fn info(job: &JobView, points: &mut Points<'_>) {
    for shown in &job.shown {
        let trace_id = shown.span.trace_id.to_string();
        let (run_id, run_attempt) = match &shown.identity.run {
            Some((run_id, run_attempt)) => (&**run_id, &**run_attempt),
            None => ("", ""),
        };
        let result = shown.window.end.map_or("", |_| shown.outcome.result.as_str());
        let labels = [
            ("pod", &*shown.pod.name),
            ("run_id", run_id),
            ("run_attempt", run_attempt),
            ("runner", shown.identity.runner.as_deref().unwrap_or_default()),
            ("trace_id", &trace_id),
            ("result", result),
        ];
        points.put_with(&labels, Some(Figure::Count(1)));
    }
}

/// Every result, those that have not been seen yet, too: of a series that begins with 1 Prometheus
/// takes the first increase for none.
fn by_result(counts: &BTreeMap<String, u64>, points: &mut Points<'_>) {
    for result in JobResult::ALL.map(JobResult::as_str) {
        let count = counts.get(result).copied().unwrap_or_default();
        points.put_with(&[("result", result)], Some(Figure::Count(count)));
    }
}

fn containers(job: &JobView, points: &mut Points<'_>) {
    let none = BTreeMap::new();
    let ephemeral = ContainerType::Ephemeral.as_str();
    let seen = &job.counts.containers;
    let unseen = (!seen.contains_key(ephemeral)).then_some((ephemeral, &none));
    let seen = seen.iter().map(|(container_type, counts)| (container_type.as_str(), counts));
    for (container_type, counts) in seen.chain(unseen) {
        for result in JobResult::ALL.map(JobResult::as_str) {
            let count = counts.get(result).copied().unwrap_or_default();
            let labels = [("container_type", container_type), ("result", result)];
            points.put_with(&labels, Some(Figure::Count(count)));
        }
    }
}

/// Nothing of a histogram that has never seen anything.
fn histogram(
    counts: &Counts,
    of: fn(&Counts) -> &Histogram,
    bounds: &[f64],
    points: &mut Points<'_>,
) {
    // Without observations, too, for the same reason as in `by_result`.
    points.histogram(of(counts), bounds);
}
