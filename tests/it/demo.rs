//! The first command of the README, as a newcomer runs it: the embedded node, the real agent, the
//! real hook and init, and the report that checks them.

use std::process::Command;

use serde_json::Value;

use crate::support::parts::{self, Part};

/// Plays once; the report.
fn play(more: &[&str]) -> Value {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_ephemon"));
    demo.args(["demo", "--once", "--report", "json"]).args(more);
    let output = demo.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{more:?}: {words}");
    serde_json::from_slice(&output.stdout).unwrap()
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
}

#[test]
fn the_whole_demo_passes_its_own_check() {
    let report = play(&[]);
    assert_workflow(&report);
    let containers = &report["containers"];
    assert_eq!(containers["launched"], containers["captured"]);
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
