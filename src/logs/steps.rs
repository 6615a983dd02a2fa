//! Which step a line of a job's container belongs to, by the journal that init keeps there.
//!
//! The journal is read when a line is newer than the last look at it: init writes of a step's
//! beginning before the step can write a line. What the journal says is the job's word, so the ids of
//! spans are derived from it, not taken: nothing there names the span of anything but a step.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ephemon_contract::Record;
use ephemon_contract::trace::{JobKey, Traceparent};
use ephemon_crilog::LogRef;
use ephemon_journal as journal;
use ephemon_journal::Reader;
use ephemon_model::PodUid;

/// A journal is looked at after this time, whatever the lines' own times are: clocks are set.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Most steps remembered of one container; lines are seldom many steps late.
const MAX_STEPS: usize = 256;
/// Most steps remembered of all containers; beyond it the pod that has most forgets its oldest.
pub const MAX_STEPS_IN_ALL: usize = 16_384;
/// Memory of one, bytes, in a queue that has just grown.
pub const STEP_BYTES: usize = 2 * size_of::<Begun>();

/// The steps of all containers whose lines are read.
pub(super) struct Steps {
    reader: Reader,
    pods: HashMap<PodUid, Pod>,
    /// Steps of all of them.
    held: usize,
}

/// The steps of one pod.
#[derive(Debug)]
struct Pod {
    /// By container.
    begun: HashMap<Arc<str>, VecDeque<Begun>>,
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
        Self { reader, pods: HashMap::new(), held: 0 }
    }

    /// The span of the step that ran, or had run last, in the log's container at that time; `None`
    /// where none had begun. `job`: whose container it is. `clock`: the wall clock's time.
    pub(super) fn span(
        &mut self,
        log: &LogRef,
        job: JobKey<'_>,
        at_ns: u64,
        now: Instant,
        clock: impl FnOnce() -> u64,
    ) -> Option<Traceparent> {
        let uid = &log.pod.uid;
        if !self.pods.contains_key(uid) {
            self.pods.insert(uid.clone(), Pod::new(now));
        }
        let pod = self.pods.get_mut(uid)?;
        let is_late = now.saturating_duration_since(pod.looked) >= LOOK_INTERVAL;
        if at_ns >= pod.seen_ns || is_late {
            let seen_ns = clock();
            // Of a line that is of a time to come there would be no end of looks.
            if at_ns <= seen_ns || is_late || pod.seen_ns == 0 {
                (pod.looked, pod.seen_ns) = (now, seen_ns);
                let before = pod.held();
                self.reader.look_at(uid, |entry| pod.learn(entry, job));
                self.held = self.held.saturating_sub(before).saturating_add(pod.held());
            }
        }
        self.hold_bound();
        let pod = self.pods.get(uid)?;
        let step = pod.begun.get(&*log.container)?.iter().rev().find(|step| step.at_ns <= at_ns)?;
        Some(step.span)
    }

    fn hold_bound(&mut self) {
        while self.held > MAX_STEPS_IN_ALL {
            let Some(most) = self.pods.values_mut().max_by_key(|pod| pod.held()) else { return };
            let Some(longest) = most.begun.values_mut().max_by_key(|steps| steps.len()) else {
                return;
            };
            let oldest = longest.len().div_ceil(2);
            longest.drain(..oldest);
            longest.shrink_to_fit();
            self.held = self.held.saturating_sub(oldest);
            if oldest == 0 {
                return;
            }
        }
    }

    /// The pod's last log is done with.
    pub(super) fn forget(&mut self, pod: &PodUid) {
        let gone = self.pods.remove(pod).map_or(0, |pod| pod.held());
        self.held = self.held.saturating_sub(gone);
        self.reader.forget(pod);
    }
}

// === impl Pod ===

impl Pod {
    fn new(now: Instant) -> Self {
        Self { begun: HashMap::new(), looked: now, seen_ns: 0 }
    }

    fn held(&self) -> usize {
        self.begun.values().map(VecDeque::len).sum()
    }

    fn learn(&mut self, entry: journal::Entry, job: JobKey<'_>) {
        let journal::Entry { file, record, .. } = entry;
        let Record::StepStarted { at_ns, id, called_ns: Some(called_ns), .. } = record else {
            return;
        };
        let span = job.step_span(id.as_deref().unwrap_or_default(), called_ns);
        let steps = self.begun.entry(file).or_default();
        if steps.len() >= MAX_STEPS {
            steps.pop_front();
        }
        steps.push_back(Begun { at_ns, span });
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

    use ephemon_contract::StepKind;
    use ephemon_contract::trace::RunKey;
    use ephemon_model::PodRef;
    use ephemon_model::node::NodeRoot;
    use ephemon_self_metrics::SelfMetrics;
    use tempfile::TempDir;

    use super::*;

    const JOB: JobKey<'_> =
        JobKey { run: RunKey { run_id: "1", run_attempt: "1" }, job: "test", runner: "r" };

    /// Of the step that was called then.
    fn span(called_ns: u64) -> Traceparent {
        JOB.step_span("__run", called_ns)
    }

    fn started(at_ns: u64, called_ns: u64) -> Record {
        Record::StepStarted {
            at_ns,
            step: at_ns,
            name: "__run".to_owned(),
            kind: StepKind::Script,
            id: Some("__run".to_owned()),
            called_ns: Some(called_ns),
            pid: 7,
        }
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
            let steps = Steps::new(Reader::new(node, kubelet, SelfMetrics::new().unwrap()));
            Self { _root: root, journal, log, steps, start: Instant::now() }
        }

        fn begins(&self, at_ns: u64, called_ns: u64) {
            let record = started(at_ns, called_ns);
            let path = self.journal.join("job.jsonl");
            let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
            file.write_all(&record.to_line().unwrap()).unwrap();
        }

        /// The span of a line of `at_ns`, read when the clock shows `clock_ns`, `ms` after the start.
        fn line(&mut self, at_ns: u64, clock_ns: u64, ms: u64) -> Option<Traceparent> {
            let now = self.start + Duration::from_millis(ms);
            self.steps.span(&self.log, JOB, at_ns, now, || clock_ns)
        }
    }

    #[test]
    fn a_step_that_begins_right_after_a_look_has_its_first_line() {
        let mut rig = Rig::new();
        assert_eq!(rig.line(5, 6, 0), None, "before any step");
        rig.begins(10, 2);
        assert_eq!(rig.line(11, 12, 0), Some(span(2)));
        rig.begins(13, 3);
        assert_eq!(rig.line(14, 15, 0), Some(span(3)), "in the same turn");
        assert_eq!(rig.line(12, 16, 0), Some(span(2)), "one that is late");
        let container = "cache".into();
        rig.log = LogRef { container, ..rig.log.clone() };
        assert_eq!(rig.line(20, 21, 0), None, "another container");
    }

    #[test]
    fn of_steps_without_end_the_last_ones_are_remembered() {
        let mut rig = Rig::new();
        let all = 2 * MAX_STEPS_IN_ALL as u64;
        for file in 0..all / MAX_STEPS as u64 {
            let steps = (1..=MAX_STEPS as u64).map(|at_ns| {
                let (pod, file) = (rig.log.pod.uid.clone(), format!("c{file}").into());
                journal::Entry { pod, file, at: at_ns, record: started(at_ns, 2) }
            });
            let pod = rig.log.pod.uid.clone();
            let start = rig.start;
            let pod = rig.steps.pods.entry(pod).or_insert_with(|| Pod::new(start));
            let before = pod.held();
            steps.for_each(|entry| pod.learn(entry, JOB));
            rig.steps.held += pod.held() - before;
            rig.steps.hold_bound();
        }
        let held = rig.steps.pods.values().map(Pod::held).sum::<usize>();
        assert!(held == rig.steps.held && held <= MAX_STEPS_IN_ALL && held > 0, "{held}");
        let kept = rig.steps.pods[&rig.log.pod.uid].begun.values();
        assert!(kept.filter_map(|steps| steps.back()).all(|step| step.at_ns == MAX_STEPS as u64));
        rig.steps.forget(&rig.log.pod.uid);
        assert_eq!(rig.steps.held, 0);
    }

    #[test]
    fn a_span_that_the_journal_names_is_not_believed() {
        let mut rig = Rig::new();
        let told = JOB.container_span("job");
        let line = format!(
            "{{\"record\":\"step_started\",\"at_ns\":10,\"step\":1,\"name\":\"x\",\"kind\":\"script\",\
             \"pid\":7,\"traceparent\":\"{told}\"}}\n"
        );
        fs::write(rig.journal.join("job.jsonl"), line).unwrap();
        assert_eq!(rig.line(11, 12, 0), None, "nobody called it");
        rig.begins(13, 9);
        assert_eq!(rig.line(14, 15, 0), Some(span(9)));
    }

    #[test]
    fn clocks_that_are_set_put_nothing_off_for_long() {
        let mut rig = Rig::new();
        assert_eq!(rig.line(1000, 1001, 0), None);
        // Set back: lines are older than the last look.
        rig.begins(10, 2);
        assert_eq!(rig.line(11, 12, 1), None);
        assert_eq!(rig.line(12, 13, 1000), Some(span(2)));
        // Lines of a time to come are no reason for a look each.
        rig.begins(14, 3);
        assert_eq!(rig.line(5000, 15, 1001), Some(span(2)));
        assert_eq!(rig.line(5000, 16, 2000), Some(span(3)));
    }
}
