//! Which step a line of a job's container belongs to, by the journal that init keeps there.
//!
//! The journal is read when a line is newer than the last look at it: init writes of a step's
//! beginning before the step can write a line. What the journal says is the job's word: it may name
//! no span of another trace.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::contract::Record;
use crate::contract::trace::{SpanId, Traceparent};
use crate::crilog::LogRef;
use crate::journal::{self, Reader};
use crate::model::PodUid;

/// A journal is looked at after this time, whatever the lines' own times are: clocks are set.
const AT_LEAST: Duration = Duration::from_secs(1);
/// Most steps remembered of one container; lines are seldom many steps late.
const MAX_STEPS: usize = 256;

/// The steps of all containers whose lines are read.
pub(super) struct Steps {
    reader: Reader,
    pods: HashMap<PodUid, Pod>,
}

/// The steps of one pod.
#[derive(Debug)]
struct Pod {
    /// By container.
    begun: HashMap<String, VecDeque<Begun>>,
    looked: Instant,
    /// Everything that began before this moment of the wall clock is known; nanoseconds since 1970.
    seen_ns: u64,
}

/// A step that began.
#[derive(Debug, Clone, Copy)]
struct Begun {
    at_ns: u64,
    span: Traceparent,
}

// === impl Steps ===

impl Steps {
    pub(super) fn new(reader: Reader) -> Self {
        Self { reader, pods: HashMap::new() }
    }

    /// The span of the step that ran, or had run last, in the log's container at that time; `None`
    /// where none had begun. `container`: the container's own span. `clock`: the wall clock's time.
    pub(super) fn span(
        &mut self,
        log: &LogRef,
        container: Traceparent,
        at_ns: u64,
        now: Instant,
        clock: impl FnOnce() -> u64,
    ) -> Option<Traceparent> {
        let uid = &log.pod.uid;
        if !self.pods.contains_key(uid) {
            self.pods.insert(uid.clone(), Pod::new(now));
        }
        let pod = self.pods.get_mut(uid)?;
        let is_late = now.saturating_duration_since(pod.looked) >= AT_LEAST;
        if at_ns >= pod.seen_ns || is_late {
            let seen_ns = clock();
            // Of a line that is of a time to come there would be no end of looks.
            if at_ns <= seen_ns || is_late || pod.seen_ns == 0 {
                (pod.looked, pod.seen_ns) = (now, seen_ns);
                pod.learn(self.reader.look_at(uid));
            }
        }
        let step = pod.begun.get(&*log.container)?.iter().rev().find(|step| step.at_ns <= at_ns)?;
        (step.span.trace_id == container.trace_id).then_some(step.span)
    }

    /// The pod's last log is done with.
    pub(super) fn forget(&mut self, pod: &PodUid) {
        self.pods.remove(pod);
        self.reader.forget(pod);
    }
}

// === impl Pod ===

impl Pod {
    fn new(now: Instant) -> Self {
        Self { begun: HashMap::new(), looked: now, seen_ns: 0 }
    }

    fn learn(&mut self, entries: Vec<journal::Entry>) {
        for journal::Entry { file, record, .. } in entries {
            let Record::StepStarted { at_ns, traceparent: Some(text), .. } = record else {
                continue;
            };
            let Some(span) = Traceparent::parse(&text).filter(|it| it.span_id != SpanId([0; 8]))
            else {
                continue;
            };
            let steps = self.begun.entry((*file).to_owned()).or_default();
            if steps.len() >= MAX_STEPS {
                steps.pop_front();
            }
            steps.push_back(Begun { at_ns, span });
        }
    }
}

impl std::fmt::Debug for Steps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Steps").field("pods", &self.pods.len()).finish_non_exhaustive()
    }
}
