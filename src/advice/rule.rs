//! What follows from what jobs used. Pure.
//!
//! A request is what the scheduler keeps free for every job, so it costs; a limit costs nothing until
//! it is reached. So requests follow what nearly all jobs used, and limits of memory the highest use
//! that was ever seen. `deploy/docs/advice.md` says the same for people.

use serde::Serialize;

use super::amount::{MIB, Resources, larger, round_up};
use super::spread::Spread;
use super::usage::Usage;

/// Of a request and of a limit of memory, above what was used.
const HEADROOM: f64 = 1.2;
/// Of a CPU request where only the mean of all jobs is known.
const HEADROOM_OF_MEAN: f64 = 1.5;
/// Of a limit that killed a job, or throttled jobs: by so much it grows at least.
const GROWTH: f64 = 1.5;
/// Use this near to its limit is near.
const NEAR: f64 = 0.9;
/// A share of throttled periods above which a quota is too tight.
const THROTTLED: f64 = 0.05;
/// Requests of CPU are multiples of this.
const CPU_STEP: f64 = 0.1;
/// Limits of CPU are.
const CPU_LIMIT_STEP: f64 = 0.5;
/// Requests and limits of memory are.
const MEMORY_STEP: f64 = 128.0 * MIB;
/// Less memory than this is no request for a runner.
const LEAST_MEMORY: f64 = 256.0 * MIB;

/// When there is advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// A figure that fewer jobs have is no reason for anything.
    pub min_jobs: u64,
}

/// How likely a job's memory is too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// Far below the limit.
    Low,
    /// No limit is known, or not whether the OOM killer came.
    Unknown,
    /// A job came near the limit.
    High,
    /// The OOM killer ended processes.
    Killed,
}

/// What follows for one kind of job.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Of memory.
    pub risk: Risk,
    /// What to request; `None` of too few jobs.
    pub request: Option<Resources>,
    /// Where to put limits; without CPU unless there is such a limit now.
    pub limit: Option<Resources>,
    /// CPU requested and not used, in core hours: request less p95, times the hours.
    pub waste_core_hours: Option<f64>,
    /// Memory requested and not used, in GiB hours.
    pub waste_gib_hours: Option<f64>,
}

// === impl Risk ===

impl Risk {
    fn of(usage: &Usage) -> Self {
        let limit = usage.limit.memory_bytes.filter(|limit| *limit > 0.0);
        match (usage.oom_kills, limit, usage.memory_bytes) {
            (Some(1..), _, _) => Self::Killed,
            (_, Some(limit), Some(memory)) if memory.max >= limit * NEAR => Self::High,
            (Some(0), Some(_), Some(_)) => Self::Low,
            _ => Self::Unknown,
        }
    }

    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Unknown => "unknown",
            Self::High => "high",
            Self::Killed => "killed",
        }
    }
}

// === impl Rule ===

impl Rule {
    /// What follows from the use.
    pub fn verdict(self, usage: &Usage) -> Verdict {
        // Of each figure by itself: Prometheus need not have all of them of each job.
        let is_of_enough = |spread: &Spread| spread.count >= self.min_jobs;
        let memory = usage.memory_bytes.filter(is_of_enough);
        let cores = cpu_request(usage).filter(|_| usage.cpu_jobs >= self.min_jobs);
        let request =
            Resources { cpu_cores: cores, memory_bytes: memory.map(|it| memory_request(&it)) };
        let limit = Resources {
            cpu_cores: request.cpu_cores.and_then(|request| cpu_limit(usage, request)),
            memory_bytes: memory.map(|it| memory_limit(usage, &it)),
        };
        let unused = |request: Option<f64>, used: Option<f64>| {
            let hours = Some(usage.hours).filter(|hours| *hours > 0.0)?;
            Some((request? - used?).max(0.0) * hours).filter(|waste| waste.is_finite())
        };
        let cpu_used = usage.cpu_cores.map(|it| it.p95).or(usage.cpu_mean_cores);
        let memory_used = usage.memory_bytes.map(|it| it.p95);
        let bytes = unused(usage.request.memory_bytes, memory_used);
        Verdict {
            risk: Risk::of(usage),
            request: Some(request).filter(|it| !it.is_empty()),
            limit: Some(limit).filter(|it| !it.is_empty()),
            waste_core_hours: unused(usage.request.cpu_cores, cpu_used),
            waste_gib_hours: bytes.map(|bytes| bytes / super::amount::GIB),
        }
    }
}

/// What limits of other kinds of jobs must not go below where these run, too: what limits them now, and
/// the highest memory that was seen.
pub(crate) fn least_limit(usage: &Usage) -> Resources {
    let memory = usage.memory_bytes.map(|it| round_up(highest(usage, &it) * HEADROOM, MEMORY_STEP));
    let now = usage.limit.memory_bytes.filter(|limit| *limit > 0.0);
    Resources { cpu_cores: usage.limit.cpu_cores, memory_bytes: larger(memory, now) }
}

fn cpu_request(usage: &Usage) -> Option<f64> {
    let of_mean = || usage.cpu_mean_cores.map(|mean| mean * HEADROOM_OF_MEAN);
    let cores = usage.cpu_cores.map(|it| it.p95 * HEADROOM).or_else(of_mean)?;
    Some(round_up(cores, CPU_STEP))
}

fn memory_request(memory: &Spread) -> f64 {
    round_up((memory.p95 * HEADROOM).max(LEAST_MEMORY), MEMORY_STEP)
}

/// Without a quota jobs use what the node has left: there is no reason to set one. A quota below the
/// request would be refused.
fn cpu_limit(usage: &Usage, request: f64) -> Option<f64> {
    let limit = usage.limit.cpu_cores?;
    let is_throttled = usage.throttled.is_some_and(|share| share > THROTTLED);
    let is_near = usage.cpu_cores.is_some_and(|cores| cores.max >= limit * NEAR);
    let grown =
        if is_throttled || is_near { round_up(limit * GROWTH, CPU_LIMIT_STEP) } else { limit };
    Some(if grown < request { round_up(request, CPU_LIMIT_STEP) } else { grown })
}

fn memory_limit(usage: &Usage, memory: &Spread) -> f64 {
    let request = memory_request(memory);
    // What was seen ends at the limit that killed, so that one is no measure of what is needed.
    let killed = usage.killed_limit_bytes.filter(|limit| *limit > 0.0);
    let least = killed.map_or(request, |limit| request.max(limit * GROWTH));
    let wanted = round_up((highest(usage, memory) * HEADROOM).max(least), MEMORY_STEP);
    let Some(now) = usage.limit.memory_bytes.filter(|limit| *limit > 0.0) else {
        return wanted;
    };
    // The kernel's figure has page cache, which fills up any limit: one that killed nothing and is not
    // near what jobs need is enough.
    let is_enough = memory.max < now * NEAR && least <= now;
    // Nobody knows whether a lower one would kill, or which one did.
    let may_shrink = usage.oom_kills.is_some_and(|kills| kills == 0 || killed.is_some());
    match (is_enough, may_shrink) {
        (true, true) => wanted.min(now),
        (true, false) => now,
        (false, _) => wanted.max(now),
    }
}

fn highest(usage: &Usage, memory: &Spread) -> f64 {
    memory.max.max(usage.memory_peak_bytes.unwrap_or_default())
}

#[cfg(test)]
mod tests;
