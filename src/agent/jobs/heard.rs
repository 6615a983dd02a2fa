//! What runners' logs have said since the last turn of the job tracker, and which images were pulled
//! ahead.

use std::sync::mpsc::Receiver;

use ephemon_discovery::feed::Changed;
use ephemon_discovery::inventory::Inventory;
use ephemon_jobs::{Assembler, StepLine};
use ephemon_logs::{RunnerLine, RunnerNews};
use ephemon_model::{PodUid, PrePull};

/// Lines that are not told yet.
pub(super) struct Heard {
    lines: Vec<RunnerLine>,
    steps: Vec<(PodUid, StepLine)>,
    pulls: Vec<(PodUid, PrePull)>,
}

// === impl Heard ===

impl Heard {
    /// Takes what waits. Must be called before pods are looked at: a line of a pod that is not
    /// followed by then would be lost.
    pub(super) fn take(news: &RunnerNews, pulls: &Receiver<(PodUid, PrePull)>) -> Self {
        Self {
            lines: news.lines.try_iter().collect(),
            steps: news.steps.try_iter().collect(),
            pulls: pulls.try_iter().collect(),
        }
    }

    /// The changed pods with those that the lines are of. A pod whose log is read is known, but
    /// that it is can have been published after `changed` was taken.
    pub(super) fn changed(&self, changed: Changed) -> Changed {
        let Changed::Pods(mut pods) = changed else { return changed };
        pods.extend(self.lines.iter().map(|line| line.pod.clone()));
        pods.extend(self.steps.iter().map(|(pod, _)| pod.clone()));
        pods.extend(self.pulls.iter().map(|(pod, _)| pod.clone()));
        Changed::Pods(pods)
    }

    /// Tells the assembler, and the inventory which runners have begun a job.
    pub(super) fn tell(self, assembler: &mut Assembler, inventory: &Inventory) {
        for line in self.lines {
            if assembler.runner_line(&line.pod, line.at_ns, &line.text) {
                inventory.job_began(&line.pod);
            }
        }
        for (pod, line) in self.steps {
            assembler.step_line(&pod, line);
        }
        for (pod, pull) in self.pulls {
            assembler.pre_pulled(&pod, pull);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::mpsc;

    use ephemon_jobs::StepEvent;

    use super::*;

    #[test]
    fn pods_of_which_something_was_heard_are_looked_at() {
        let pod =
            |number: u8| PodUid::parse(&format!("0e269fa4-f505-4963-9096-{number:012}")).unwrap();
        let ((lines_tx, lines), (steps_tx, steps)) = (mpsc::sync_channel(9), mpsc::sync_channel(9));
        lines_tx.send(RunnerLine { pod: pod(2), at_ns: 1, text: String::new() }).unwrap();
        let event = StepEvent::Ended { result: None };
        steps_tx.send((pod(3), StepLine { at_ns: 1, number: 1, event, reading: None })).unwrap();
        let (pulls_tx, pulls) = mpsc::sync_channel(9);
        let pull = PrePull { container: "job".into(), start_ns: 1, end_ns: 2, bytes: None };
        pulls_tx.send((pod(4), pull)).unwrap();
        let heard = Heard::take(&RunnerNews { lines, steps }, &pulls);
        let changed = heard.changed(Changed::Pods(HashSet::from([pod(1)])));
        assert_eq!(changed, Changed::Pods([1, 2, 3, 4].map(pod).into()));
        assert_eq!(heard.changed(Changed::All), Changed::All);
    }
}
