//! Part `logs` of the report: compares lines that containers wrote, according to the embedded
//! kubelet, with records that the demo's collector received. Pure.

use std::fmt;

use serde::Serialize;

use crate::kubelet::{Kind, Truth};
use crate::sink::{Seen, Who};

/// The result for the containers' logs.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Logs {
    /// According to the embedded kubelet, which wrote them.
    lines_written: u64,
    /// Distinct records at the collector.
    lines_exported: u64,
    /// Records that arrived more than once: delivery is at least once.
    records_repeated: u64,
    /// Records that contain the workflow's secret.
    leaks: u64,
    /// Containers for which lines are missing, or too many arrived.
    wrong: Vec<Wrong>,
}

#[derive(Debug, Clone, Serialize)]
struct Wrong {
    pod: String,
    container: String,
    lines_written: u64,
    lines_exported: u64,
}

// === impl Logs ===

impl Logs {
    /// Compares what arrived with what was written. `pods` are the selected ones.
    pub(crate) fn new(truths: &[Truth], pods: &[&str], seen: &Seen) -> Self {
        let exported = |truth: &Truth| {
            let who: Who = (truth.namespace.clone(), truth.pod.clone(), truth.container.clone());
            seen.records.get(&who).copied().unwrap_or(0)
        };
        let mine =
            |truth: &&Truth| truth.kind == Kind::Ephemeral && pods.contains(&truth.pod.as_str());
        let mut logs = Self {
            lines_written: 0,
            lines_exported: seen.records.values().sum(),
            records_repeated: seen.repeated,
            leaks: seen.leaks,
            wrong: Vec::new(),
        };
        for truth in truths.iter().filter(mine) {
            let (lines_written, lines_exported) = (truth.account.log_lines, exported(truth));
            logs.lines_written = logs.lines_written.saturating_add(lines_written);
            if lines_written != lines_exported {
                logs.wrong.push(Wrong {
                    pod: truth.pod.clone(),
                    container: truth.container.clone(),
                    lines_written,
                    lines_exported,
                });
            }
        }
        logs
    }

    /// The faults, one sentence each.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults: Vec<String> = self
            .wrong
            .iter()
            .map(|Wrong { pod, container, lines_written, lines_exported }| {
                format!(
                    "{container} in {pod} wrote {lines_written} lines, but {lines_exported} \
                     arrived at the collector"
                )
            })
            .collect();
        if self.wrong.is_empty() && self.lines_exported != self.lines_written {
            faults.push(format!(
                "{} lines were written, but {} arrived at the collector: some are from \
                 containers that the selector does not match",
                self.lines_written, self.lines_exported
            ));
        }
        if self.leaks > 0 {
            faults.push(format!("{} exported lines contain the secret", self.leaks));
        }
        faults
    }
}

impl fmt::Display for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} lines written, {} exported, {} of them with a secret in it",
            self.lines_written, self.lines_exported, self.leaks
        )
    }
}
