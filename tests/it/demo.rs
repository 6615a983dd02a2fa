//! The first command of the README, as a newcomer runs it: the embedded node, the real agent, the
//! real hook and init, and the report that checks them.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::parts::{self, Part};
use crate::support::process::until;
use crate::support::programs;

/// How often the demo is played at most.
const PLAYS: usize = 3;

/// Plays until the demo passes its own check; the report.
///
/// The check makes no allowance for a busy machine: where it finds nothing but what such a machine shows, all is
/// played again.
fn play(more: &[&str]) -> Value {
    let mut words = String::new();
    for _ in 0..PLAYS {
        let mut demo = Command::new(programs::ephemon());
        demo.args(["demo", "--once", "--report", "json"]).args(more);
        let output = demo.output().unwrap();
        words = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            return serde_json::from_slice(&output.stdout).unwrap();
        }
        assert!(is_only_late(&words), "{more:?}: {words}");
        eprintln!("{more:?} was late: {words}");
    }
    panic!("{more:?} was late {PLAYS} times: {words}");
}

/// Whether all that the demo's check found is what a busy machine shows: the agent came too late to the start
/// or the end of a container. As many figures may be wrong as the agent says are not the container's own.
fn is_only_late(words: &str) -> bool {
    let (mut is_late, mut estimates, mut wrong) = (false, 0, 0);
    for fault in words.lines().filter_map(|line| line.strip_prefix("FAILED: ")) {
        if let Some((count, _)) = fault.split_once(" final readings have a quality worse than") {
            estimates = count.parse().unwrap();
        } else if fault.contains(" s of CPU time, the agent reports ") {
            wrong += 1;
        } else if fault != "the agent did not set the job container's limits in time" {
            return false;
        }
        is_late = true;
    }
    is_late && wrong <= estimates
}

/// The steps of a report's workflow with their exit codes.
fn steps(report: &Value) -> Vec<(&str, i64)> {
    let steps = report["hook"]["steps"].as_array().unwrap().iter();
    steps
        .map(|step| (step["name"].as_str().unwrap(), step["exit_code"].as_i64().unwrap()))
        .collect()
}

fn assert_workflow(report: &Value) {
    let steps = steps(report);
    assert_eq!(steps.first(), Some(&("prepare_job", 0)));
    for expected in [
        ("build", 0),
        ("ask the service", 0),
        ("fails", 42),
        ("much output", 0),
        ("cancelled", 130),
        ("action", 0),
        ("action of its own", 0),
    ] {
        assert!(steps.contains(&expected), "{expected:?} in {steps:?}");
    }
    assert_eq!(steps.last(), Some(&("cleanup_job", 0)));
    assert_eq!(report["hook"]["faults"], serde_json::json!([]));
    assert!(report["hook"]["script_step_ms"].as_f64().unwrap() > 0.0);
    assert_trace(report);
}

/// One job, whose steps are those that the runner called the hook for.
fn assert_trace(report: &Value) {
    let jobs = report["jobs"].as_array().unwrap();
    let [job] = jobs.as_slice() else { panic!("one job, not {jobs:?}") };
    assert_eq!(job["repository"], "octo-org/widgets");
    assert_eq!(job["run_attempt"], "1");
    assert_eq!(job["trace_id"].as_str().unwrap().len(), 32);
    // By the runner's own log: the workflow goes on after the step that fails and the one that is
    // cancelled, of which nobody else can know.
    assert_eq!((&job["name"], &job["result"]), (&"Build and test".into(), &"success".into()));
    let called = steps(report);
    let called = called.iter().filter(|(name, _)| !["prepare_job", "cleanup_job"].contains(name));
    let expected: Vec<_> = called
        .map(|(name, code)| {
            let result = match code {
                0 => "success",
                130 => "cancellation",
                _ => "failure",
            };
            (name.replace(' ', "_"), result)
        })
        .collect();
    let traced = job["steps"].as_array().unwrap();
    let told: Vec<_> = traced
        .iter()
        .map(|step| (step["name"].as_str().unwrap().to_owned(), step["result"].as_str().unwrap()))
        .collect();
    assert_eq!(told, expected);
    for step in traced {
        assert!(step["duration_s"].as_f64().unwrap() > 0.0, "{step}");
        assert!(step["cpu_s"].is_f64(), "{step}");
    }
    // The job, its two calls, its steps, and six containers with the stages of four.
    assert!(job["spans"].as_u64().unwrap() > 24, "{job}");
    assert_eq!(job["pulls"], 1, "{job}");
    // Which step raises its container's peak is not the same in every run.
    let peak = |step: &Value| step["memory_peak_bytes"].as_f64().is_some_and(|bytes| bytes > 0.0);
    assert!(traced.iter().any(peak), "{job}");
}

#[test]
fn the_whole_demo_passes_its_own_check() {
    let report = play(&[]);
    assert_workflow(&report);
    let containers = &report["containers"];
    assert_eq!(containers["launched"], containers["captured"]);
    let logs = &report["logs"];
    assert_eq!(logs["lines_written"], logs["lines_exported"]);
    assert!(logs["lines_written"].as_u64().unwrap() > 100_000, "{logs}");
    // Four of the workflow, and the script's.
    assert!(containers["launched"].as_u64().unwrap() >= 30, "{containers}");
}

#[test]
fn the_workflow_is_played_where_no_namespace_is_to_be_had() {
    assert_workflow(&play(&["--play", "workflow", "--mounts", "textual", "--cgroups", "scratch"]));
}

#[test]
fn the_workflow_is_played_in_a_user_namespace() {
    if !parts::all_there(&[Part::UserNamespace]) {
        return;
    }
    assert_workflow(&play(&["--play", "workflow", "--mounts", "user-namespace"]));
}

#[test]
fn only_a_demo_that_was_late_is_played_again() {
    let late = "FAILED: 1 final readings have a quality worse than residual (1 residual_shared, 0 \
                last_sample)\n";
    let wrong = "FAILED: step-1 in runner-1 used 0.1 s of CPU time, the agent reports 0.2 s\n";
    let other = "FAILED: the agent did not report the end of step-1 in runner-1\n";
    let repeated = "FAILED: 3 spans arrived more than once\n";
    let unlimited = "FAILED: the agent did not set the job container's limits in time\n";
    for words in [&[late, wrong][..], &["started\n", unlimited]] {
        assert!(is_only_late(&words.concat()), "{words:?}");
    }
    for words in [&[wrong][..], &[late, wrong, wrong], &[late, other], &[late, repeated], &[]] {
        assert!(!is_only_late(&words.concat()), "{words:?}");
    }
}

/// As a runner whose last words are written when it is told to end.
#[test]
fn the_runners_container_says_all_that_was_written_before_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("says");
    let mut repeat = Command::new(programs::demo());
    repeat.args(["demo-part", "workload", "repeat"]).arg(&pipe).stdout(Stdio::piped());
    let repeat = repeat.spawn().unwrap();
    let pid = Pid::from_child(&repeat);
    let status = format!("/proc/{}/status", repeat.id());
    // Bit 14 of the signals caught: SIGTERM, which would end it before it listens.
    let listens = || {
        let status = fs::read_to_string(&status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t"))?;
        (u64::from_str_radix(caught, 16).unwrap() >> 14 & 1 == 1).then_some(())
    };
    until(Duration::from_mins(1), listens).expect("it listens");
    let words = "a line of the runner's\n".repeat(2500);
    kill_process(pid, Signal::STOP).unwrap();
    fs::write(&pipe, &words).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    kill_process(pid, Signal::CONT).unwrap();
    let output = repeat.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    assert_eq!(output.stdout.len(), words.len());
    assert!(output.stdout == words.as_bytes(), "its words as they were");
}
