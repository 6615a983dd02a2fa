//! Steps by the runner's log alone: what they used, how they ended, and when there are none.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::stored_evidence::StoredEvidence;
use crate::story::pod;
use crate::time::Source;
use crate::{Figures, StepEvent, StepLine, StepReading};

/// A runner without a hook, whose log tells of steps. Each line is one of a second, with what its
/// container had used by then, milliseconds of CPU time.
struct Told(Story, u64);

impl Told {
    /// A runner that has just got its job.
    fn new() -> Self {
        let mut story = Story::idle();
        story.container("dind", ContainerType::Sidecar, None, (1, 70), 0, 50);
        story.runner(9, "Running job: build");
        Self(story, 0)
    }

    fn line(&mut self, second: u64, event: StepEvent, cpu_ms: Option<u64>) -> &mut Self {
        let figures = |cpu_ms: u64| Figures {
            cpu_ns: Some(cpu_ms * 1_000_000),
            memory_peak_bytes: Some((100 + cpu_ms / 100) << 20),
            oom_kills: Some(0),
            written_bytes: Some(cpu_ms * 10),
            ..Figures::default()
        };
        let reading = cpu_ms.map(|ms| StepReading { at_ns: s(second), figures: figures(ms) });
        self.1 += 1;
        let number = self.1;
        self.0.pieces.push(Evidence::Step(StepLine { at_ns: s(second), number, event, reading }));
        self
    }

    fn begin(&mut self, second: u64, name: &str, cpu_ms: u64) -> &mut Self {
        self.line(second, StepEvent::Began { name: name.into() }, Some(cpu_ms))
    }

    fn end(&mut self, second: u64, result: JobResult, cpu_ms: u64) -> &mut Self {
        self.line(second, StepEvent::Ended { result: Some(result) }, Some(cpu_ms))
    }

    /// Four steps, of which one fails and one is skipped.
    fn whole() -> Self {
        let mut told = Self::new();
        told.begin(10, "Set up job", 300)
            .end(12, JobResult::Success, 350)
            .begin(12, "Run cargo test", 350)
            .end(32, JobResult::Failure, 700)
            .begin(32, "Upload", 700)
            .end(32, JobResult::Skip, 700)
            .begin(33, "Complete job", 710)
            .end(34, JobResult::Success, 720);
        told.0.runner(36, "Job build completed with result: Failed");
        told
    }

    fn job(&self) -> Job {
        job(&self.0)
    }
}

fn names(job: &Job) -> Vec<&str> {
    job.steps.iter().map(|step| &*step.name).collect()
}

#[test]
fn each_step_has_its_time_its_end_and_what_the_container_used_meanwhile() {
    let job = Told::whole().job();
    assert_eq!(names(&job), ["Set up job", "Run cargo test", "Upload", "Complete job"]);
    assert_eq!((job.outcome.result, job.judged_by), (JobResult::Failure, ResultSource::Runner));
    let results: Vec<_> = job.steps.iter().map(|step| step.outcome.result).collect();
    assert_eq!(
        results,
        [JobResult::Success, JobResult::Failure, JobResult::Skip, JobResult::Success]
    );
    let test = &job.steps[1];
    assert_eq!((test.window.start.ns, test.window.end.unwrap().ns), (s(12), s(32)));
    assert_eq!(test.window.start.source, Source::Runner);
    assert_eq!((test.source, test.kind, test.proof), (StepSource::RunnerLog, None, Proof::Window));
    assert_eq!(test.container.as_deref(), Some("runner"));
    assert_eq!(test.outcome.fault, Some(Fault::Other));
    let used = test.figures;
    assert_eq!((used.cpu_ns, used.written_bytes), (Some(350_000_000), Some(3500)));
    assert_eq!(used.memory_peak_bytes, Some(107 << 20), "it rose");
    assert_eq!((used.read_bytes, used.memory_byte_ms, used.throttled_ns), (None, None, None));
    let skipped = &job.steps[2];
    assert_eq!(skipped.figures.cpu_ns, Some(0), "by two readings, and not for want of one");
    assert_eq!(skipped.figures.memory_peak_bytes, None, "it did not rise in the step's time");
    let ids: HashSet<_> = job.steps.iter().map(|step| step.span_id).collect();
    assert_eq!(ids.len(), 4);
}

#[test]
fn a_step_without_a_reading_at_both_its_ends_has_no_values() {
    let mut told = Told::new();
    told.begin(10, "a", 300);
    told.line(20, StepEvent::Ended { result: Some(JobResult::Success) }, None);
    told.line(20, StepEvent::Began { name: "b".into() }, None).end(30, JobResult::Success, 400);
    // The container was started again: its counters began again.
    told.begin(30, "c", 400).end(40, JobResult::Success, 100);
    for step in told.job().steps {
        assert_eq!((step.figures, step.proof), (Figures::default(), Proof::None), "{}", step.name);
    }
}

#[test]
fn a_step_that_runs_beside_others_has_its_own_end_and_no_values() {
    let mut told = Told::new();
    told.begin(10, "Start the database", 300);
    told.line(10, StepEvent::Queued { id: "db".into() }, Some(300));
    told.line(10, StepEvent::Ended { result: None }, Some(300));
    told.begin(11, "Test", 310);
    let result = JobResult::Failure;
    told.line(15, StepEvent::BackgroundEnded { id: "db".into(), result }, Some(500));
    told.end(20, JobResult::Success, 900);
    let job = told.job();
    let [database, test] = &job.steps[..] else { panic!("{:?}", names(&job)) };
    assert_eq!((database.window.end.unwrap().ns, database.outcome.result), (s(15), result));
    assert_eq!((database.figures, database.proof), (Figures::default(), Proof::None));
    assert_eq!((test.window.start.ns, test.figures.cpu_ns), (s(11), Some(590_000_000)));
}

#[test]
fn what_is_open_when_the_runner_reports_the_end_ended_with_the_job() {
    for (said, wanted) in
        [("Canceled", Outcome::cancelled(None)), ("Failed", Outcome::error(Fault::Lost, None))]
    {
        let mut told = Told::new();
        told.begin(10, "a", 300);
        told.0.runner(20, &format!("Job build completed with result: {said}"));
        let job = told.job();
        assert_eq!((job.steps[0].outcome, job.steps[0].window.end.unwrap().ns), (wanted, s(20)));
    }
    let mut told = Told::new();
    told.begin(10, "a", 300);
    assert_eq!(told.0.job_evidence().job(None).unwrap().steps[0].window.end, None, "it runs");
    told.begin(20, "b", 400).end(30, JobResult::Success, 500);
    let job = told.job();
    assert_eq!((job.steps[0].window.end.unwrap().ns, job.steps[0].figures.cpu_ns), (s(20), None));
    assert_eq!(job.steps[1].figures.cpu_ns, Some(100_000_000));
}

#[test]
fn a_failing_step_whose_processes_the_oom_killer_took_says_so() {
    let mut told = Told::new();
    told.begin(10, "a", 300).end(20, JobResult::Failure, 400);
    if let Some(Evidence::Step(StepLine { reading: Some(reading), .. })) = told.0.pieces.last_mut()
    {
        reading.figures.oom_kills = Some(1);
    }
    let step = &told.job().steps[0];
    let outcome = (step.outcome.result, step.outcome.fault);
    assert_eq!(outcome, (JobResult::Failure, Some(Fault::OomKilled)));
}

#[test]
fn steps_of_the_hook_win_over_those_of_the_runners_log() {
    // With a container of the job's own there are no others.
    let mut story = Story::whole();
    let hooks = job(&story);
    story.pieces.extend(
        Told::whole().0.pieces.into_iter().filter(|piece| matches!(piece, Evidence::Step(_))),
    );
    assert_eq!(job(&story).steps, hooks.steps);
    assert!(hooks.steps.iter().all(|step| step.source == StepSource::Journal));
    // The hook was called for a container action alone: the others ran in the runner's container.
    let mut story = Story::whole();
    story.pieces.retain(|piece| match piece {
        Evidence::Spec(entry) => &*entry.name != "job",
        Evidence::Container(one) => &*one.name != "job",
        Evidence::Journal(heard) => {
            let is_script =
                matches!(&heard.record, Record::HookPhase { phase: Call::RunScriptStep, .. });
            &*heard.file != "job" && !is_script
        }
        _ => true,
    });
    let mut told = Told(story, 0);
    told.begin(20, "Script", 100).end(30, JobResult::Success, 200);
    told.begin(39, "Run ./lint", 200).end(46, JobResult::Success, 300);
    assert_eq!(names(&told.job()), ["Script", "lint"]);
}

#[test]
fn an_agent_that_starts_again_goes_on_with_the_same_steps() {
    let told = Told::whole();
    let before = told.job();
    let mut after = JobEvidence::new(pod());
    for piece in &told.0.pieces {
        let stored = StoredEvidence::of(piece);
        let line = stored.and_then(|stored| stored.to_line()).expect("all of it is kept");
        let read: StoredEvidence = serde_json::from_slice(&line).unwrap();
        after.take(read.evidence().unwrap());
    }
    // And the lines are read once more, too late for a reading.
    for piece in &told.0.pieces {
        if let Evidence::Step(line) = piece {
            after.take(Evidence::Step(StepLine { reading: None, ..line.clone() }));
        }
    }
    assert_eq!(after.job(Some(s(100))).unwrap().steps, before.steps);
}

#[test]
fn lines_without_end_leave_the_pods_other_evidence_and_are_counted() {
    let mut told = Told::whole();
    for at in 0..20_000 {
        told.begin(40, &format!("{}{at}", "x".repeat(200)), 800);
    }
    let job_evidence = told.0.job_evidence();
    let bytes = job_evidence.bytes();
    assert!(bytes <= MAX_STEP_BYTES + MAX_FACT_BYTES, "{bytes}");
    journal_takes_the_room(told.0.clone());
    let job = told.job();
    assert!(job.left_out > 15_000 && job.left_out < 20_000, "{}", job.left_out);
    assert_eq!(job.steps[1].name, Told::whole().job().steps[1].name, "the first stay");
    let mut shed = job_evidence;
    shed.shed(usize::MAX);
    assert_eq!(shed.bytes(), 0);
}

/// Records of journals come before lines of the runner's log, and both have one bound.
fn journal_takes_the_room(mut story: Story) {
    story.many_steps(3000);
    let job_evidence = story.job_evidence();
    let most = MAX_RECORD_BYTES + MAX_FACT_BYTES;
    assert!(job_evidence.bytes() <= most, "{}", job_evidence.bytes());
    assert!(
        job_evidence.step_log.bytes() < MAX_STEP_BYTES / 8,
        "{}",
        job_evidence.step_log.bytes()
    );
}

fn event() -> impl Strategy<Value = StepEvent> {
    prop_oneof![
        "[a-c]".prop_map(|name| StepEvent::Began { name: name.into() }),
        "[a-c]".prop_map(|id| StepEvent::Queued { id: id.into() }),
        Just(StepEvent::Ended { result: None }),
        Just(StepEvent::Ended { result: Some(JobResult::Success) }),
        "[a-c]".prop_map(|id| StepEvent::BackgroundEnded {
            id: id.into(),
            result: JobResult::Failure
        }),
    ]
}

proptest! {
    #[test]
    fn whatever_the_log_says_each_step_is_one_and_lies_in_the_job(
        lines in proptest::collection::vec((10_u64..60, event(), any::<Option<bool>>()), 0..60),
        seed: u64,
    ) {
        let mut told = Told::new();
        let mut lines = lines;
        lines.sort_by_key(|(second, ..)| *second);
        for (at, (second, event, read)) in lines.into_iter().enumerate() {
            // What was used only grows, but a container may have been started again.
            let used = at as u64 * 10;
            told.line(second, event, read.map(|whole| if whole { used } else { used / 2 }));
        }
        let job = told.job();
        let ids: HashSet<_> = job.steps.iter().map(|step| step.span_id).collect();
        prop_assert_eq!(ids.len(), job.steps.len());
        for step in &job.steps {
            prop_assert!(step.window.end.is_some());
            prop_assert_eq!(step.window.within(&job.window).start.ns, step.window.start.ns);
        }
        // In any order.
        fastrand::Rng::with_seed(seed).shuffle(&mut told.0.pieces);
        prop_assert_eq!(told.job().steps, job.steps);
    }

    #[test]
    fn steps_by_counters_that_only_grow_use_no_more_than_the_container(
        growth in proptest::collection::vec((0_u64..500, event()), 0..60),
    ) {
        let mut told = Told::new();
        let mut used = 0;
        for (at, (grown, event)) in growth.into_iter().enumerate() {
            used += grown;
            told.line(10 + at as u64 / 2, event, Some(used));
        }
        let cpu: u64 = told.job().steps.iter().filter_map(|step| step.figures.cpu_ns).sum();
        prop_assert!(cpu <= used * 1_000_000, "{cpu} of {used}");
    }
}
