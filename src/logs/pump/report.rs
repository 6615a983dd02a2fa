//! What is said of logs: of those that are over, of those that had to wait, of those that are not read.

use std::time::Instant;

use ephemon_crilog::{ContainerLog, LogRef, Slowed};
use ephemon_discovery::identity::KnownLog;
use ephemon_model::{LogLoss, PodRef};

use super::Pump;
use crate::closing::{end_of, say_incomplete, say_refused};
use crate::pipeline::LogPipeline;
use crate::selection::Purpose;

// === impl Pump ===

impl Pump {
    /// Tells of each log that is over what became of it.
    ///
    /// A log may go on after that: its closing event cannot wait until nothing can be written any
    /// more, for that is when the pod is gone. It is then read on and closed again. The second event
    /// has the uid of the first and figures of the whole log, so that it takes the first one's place;
    /// losses are counted once, by what is new of them.
    pub(super) fn close_finished(&mut self, now: Instant) {
        for finished in self.follower.finished() {
            if self.is_only_heard(&finished.log) {
                self.close(&finished.log);
                continue;
            }
            // One that had its lines before the agent was started anew has no pipeline yet.
            if finished.accounting.lines > 0 || !finished.complete {
                self.pipelines.of(&finished.log, now);
            }
            for (loss, bytes) in LogLoss::ALL.into_iter().zip(finished.newly_lost_bytes) {
                self.self_metrics.log_lost(loss, bytes);
            }
            if !finished.complete && !self.is_as_asked(&finished) {
                self.self_metrics.log_incomplete();
                say_incomplete(&finished);
            }
            if let Some(pipeline) = self.close(&finished.log) {
                self.builder.close(&pipeline.resource, &end_of(&finished, pipeline.span), now);
            }
            self.ledger.enter(finished, now);
        }
    }

    /// Whether the log's lines go to nobody but who listens to the runner. Before it has a pipeline its
    /// container says so, or, gone from the node, the container's name.
    fn is_only_heard(&self, log: &LogRef) -> bool {
        let known = || KnownLog::of(&self.inventory, &log.pod.uid, &log.container);
        match self.pipelines.purpose(log) {
            Some(purpose) => purpose == Purpose::Heard,
            None => self.containers.only_hears(&log.container, known()),
        }
    }

    /// Whether nothing of it is lost but what the operator wants held back.
    fn is_as_asked(&self, finished: &ContainerLog) -> bool {
        let accounting = &finished.accounting;
        self.pipelines.hold_back() && accounting.all_lost_bytes() == 0 && !accounting.lost_unknown
    }

    fn close(&mut self, log: &LogRef) -> Option<LogPipeline> {
        let pipeline = self.pipelines.close(log);
        if !self.pipelines.knows(&log.pod.uid) {
            self.steps.forget(&log.pod.uid);
            self.shared.forget(&log.pod.uid);
        }
        pipeline
    }

    pub(super) fn tell_slowed(&mut self) {
        let Slowed { waited, pods } = self.follower.slowed();
        self.self_metrics.log_waited(waited);
        for PodRef { namespace, name, .. } in pods {
            tracing::warn!(
                %namespace, pod = %name,
                "reading and masking the pod's logs takes more than its share of the agent's time: they \
                 come later, those of others do not. Said once"
            );
        }
    }

    /// Counts each wanted log that is not read, and says of each reason once why.
    pub(super) fn tell_refused(&mut self) {
        for refused in self.follower.refused() {
            self.self_metrics.log_refused(refused.why);
            if self.said.refused.insert(refused.why) {
                say_refused(&refused);
            }
        }
    }
}
