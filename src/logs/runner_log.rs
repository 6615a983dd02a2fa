//! What a runner's own log says of its job, for whoever keeps the jobs.

use std::sync::mpsc::{self, Receiver, SyncSender};

use ephemon_discovery::feed::Feed;
use ephemon_model::PodUid;
use ephemon_self_metrics::{Reason, SelfMetrics, Signal};
use memchr::memmem;

/// Most lines that wait to be heard; a runner writes two a job.
const MAX_WAITING: usize = 1024;
/// A longer line is none of the runner's about a job.
const MAX_LINE: usize = 1024;
/// What such lines have in them.
const MARKS: [&[u8]; 2] = [b"Running job: ", b" completed with result: "];

/// A line of a runner's log that may be about a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerLine {
    /// The runner's pod.
    pub pod: PodUid,
    /// When, in nanoseconds since 1970.
    pub at_ns: u64,
    /// The line, without its newline.
    pub text: String,
}

/// Where such lines go. That one has come is published as a change of its pod.
#[derive(Debug, Clone)]
pub struct RunnerLog {
    lines_tx: SyncSender<RunnerLine>,
    feed: Feed,
}

// === impl RunnerLog ===

impl RunnerLog {
    /// A log, and the end that hears it.
    pub fn new(feed: Feed) -> (Self, Receiver<RunnerLine>) {
        let (lines_tx, lines_rx) = mpsc::sync_channel(MAX_WAITING);
        (Self { lines_tx, feed }, lines_rx)
    }

    /// Passes a line on if it may be about a job.
    pub(super) fn hear(&self, pod: &PodUid, at_ns: u64, line: &[u8], self_metrics: &SelfMetrics) {
        if line.len() > MAX_LINE || MARKS.iter().all(|mark| memmem::find(line, mark).is_none()) {
            return;
        }
        let text = String::from_utf8_lossy(line).into_owned();
        match self.lines_tx.try_send(RunnerLine { pod: pod.clone(), at_ns, text }) {
            Ok(()) => self.feed.publish(pod),
            Err(_) => self_metrics.dropped(Signal::Events, Reason::Cap),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_about_jobs_are_passed_on_and_a_full_queue_is_counted() {
        let pod = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
        let self_metrics = SelfMetrics::new().unwrap();
        let feed = Feed::default();
        let mut changes = feed.follow();
        changes.take();
        let (log, lines) = RunnerLog::new(feed.clone());
        log.hear(&pod, 1, b"Listening for Jobs", &self_metrics);
        assert!(changes.take().is_empty());
        let said = b"2026-11-23 12:19:10Z: Running job: build";
        for at in 0..=MAX_WAITING {
            log.hear(&pod, at as u64, said, &self_metrics);
        }
        assert!(changes.take().has(&pod));
        assert_eq!(lines.try_iter().count(), MAX_WAITING);
        assert_eq!(self_metrics.dropped_so_far(Signal::Events, Reason::Cap), 1);
    }
}
