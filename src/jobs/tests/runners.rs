//! Runners' pods: which of their containers are the job's, and what the runner's own end means.

use ephemon_contract::End;

use super::*;
use crate::Sighted;

const MIB: u64 = 1 << 20;

fn debug(story: &mut Story, from: u64, to: u64) {
    story.container("debugger-x7", ContainerType::Ephemeral, None, (from, to), 137, 50);
}

/// The runner's container is gone in the middle of a step, and the kubelet stops the others.
fn runner_dies(code: i32, reason: &str, kills: u64) -> Story {
    let mut story = Story::whole();
    story.until(31);
    story.end("runner", 31, code, reason);
    story.kill("runner", kills, None);
    for name in ["job", "redis"] {
        story.end(name, 32, 143, "Error");
    }
    // Init's words: it was told to stop, and ended the step for it.
    let stopped = Record::StepEnded {
        at_ns: s(32),
        step: 2,
        duration_ns: s(1),
        end: End::Signal(15),
        cancelled: true,
        process: ephemon_contract::ProcessUsage::default(),
        cgroup: ephemon_contract::CgroupDelta::default(),
    };
    let file = "job".into();
    story.pieces.push(Evidence::Journal(Heard {
        file,
        at: 9000,
        heard_ns: s(32),
        record: stopped,
    }));
    story
}

#[test]
fn no_container_that_begins_before_a_runner_makes_a_job_of_it() {
    let mut story = Story::idle();
    story.container("dind", ContainerType::Sidecar, None, (1, 70), 0, 50);
    assert_eq!(story.job_evidence().job(Some(s(100))), None);
    // The runner is not there yet, but the spec says that it will be.
    let of_runner =
        |piece: &Evidence| matches!(piece, Evidence::Container(one) if &*one.name == "runner");
    story.pieces.retain(|piece| !of_runner(piece));
    assert_eq!(story.job_evidence().job(None), None);
    assert_eq!(story.job_evidence().job(Some(s(100))), None);
    // No spec says so, and the runner may be to come.
    let mut story = Story::idle();
    story.pieces.retain(|piece| !matches!(piece, Evidence::Spec(_)));
    story.sighted("init", |one| one.container_type = ContainerType::Unknown);
    let whole = story.clone();
    story.pieces.retain(|piece| !of_runner(piece));
    assert_eq!(story.job_evidence().job(None), None);
    assert_eq!(whole.job_evidence().job(Some(s(100))), None);
}

/// The runner waits for its job, and what prepared its pod was over long ago.
#[test]
fn an_init_container_that_was_over_before_the_job_is_counted_and_not_shown_in_it() {
    let mut story = Story::whole();
    story.container("ephemon-install", ContainerType::Init, None, (1, 2), 0, 300);
    let before = job(&Story::whole());
    let after = job(&story);
    assert_eq!(after.containers, before.containers);
    assert!(after.window.start.ns > s(2) && after.window == before.window);
    let init_ns = |job: &Job| job.totals.init.cpu_ns.unwrap_or(0);
    assert_eq!(init_ns(&after) - init_ns(&before), 300_000_000);
    assert_eq!(after.totals.figures, before.totals.figures);
    let shown = after.containers.iter().filter(|one| one.window.duration_ns() == Some(0));
    assert_eq!(shown.count(), 0);
}

#[test]
fn a_debug_container_in_a_runners_pod_is_no_step_and_fails_no_job() {
    let mut idle = Story::idle();
    debug(&mut idle, 20, 30);
    assert_eq!(idle.job_evidence().job(Some(s(100))), None, "nobody's job");

    let mut story = Story::whole();
    story.forget_end_of("__run_2");
    story.forget_call("__run_2");
    story.pieces.retain(|piece| {
        let of = |name: &Option<String>| name.as_deref() == Some("__run_2");
        !matches!(piece, Evidence::Journal(heard)
            if matches!(&heard.record, Record::StepStarted { id, .. } if of(id)))
    });
    let before = job(&story);
    assert_eq!(before.outcome, Outcome::SUCCESS);
    debug(&mut story, 20, 30);
    // One that was over before the job began.
    story.container("debugger-y8", ContainerType::Ephemeral, None, (2, 3), 1, 50);
    let after = job(&story);
    assert_eq!(
        (after.outcome, &after.steps, &after.totals),
        (before.outcome, &before.steps, &before.totals)
    );
    assert_eq!(after.window, before.window);
    let roles: Vec<_> = after.containers.iter().filter(|one| one.role == Role::Debug).collect();
    let [only] = &roles[..] else { panic!("{roles:?}") };
    assert_eq!((&*only.name, only.outcome), ("debugger-x7", Outcome::of_code(137)));
}

#[test]
fn a_runner_that_is_oom_killed_is_an_error_and_no_cancellation() {
    for (reason, kills) in [("OOMKilled", 1), ("OOMKilled", 0), ("Error", 3)] {
        let job = job(&runner_dies(137, reason, kills));
        assert_eq!(job.outcome, Outcome::error(Fault::OomKilled, Some(137)), "{reason}, {kills}");
        let step = job.steps.iter().find(|step| &*step.name == "__run_2").unwrap();
        assert_eq!(step.outcome.fault, Some(Fault::Runner), "{reason}, {kills}");
        let ends = job.containers.iter().filter(|one| one.role.is_of_job());
        let ends: Vec<_> = ends.map(|one| (&*one.name, one.outcome.result)).collect();
        assert_eq!(ends, [("job", JobResult::Success), ("redis", JobResult::Success)]);
    }
}

/// An end is stamped when it is seen.
#[test]
fn a_runners_end_that_is_seen_after_that_of_its_step_is_its_cause_all_the_same() {
    let mut story = runner_dies(137, "OOMKilled", 1);
    story.sighted("runner", |one| one.ended_ns = Some(s(32) + 900_000_000));
    let job = job(&story);
    let step = job.steps.iter().find(|step| &*step.name == "__run_2").unwrap();
    assert_eq!(
        (job.outcome.fault, step.outcome.fault),
        (Some(Fault::OomKilled), Some(Fault::Runner))
    );
}

#[test]
fn a_runner_that_crashes_is_an_error_and_one_that_is_told_to_stop_a_cancellation() {
    let crashed = job(&runner_dies(139, "Error", 0));
    assert_eq!(crashed.outcome, Outcome::error(Fault::Runner, Some(139)));
    for code in [0, 137, 143] {
        let stopped = job(&runner_dies(code, "Error", 0));
        assert_eq!(stopped.outcome.result, JobResult::Cancellation, "{code}");
    }
}

#[test]
fn a_runner_whose_exit_is_told_too_late_has_not_failed_once_it_has_said_how_its_job_ended() {
    // The runner ends at 70 s, as dind beside it does.
    let outcome = |container: &str, said_at: Option<u64>| {
        let mut story = Story::idle();
        story.container("dind", ContainerType::Container, None, (1, 70), 0, 900);
        story.runner(9, "Running job: test");
        if let Some(said_at) = said_at {
            story.runner(said_at, "Job test completed with result: Failed");
        }
        story.sighted(container, |one| one.exit = None);
        story.pieces.push(Evidence::Gone { at_ns: s(80) });
        let job = job(&story);
        job.containers.iter().find(|one| &*one.name == container).map(|one| one.outcome)
    };
    assert_eq!(outcome("runner", Some(62)), Some(Outcome::UNKNOWN));
    let lost = Some(Outcome::error(Fault::Lost, None));
    assert_eq!(outcome("runner", None), lost);
    assert_eq!(outcome("runner", Some(71)), lost, "who has ended says nothing");
    assert_eq!(outcome("dind", Some(62)), lost, "nobody said that it ends");
}

#[test]
fn what_the_runner_says_goes_before_its_end_and_a_killed_worker_is_named() {
    let told = |kills, result: &str| {
        let mut story = runner_dies(137, "OOMKilled", kills);
        story.runner(9, "Running job: test");
        story.runner(31, &format!("Job test completed with result: {result}"));
        job(&story).outcome
    };
    assert_eq!(told(1, "Canceled").result, JobResult::Cancellation);
    // The listener lives on, and knows of a failure only.
    let mut story = Story::idle();
    story.kill("runner", 1, None);
    story.runner(9, "Running job: test");
    story.runner(31, "Job test completed with result: Failed");
    let failed =
        Outcome { result: JobResult::Failure, fault: Some(Fault::OomKilled), exit_code: None };
    assert_eq!(job(&story).outcome, failed);
    // A kill in another container of the pod, as where Docker runs beside the runner, is no sign of it.
    let mut beside = Story::idle();
    beside.container("dind", ContainerType::Sidecar, None, (0, 40), 0, 70);
    beside.kill("dind", 1, None);
    beside.runner(9, "Running job: test");
    beside.runner(31, "Job test completed with result: Failed");
    assert_eq!(job(&beside).outcome.fault, Some(Fault::Other));
}

#[test]
fn the_jobs_figures_say_what_they_include_and_init_containers_are_apart() {
    let mut story = Story::whole();
    story.container("init", ContainerType::Init, None, (0, 1), 0, 70);
    story.container("dind", ContainerType::Sidecar, None, (1, 70), 0, 30);
    let totals = job(&story).totals;
    assert_eq!(totals.included, [Role::Job, Role::Service, Role::Step]);
    assert_eq!(totals.figures.cpu_ns, Some(CPU_OF_JOB + 600_000_000));
    assert_eq!(totals.runner.cpu_ns, Some(930_000_000), "runner and sidecar");
    assert_eq!(
        (totals.init.cpu_ns, totals.init.memory_peak_bytes),
        (Some(70_000_000), Some(512 * MIB))
    );

    // A job without containers of its own is what the runner does.
    let mut story = Story::idle();
    story.runner(9, "Running job: test");
    let totals = job(&story).totals;
    assert_eq!((totals.included, totals.figures.cpu_ns), (vec![Role::Runner], Some(900_000_000)));
    assert_eq!(totals.runner, Figures::default());
    assert_eq!(totals.init.cpu_ns, Some(50_000_000));
}

#[test]
fn a_container_that_nobody_has_read_is_in_no_figures() {
    let mut story = Story::whole();
    story.sighted("step", |one: &mut Sighted| one.reading = None);
    assert_eq!(job(&story).totals.included, [Role::Job, Role::Service]);
}
