//! Pods of other CI systems: what of them is the job, when it began and ended, and how.

use std::sync::Arc;

use ephemon_model::ContainerType::{Container as Own, Ephemeral, Init, Sidecar};
use ephemon_model::{CiJob, JobEnv, StepStatus};

use super::*;

/// Name, list, part, seconds from creation to end, exit code.
type Row<'a> = (&'a str, ContainerType, &'a str, (u64, u64), i32);

pub(super) fn env(system: &str, part: &str) -> JobEnv {
    let ci =
        CiJob { system: system.into(), run_key: Some("tekton ci run".into()), ..CiJob::default() };
    JobEnv {
        workflow: Some("release".into()),
        run_id: Some("release-7".into()),
        role: Some(part.into()),
        display_name: Some("title".into()),
        ci: Some(Arc::new(ci)),
        ..JobEnv::default()
    }
}

pub(super) fn pod_of(system: &str, rows: &[Row<'_>]) -> Story {
    let mut story = Story::new();
    for (name, container_type, part, times, code) in rows {
        story.container(name, *container_type, None, *times, *code, 500);
        change(&mut story, name, |entry| entry.job = Some(Arc::new(env(system, part))));
    }
    story
}

pub(super) fn change(
    story: &mut Story,
    name: &str,
    change: impl Fn(&mut ephemon_discovery::inventory::SpecEntry),
) {
    for piece in &mut story.pieces {
        if let Evidence::Spec(entry) = piece
            && &*entry.name == name
        {
            change(entry);
        }
    }
}

/// The system has written down how the container's step went.
fn record(story: &mut Story, name: &str, began: u64, exit_code: Option<i32>, reason: Option<&str>) {
    let step = StepStatus { started_ns: s(began), exit_code, reason: reason.map(Arc::from) };
    change(story, name, |entry| {
        let job = entry.job.as_deref().unwrap().clone();
        let ci = CiJob {
            step: Some(step.clone()),
            step_name: Some(name.trim_start_matches("step-").into()),
            ..CiJob::clone(job.ci.as_ref().unwrap())
        };
        entry.job = Some(Arc::new(JobEnv { ci: Some(Arc::new(ci)), ..job }));
    });
}

fn tekton() -> Story {
    pod_of(
        "tekton",
        &[
            ("prepare", Init, "system", (1, 2), 0),
            ("step-fetch", Own, "step", (3, 10), 0),
            ("step-build", Own, "step", (3, 30), 0),
            ("sidecar-db", Own, "service", (3, 31), 137),
        ],
    )
}

fn steps(job: &Job) -> Vec<(&str, u64, u64)> {
    let second = |ns: u64| ns / s(1);
    let row = |step: &Step| {
        let name = step.container.as_ref().unwrap();
        (name.to_string(), second(step.window.start.ns), second(step.window.end.unwrap().ns))
    };
    let names = ["step-fetch", "step-build", "checkout", "container-0"];
    let rows = job.steps.iter().map(row);
    rows.map(|(name, from, to)| (*names.iter().find(|one| **one == name).unwrap(), from, to))
        .collect()
}

#[test]
fn a_step_begins_when_its_record_says_so_and_its_container_lived_longer() {
    let mut story = tekton();
    record(&mut story, "step-fetch", 4, None, None);
    record(&mut story, "step-build", 12, None, None);
    let job = job(&story);
    assert_eq!(steps(&job), [("step-fetch", 4, 10), ("step-build", 12, 30)]);
    let build = &job.steps[1];
    assert_eq!(
        (build.display_name.as_deref(), build.window.start.source),
        (Some("build"), Source::System)
    );
    assert_eq!(build.figures.cpu_ns, Some(500_000_000));
    let container = job.containers.iter().find(|one| &*one.name == "step-build").unwrap();
    assert_eq!((container.window.start.ns, container.role), (s(3), Role::Step));
    assert_eq!(job.outcome.result, JobResult::Success, "a sidecar is told to stop");
    assert_eq!((job.window.start.ns, job.window.end.unwrap().ns), (s(1), s(31)));
    assert_eq!((job.identity.name(), job.identity.previous_attempt()), ("title", None));
    let pod = job.pod.uid.as_str().to_owned();
    let key = ephemon_contract::trace::JobKey::of_pod(Some("tekton ci run"), &pod);
    assert_eq!(job.span, key.span());
}

#[test]
fn without_a_record_a_step_begins_when_the_one_before_it_ended() {
    let expected = [("step-fetch", 3, 10), ("step-build", 10, 30)];
    assert_eq!(steps(&job(&tekton())), expected);
    let story = pod_of(
        "buildkite",
        &[
            ("container-0", Own, "step", (3, 20), 0),
            ("agent", Own, "system", (3, 21), 1),
            ("checkout", Own, "step", (3, 8), 0),
        ],
    );
    let buildkite = job(&story);
    assert_eq!(steps(&buildkite), [("checkout", 3, 8), ("container-0", 8, 20)]);
    assert_eq!(buildkite.steps[1].window.start.source, Source::Derived);
    assert_eq!(buildkite.outcome.result, JobResult::Success, "the agent's code says nothing");
}

#[test]
fn a_step_ends_as_its_record_says() {
    for (code, exit_code, reason, step, whole) in [
        (0, Some(17), None, JobResult::Failure, JobResult::Success),
        (3, None, None, JobResult::Failure, JobResult::Failure),
        (1, None, Some("Skipped"), JobResult::Skip, JobResult::Success),
        (1, None, Some("TimeoutExceeded"), JobResult::Timeout, JobResult::Timeout),
        (1, None, Some("Cancelled"), JobResult::Cancellation, JobResult::Cancellation),
        (0, None, Some("Skipped"), JobResult::Success, JobResult::Success),
    ] {
        let mut story = tekton();
        story.end("step-build", 30, code, "Error");
        record(&mut story, "step-build", 12, exit_code, reason);
        let job = job(&story);
        let found = job.steps.iter().find(|one| one.container.as_deref() == Some("step-build"));
        let found = found.unwrap().outcome.result;
        assert_eq!((found, job.outcome.result), (step, whole), "{code} {exit_code:?} {reason:?}");
    }
}

#[test]
fn how_a_job_ended_follows_from_the_containers_that_decide() {
    let argo = |main, wait, sidecar| {
        let rows: [Row<'_>; 4] = [
            ("init", Init, "system", (1, 2), 0),
            ("main", Own, "step", (3, 10), main),
            ("wait", Own, "system", (3, 12), wait),
            ("redis", Own, "service", (3, 11), sidecar),
        ];
        job(&pod_of("argo", &rows)).outcome.result
    };
    assert_eq!(argo(0, 0, 143), JobResult::Success);
    assert_eq!(argo(0, 0, 137), JobResult::Success);
    assert_eq!(argo(2, 0, 143), JobResult::Failure);
    assert_eq!(argo(2, 64, 143), JobResult::Failure, "the main container goes first");
    assert_eq!(argo(0, 64, 143), JobResult::Error, "artifacts could not be saved");
    assert_eq!(argo(0, 143, 143), JobResult::Success);
    assert_eq!(argo(0, 0, 1), JobResult::Failure, "a sidecar fails the node");

    let of = |system, rows: &[Row<'_>]| job(&pod_of(system, rows)).outcome;
    let init = [("prepare", Init, "system", (1, 2), 1)];
    assert_eq!(of("tekton", &init).result, JobResult::Error, "no step could run");
    let sidecar = [("step-a", Own, "step", (1, 9), 0), ("db", Sidecar, "service", (1, 9), 1)];
    assert_eq!(of("tekton", &sidecar).result, JobResult::Success);
    let own = [("a", Own, "step", (1, 9), 0), ("b", Own, "step", (1, 9), 4)];
    assert_eq!(of("custom", &own).result, JobResult::Failure);
}

#[test]
fn what_is_stopped_from_outside_does_not_say_how_the_job_ended() {
    let rows = |code| {
        let rows: [Row<'_>; 3] = [
            ("build", Own, "job", (3, 30), code),
            ("helper", Own, "system", (3, 31), 137),
            ("postgres", Own, "service", (3, 31), 1),
        ];
        pod_of("gitlab", &rows)
    };
    for code in [0, 137, 143] {
        assert_eq!(job(&rows(code)).outcome, Outcome::UNKNOWN, "{code}");
    }
    // The pod went before anybody saw the exit code.
    let mut gone = rows(0);
    gone.sighted("build", |one| (one.exit, one.finished_ns, one.ended_ns) = (None, None, None));
    gone.pieces.push(Evidence::Gone { at_ns: s(31) });
    assert_eq!(job(&gone).outcome, Outcome::UNKNOWN);
    let mut short = rows(137);
    short.end("build", 30, 137, "OOMKilled");
    let outcome = job(&short).outcome;
    assert_eq!((outcome.result, outcome.fault), (JobResult::Error, Some(Fault::OomKilled)));
    assert_eq!(job(&rows(1)).outcome.result, JobResult::Failure, "it ended by itself");
}

#[test]
fn somebody_who_looks_around_is_no_part_and_a_container_called_runner_no_runner() {
    let rows = [("runner", Own, "step", (3, 30), 0), ("agent", Own, "system", (3, 31), 0)];
    let mut story = pod_of("buildkite", &rows);
    story.container("debugger-x7", Ephemeral, None, (5, 900), 137, 50);
    let job = job(&story);
    let roles: Vec<_> = job.containers.iter().map(|one| (&*one.name, one.role)).collect();
    assert_eq!(
        roles,
        [("agent", Role::Runner), ("runner", Role::Step), ("debugger-x7", Role::Debug)]
    );
    assert_eq!((job.outcome.result, job.steps.len()), (JobResult::Success, 1));
    assert_eq!(job.totals.included, [Role::Step]);
}

/// What an operator maps goes behind what the hook says.
#[test]
fn the_hooks_word_goes_before_a_mapping() {
    let mut story = Story::whole();
    change(&mut story, "runner", |entry| entry.job = Some(Arc::new(env("custom", "step"))));
    let job = job(&story);
    assert_eq!((job.identity.ci.as_ref(), job.identity.job.as_deref()), (None, Some("test")));
}

/// Anybody's pod may have the labels of ARC's runners, and a mapping may read them.
#[test]
fn a_mapped_pod_with_a_runners_labels_is_the_mappings() {
    let mut story = pod_of("custom", &[("rollout", Own, "step", (3, 20), 7)]);
    let labels = JobEnv { repository: Some("o/labelled".into()), ..JobEnv::default() };
    story.pieces.push(Evidence::Job(Arc::new(labels)));
    let mapped = job(&story);
    assert_eq!(mapped.outcome.result, JobResult::Failure);
    assert_eq!(mapped.identity.ci.as_ref().map(|ci| &*ci.system), Some("custom"));
    assert_eq!(mapped.identity.workflow.as_deref(), Some("release"));
    assert_eq!(mapped.identity.repository.as_deref(), Some("o/labelled"), "what it does not say");
    // One whose run the controller knows is GitHub's.
    let run = JobEnv { run_id: Some("7".into()), ..JobEnv::default() };
    story.pieces.push(Evidence::Job(Arc::new(run)));
    assert_eq!(job(&story).identity.ci, None);
}

/// A mapping may be for more pods than those it makes jobs of.
#[test]
fn a_mapped_runner_that_waits_is_no_job() {
    let mut story = pod_of(
        "custom",
        &[("init", Init, "system", (1, 2), 0), ("runner", Own, "step", (3, 20), 0)],
    );
    assert_eq!(job(&story).identity.ci.as_ref().map(|ci| &*ci.system), Some("custom"));
    let labels = JobEnv { repository: Some("o/r".into()), ..JobEnv::default() };
    story.pieces.push(Evidence::Job(Arc::new(labels)));
    assert_eq!(story.job_evidence().job(None), None);
    assert_eq!(story.job_evidence().job(Some(s(100))), None);
    // The runner has a job.
    story.runner(9, "Running job: test");
    let job = job(&story);
    assert_eq!((job.identity.ci.as_ref(), job.identity.name()), (None, "test"));
}
