//! `top`: what the jobs under way use now.

use ephemon_client::{ContainerSamples, Error, Listed, Source, Trouble};
use futures_util::StreamExt as _;
use futures_util::stream;

use crate::failure::Failure;
use crate::jobs::listing;
use crate::screen::{Screen, Tone, print, tell};
use crate::table::{Cell, Table};
use crate::text::{bytes, cpus, duration, known, name};

/// How far back a container's last reading may be: one that uses no CPU time is read seldom.
const RECENT_MS: u64 = 60_000;
/// Jobs that are asked for at one time.
const AT_ONCE: usize = 16;

/// Show what the jobs under way use now, the largest first
#[derive(Debug, Clone, clap::Args)]
pub struct Top {
    /// A line for each container instead of each job
    #[arg(long)]
    containers: bool,

    /// By what they are sorted
    #[arg(long, value_name = "FIGURE", value_enum, default_value = "cpu")]
    sort_by: Key,

    #[command(flatten)]
    source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Key {
    Cpu,
    Memory,
}

/// What a container, or all of a job, uses now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Use {
    container: String,
    cpu_millicores: Option<u64>,
    cpu_limit: Option<u64>,
    /// Where a limit is not known there may be one all the same.
    limits_known: bool,
    memory_bytes: Option<u64>,
    memory_limit: Option<u64>,
    throttled_permille: Option<u64>,
}

// === impl Top ===

impl Top {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let jobs = listing(&self.source).await?.jobs;
        let live: Vec<_> = jobs.into_iter().filter(|job| job.summary.ending.is_running()).collect();
        let asked = live.len();
        let live = live.into_iter();
        let is_sum = !self.containers;
        let ask = |job: Listed| async move { (uses(&job, is_sum).await, job) };
        let answers: Vec<_> = stream::iter(live.map(ask)).buffer_unordered(AT_ONCE).collect().await;
        let (mut rows, mut troubles, mut answered) = (Vec::new(), Vec::new(), 0_usize);
        for (answer, job) in answers {
            match answer {
                Ok((uses, left_out)) => {
                    answered = answered.saturating_add(1);
                    if left_out > 0 {
                        let job_name = name(&job.summary.name);
                        let why = format!("job {job_name}: {left_out} containers are left out");
                        troubles.push(Trouble { node: job.node.clone(), why });
                    }
                    if is_sum || uses.is_empty() {
                        rows.push((job, Use::sum(&uses)));
                    } else {
                        rows.extend(uses.into_iter().map(|it| (job.clone(), it)));
                    }
                }
                // It is over since it was listed.
                Err(Error::NoJob) => answered = answered.saturating_add(1),
                Err(error) => troubles.push(Trouble { node: job.node, why: error.to_string() }),
            }
        }
        tell(&troubles);
        if answered == 0 && asked > 0 {
            return Err(Failure::Silence);
        }
        rows.sort_by_key(|(job, it)| {
            let figure = if self.sort_by == Key::Cpu { it.cpu_millicores } else { it.memory_bytes };
            (std::cmp::Reverse(figure), job.summary.id.clone())
        });
        print(&text(&rows, self.containers, Screen::new()))
    }
}

/// What a job's containers use, and how many are left out. `is_own`: of those alone whose use is the
/// job's, as `jobs` counts it.
async fn uses(job: &Listed, is_own: bool) -> Result<(Vec<Use>, u64), Error> {
    let since = job.now_unix_ms.saturating_sub(RECENT_MS);
    let id = &job.summary.id;
    let samples = job.agent.samples(id, since).await?;
    // Asked for later, it has every container that has samples.
    let parts = if is_own { Some(job.agent.job(id).await?) } else { None };
    let is_counted = |one: &&ContainerSamples| {
        !one.ended && parts.as_ref().is_none_or(|parts| parts.counts(one))
    };
    Ok((samples.containers.iter().filter(is_counted).map(Use::of).collect(), samples.left_out))
}

// === impl Use ===

impl Use {
    fn of(samples: &ContainerSamples) -> Self {
        let throttled = samples.activity_of(&samples.activity.throttled_permille).last();
        Self {
            container: samples.name.clone(),
            cpu_millicores: samples.cpu().last().map(|(.., value)| value),
            cpu_limit: samples.cpu_limit_millicores,
            limits_known: samples.limits_known,
            memory_bytes: samples.memory().last().map(|(.., kib)| kib.saturating_mul(1024)),
            memory_limit: samples.memory_limit_bytes,
            throttled_permille: throttled.map(|(.., value)| value),
        }
    }

    /// Of all that is known.
    fn sum(all: &[Self]) -> Self {
        let sum =
            |of: fn(&Self) -> Option<u64>| all.iter().filter_map(of).reduce(u64::saturating_add);
        Self {
            cpu_millicores: sum(|it| it.cpu_millicores),
            memory_bytes: sum(|it| it.memory_bytes),
            ..Self::default()
        }
    }
}

fn text(rows: &[(Listed, Use)], containers: bool, screen: Screen) -> String {
    if rows.is_empty() {
        return "No job is under way.\n".into();
    }
    let mut table = if containers {
        Table::new(&[
            "CPU>",
            "LIMIT>",
            "THROTTLED>",
            "MEMORY>",
            "LIMIT>",
            "CONTAINER",
            "JOB",
            "POD",
            "NODE",
        ])
    } else {
        Table::new(&["CPU>", "MEMORY>", "TOOK>", "JOB", "REPOSITORY", "POD", "NODE"])
    };
    for (job, it) in rows {
        let of = &job.summary;
        let cpu = Cell::number(known(it.cpu_millicores, cpus)).tone(Tone::Strong);
        let memory = Cell::number(known(it.memory_bytes, bytes)).tone(Tone::Strong);
        let place = [
            Cell::new(format!("{}/{}", name(&of.namespace), name(&of.pod))),
            Cell::new(name(&job.node)),
        ];
        let own = if containers {
            vec![
                cpu,
                Cell::number(limit(it, it.cpu_limit, cpus)),
                Cell::number(known(it.throttled_permille, |it| format!("{}%", it / 10))),
                memory,
                Cell::number(limit(it, it.memory_limit, bytes)),
                Cell::new(name(&it.container)),
                Cell::new(name(&of.name)),
            ]
        } else {
            vec![
                cpu,
                memory,
                Cell::number(duration(of.span.millis(job.now_unix_ms))),
                Cell::new(name(&of.name)),
                Cell::new(known(of.repository.as_deref(), name)),
            ]
        };
        table.add(own.into_iter().chain(place).collect());
    }
    table.text(screen)
}

fn limit(of: &Use, limit: Option<u64>, text: fn(u64) -> String) -> String {
    if limit.is_none() && of.limits_known { "none".into() } else { known(limit, text) }
}

#[cfg(test)]
mod tests {
    use ephemon_client::{Activity, UsageColumns};

    use super::*;

    #[test]
    fn the_last_known_reading_is_the_present_use() {
        let samples = ContainerSamples {
            usage: UsageColumns {
                from: vec![0, 1],
                to: vec![1, 2],
                cpu_millicores: vec![Some(100), Some(250)],
                memory_kibibytes: vec![Some(2048), None],
            },
            activity: Activity {
                from: vec![0],
                to: vec![2],
                throttled_permille: vec![Some(345)],
                ..Activity::default()
            },
            cpu_limit_millicores: Some(500),
            ..ContainerSamples::default()
        };
        let one = Use::of(&samples);
        assert_eq!((one.cpu_millicores, one.memory_bytes), (Some(250), Some(2 << 20)));
        assert_eq!((one.cpu_limit, one.throttled_permille), (Some(500), Some(345)));
        assert_eq!(limit(&one, one.cpu_limit, cpus), "500m");
        assert_eq!(limit(&one, None, cpus), "-");
        assert_eq!(limit(&Use { limits_known: true, ..one.clone() }, None, cpus), "none");
        let idle = Use::default();
        assert_eq!(Use::sum(&[one.clone(), idle.clone(), one]).cpu_millicores, Some(500));
        assert_eq!(Use::sum(&[idle]).cpu_millicores, None, "nothing known is not 0");
    }
}
