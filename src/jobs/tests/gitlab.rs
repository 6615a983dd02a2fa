//! How a GitLab job ended, and which steps it had, by what its scripts print.

use std::sync::Arc;

use ephemon_model::ContainerType::{Container as Own, Init};

use super::ci::{change, env, pod_of};
use super::*;
use crate::{Figures, StepEvent, StepLine, StepReading};

/// A GitLab job's pod, and what its scripts have said: the second, the stage, its exit code once it is
/// over.
fn gitlab(said: &[(u64, &str, Option<i32>)]) -> Story {
    let mut story = pod_of(
        "gitlab",
        &[
            ("init-permissions", Init, "system", (1, 2), 0),
            ("build", Own, "job", (3, 60), 143),
            ("helper", Own, "system", (3, 60), 137),
            ("postgres", Own, "service", (3, 60), 137),
        ],
    );
    for (number, (second, stage, code)) in said.iter().enumerate() {
        let name = Arc::from(*stage);
        let event = match code {
            None => StepEvent::Began { name },
            Some(code) => StepEvent::Exited { name, code: *code },
        };
        let figures = Figures { cpu_ns: Some(second * 1_000_000), ..Figures::default() };
        let reading = Some(StepReading { at_ns: s(*second), figures });
        let number = number as u64;
        story.pieces.push(Evidence::Step(StepLine { at_ns: s(*second), number, event, reading }));
    }
    story
}

#[test]
fn stages_of_a_gitlab_job_are_its_steps_in_the_container_that_ran_them() {
    let job = job(&gitlab(&[
        (4, "get_sources", None),
        (9, "get_sources", Some(0)),
        (10, "step_script", None),
        (30, "step_script", Some(3)),
        (31, "after_script", None),
        (32, "after_script", Some(0)),
        (33, "cleanup_file_variables", None),
        (34, "cleanup_file_variables", Some(0)),
    ]));
    let row = |step: &Step| {
        let container = step.container.as_deref().unwrap().to_owned();
        let (start, end) = (step.window.start.ns / s(1), step.window.end.unwrap().ns / s(1));
        (step.name.to_string(), container, start, end, step.outcome.exit_code)
    };
    let rows: Vec<_> = job.steps.iter().map(row).collect();
    let expected = [
        ("get_sources", "helper", 4, 9, Some(0)),
        ("step_script", "build", 10, 30, Some(3)),
        ("after_script", "build", 31, 32, Some(0)),
        ("cleanup_file_variables", "helper", 33, 34, Some(0)),
    ];
    let expected = expected.map(|(a, b, c, d, e)| (a.to_owned(), b.to_owned(), c, d, e));
    assert_eq!(rows, expected);
    assert_eq!(job.steps[1].figures.cpu_ns, Some(20_000_000), "by the readings at its lines");
    assert_eq!((job.outcome, job.judged_by), (Outcome::of_code(3), ResultSource::Runner));
}

#[test]
fn a_gitlab_job_ended_as_its_scripts_did() {
    const UNKNOWN: Option<JobResult> = None;
    let (good, bad) = (Some(JobResult::Success), Some(JobResult::Failure));
    for (said, expected) in [
        (&[("step_script", 0), ("cleanup_file_variables", 0)][..], good),
        // It was to go on, and nobody knows why it did not.
        (&[("step_script", 0)], UNKNOWN),
        (&[("get_sources", 0), ("cleanup_file_variables", 0)], UNKNOWN),
        (&[], UNKNOWN),
        (&[("step_script", 2)], bad),
        (&[("step_script", 1), ("cleanup_file_variables", 0)], bad),
        (
            &[
                ("get_sources", 1),
                ("get_sources", 0),
                ("step_script", 0),
                ("cleanup_file_variables", 0),
            ],
            good,
        ),
        (&[("get_sources", 0), ("get_sources", 128), ("cleanup_file_variables", 0)], bad),
        (
            &[
                ("step_script", 0),
                ("upload_artifacts_on_success", 1),
                ("cleanup_file_variables", 0),
            ],
            bad,
        ),
        (&[("step_script", 0), ("after_script", 1), ("cleanup_file_variables", 1)], good),
        // What a job leaves running says after its script has failed.
        (&[("step_script", 1), ("step_script", 0), ("cleanup_file_variables", 0)], bad),
    ] {
        let lines: Vec<_> = (4..)
            .zip(said)
            .flat_map(|(at, (name, code))| {
                [(2 * at, *name, None), (2 * at + 1, *name, Some(*code))]
            })
            .collect();
        let result = job(&gitlab(&lines)).outcome.result;
        assert_eq!(result, expected.unwrap_or(JobResult::Unknown), "{said:?}");
    }
}

/// The runner ends a script that is cancelled or takes too long, and begins no further stage.
#[test]
fn a_gitlab_job_that_the_runner_ended_did_not_fail() {
    let timeout = |code| Outcome { exit_code: Some(code), ..Outcome::UNKNOWN };
    let timeout = |code| Outcome { result: JobResult::Timeout, ..timeout(code) };
    let goes_on = ("upload_artifacts_on_failure", None);
    for (stage, code, after, deadline, expected) in [
        ("step_script", 1, None, 40, timeout(1)),
        ("step_script", 143, None, 38, timeout(143)),
        ("get_sources", 137, None, 40, timeout(137)),
        // The clock of the server is ahead.
        ("step_script", 1, None, 41, timeout(1)),
        // Before its time was over it was cancelled, or its runner ended.
        ("step_script", 1, None, 60, Outcome::UNKNOWN),
        ("step_script", 1, None, 0, Outcome::UNKNOWN),
        // It failed by itself.
        ("step_script", 2, None, 40, Outcome::of_code(2)),
        ("step_script", 1, Some(goes_on), 40, Outcome::of_code(1)),
    ] {
        let mut lines = vec![(10, stage, None), (40, stage, Some(code))];
        lines.extend(after.map(|(stage, code)| (41, stage, code)));
        let mut story = gitlab(&lines);
        change(&mut story, "build", |entry| {
            let env = Arc::make_mut(entry.job.as_mut().unwrap());
            let ci = Arc::make_mut(env.ci.as_mut().unwrap());
            ci.deadline_ns = (deadline > 0).then(|| s(deadline));
        });
        assert_eq!(job(&story).outcome, expected, "{stage} {code} {deadline}");
    }
}

#[test]
fn a_gitlab_job_with_a_stage_whose_end_nobody_told_is_no_success() {
    const UNKNOWN: JobResult = JobResult::Unknown;
    let cleanup = ("cleanup_file_variables", None);
    for (said, expected) in [
        // Its shell was killed, and the runner went on.
        (
            &[("step_script", None), ("step_script", Some(0)), ("step_release", None), cleanup][..],
            UNKNOWN,
        ),
        (
            &[
                ("step_script", None),
                ("step_script", Some(0)),
                ("upload_artifacts_on_success", None),
                cleanup,
            ],
            UNKNOWN,
        ),
        // The job says that something is over that has not begun, and kills its shell.
        (&[("step_script", None), ("step_x", Some(0)), cleanup], UNKNOWN),
        (&[("step_x", Some(0)), cleanup], UNKNOWN),
        // The last attempt is the one that counts, and this one has no end.
        (&[("get_sources", None), ("get_sources", Some(1)), ("get_sources", None)], UNKNOWN),
        (
            &[
                ("get_sources", None),
                ("get_sources", None),
                ("get_sources", Some(0)),
                ("step_script", None),
                ("step_script", Some(0)),
                ("after_script", None),
                cleanup,
            ],
            JobResult::Success,
        ),
        // What a job leaves running says so after the end of its script.
        (
            &[("step_script", None), ("step_script", Some(0)), ("step_script", None), cleanup],
            JobResult::Success,
        ),
        (&[("step_script", None), ("step_script", Some(2)), ("step_x", None)], JobResult::Failure),
    ] {
        let lines: Vec<_> = (8..).zip(said).map(|(at, (name, code))| (at, *name, *code)).collect();
        assert_eq!(job(&gitlab(&lines)).outcome.result, expected, "{said:?}");
    }
}

#[test]
fn a_gitlab_job_that_the_kernel_ended_is_an_error_whatever_its_scripts_said() {
    let lines = [(10, "step_script", None), (30, "step_script", Some(137))];
    let mut story = gitlab(&lines);
    story.end("build", 31, 137, "OOMKilled");
    let job = job(&story);
    assert_eq!(job.outcome.fault, Some(Fault::OomKilled));
    assert_eq!((job.outcome.result, job.judged_by), (JobResult::Error, ResultSource::Parts));
}

#[test]
fn another_systems_job_has_no_stages_and_a_github_step_of_that_name_is_the_runners() {
    let mut story = gitlab(&[(10, "step_script", None), (30, "step_script", Some(3))]);
    for name in ["build", "helper", "postgres", "init-permissions"] {
        change(&mut story, name, |entry| {
            let part = entry.job.as_ref().unwrap().role.clone().unwrap();
            entry.job = Some(Arc::new(env("jenkins", &part)));
        });
    }
    assert_eq!(job(&story).outcome.result, JobResult::Unknown);
}
