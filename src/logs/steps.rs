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

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write as _;
    use std::path::{Path, PathBuf};

    use tempfile::TempDir;

    use super::*;
    use crate::contract::StepKind;
    use crate::contract::trace::TraceId;
    use crate::model::PodRef;
    use crate::node::NodeRoot;
    use crate::vitals::Vitals;

    const TRACE: TraceId = TraceId([7; 16]);

    fn span(id: u8) -> Traceparent {
        Traceparent { trace_id: TRACE, span_id: SpanId([id; 8]) }
    }

    struct Rig {
        _root: TempDir,
        journal: PathBuf,
        log: LogRef,
        steps: Steps,
        start: Instant,
    }

    impl Rig {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let node = NodeRoot::new(root.path());
            let kubelet = Path::new("/var/lib/kubelet");
            let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
            let journal = node.empty_dir(kubelet, &uid, "ephemon").join("journal");
            fs::create_dir_all(&journal).unwrap();
            let pod = PodRef { namespace: "ci".into(), name: "r".into(), uid };
            let log = LogRef { pod, container: "job".into(), attempt: 0 };
            let steps = Steps::new(Reader::new(node, kubelet, Vitals::new().unwrap()));
            Self { _root: root, journal, log, steps, start: Instant::now() }
        }

        fn begins(&self, at_ns: u64, span: Traceparent) {
            let record = Record::StepStarted {
                at_ns,
                step: at_ns,
                name: "__run".to_owned(),
                kind: StepKind::Script,
                id: None,
                traceparent: Some(span.to_string()),
                pid: 7,
            };
            let path = self.journal.join("job.jsonl");
            let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
            file.write_all(&record.to_line().unwrap()).unwrap();
        }

        /// The span of a line of `at_ns`, read when the clock shows `clock_ns`, `ms` after the start.
        fn line(&mut self, at_ns: u64, clock_ns: u64, ms: u64) -> Option<Traceparent> {
            let now = self.start + Duration::from_millis(ms);
            self.steps.span(&self.log, span(1), at_ns, now, || clock_ns)
        }
    }

    #[test]
    fn a_step_that_begins_right_after_a_look_has_its_first_line() {
        let mut rig = Rig::new();
        assert_eq!(rig.line(5, 6, 0), None, "before any step");
        rig.begins(10, span(2));
        assert_eq!(rig.line(11, 12, 0), Some(span(2)));
        rig.begins(13, span(3));
        assert_eq!(rig.line(14, 15, 0), Some(span(3)), "in the same turn");
        assert_eq!(rig.line(12, 16, 0), Some(span(2)), "one that is late");
        let container = "cache".into();
        rig.log = LogRef { container, ..rig.log.clone() };
        assert_eq!(rig.line(20, 21, 0), None, "another container");
    }

    #[test]
    fn a_span_of_another_trace_is_nobodys() {
        let mut rig = Rig::new();
        rig.begins(10, Traceparent { trace_id: TraceId([8; 16]), ..span(2) });
        assert_eq!(rig.line(11, 12, 0), None);
    }

    #[test]
    fn clocks_that_are_set_put_nothing_off_for_long() {
        let mut rig = Rig::new();
        assert_eq!(rig.line(1000, 1001, 0), None);
        // Set back: lines are older than the last look.
        rig.begins(10, span(2));
        assert_eq!(rig.line(11, 12, 1), None);
        assert_eq!(rig.line(12, 13, 1000), Some(span(2)));
        // Lines of a time to come are no reason for a look each.
        rig.begins(14, span(3));
        assert_eq!(rig.line(5000, 15, 1001), Some(span(2)));
        assert_eq!(rig.line(5000, 16, 2000), Some(span(3)));
    }
}
