//! What logs on the node told before the agent was started: read once from their beginning, before
//! any line of their pod is handed over.
//!
//! Masks are not in the agent's state directory, nor is what a runner's log has shown. An agent that is
//! started anew goes on behind the lines that told them, and logs of one pod are then read in any order.
//! So a second follower reads all logs that are there at the start, rotated and compressed files
//! included, and takes nothing but masks and the messages of jobs. A runner waits for its job for hours:
//! the first lines of its log, without which no message counts, may have been read long before it comes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ephemon_crilog::{Checkpoints, Choice, Follower, Line, LogRef, Options};
use ephemon_discovery::inventory::{Inventory, RUNNER_CONTAINER};
use ephemon_model::PodUid;
use ephemon_sanitize::Sanitizer;

use super::job_message::JobMessages;
use super::pipeline::LogPipelines;
use super::selection::Purpose;

/// Text read in one turn.
const TURN_BYTES: u64 = 1024 * 1024;
/// A line longer than this holds more than the values that one pod may tell.
const MAX_LINE_BYTES: usize = 512 * 1024;
/// Memory of all unfinished lines.
pub const MAX_HELD_BYTES: usize = 2 * 1024 * 1024;
/// A pod is not held back longer: a log that grows faster than it is read has no end.
const HOLD_TIMEOUT: Duration = Duration::from_secs(30);
/// Pods that nobody can tell about for so long are let go of.
const UNDECIDED_TIMEOUT: Duration = Duration::from_mins(2);

/// Reads the logs that were there at the start.
#[derive(Debug)]
pub(super) struct Learner(Option<Reading>);

#[derive(Debug)]
struct Reading {
    follower: Follower,
    /// Whether there are values to mask.
    masks: bool,
    sanitizers: HashMap<Arc<LogRef>, Sanitizer>,
    /// Pods that are not read yet; none until the first turn has seen who is there.
    pending: Option<HashMap<PodUid, Pod>>,
    since: Instant,
}

/// Who takes what is learned.
pub(super) struct Students<'a> {
    pub(super) pipelines: &'a mut LogPipelines,
    pub(super) job_messages: &'a mut JobMessages,
    pub(super) inventory: &'a Inventory,
}

/// One that is not read yet.
#[derive(Debug, Clone, Copy, Default)]
struct Pod {
    /// When the first of its logs was chosen.
    chosen: Option<Instant>,
}

// === impl Learner ===

impl Learner {
    /// Reads from the beginning, but for the logs in `from`. Without `masks`, runners' logs only.
    pub(super) fn new(options: Options, from: Checkpoints, masks: bool, now: Instant) -> Self {
        let (max_line_bytes, max_held_bytes) = (MAX_LINE_BYTES, MAX_HELD_BYTES);
        let options = Options { max_line_bytes, max_held_bytes, ..options };
        Self(Some(Reading {
            follower: Follower::new(options, from),
            masks,
            sanitizers: HashMap::new(),
            pending: None,
            since: now,
        }))
    }

    /// Reads on. Says whether there is more to read at once.
    pub(super) fn turn(
        &mut self,
        choose: &dyn Fn(&LogRef) -> (Choice, Purpose),
        students: Students<'_>,
        now: Instant,
    ) -> bool {
        let Some(reading) = &mut self.0 else { return false };
        let more = reading.turn(choose, students, now);
        if reading.is_over(now) {
            self.0 = None;
            return false;
        }
        more
    }

    /// Whether the pod's lines must wait.
    pub(super) fn holds(&self, pod: &PodUid) -> bool {
        let pending = self.0.as_ref().and_then(|reading| reading.pending.as_ref());
        pending.is_some_and(|pending| pending.contains_key(pod))
    }
}

// === impl Reading ===

impl Reading {
    fn turn(
        &mut self,
        choose: &dyn Fn(&LogRef) -> (Choice, Purpose),
        students: Students<'_>,
        now: Instant,
    ) -> bool {
        let Self { follower, sanitizers, pending, masks, .. } = self;
        let masks = *masks;
        let first = pending.is_none();
        let pending = pending.get_or_insert_default();
        let mut undecided = HashSet::new();
        let mut take = |log: &LogRef| {
            let uid = &log.pod.uid;
            if first && !pending.contains_key(uid) {
                pending.insert(uid.clone(), Pod::default());
            }
            // A pod that came later is read from its beginning anyway.
            let Some(pod) = pending.get_mut(uid) else { return Choice::Leave };
            let choice = match choose(log) {
                (Choice::Take, purpose) => {
                    let has_messages = purpose.is_heard() && is_runner(log);
                    let is_read = has_messages || (masks && purpose.is_exported());
                    if is_read { Choice::Take } else { Choice::Leave }
                }
                (choice, _) => choice,
            };
            match choice {
                Choice::Take => {
                    pod.chosen.get_or_insert(now);
                }
                Choice::Unsure => {
                    undecided.insert(uid.clone());
                }
                Choice::Leave => {}
            }
            choice
        };
        let Students { pipelines, job_messages, inventory } = students;
        let mut current: Option<(Arc<LogRef>, Purpose)> = None;
        let mut sink = |line: Line<'_>| {
            let known = current.as_ref().filter(|(log, _)| Arc::ptr_eq(log, line.log));
            let purpose = known.map_or_else(|| choose(line.log).1, |(_, purpose)| *purpose);
            if known.is_none() {
                current = Some((Arc::clone(line.log), purpose));
            }
            if purpose.is_heard() && is_runner(line.log) {
                job_messages.hear(&line, inventory);
            }
            if masks && purpose.is_exported() {
                let sanitizer = sanitizers
                    .entry(Arc::clone(line.log))
                    .or_insert_with(|| pipelines.learner(&line.log.pod));
                sanitizer.learn(line.stream, line.text, line.part, line.continues);
            }
        };
        let more = follower.turn(&mut take, TURN_BYTES, &mut sink).more;
        // One pod does not wait for what another has written.
        pending.retain(|uid, pod| {
            let held = pod.chosen.map(|chosen| now.saturating_duration_since(chosen));
            match held {
                Some(held) if held >= HOLD_TIMEOUT => {
                    tracing::warn!(
                        pod = %uid,
                        "the logs that the pod had written before the agent's start are not read to \
                         their end within {HOLD_TIMEOUT:?}; its lines are handed over from here on"
                    );
                    follower.leave(uid);
                    false
                }
                _ if follower.is_unread(uid) || undecided.contains(uid) => true,
                _ => {
                    follower.leave(uid);
                    false
                }
            }
        });
        sanitizers.retain(|log, _| pending.contains_key(&log.pod.uid));
        more
    }

    fn is_over(&self, now: Instant) -> bool {
        self.pending.as_ref().is_some_and(HashMap::is_empty)
            || now.saturating_duration_since(self.since) >= UNDECIDED_TIMEOUT
    }
}

/// Whether a GitHub runner writes the log: the service's messages are in no other.
pub(super) fn is_runner(log: &LogRef) -> bool {
    *log.container == *RUNNER_CONTAINER
}
