//! Counts of jobs by what they are called, for the metrics: they only grow, and they outlive the
//! agent. Plain values.

use std::collections::BTreeMap;
use std::sync::Arc;

use ephemon_contract::trace::SpanId;
use ephemon_model::ExponentialBuckets;
use serde::{Deserialize, Serialize};

use super::job::Job;
use super::outcome::JobResult;

mod exponential;

/// Most sets of labels; further jobs are counted under [`OTHER`].
pub const MAX_LABELS: usize = 500;
/// Most of them that have one repository's name: who makes up names of jobs and workflows leaves the
/// others theirs.
const MAX_LABELS_OF_REPOSITORY: usize = MAX_LABELS / 4;
/// A set of which no job was heard of for so long makes room for another, nanoseconds.
const UNUSED_NS: u64 = 24 * 3600 * 1_000_000_000;
/// A set of which no job was heard of for so long goes, though there is room, nanoseconds: names of
/// workflows that are no more would stay for as long as the node does.
const EXPIRY_NS: u64 = 7 * UNUSED_NS;
/// Memory of one set, bytes: its names twice, five histograms with their exemplars and both kinds of
/// buckets.
pub const SET_BYTES: usize = 16 * 1024;
/// Every label's value where there are too many of them.
pub const OTHER: &str = "other";

/// Seconds of a job's duration.
pub const DURATION_BOUNDS: &[f64] =
    &[10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 21600.0];
/// Bytes of a container's highest memory use: powers of four from 16 MiB.
pub const MEMORY_BOUNDS: &[f64] = &[
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
    4_294_967_296.0,
    17_179_869_184.0,
    68_719_476_736.0,
];
/// Seconds of a container's way into life.
pub const START_BOUNDS: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// What a job's series are called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Labels {
    /// The pod's namespace.
    pub namespace: String,
    /// `owner/name`; empty where nobody said.
    pub repository: String,
    /// The workflow's name; empty where nobody said.
    pub workflow: String,
    /// The job's key in the workflow; empty where nobody said.
    pub job: String,
}

/// Everything counted under one set of labels.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Since when, nanoseconds since 1970; 0 where an earlier agent did not write it down.
    pub since_ns: u64,
    /// When a job of these names last began or ended, nanoseconds since 1970.
    pub used_ns: u64,
    /// Jobs that began.
    pub started: u64,
    /// Jobs that are over, by result.
    pub completed: BTreeMap<String, u64>,
    /// CPU time, nanoseconds.
    pub cpu_ns: u64,
    /// Memory over time, byte milliseconds.
    pub memory_byte_ms: u64,
    /// Bytes read from block devices.
    pub read_bytes: u64,
    /// Bytes written to block devices.
    pub written_bytes: u64,
    /// Processes that the OOM killer ended.
    pub oom_kills: u64,
    /// Containers that are over, by type and result.
    pub containers: BTreeMap<String, BTreeMap<String, u64>>,
    /// Steps that are over, by result.
    pub steps: BTreeMap<String, u64>,
    /// Of jobs.
    pub duration_seconds: Histogram,
    /// Of the job's containers.
    pub memory_peak_bytes: Histogram,
    /// From a container's cgroup to its own program.
    pub container_start_seconds: Histogram,
    /// From the request for a container to its cgroup.
    pub container_wait_seconds: Histogram,
    /// Of images.
    pub image_pull_seconds: Histogram,
}

/// A histogram with the last exemplar of each bucket.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Histogram {
    /// Observations in each bucket, not cumulative; the last one has no bound.
    pub buckets: Vec<u64>,
    /// Of all observations.
    pub sum: f64,
    /// An observation in each bucket.
    pub exemplars: Vec<Option<Exemplar>>,
    /// The same observations in buckets of a growing width, see [`Self::native`].
    #[serde(with = "exponential")]
    exponential: ExponentialBuckets,
}

/// One observation and the span it is of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exemplar {
    /// In hexadecimal.
    pub trace_id: String,
    /// In hexadecimal.
    pub span_id: String,
    /// What was observed.
    pub value: f64,
    /// When, nanoseconds since 1970.
    pub at_ns: u64,
}

/// All counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    #[serde(default, with = "pairs")]
    sets: Sets,
}

/// Shared with whoever shows them: what is counted anew is copied, and no other set.
type Sets = BTreeMap<Arc<Labels>, Arc<Counts>>;

// === impl Tally ===

impl Tally {
    /// All sets of labels with their counts.
    pub fn sets(&self) -> impl Iterator<Item = (&Arc<Labels>, &Arc<Counts>)> {
        self.sets.iter()
    }

    /// A job began. A part of one that another agent counts adds what it uses only.
    pub fn started(&mut self, job: &Job) {
        self.counts(job).started += u64::from(!job.is_part);
    }

    /// A job is over.
    pub fn finished(&mut self, job: &Job) {
        let counts = self.counts(job);
        if !job.is_part {
            bump(&mut counts.completed, job.outcome.result);
        }
        let figures = job.totals.figures;
        let add = |sum: &mut u64, figure: Option<u64>| {
            *sum = sum.saturating_add(figure.unwrap_or_default());
        };
        add(&mut counts.cpu_ns, figures.cpu_ns);
        add(&mut counts.memory_byte_ms, figures.memory_byte_ms);
        add(&mut counts.read_bytes, figures.read_bytes);
        add(&mut counts.written_bytes, figures.written_bytes);
        add(&mut counts.oom_kills, figures.oom_kills);
        for step in &job.steps {
            bump(&mut counts.steps, step.outcome.result);
        }
        let end_ns = job.window.end.map_or(job.window.start.ns, |end| end.ns);
        let seen = |span: SpanId, value: f64, at_ns: u64| Exemplar {
            trace_id: job.span.trace_id.to_string(),
            span_id: span.to_string(),
            value,
            at_ns,
        };
        if let Some(ns) = job.window.duration_ns().filter(|_| !job.is_part) {
            let exemplar = seen(job.span.span_id, seconds(ns), end_ns);
            counts.duration_seconds.observe(DURATION_BOUNDS, exemplar);
        }
        for one in job.containers.iter().filter(|one| one.role.is_of_job()) {
            let by_result =
                counts.containers.entry(one.container_type.as_str().to_owned()).or_default();
            bump(by_result, one.outcome.result);
            let at_ns = one.window.end.map_or(end_ns, |end| end.ns);
            if let Some(bytes) = one.figures.memory_peak_bytes {
                let exemplar = seen(one.span_id, bytes as f64, at_ns);
                counts.memory_peak_bytes.observe(MEMORY_BOUNDS, exemplar);
            }
            let Some(created) = one.born_ns else { continue };
            if let Some(started) = one.started_ns.filter(|started| *started >= created) {
                let exemplar = seen(one.span_id, seconds(started - created), at_ns);
                counts.container_start_seconds.observe(START_BOUNDS, exemplar);
            }
            if one.window.start.ns < created {
                let exemplar = seen(one.span_id, seconds(created - one.window.start.ns), at_ns);
                counts.container_wait_seconds.observe(START_BOUNDS, exemplar);
            }
            if let Some(pull) = one.pull {
                let took = seconds(pull.end_ns.saturating_sub(pull.start_ns));
                let exemplar = seen(one.span_id, took, at_ns);
                counts.image_pull_seconds.observe(START_BOUNDS, exemplar);
            }
        }
    }

    fn counts(&mut self, job: &Job) -> &mut Counts {
        let labels = Arc::new(Labels::of(job));
        let since_ns = job.window.start.ns;
        let now_ns = job.window.end.map_or(since_ns, |end| end.ns);
        let has_room = self.sets.contains_key(&labels) || self.make_room(&labels, now_ns);
        let labels = if has_room { labels } else { Arc::new(Labels::other()) };
        let new = || Arc::new(Counts { since_ns, ..Counts::default() });
        let counts = Arc::make_mut(self.sets.entry(labels).or_insert_with(new));
        counts.used_ns = counts.used_ns.max(now_ns);
        counts
    }

    /// Whether there is room for a new set, if need be in place of one that is not used any more.
    fn make_room(&mut self, labels: &Labels, now_ns: u64) -> bool {
        let same = |other: &Labels| {
            (&other.namespace, &other.repository) == (&labels.namespace, &labels.repository)
        };
        let other = Labels::other();
        let of_all = self.sets.keys().filter(|one| ***one != other).count();
        let of_repository = self.sets.keys().filter(|one| same(one)).count();
        let crowded = of_repository >= MAX_LABELS_OF_REPOSITORY;
        if of_all < MAX_LABELS && !crowded {
            return true;
        }
        let unused = |counts: &Counts| now_ns.saturating_sub(counts.used_ns) >= UNUSED_NS;
        let candidates = self
            .sets
            .iter()
            .filter(|(one, counts)| ***one != other && (!crowded || same(one)) && unused(counts));
        let oldest = candidates.min_by_key(|(_, counts)| counts.used_ns);
        let oldest = oldest.map(|(labels, _)| Arc::clone(labels));
        oldest.is_some_and(|oldest| self.sets.remove(&oldest).is_some())
    }

    /// Whether a set is there that [`Self::expire`] would remove.
    pub fn has_expired(&self, now_ns: u64) -> bool {
        self.sets.values().any(|counts| counts.has_expired(now_ns))
    }

    /// Removes the sets that no job has used for a week. A job of these names that comes later counts
    /// from 0, as after a reset of the counter.
    pub fn expire(&mut self, now_ns: u64) {
        self.sets.retain(|_, counts| !counts.has_expired(now_ns));
    }

    /// The counts under these labels.
    pub fn of(&self, labels: &Labels) -> Option<&Arc<Counts>> {
        self.sets.get(labels)
    }
}

fn bump(counts: &mut BTreeMap<String, u64>, result: JobResult) {
    *counts.entry(result.as_str().to_owned()).or_default() += 1;
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

// === impl Counts ===

impl Counts {
    /// Whether all its histograms can be counted on.
    fn is_whole(&self) -> bool {
        self.duration_seconds.is_whole(DURATION_BOUNDS)
            && self.memory_peak_bytes.is_whole(MEMORY_BOUNDS)
            && self.container_start_seconds.is_whole(START_BOUNDS)
            && self.container_wait_seconds.is_whole(START_BOUNDS)
            && self.image_pull_seconds.is_whole(START_BOUNDS)
    }

    fn has_expired(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.used_ns) >= EXPIRY_NS
    }
}

// === impl Labels ===

impl Labels {
    /// Of a job.
    pub fn of(job: &Job) -> Self {
        let text = |text: &Option<Arc<str>>| text.as_deref().unwrap_or_default().to_owned();
        Self {
            namespace: job.pod.namespace.to_string(),
            repository: text(&job.identity.repository),
            workflow: text(&job.identity.workflow),
            job: text(&job.identity.job),
        }
    }

    /// Of those that found no place of their own.
    pub fn other() -> Self {
        let [namespace, repository, workflow, job] = [OTHER; 4].map(str::to_owned);
        Self { namespace, repository, workflow, job }
    }
}

// === impl Histogram ===

impl Histogram {
    /// How many observations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The observations as a native histogram of Prometheus has them.
    pub fn native(&self) -> &ExponentialBuckets {
        &self.exponential
    }

    /// Whether both kinds of buckets have all observations, and the classic ones no more than these
    /// bounds have: an earlier agent had only classic ones, or others.
    fn is_whole(&self, bounds: &[f64]) -> bool {
        self.buckets.len() <= bounds.len() + 1 && self.exponential.count() == self.count()
    }

    fn observe(&mut self, bounds: &[f64], exemplar: Exemplar) {
        self.buckets.resize(bounds.len() + 1, 0);
        self.exemplars.resize(bounds.len() + 1, None);
        self.sum += exemplar.value;
        self.exponential.observe(exemplar.value);
        let place = bounds.iter().take_while(|bound| exemplar.value > **bound).count();
        if let Some(bucket) = self.buckets.get_mut(place) {
            *bucket += 1;
        }
        if let Some(last) = self.exemplars.get_mut(place) {
            *last = Some(exemplar);
        }
    }
}

/// A map whose keys are no strings, as a list of pairs.
mod pairs {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Counts, Labels, Sets};

    pub(super) fn serialize<S: Serializer>(sets: &Sets, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(sets.iter().map(|(labels, counts)| (&**labels, &**counts)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Sets, D::Error> {
        let pairs: Vec<(Labels, Counts)> = Vec::deserialize(from)?;
        // A set with histograms of another kind begins anew, as after a reset of its counters.
        let pairs = pairs.into_iter().filter(|(_, counts)| counts.is_whole());
        let pairs = pairs.take(super::MAX_LABELS + 1);
        Ok(pairs.map(|(labels, counts)| (Arc::new(labels), Arc::new(counts))).collect())
    }
}

#[cfg(test)]
mod tests;
