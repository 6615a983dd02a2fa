//! What jobs of one kind used. Plain values.

use std::collections::BTreeMap;

use serde::Serialize;

use super::amount::{Resources, larger};
use super::job::{JobUse, Kind};
use super::spread::Spread;

/// What jobs of one kind used.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Jobs that are over.
    pub jobs: u64,
    /// How long those ran, together, of which CPU time is known.
    pub hours: f64,
    /// CPUs in use, of all jobs together: their CPU time by their time.
    pub cpu_mean_cores: Option<f64>,
    /// Jobs of which CPU time is known.
    pub cpu_jobs: u64,
    /// CPUs in use on average over each job.
    pub cpu_cores: Option<Spread>,
    /// Memory of each job.
    pub memory_bytes: Option<Spread>,
    /// Where only this is known: memory of the container of each job that used most, page cache
    /// included. All containers of a job used more.
    pub container_memory_bytes: Option<Spread>,
    /// The highest that the kernel saw in one container, page cache included.
    pub memory_peak_bytes: Option<f64>,
    /// Processes that the OOM killer ended; `None` unless each job's are known.
    pub oom_kills: Option<u64>,
    /// The highest memory limit of a job in which the OOM killer came.
    pub killed_limit_bytes: Option<f64>,
    /// The share of a CPU quota's periods in which it was used up, of 95 of 100 jobs at most. Jobs
    /// with a lower quota than the latest job's do not count.
    pub throttled: Option<f64>,
    /// What the latest job's pod requests.
    pub request: Resources,
    /// What limits the latest job's pod.
    pub limit: Resources,
    /// The scale sets that they ran in.
    pub scale_sets: Vec<String>,
}

// === impl Usage ===

impl Usage {
    /// By kind of job.
    pub fn by_kind(jobs: &[JobUse]) -> BTreeMap<Kind, Self> {
        let mut kinds: BTreeMap<&Kind, Vec<&JobUse>> = BTreeMap::new();
        for job in jobs {
            kinds.entry(&job.kind).or_default().push(job);
        }
        kinds.into_iter().map(|(kind, jobs)| (kind.clone(), Self::of(&jobs))).collect()
    }

    fn of(jobs: &[&JobUse]) -> Self {
        let timed = || jobs.iter().filter(|job| job.cpu_cores().is_some());
        let seconds: f64 = timed().filter_map(|job| job.seconds).sum();
        let cpu_seconds: f64 = timed().filter_map(|job| job.cpu_seconds).sum();
        let latest = |which: fn(&JobUse) -> Resources| {
            let said = jobs.iter().filter(|job| !which(job).is_empty());
            let latest = said.max_by(|a, b| a.start.total_cmp(&b.start));
            latest.map(|job| which(job)).unwrap_or_default()
        };
        let mut scale_sets: Vec<String> =
            jobs.iter().filter_map(|job| job.scale_set.clone()).collect();
        scale_sets.sort_unstable();
        scale_sets.dedup();
        let limit = latest(|job| job.limit);
        let has_quota = |job: &&&JobUse| {
            let quota = job.limit.cpu_cores.zip(limit.cpu_cores);
            quota.is_none_or(|(then, now)| then >= now)
        };
        let throttled = jobs.iter().filter(has_quota).filter_map(|job| job.throttled);
        let kills: f64 = jobs.iter().filter_map(|job| job.oom_kills).sum();
        let are_known = kills > 0.0 || jobs.iter().all(|job| job.oom_kills.is_some());
        let killed = jobs.iter().filter(|job| job.oom_kills.is_some_and(|kills| kills > 0.0));
        Self {
            jobs: jobs.len() as u64,
            hours: seconds / 3600.0,
            cpu_mean_cores: (seconds > 0.0).then_some(cpu_seconds / seconds),
            cpu_jobs: timed().count() as u64,
            cpu_cores: Spread::of(jobs.iter().filter_map(|job| job.cpu_cores())),
            memory_bytes: Spread::of(jobs.iter().filter_map(|job| job.memory_bytes)),
            container_memory_bytes: None,
            memory_peak_bytes: jobs.iter().map(|job| job.memory_peak_bytes).fold(None, larger),
            oom_kills: are_known.then(|| whole(kills)),
            killed_limit_bytes: killed.map(|job| job.limit.memory_bytes).fold(None, larger),
            throttled: Spread::of(throttled).map(|it| it.p95),
            request: latest(|job| job.request),
            limit,
            scale_sets,
        }
    }
}

/// A count that came as a float; 0 where it is none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounded to what a u64 holds; what is no number becomes 0"
)]
pub(crate) fn whole(count: f64) -> u64 {
    count.round().clamp(0.0, 1e15) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_and_throttling_count_by_the_limit_that_the_job_itself_had() {
        // Of each job, the later ones last: kills, memory limit, throttled share, quota.
        let kind = |jobs: &[(Option<f64>, f64, f64, f64)]| {
            let job = |(start, &(oom_kills, memory, throttled, quota))| JobUse {
                start,
                oom_kills,
                throttled: Some(throttled),
                limit: Resources { cpu_cores: Some(quota), memory_bytes: Some(memory) },
                ..JobUse::default()
            };
            let jobs: Vec<JobUse> = (0..9_u32).map(f64::from).zip(jobs).map(job).collect();
            Usage::by_kind(&jobs).remove(&Kind::default()).unwrap()
        };
        for (jobs, kills, killed, throttled) in [
            // Both were raised since.
            (vec![(Some(2.0), 1.0, 0.9, 1.0), (Some(0.0), 2.0, 0.0, 2.0)], Some(2), Some(1.0), 0.0),
            (vec![(Some(0.0), 1.0, 0.0, 2.0), (Some(1.0), 2.0, 0.9, 1.0)], Some(1), Some(2.0), 0.9),
            (vec![(Some(0.0), 1.0, 0.0, 1.0), (None, 2.0, 0.0, 1.0)], None, None, 0.0),
        ] {
            let usage = kind(&jobs);
            let found = (usage.oom_kills, usage.killed_limit_bytes, usage.throttled);
            assert_eq!(found, (kills, killed, Some(throttled)), "{jobs:?}");
        }
    }
}
