//! The samples of a job's containers, column by column.

use ephemon_history::{ActivityPoint, PodView, SeriesView, UsagePoint};
use ephemon_jobs::{Container, Job};
use ephemon_model::Limit;
use serde::{Serialize, Serializer};

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
    /// Readings of the pod's containers that were not kept, as there was no room for them.
    pub(crate) readings_left_out: u64,
}

/// One container's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Samples<'a> {
    pub(crate) name: &'a str,
    pub(crate) id: &'a str,
    /// Whether both limits were read: only then is `null` no limit.
    pub(crate) limits_known: bool,
    /// `null` without a limit, and before it was read.
    pub(crate) cpu_limit_millicores: Option<u64>,
    pub(crate) memory_limit_bytes: Option<u64>,
    pub(crate) memory_peak_bytes: Option<u64>,
    /// When out-of-memory kills were seen.
    pub(crate) oom_kills_unix_ms: Vec<u64>,
    pub(crate) ended: bool,
    /// What all `from` and `to` are relative to.
    pub(crate) base_unix_ms: u64,
    pub(crate) usage: UsageColumns<'a>,
    pub(crate) activity: ActivityColumns<'a>,
}

/// CPU and memory: the columns have the same length. `null` is a value that was not read.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UsageColumns<'a> {
    /// Beginnings, milliseconds after the base.
    pub(crate) from: Column<'a, UsagePoint>,
    /// Ends.
    pub(crate) to: Column<'a, UsagePoint>,
    pub(crate) cpu_millicores: Column<'a, UsagePoint>,
    /// Highest memory without inactive file pages.
    pub(crate) memory_kibibytes: Column<'a, UsagePoint>,
}

/// What is read less often.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ActivityColumns<'a> {
    pub(crate) from: Column<'a, ActivityPoint>,
    pub(crate) to: Column<'a, ActivityPoint>,
    pub(crate) throttled_permille: Column<'a, ActivityPoint>,
    pub(crate) read_kibibytes_per_second: Column<'a, ActivityPoint>,
    pub(crate) write_kibibytes_per_second: Column<'a, ActivityPoint>,
    pub(crate) cpu_waiting_permille: Column<'a, ActivityPoint>,
    pub(crate) memory_waiting_permille: Column<'a, ActivityPoint>,
    pub(crate) io_waiting_permille: Column<'a, ActivityPoint>,
}

/// One value of each point, read from the points when it is written.
#[derive(Debug)]
pub(crate) struct Column<'a, P> {
    points: &'a [P],
    base: u64,
    value: fn(&P, u64) -> Option<u64>,
}

// === impl Column ===

impl<P> Serialize for Column<'_, P> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.points.iter().map(|point| (self.value)(point, self.base)))
    }
}

// === impl SamplesAnswer ===

impl<'a> SamplesAnswer<'a> {
    /// One of so many shares of the containers.
    pub(crate) fn new(
        job: &'a Job,
        (view, share): (&'a PodView, usize),
        since_ms: u64,
        now_unix_ms: u64,
    ) -> Self {
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
        let left_out = found.len().saturating_sub(MAX_CONTAINERS / share);
        let containers = found.drain(left_out..).map(|(container, it)| samples(container, it));
        Self {
            api_version: VERSION,
            now_unix_ms,
            containers: containers.collect(),
            // Not before what the client has: a container without news must not set it back.
            next_since_unix_ms: next.unwrap_or(since_ms).max(since_ms),
            left_out,
            readings_left_out: view.left_out,
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
        limits_known: series.cpu_limit_millis.is_some() && series.memory_limit_bytes.is_some(),
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

fn usage(points: &[UsagePoint], base: u64) -> UsageColumns<'_> {
    let column = |value| Column { points, base, value };
    UsageColumns {
        from: column(|point, base| Some(point.from_ms.saturating_sub(base))),
        to: column(|point, base| Some(point.to_ms.saturating_sub(base))),
        cpu_millicores: column(|point, _| point.cpu_millicores),
        memory_kibibytes: column(|point, _| point.memory_kib),
    }
}

fn activity(points: &[ActivityPoint], base: u64) -> ActivityColumns<'_> {
    let column = |value| Column { points, base, value };
    ActivityColumns {
        from: column(|point, base| Some(point.from_ms.saturating_sub(base))),
        to: column(|point, base| Some(point.to_ms.saturating_sub(base))),
        throttled_permille: column(|point, _| point.throttled_permille),
        read_kibibytes_per_second: column(|point, _| point.read_kib_s),
        write_kibibytes_per_second: column(|point, _| point.write_kib_s),
        cpu_waiting_permille: column(|point, _| point.cpu_waiting_permille),
        memory_waiting_permille: column(|point, _| point.memory_waiting_permille),
        io_waiting_permille: column(|point, _| point.io_waiting_permille),
    }
}
