//! Why a job may be slow, by its figures. Pure.
//!
//! Each reason has a weight: roughly the share of the job's time that it cost, thousandths; what has
//! ended processes is above all. Below the thresholds here nothing is said.

use ephemon_client::{Container, ContainerSamples, Job, Samples, Step};

use crate::text::{bytes, cpus, duration, name, percent};

/// Shares of a container's time, thousandths, from which on it is said.
const THROTTLED_PERMILLE: u64 = 50;
const CPU_WAITING_PERMILLE: u64 = 200;
const MEMORY_WAITING_PERMILLE: u64 = 50;
const IO_WAITING_PERMILLE: u64 = 100;
/// A peak of this share of the limit, percent.
const MEMORY_PERCENT: u64 = 90;
/// Pulls and waits: at least so long, and this share of the job's time, thousandths.
const WAIT_MS: u64 = 3000;
const WAIT_PERMILLE: u64 = 20;
/// What a disk is read and written by, bytes per second.
const DISK_BYTES_PER_SECOND: u64 = 50 << 20;
/// The weight of what has ended processes.
const KILLED: u64 = 10_000;

/// What stands out of a job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Findings {
    /// The most severe first.
    pub(crate) reasons: Vec<Reason>,
    /// What was looked at in vain, as a clause.
    pub(crate) clean: String,
    /// The step that took longest.
    pub(crate) longest_step: Option<String>,
    /// What the agent does not know.
    pub(crate) unknown: Vec<String>,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason {
    weight: u64,
    /// What is so, with figures.
    pub(crate) fact: String,
    /// What can be done.
    pub(crate) advice: &'static str,
}

/// A container with its samples and times.
struct Look<'a> {
    container: &'a Container,
    samples: Option<&'a ContainerSamples>,
    life_ms: u64,
    job_ms: u64,
}

// === impl Findings ===

impl Findings {
    /// Of a job.
    pub(crate) fn of(job: &Job, samples: &Samples) -> Self {
        let now = job.now_unix_ms;
        let job_ms = job.summary.span.millis(now).max(1);
        let looks: Vec<_> = job
            .containers
            .iter()
            .map(|container| Look {
                container,
                samples: samples.of(container.id.as_deref(), &container.name),
                life_ms: container.span.millis(now).max(1),
                job_ms,
            })
            .collect();
        let mut reasons: Vec<Reason> = looks.iter().flat_map(Look::reasons).collect();
        reasons.extend(runner_start(job, job_ms));
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.weight));
        Self {
            reasons,
            clean: clean(&looks).join(", "),
            longest_step: longest_step(job, job_ms),
            unknown: unknown(job, samples, &looks),
        }
    }
}

// === impl Look ===

impl Look<'_> {
    fn reasons(&self) -> Vec<Reason> {
        let found = [
            self.killed(),
            self.memory(),
            self.throttled(),
            self.pull(),
            self.wait(),
            self.waiting_for("a CPU", CPU_WAITING_PERMILLE, |of| &of.activity.cpu_waiting_permille),
            self.waiting_for("memory", MEMORY_WAITING_PERMILLE, |of| {
                &of.activity.memory_waiting_permille
            }),
            self.waiting_for("I/O", IO_WAITING_PERMILLE, |of| &of.activity.io_waiting_permille),
            self.disk(),
        ];
        found.into_iter().flatten().collect()
    }

    fn name(&self) -> String {
        format!("container {}", name(&self.container.name))
    }

    /// A share of this container's life as one of the job's time.
    fn weight(&self, permille: u64) -> u64 {
        let life_ms = self.life_ms.min(self.job_ms);
        permille.saturating_mul(life_ms).checked_div(self.job_ms).unwrap_or_default()
    }

    fn memory_limit(&self) -> Option<u64> {
        self.samples?.memory_limit_bytes.filter(|limit| *limit > 0)
    }

    /// The most that was in use at a sample. The kernel's own peak has cached files in it, which a
    /// build that writes more than its limit always fills up.
    fn memory_used(&self) -> Option<u64> {
        self.samples?.memory().map(|(.., kib)| kib.saturating_mul(1024)).max()
    }

    fn memory_percent(&self) -> Option<u64> {
        percent(self.memory_used()?, self.memory_limit()?)
    }

    fn mean_of(&self, column: fn(&ContainerSamples) -> &[Option<u64>]) -> Option<u64> {
        mean(self.samples?.activity_of(column(self.samples?)))
    }

    fn killed(&self) -> Option<Reason> {
        let counted = self.container.usage.oom_kills.unwrap_or_default();
        let is_killed = self.container.ending.fault.as_deref().is_some_and(|it| it.contains("oom"));
        if counted == 0 && !is_killed {
            return None;
        }
        let count = counted.max(1);
        let processes = if count == 1 { "process was" } else { "processes were" };
        let limit =
            self.memory_limit().map(|limit| format!(" at its memory limit of {}", bytes(limit)));
        let fact = format!(
            "{}: {count} {processes} killed for want of memory{}",
            self.name(),
            limit.unwrap_or_default()
        );
        let advice =
            "Raise its memory limit, or let it use less: fewer parallel jobs, smaller heaps.";
        Some(Reason { weight: KILLED, fact, advice })
    }

    fn memory(&self) -> Option<Reason> {
        let (used, limit) = (self.memory_used()?, self.memory_limit()?);
        let share = percent(used, limit).filter(|share| *share >= MEMORY_PERCENT)?;
        let fact = format!(
            "{}: memory in use was up to {}, {share}% of its limit of {}",
            self.name(),
            bytes(used),
            bytes(limit)
        );
        let advice =
            "Near its limit the kernel drops cached files again and again; raise the limit.";
        // At 90 % a tenth of the time, at 100 % half of it: a guess that orders.
        let above = share.min(100).saturating_sub(MEMORY_PERCENT);
        Some(Reason {
            weight: self.weight(above.saturating_mul(40).saturating_add(100)),
            fact,
            advice,
        })
    }

    fn throttled(&self) -> Option<Reason> {
        let seconds = self.container.usage.cpu_throttled_seconds?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float's cast saturates"
        )]
        let ms = (seconds * 1000.0) as u64;
        let permille = ms.saturating_mul(1000).checked_div(self.life_ms)?;
        if permille < THROTTLED_PERMILLE {
            return None;
        }
        let limit = self.samples.and_then(|of| of.cpu_limit_millicores).map(cpus);
        let limit = limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
        // The kernel adds up the time of all tasks that it holds back at once.
        let share = match permille {
            0..=1000 => format!(", {}% of its time", permille / 10),
            _ => ", added up over its tasks".to_owned(),
        };
        let fact = format!(
            "{}: throttled for {} in {}{share}, by its CPU limit{limit}",
            self.name(),
            duration(ms),
            duration(self.life_ms),
        );
        let advice = "Raise its CPU limit or take it away; requests alone share CPUs fairly.";
        Some(Reason { weight: self.weight(permille.min(1000)), fact, advice })
    }

    /// Nothing waits for what stands by.
    fn is_waited_for(&self) -> bool {
        self.container.role != "standby"
    }

    fn pull(&self) -> Option<Reason> {
        let pull = self.container.pull.filter(|_| self.is_waited_for())?;
        // The agent may have begun it before anybody asked for the container: nothing waited till then.
        let began = pull.start_unix_ms.max(self.container.span.start_unix_ms);
        let ms = pull.end_unix_ms.saturating_sub(began);
        let weight = long_wait(ms, self.job_ms)?;
        let size = pull.bytes.map(|size| format!(" ({})", bytes(size))).unwrap_or_default();
        let image = self.container.image.as_deref().map(name).unwrap_or_default();
        let fact = format!(
            "{}: the pull of {image}{size} took {}, {}% of the job",
            self.name(),
            duration(ms),
            weight / 10
        );
        let advice =
            "Use a smaller image, keep it on the node, or have a registry or cache nearby.";
        Some(Reason { weight, fact, advice })
    }

    /// From what asked for it to its own program, without the pull.
    fn wait(&self) -> Option<Reason> {
        let started = self.container.started_unix_ms.filter(|_| self.is_waited_for())?;
        let asked = self.container.span.start_unix_ms;
        let pull = self
            .container
            .pull
            .map(|pull| pull.end_unix_ms.saturating_sub(pull.start_unix_ms.max(asked)));
        let ms = started.saturating_sub(asked);
        let ms = ms.saturating_sub(pull.unwrap_or_default());
        let weight = long_wait(ms, self.job_ms)?;
        let fact = format!("{}: waited {} before its program ran", self.name(), duration(ms));
        let advice = "The node's kubelet or runtime is busy, or the pull is not known; see the pod's events.";
        Some(Reason { weight, fact, advice })
    }

    fn waiting_for(
        &self,
        what: &str,
        least: u64,
        column: fn(&ContainerSamples) -> &[Option<u64>],
    ) -> Option<Reason> {
        let permille = self.mean_of(column)?;
        if permille < least {
            return None;
        }
        let share = permille / 10;
        let fact = format!("{}: its tasks waited for {what} {share}% of the time", self.name());
        let advice = match what {
            "a CPU" => {
                "The node is full, or its CPU limit is low: raise requests, or use larger nodes."
            }
            "memory" => "Memory is short: raise its memory limit, or use larger nodes.",
            _ => {
                "The disk is slow or shared: use faster disks, a memory volume, or fewer jobs a node."
            }
        };
        Some(Reason { weight: self.weight(permille.min(1000)), fact, advice })
    }

    fn disk(&self) -> Option<Reason> {
        let usage = &self.container.usage;
        let (read, written) =
            (usage.read_bytes.unwrap_or_default(), usage.written_bytes.unwrap_or_default());
        let rate = read.saturating_add(written).saturating_mul(1000).checked_div(self.life_ms)?;
        if rate < DISK_BYTES_PER_SECOND {
            return None;
        }
        let fact = format!(
            "{}: read {} and wrote {}, {}/s on average",
            self.name(),
            bytes(read),
            bytes(written),
            bytes(rate)
        );
        let advice = "Cache less or smaller files, or use a faster disk or a memory volume.";
        // Many bytes cost time only if something waits, which the reason above says.
        Some(Reason { weight: self.weight(30), fact, advice })
    }
}

fn runner_start(job: &Job, job_ms: u64) -> Option<Reason> {
    let ms = job.runner_startup_ms?;
    let weight = long_wait(ms, job_ms)?;
    let fact = format!("the runner took {} to start, before the job", duration(ms));
    let advice =
        "Keep runners ready (minRunners), or make init containers and the runner's image smaller.";
    Some(Reason { weight, fact, advice })
}

/// The share of the job's time, thousandths, of a wait that is worth a word.
fn long_wait(ms: u64, job_ms: u64) -> Option<u64> {
    let permille = ms.saturating_mul(1000).checked_div(job_ms)?;
    (ms >= WAIT_MS && permille >= WAIT_PERMILLE).then_some(permille)
}

fn longest_step(job: &Job, job_ms: u64) -> Option<String> {
    let ms = |step: &Step| step.span.millis(job.now_unix_ms);
    let longest = job.steps.iter().max_by_key(|step| ms(step))?;
    let share = percent(ms(longest), job_ms).unwrap_or_default().min(100);
    let (title, took) = (name(longest.shown_name()), duration(ms(longest)));
    Some(format!("The longest step is {title:?}: {took}, {share}% of the job."))
}

/// The mean of values over time.
fn mean(points: impl Iterator<Item = (u64, u64, u64)>) -> Option<u64> {
    let (sum, time) = points.fold((0_u64, 0_u64), |(sum, time), (from, to, value)| {
        let ms = to.saturating_sub(from);
        (sum.saturating_add(value.saturating_mul(ms)), time.saturating_add(ms))
    });
    sum.checked_div(time)
}

/// Pressure: what waits, and its column.
type Pressure = (&'static str, fn(&ContainerSamples) -> &[Option<u64>]);

const PRESSURES: [Pressure; 3] = [
    ("for a CPU", |of| &of.activity.cpu_waiting_permille),
    ("for memory", |of| &of.activity.memory_waiting_permille),
    ("for I/O", |of| &of.activity.io_waiting_permille),
];

/// What was looked at, and is in order: only what is known of a container.
fn clean(looks: &[Look<'_>]) -> Vec<String> {
    let is_known = |known: fn(&Look<'_>) -> bool| looks.iter().any(known);
    let mut clean = Vec::new();
    if is_known(|look| look.container.usage.oom_kills.is_some()) {
        clean.push("no OOM kill".to_owned());
    }
    if let Some(highest) = looks.iter().filter_map(Look::memory_percent).max() {
        clean.push(format!("memory at most {highest}% of a limit"));
    }
    if is_known(|look| look.container.usage.cpu_throttled_seconds.is_some()) {
        clean.push("little throttling".to_owned());
    }
    if is_known(|look| look.container.pull.is_some() || look.container.started_unix_ms.is_some()) {
        clean.push("no long pull or wait".to_owned());
    }
    let waits: Vec<_> = PRESSURES
        .iter()
        .filter(|(_, column)| looks.iter().any(|look| look.mean_of(*column).is_some()))
        .map(|(what, _)| *what)
        .collect();
    if !waits.is_empty() {
        clean.push(format!("little waiting {}", waits.join(", ")));
    }
    clean
}

fn unknown(job: &Job, samples: &Samples, looks: &[Look<'_>]) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut missing = |is_known: &dyn Fn(&Look<'_>) -> bool, what: &str| {
        let count = looks.iter().filter(|look| !is_known(look)).count();
        if count > 0 {
            let of = if count == looks.len() { "" } else { " of some containers" };
            unknown.push(format!("{what}{of}"));
        }
    };
    missing(&|look| look.container.usage.oom_kills.is_some(), "OOM kills");
    missing(&|look| look.container.usage.cpu_throttled_seconds.is_some(), "throttling");
    missing(&|look| look.samples.is_some_and(|one| one.limits_known), "limits");
    missing(&|look| look.memory_used().is_some(), "memory over time");
    for (what, column) in PRESSURES {
        missing(&|look| look.mean_of(column).is_some(), &format!("waiting {what}"));
    }
    let left_out = job.parts_left_out.saturating_add(samples.left_out);
    if left_out > 0 {
        unknown.push(format!("{left_out} parts for which the agent has no room"));
    }
    unknown
}

#[cfg(test)]
mod tests;
