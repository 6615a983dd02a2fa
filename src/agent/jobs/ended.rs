//! The jobs that have ended and are still listed. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use ephemon_jobs::Job;

/// How long an ended job is listed, in nanoseconds; its counts stay.
const SHOWN_NS: u64 = 300_000_000_000;
/// Most ended jobs that are listed.
const MAX_SHOWN: usize = 256;

/// The jobs, in the order in which they ended.
#[derive(Default)]
pub(super) struct Ended {
    jobs: VecDeque<Arc<Job>>,
}

// === impl Ended ===

impl Ended {
    /// Adds a job that has just ended. The first one gives way if there are too many.
    pub(super) fn add(&mut self, job: Job) {
        self.jobs.push_back(Arc::new(job));
        if self.jobs.len() > MAX_SHOWN {
            self.jobs.pop_front();
        }
    }

    /// Removes those that were listed long enough; whether there were any.
    pub(super) fn expire(&mut self, now_ns: u64) -> bool {
        let before = self.jobs.len();
        self.jobs.retain(|job| {
            let end = job.window.end.map_or(now_ns, |end| end.ns);
            now_ns.saturating_sub(end) < SHOWN_NS
        });
        self.jobs.len() != before
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Job>> {
        self.jobs.iter()
    }
}
