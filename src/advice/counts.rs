//! What agents themselves have counted, by kind of job. Pure.
//!
//! An agent keeps counts and histograms of each kind, across restarts, until no job of it came for a
//! week. There are no single jobs in it, nor what their pods request.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;

use super::amount::Resources;
use super::job::{Kind, full_name, runner_of};
use super::left_out::LeftOut;
use super::matcher::{Matched, Matcher};
use super::messages::{Family, Histogram, Metric};
use super::spread::Spread;
use super::usage::{Usage, whole};

/// All kinds that found no room in an agent's counts.
const OTHER: &str = "other";

/// Why an answer cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CountsError {
    /// No message.
    #[error("the answer is not in Prometheus' protobuf format: {0}")]
    Broken(String),
    /// Of something else.
    #[error(
        "the answer has no metrics of an agent (ephemon_agent_build_info); is the URL an agent's?"
    )]
    NoAgent,
}

/// What was counted under each name.
#[derive(Debug, Default)]
pub struct Counts {
    kinds: BTreeMap<Kind, Count>,
}

#[derive(Debug, Default)]
struct Count {
    jobs: f64,
    seconds: f64,
    timed: f64,
    cpu_seconds: f64,
    oom_kills: Option<f64>,
    /// Whether a job of it has its steps run in other pods.
    is_elsewhere: bool,
    memory: Vec<(f64, u64)>,
    limit: Resources,
}

// === impl Counts ===

impl Counts {
    /// What an agent is asked for.
    pub const ACCEPT: &str = "application/vnd.google.protobuf; \
                              proto=io.prometheus.client.MetricFamily; encoding=delimited";

    /// Adds the answer of one agent.
    pub fn add(&mut self, mut body: &[u8]) -> Result<(), CountsError> {
        let mut families: BTreeMap<String, Vec<Metric>> = BTreeMap::new();
        while !body.is_empty() {
            let family = Family::decode_length_delimited(&mut body)
                .map_err(|error| CountsError::Broken(error.to_string()))?;
            families.entry(family.name.unwrap_or_default()).or_default().extend(family.metric);
        }
        if !families.contains_key("ephemon_agent_build_info") {
            return Err(CountsError::NoAgent);
        }
        let of = |name: &str| families.get(&format!("ephemon_{name}")).into_iter().flatten();
        for (name, to) in [
            ("job_completed_total", (|it| &mut it.jobs) as fn(&mut Count) -> &mut f64),
            ("job_cpu_usage_seconds_total", |it| &mut it.cpu_seconds),
            ("job_oom_kills_total", |it| it.oom_kills.get_or_insert_default()),
        ] {
            for metric in of(name) {
                *to(self.kind(metric)) += metric.single().unwrap_or_default().max(0.0);
            }
        }
        let histogram = |metric: &Metric| metric.histogram.clone().unwrap_or_default();
        for metric in of("job_duration_seconds") {
            let Histogram { sample_sum, sample_count, .. } = histogram(metric);
            let sum = sample_sum.filter(|sum| sum.is_finite() && *sum >= 0.0);
            let count = self.kind(metric);
            count.seconds += sum.unwrap_or_default();
            count.timed += sample_count.unwrap_or_default() as f64;
        }
        for metric in of("job_container_memory_peak_bytes") {
            self.kind(metric).memory.extend(histogram(metric).buckets());
        }
        let place = |metric: &Metric| {
            (metric.label("namespace").to_owned(), metric.label("pod").to_owned())
        };
        let of_pod =
            |metric: &&Metric| matches!(metric.label("container_type"), "container" | "sidecar");
        // Without a limit of each container a pod has none.
        let mut containers: BTreeMap<(String, String), usize> = BTreeMap::new();
        for metric in of("container_start_time_seconds").filter(of_pod) {
            *containers.entry(place(metric)).or_default() += 1;
        }
        let runner = |(namespace, pod): &(String, String)| {
            Some((namespace.clone(), runner_of(pod)?.to_owned()))
        };
        let runners: BTreeSet<(String, String)> = containers.keys().filter_map(runner).collect();
        let mut limits: BTreeMap<(String, String), [(usize, f64); 2]> = BTreeMap::new();
        for (name, which) in [("container_cpu_limit_cores", 0), ("container_memory_limit_bytes", 1)]
        {
            for metric in of(name).filter(of_pod) {
                let Some(value) = metric.single().filter(|value| *value > 0.0) else { continue };
                if let Some((count, sum)) = limits.entry(place(metric)).or_default().get_mut(which)
                {
                    (*count, *sum) = (*count + 1, *sum + value);
                }
            }
        }
        for metric in of("job_info") {
            let place = place(metric);
            let is_elsewhere = runner_of(&place.1).is_some() || runners.contains(&place);
            self.kind(metric).is_elsewhere |= is_elsewhere;
            let (Some(all), Some(found)) = (containers.get(&place), limits.get(&place)) else {
                continue;
            };
            let [cpu_cores, memory_bytes] =
                found.map(|(count, sum)| (count == *all).then_some(sum));
            let known = &mut self.kind(metric).limit;
            *known = known.max(Resources { cpu_cores, memory_bytes });
        }
        Ok(())
    }

    /// What jobs with all of these labels used, by kind, and how many jobs are in no kind, because they
    /// have none of their own or ran in other pods than their runners'.
    pub fn usages(&self, matchers: &[Matcher]) -> (BTreeMap<Kind, Usage>, LeftOut) {
        let is_other = |kind: &Kind| {
            [&kind.namespace, &kind.workflow, &kind.job].iter().all(|it| *it == OTHER)
        };
        let (other, known): (Vec<_>, Vec<_>) =
            self.kinds.iter().partition(|(kind, _)| is_other(kind));
        let wanted = known.into_iter().filter(|(kind, _)| matchers.iter().all(|it| it.takes(kind)));
        let (elsewhere, here): (Vec<_>, Vec<_>) = wanted.partition(|(_, count)| count.is_elsewhere);
        let usages = here.into_iter().map(|(kind, count)| (kind.clone(), count.usage()));
        let usages = usages.filter(|(_, usage)| usage.jobs > 0).collect();
        let jobs = |of: Vec<(&Kind, &Count)>| of.iter().map(|(_, count)| whole(count.jobs)).sum();
        (usages, LeftOut { unknown: jobs(other), elsewhere: jobs(elsewhere) })
    }

    fn kind(&mut self, metric: &Metric) -> &mut Count {
        let kind = Kind {
            cluster: String::new(),
            namespace: metric.label("namespace").to_owned(),
            repository: full_name(metric.label("organization"), metric.label("repository")),
            workflow: metric.label("workflow").to_owned(),
            job: metric.label("job_id").to_owned(),
        };
        self.kinds.entry(kind).or_default()
    }
}

// === impl Count ===

impl Count {
    fn usage(&self) -> Usage {
        // Each job has a container that used most, and the histogram has all of them: the quantile is
        // that of as many observations as there are jobs, the largest ones.
        let memory = spread(&self.memory, self.jobs);
        Usage {
            jobs: whole(self.jobs),
            hours: self.seconds / 3600.0,
            cpu_mean_cores: (self.seconds > 0.0).then_some(self.cpu_seconds / self.seconds),
            cpu_jobs: whole(self.timed),
            container_memory_bytes: memory,
            memory_peak_bytes: memory.map(|it| it.max),
            oom_kills: self.oom_kills.map(whole),
            limit: self.limit,
            ..Usage::default()
        }
    }
}

/// By upper bounds of buckets, of the `most` largest observations.
fn spread(buckets: &[(f64, u64)], most: f64) -> Option<Spread> {
    let mut buckets = buckets.to_vec();
    buckets.retain(|(_, count)| *count > 0);
    buckets.sort_by(|a, b| b.0.total_cmp(&a.0));
    let all: f64 = buckets.iter().map(|(_, count)| *count as f64).sum();
    let counted = most.min(all);
    let above = |share: f64| {
        let mut seen = 0.0;
        let found = buckets.iter().find(|(_, count)| {
            seen += *count as f64;
            seen > counted * share
        });
        found.map(|(bound, _)| *bound)
    };
    Some(Spread { count: whole(counted), p50: above(0.5)?, p95: above(0.05)?, max: above(0.0)? })
}

// === impl Matcher ===

impl Matcher {
    /// Whether a kind of job has this label. An agent does not know its cluster.
    fn takes(&self, kind: &Kind) -> bool {
        let (owner, name) = kind.repository.split_once('/').unwrap_or(("", &kind.repository));
        match self.label {
            Matched::Cluster => kind.cluster == self.value,
            Matched::Namespace => kind.namespace == self.value,
            Matched::Organization => owner == self.value,
            Matched::Repository => kind.repository == self.value || name == self.value,
            Matched::Workflow => kind.workflow == self.value,
            Matched::Job => kind.job == self.value,
        }
    }
}

#[cfg(test)]
mod tests;
