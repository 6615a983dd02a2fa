//! The samples of a job's containers, column by column.

use ephemon_history::{ActivityPoint, PodView, SeriesView, UsagePoint};
use ephemon_jobs::{Container, Job};
use ephemon_model::Limit;
use serde::Serialize;

use super::VERSION;

/// Containers of one answer: those that began last.
const MAX_CONTAINERS: usize = 32;

/// Samples.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SamplesAnswer<'a> {
    pub(crate) api_version: &'static str,
    pub(crate) now_unix_ms: u64,
    /// In the order of the job's containers; without those that have no new samples.
    pub(crate) containers: Vec<Samples<'a>>,
    /// The moment to ask for next: samples that end after it are new or have changed.
    pub(crate) next_since_unix_ms: u64,
    /// Containers with samples for which there was no room in this answer.
    pub(crate) left_out: usize,
}

/// One container's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Samples<'a> {
    pub(crate) name: &'a str,
    pub(crate) id: &'a str,
    /// `null` without a limit, and before it was read.
    pub(crate) cpu_limit_millicores: Option<u64>,
    pub(crate) memory_limit_bytes: Option<u64>,
    pub(crate) memory_peak_bytes: Option<u64>,
    /// When out-of-memory kills were seen.
    pub(crate) oom_kills_unix_ms: Vec<u64>,
    pub(crate) ended: bool,
    /// What all `from` and `to` are relative to.
    pub(crate) base_unix_ms: u64,
    pub(crate) usage: UsageColumns,
    pub(crate) activity: ActivityColumns,
}

/// CPU and memory: the columns have the same length. `null` is a value that was not read.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UsageColumns {
    /// Beginnings, milliseconds after the base.
    pub(crate) from: Vec<u64>,
    /// Ends.
    pub(crate) to: Vec<u64>,
    pub(crate) cpu_millicores: Vec<Option<u64>>,
    /// Highest memory without inactive file pages.
    pub(crate) memory_kibibytes: Vec<Option<u64>>,
}

/// What is read less often.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ActivityColumns {
    pub(crate) from: Vec<u64>,
    pub(crate) to: Vec<u64>,
    pub(crate) throttled_permille: Vec<Option<u64>>,
    pub(crate) read_kibibytes_per_second: Vec<Option<u64>>,
    pub(crate) write_kibibytes_per_second: Vec<Option<u64>>,
    pub(crate) cpu_waiting_permille: Vec<Option<u64>>,
    pub(crate) memory_waiting_permille: Vec<Option<u64>>,
    pub(crate) io_waiting_permille: Vec<Option<u64>>,
}

// === impl SamplesAnswer ===

impl<'a> SamplesAnswer<'a> {
    pub(crate) fn new(job: &'a Job, view: &'a PodView, since_ms: u64, now_unix_ms: u64) -> Self {
        let series = |container: &'a Container| {
            let id = container.id.as_ref()?;
            let series = view.series.iter().find(|series| series.id == *id)?;
            let has_news = !series.usage.is_empty() || !series.activity.is_empty();
            has_news.then_some((container, series))
        };
        let mut found: Vec<_> = job.containers.iter().filter_map(series).collect();
        let next = found.iter().filter(|(_, series)| !series.ended).flat_map(|(_, series)| {
            let usage = series.usage.last().map(|point| point.from_ms);
            [usage, series.activity.last().map(|point| point.from_ms)]
        });
        let all = found.iter().filter_map(|(_, series)| series.usage.last().map(|it| it.to_ms));
        let next = next.flatten().min().or(all.max());
        let left_out = found.len().saturating_sub(MAX_CONTAINERS);
        let containers = found.drain(left_out..).map(|(container, it)| samples(container, it));
        Self {
            api_version: VERSION,
            now_unix_ms,
            containers: containers.collect(),
            // Not before what the client has: a container without news must not set it back.
            next_since_unix_ms: next.unwrap_or(since_ms).max(since_ms),
            left_out,
        }
    }
}

fn samples<'a>(container: &'a Container, series: &'a SeriesView) -> Samples<'a> {
    let firsts = [
        series.usage.first().map(|point| point.from_ms),
        series.activity.first().map(|point| point.from_ms),
    ];
    let base = firsts.into_iter().flatten().min().unwrap_or_default();
    Samples {
        name: &container.name,
        id: series.id.as_str(),
        cpu_limit_millicores: at(series.cpu_limit_millis),
        memory_limit_bytes: at(series.memory_limit_bytes),
        memory_peak_bytes: series.memory_peak_bytes,
        oom_kills_unix_ms: series.oom_kills_ms.clone(),
        ended: series.ended,
        base_unix_ms: base,
        usage: usage(&series.usage, base),
        activity: activity(&series.activity, base),
    }
}

fn at(limit: Option<Limit<u64>>) -> Option<u64> {
    match limit? {
        Limit::At(value) => Some(value),
        Limit::Unlimited => None,
    }
}

fn usage(points: &[UsagePoint], base: u64) -> UsageColumns {
    let mut columns = UsageColumns::default();
    for point in points {
        columns.from.push(point.from_ms.saturating_sub(base));
        columns.to.push(point.to_ms.saturating_sub(base));
        columns.cpu_millicores.push(point.cpu_millicores);
        columns.memory_kibibytes.push(point.memory_kib);
    }
    columns
}

fn activity(points: &[ActivityPoint], base: u64) -> ActivityColumns {
    let mut columns = ActivityColumns::default();
    for point in points {
        columns.from.push(point.from_ms.saturating_sub(base));
        columns.to.push(point.to_ms.saturating_sub(base));
        columns.throttled_permille.push(point.throttled_permille);
        columns.read_kibibytes_per_second.push(point.read_kib_s);
        columns.write_kibibytes_per_second.push(point.write_kib_s);
        columns.cpu_waiting_permille.push(point.cpu_waiting_permille);
        columns.memory_waiting_permille.push(point.memory_waiting_permille);
        columns.io_waiting_permille.push(point.io_waiting_permille);
    }
    columns
}
