//! Runners' pods over time: when a job begins in one, and what does not hold up its end.

use ephemon_model::ContainerType;

use super::*;
use crate::{Fault, JobResult, Outcome, Role};

const WITH_SPECS: Options = Options { mode: TraceMode::Whole, has_specs: true };

#[test]
fn a_job_whose_journal_is_read_before_its_spec_begins_under_its_own_name() {
    for mode in [TraceMode::Whole, TraceMode::Eager] {
        let mut assembler = Assembler::new(Options { mode, ..WITH_SPECS }, Memory::default());
        let mut started = Vec::new();
        let mut read = HashSet::new();
        for second in 1..40 {
            let (mut snapshot, entries) = news(&Story::whole(), second, true);
            // The API is half a minute behind: what it does not say, nobody knows.
            if second < 30 {
                snapshot.spec.retain(|entry| &*entry.name == "runner");
                let unknown = |one: &mut Sighted| one.container_type = ContainerType::Unknown;
                let ours = |one: &&mut Sighted| &*one.name != "runner";
                snapshot.containers.iter_mut().filter(ours).for_each(unknown);
            }
            assembler.snapshots(vec![snapshot], true, s(second));
            for entry in entries {
                if read.insert((entry.file.clone(), entry.at)) {
                    assembler.journal(entry, s(second));
                }
            }
            let turn = assembler.turn(s(second));
            assert!(second >= 30 || turn.dispatches.is_empty(), "{mode:?} at {second}");
            started.extend(turn.started);
        }
        let [job] = &started[..] else { panic!("{} jobs", started.len()) };
        assert_eq!(job.identity.repository.as_deref(), Some("o/r"));
    }
}

#[test]
fn who_looks_around_in_a_runners_pod_does_not_hold_up_the_end_of_its_job() {
    let mut story = Story::whole();
    story.container("debugger-x7", ContainerType::Ephemeral, None, (20, 900), 137, 50);
    let mut assembler = Assembler::new(WITH_SPECS, Memory::default());
    let all = follow(&mut assembler, &story, 1..69);
    let [only] = &all[..] else { panic!("{} dispatches", all.len()) };
    assert!(only.last && only.job.steps.iter().all(|step| &*step.name != "debugger-x7"));
    let debug = only.job.containers.iter().find(|one| one.role == Role::Debug).unwrap();
    assert_eq!(debug.window.end.map(|end| end.ns), only.job.window.end.map(|end| end.ns));
    assert_eq!(debug.outcome, Outcome::SUCCESS, "it lives");
}

#[test]
fn a_debug_container_makes_no_job_of_a_runner_that_waits() {
    let mut story = Story::idle();
    story.container("debugger-x7", ContainerType::Ephemeral, None, (20, 30), 1, 50);
    let mut assembler = Assembler::new(WITH_SPECS, Memory::default());
    assert_eq!(follow(&mut assembler, &story, 1..90).len(), 0);
    assert!(!assembler.memory().is_met(&pod().uid));
}

/// Lets a story go on in which the kubelet tells how the runner ended in this second.
fn follow_to_an_exit(
    assembler: &mut Assembler,
    story: &Story,
    seconds: std::ops::Range<u64>,
    told_at: u64,
) -> Vec<Dispatch> {
    let withhold = |second, snapshot: &mut PodSnapshot| {
        let runner = snapshot.containers.iter_mut().filter(|one| &*one.name == "runner");
        runner.filter(|_| second < told_at).for_each(|one| one.exit = None);
    };
    follow_withholding(assembler, story, seconds, withhold).0
}

/// The kubelet tells of a container's end a second or two after the kernel.
#[test]
fn how_a_runner_ended_is_waited_for_before_its_job_is_sent() {
    let mut story = Story::whole();
    story.until(31);
    story.end("runner", 31, 137, "OOMKilled");
    for name in ["job", "redis"] {
        story.end(name, 32, 143, "Error");
    }
    for told_at in [33, 36] {
        let mut assembler = Assembler::new(WITH_SPECS, Memory::default());
        let all = follow_to_an_exit(&mut assembler, &story, 1..60, told_at);
        let [only] = &all[..] else { panic!("{} dispatches", all.len()) };
        let outcome = only.job.outcome;
        assert_eq!((outcome.result, outcome.fault), (JobResult::Error, Some(Fault::OomKilled)));
    }
}

/// Its container's span needs its exit code, though the job's result is known.
#[test]
fn the_exit_of_a_runner_that_has_said_how_its_job_ended_is_waited_for() {
    let mut story = Story::whole();
    story.runner(9, "Running job: test");
    story.runner(62, "Job test completed with result: Succeeded");
    story.end("runner", 62, 0, "Completed");
    // By the patience of ten seconds, and after it.
    for (told_at, outcome) in [(68, Outcome::SUCCESS), (90, Outcome::UNKNOWN)] {
        let outcome = Outcome { exit_code: (told_at == 68).then_some(0), ..outcome };
        let mut assembler = Assembler::new(WITH_SPECS, Memory::default());
        let all = follow_to_an_exit(&mut assembler, &story, 1..100, told_at);
        let [only] = &all[..] else { panic!("{} dispatches", all.len()) };
        let runner = only.job.containers.iter().find(|one| &*one.name == "runner").unwrap();
        assert_eq!(runner.outcome, outcome, "{told_at}");
    }
}

#[test]
fn a_job_that_its_runner_announces_begins_when_its_containers_say_which_it_is() {
    for mode in [TraceMode::Whole, TraceMode::Eager] {
        let mut story = Story::whole();
        story.runner(2, "Running job: Build");
        let mut assembler =
            Assembler::new(Options { mode, ..Options::default() }, Memory::default());
        let mut started = Vec::new();
        for second in 1..20 {
            let (snapshot, _) = news(&story, second, true);
            // A container that is not there yet does not stand in the spec yet.
            let there: HashSet<_> =
                snapshot.containers.iter().map(|one| one.name.clone()).collect();
            let spec = snapshot.spec.into_iter().filter(|entry| there.contains(&entry.name));
            let snapshot = PodSnapshot { spec: spec.collect(), ..snapshot };
            assembler.snapshots(vec![snapshot], true, s(second));
            hear(&mut assembler, &story, second);
            let turn = assembler.turn(s(second));
            let named = |job: &Job| job.identity.run.is_some();
            assert!(turn.dispatches.iter().all(|one| named(&one.job)), "at {second}");
            started.extend(turn.started);
        }
        let [job] = &started[..] else { panic!("{} jobs", started.len()) };
        assert_eq!((job.identity.run.is_some(), job.identity.name()), (true, "Build"));
    }
}

#[test]
fn the_runners_word_on_how_it_ended_is_waited_for_but_not_for_ever() {
    for (said, judge) in [(Some(68), ResultSource::Runner), (None, ResultSource::Parts)] {
        let mut story = Story::whole();
        story.runner(9, "Running job: Build");
        if let Some(at) = said {
            story.runner(at, "Job Build completed with result: Succeeded");
        }
        let mut assembler = Assembler::new(Options::default(), Memory::default());
        let all = follow(&mut assembler, &story, 1..90);
        let [only] = &all[..] else { panic!("{} dispatches", all.len()) };
        assert_eq!(only.job.judged_by, judge);
    }
}
