//! All that a report is made of. Plain values.

use ephemon_client::{Job, Log, Samples};

/// Most log lines of a report: the last ones.
const MOST_LINES: usize = 2000;

/// All there is about a job, as its agent has answered.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// The job.
    pub job: Job,
    /// What its containers used over time.
    pub samples: Samples,
    /// The last lines of its logs, 2000 at most.
    pub log: Log,
}

// === impl Record ===

impl Record {
    /// Of an agent's answers, whose lists the client has bounded.
    pub fn new(job: Job, samples: Samples, mut log: Log) -> Self {
        let surplus = log.lines.len().saturating_sub(MOST_LINES);
        log.lines.drain(..surplus);
        log.left_out = log.left_out.saturating_add(surplus as u64);
        Self { job, samples, log }
    }
}
