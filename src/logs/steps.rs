//! Which step a line of a job's container belongs to, by the journal that init keeps there.
//!
//! The journal is read when a line is newer than the last look: init writes of a step's beginning
//! before the step can write a line. What the journal says is the job's word: it may name no span of
//! another trace.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::contract::Record;
use crate::contract::trace::{SpanId, Traceparent};
use crate::crilog::LogRef;
use crate::journal::{self, Reader};
use crate::model::PodUid;

/// The journals are looked at no more often than this.
const PAUSE: Duration = Duration::from_millis(20);
/// Most steps remembered of one container; lines are seldom many steps late.
const MAX_STEPS: usize = 256;

/// The steps of all containers whose lines are read.
pub(super) struct Steps {
    reader: Reader,
    pods: HashMap<PodUid, HashMap<String, VecDeque<Begun>>>,
    looked: Option<Instant>,
    /// The wall clock's time of the last look, in nanoseconds since 1970.
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
        Self { reader, pods: HashMap::new(), looked: None, seen_ns: 0 }
    }

    /// The span of the step that ran, or had run last, in the log's container at that time; `None`
    /// where none had begun. `container`: the container's own span.
    pub(super) fn span(
        &mut self,
        log: &LogRef,
        container: Traceparent,
        at_ns: u64,
        (now, now_ns): (Instant, u64),
    ) -> Option<Traceparent> {
        if !self.pods.contains_key(&log.pod.uid) {
            self.pods.insert(log.pod.uid.clone(), HashMap::new());
            self.looked = None;
        }
        let pause = self.looked.is_some_and(|at| now.saturating_duration_since(at) < PAUSE);
        if at_ns >= self.seen_ns && !pause {
            self.look(now, now_ns);
        }
        let steps = self.pods.get(&log.pod.uid)?.get(&*log.container)?;
        let step = steps.iter().rev().find(|step| step.at_ns <= at_ns)?;
        (step.span.trace_id == container.trace_id).then_some(step.span)
    }

    /// The pod's last log is done with.
    pub(super) fn forget(&mut self, pod: &PodUid) {
        self.pods.remove(pod);
    }

    fn look(&mut self, now: Instant, now_ns: u64) {
        (self.looked, self.seen_ns) = (Some(now), now_ns);
        let pods: Vec<PodUid> = self.pods.keys().cloned().collect();
        for journal::Entry { pod, file, record, .. } in self.reader.look(&pods) {
            let Record::StepStarted { at_ns, traceparent: Some(text), .. } = record else {
                continue;
            };
            let Some(span) = Traceparent::parse(&text).filter(|it| it.span_id != SpanId([0; 8]))
            else {
                continue;
            };
            let Some(pod) = self.pods.get_mut(&pod) else { continue };
            let steps = pod.entry((*file).to_owned()).or_default();
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
