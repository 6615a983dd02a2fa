//! Holds what the agent says against what is known of the containers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use std::{fmt::Write, thread};

use super::agent::Agent;
use super::exposition::{Ledger, Series};
use super::launcher::Ran;
use super::parts::in_vm;

/// A container that ran, and its true CPU time where that is known.
#[derive(Debug, Clone)]
pub(crate) struct Truth {
    /// Its pod's namespace.
    pub(crate) namespace: String,
    /// Its pod's name.
    pub(crate) pod: String,
    /// Its name in the pod.
    pub(crate) name: String,
    /// Its id.
    pub(crate) id: String,
    /// Its CPU time.
    pub(crate) cpu_ns: Option<u64>,
}

const CPU: &str = "ephemon_container_cpu_usage_seconds_total";
const INFO: &str = "ephemon_container_info";
const QUALITY: &str = "ephemon_container_final_quality_info";
const END: &str = "ephemon_container_end_time_seconds";
const ERROR: &str = "ephemon_pod_cpu_accounting_error_ratio";

/// Scrapes until the agent has shown the end of each container, and returns all it showed. Gives up
/// when no further end was shown for as long as `limit`, in several scrapes.
pub(crate) fn settle(agent: &Agent, truths: &[Truth], limit: Duration) -> Ledger {
    let mut ledger = Ledger::default();
    let (mut most, mut since, mut in_vain) = (0, Instant::now(), 0);
    loop {
        agent.scrape_into(&mut ledger);
        let shown =
            truths.iter().filter(|truth| ledger.sum(END, &truth.labels()).is_some()).count();
        if shown > most {
            (most, since, in_vain) = (shown, Instant::now(), 0);
        }
        in_vain += 1;
        if shown == truths.len() || (since.elapsed() > limit && in_vain > 10) {
            return ledger;
        }
        thread::sleep(Duration::from_millis(500));
    }
}

/// Whether the agent has shown it at all.
pub(crate) fn is_shown(ledger: &Ledger, truth: &Truth) -> bool {
    ledger.with(INFO, &truth.labels()).next().is_some()
}

/// Every container is shown once, by its own name and id. Its CPU time is within 1 % or [`slack`] if the
/// agent calls it exact. What it calls a residual may hold some of what others of the pod used
/// meanwhile: the figures of a pod together are within 1 %, or [`slack`] for each container.
///
/// Of a hundred containers, or of fewer, one may be off by [`TICK`] and still be called exact: where the
/// processor is taken from a process in its last steps, these are charged when it runs again, and if
/// another container of the pod ends meanwhile it is that one's residual. The pod's sum holds all the
/// same: one that is alone in its pod may not be off, as nobody else can have been given its steps. Where
/// the other one's figure is not known, the sum of those that are is off by [`TICK`], too.
///
/// # Panics
/// With a list of all that is wrong.
pub(crate) fn check(agent: &Agent, ledger: &Ledger, truths: &[Truth]) {
    let mut wrong = String::new();
    let mut late = Vec::new();
    let mut pods: BTreeMap<(&str, &str), Sum> = BTreeMap::new();
    for truth in truths {
        let labels = truth.labels();
        let infos: Vec<&Series> = ledger.with(INFO, &labels).map(|(series, _)| series).collect();
        if infos.is_empty() || infos.iter().any(|info| info.label("container_id") != truth.id) {
            writeln!(wrong, "{}/{} {}: shown as {infos:?}", truth.pod, truth.name, truth.id)
                .unwrap();
        }
        let exact =
            ledger.with(QUALITY, &labels).any(|(final_, _)| final_.label("quality") == "exact");
        if ledger.sum(END, &labels).is_none() {
            writeln!(wrong, "{}/{}: no end", truth.pod, truth.name).unwrap();
        }
        let shown = ledger.sum(CPU, &labels);
        let Some(shown) = shown else {
            writeln!(wrong, "{}/{}: no CPU time", truth.pod, truth.name).unwrap();
            continue;
        };
        let pod = pods.entry((&truth.namespace, &truth.pod)).or_default();
        let Some(known) = truth.cpu_ns.map(|cpu_ns| Duration::from_nanos(cpu_ns).as_secs_f64())
        else {
            pod.is_partial = true;
            continue;
        };
        pod.known += known;
        pod.shown += shown;
        pod.of += 1;
        let off = (shown - known).abs();
        if exact && off > (known / 100.0).max(slack()) + ROUNDING {
            let line = format!("{}/{}: CPU {shown} s, is {known} s", truth.pod, truth.name);
            if off > TICK + ROUNDING { writeln!(wrong, "{line}").unwrap() } else { late.push(line) }
        }
    }
    if late.len() > truths.len().div_ceil(100) {
        writeln!(wrong, "{}", late.join("\n")).unwrap();
    }
    for ((namespace, pod), Sum { known, shown, of, is_partial }) in pods {
        let given_away = if is_partial { TICK } else { 0.0 };
        if (shown - known).abs() > tolerance(known, of) + given_away {
            writeln!(wrong, "{namespace}/{pod}: CPU {shown} s of {of} containers, is {known} s")
                .unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}\nfinals: {}\n{}", finals(ledger), agent.log());
}

/// What is lost of a difference of figures that are decimal fractions: in seconds.
const ROUNDING: f64 = 1e-6;

/// A tick of the scheduler at 100 Hz, in seconds.
pub(crate) const TICK: f64 = 0.010;

/// CPU seconds of a pod's containers whose true CPU time is known.
#[derive(Default)]
struct Sum {
    known: f64,
    shown: f64,
    of: usize,
    /// There are others.
    is_partial: bool,
}

/// Seconds a figure may be off, however small it is: a process is charged for its last steps after
/// it has left its cgroup. In software emulation these take ten times as long.
fn slack() -> f64 {
    if in_vm() { 0.010 } else { 0.001 }
}

/// Seconds that a sum over so many containers may be off: each has its own last steps.
#[expect(clippy::cast_precision_loss, reason = "a count of containers")]
fn tolerance(known: f64, containers: usize) -> f64 {
    (known / 100.0).max(slack() * containers as f64) + ROUNDING
}

/// The same of a pod's own counter beside the sum of so many containers. All their last steps are in it;
/// together they take less than one [`slack`], but in software emulation. Measured on a machine with six
/// times more work than its processors can do: at most 0.7 ms, of ten containers.
pub(crate) fn tolerance_of_pod(used: f64, containers: usize) -> f64 {
    tolerance(used, if in_vm() { containers } else { 1 })
}

/// How many finals the agent claims of a quality.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of containers"
)]
pub(crate) fn quality(ledger: &Ledger, quality: &str) -> usize {
    let labels = [("quality", quality)];
    let count = ledger.sum("ephemon_agent_final_readings_total", &labels);
    count.unwrap_or_default() as usize
}

/// All qualities, for a person.
pub(crate) fn finals(ledger: &Ledger) -> String {
    ["exact", "residual", "residual_shared", "last_sample"]
        .map(|name| format!("{name} {}", quality(ledger, name)))
        .join(", ")
}

/// Waits until no pod's accounting is off by more than `ratio`: a pod is balanced at every end in it and
/// every five seconds, and what a process is charged for last comes after its container's end.
pub(crate) fn balanced(agent: &Agent, ratio: f64) {
    let start = Instant::now();
    loop {
        let mut ledger = Ledger::default();
        agent.scrape_into(&mut ledger);
        let error = accounting_error(&ledger).expect("the pods have used CPU time");
        if error <= ratio {
            return;
        }
        let above = ledger.all(ERROR).filter(|(_, error)| *error > ratio);
        let above: Vec<_> =
            above.map(|(pod, error)| format!("{error} of {:?}", pod.labels)).collect();
        let is_early = start.elapsed() < Duration::from_mins(1);
        assert!(is_early, "the agent's books are off by more than {ratio}:\n{}", above.join("\n"));
        thread::sleep(Duration::from_millis(100));
    }
}

/// The largest accounting error the agent has admitted for a pod.
pub(crate) fn accounting_error(ledger: &Ledger) -> Option<f64> {
    let ratios = ledger.all(ERROR).map(|(_, ratio)| ratio);
    ratios.reduce(f64::max)
}

impl From<&Ran> for Truth {
    fn from(ran: &Ran) -> Self {
        Self {
            namespace: ran.namespace.clone(),
            pod: ran.pod.clone(),
            name: ran.name.clone(),
            id: ran.id.clone(),
            cpu_ns: Some(ran.cpu_ns),
        }
    }
}

impl Truth {
    fn labels(&self) -> Vec<(&str, &str)> {
        vec![("namespace", &self.namespace), ("pod", &self.pod), ("container", &self.name)]
    }
}
