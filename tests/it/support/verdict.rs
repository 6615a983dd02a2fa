//! Holds what the agent says against what is known of the containers.

use std::time::{Duration, Instant};
use std::{fmt::Write, thread};

use super::agent::Agent;
use super::exposition::Ledger;
use super::launcher::Ran;

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
const END: &str = "ephemon_container_end_time_seconds";

/// Scrapes until the agent has shown the end of each container, and returns all it showed.
pub(crate) fn settle(agent: &Agent, truths: &[Truth], limit: Duration) -> Ledger {
    let mut ledger = Ledger::default();
    let start = Instant::now();
    loop {
        agent.scrape_into(&mut ledger);
        let shown = truths.iter().filter(|truth| ledger.sum(END, &truth.labels()).is_some());
        if shown.count() == truths.len() || start.elapsed() > limit {
            return ledger;
        }
        thread::sleep(Duration::from_millis(500));
    }
}

/// Every container is shown once, by its own name and id, with its CPU time within 1 % or 1 ms.
///
/// # Panics
/// With a list of all that is wrong.
pub(crate) fn check(agent: &Agent, ledger: &Ledger, truths: &[Truth]) {
    let mut wrong = String::new();
    for truth in truths {
        let labels = truth.labels();
        let mut by_id = labels.clone();
        by_id.push(("container_id", &truth.id));
        if ledger.sum("ephemon_container_info", &by_id) != Some(1.0) {
            writeln!(wrong, "{}/{} {}: no info series", truth.pod, truth.name, truth.id).unwrap();
        }
        if ledger.sum(END, &labels).is_none() {
            writeln!(wrong, "{}/{}: no end", truth.pod, truth.name).unwrap();
        }
        let shown = ledger.sum(CPU, &labels);
        let error = truth.cpu_ns.zip(shown).map(|(cpu_ns, shown)| {
            let known = Duration::from_nanos(cpu_ns).as_secs_f64();
            (known, (shown - known).abs(), (known / 100.0).max(0.001))
        });
        match (shown, error) {
            (None, _) => writeln!(wrong, "{}/{}: no CPU time", truth.pod, truth.name).unwrap(),
            (Some(shown), Some((known, off, allowed))) if off > allowed => {
                writeln!(wrong, "{}/{}: CPU {shown} s, is {known} s", truth.pod, truth.name)
                    .unwrap();
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong}\nfinals: {}\n{}", finals(ledger), agent.log());
}

/// How many finals the agent claims of a quality.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of containers"
)]
pub(crate) fn quality(ledger: &Ledger, quality: &str) -> usize {
    let labels = [("quality", quality)];
    let count = ledger.sum("ephemon_agent_finals_total", &labels);
    count.unwrap_or_default() as usize
}

/// All qualities, for a person.
pub(crate) fn finals(ledger: &Ledger) -> String {
    ["exact", "residual", "residual_shared", "last_sample"]
        .map(|name| format!("{name} {}", quality(ledger, name)))
        .join(", ")
}

/// The largest accounting error the agent has admitted for a pod.
pub(crate) fn accounting_error(ledger: &Ledger) -> Option<f64> {
    let ratios = ledger.all("ephemon_agent_accounting_error_ratio").map(|(_, ratio)| ratio);
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
