//! Images in which init cannot run: the job goes on by `exec`, and says so.

use std::fs;
use std::time::Duration;

use ephemon_demo::api::{Answer, Rule};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::rig::{Called, Rig};
use super::{between, wait_for};
use crate::support::ports;

fn job(image: &str) -> Value {
    json!({"container": {
        "image": image, "workingDirectory": "/__w/r/r",
        "environmentVariables": {"FROM_JOB": "of the job", "INPUT_NODE-VERSION": "20"},
    }})
}

async fn prepared(rig: &Rig, image: &str) -> (Called, Value) {
    let called = rig.call("prepare_job", &job(image), &Value::Null).await;
    assert_eq!(called.code, 0, "{called:?}");
    let state = called.json()["state"].clone();
    (called, state)
}

#[tokio::test]
async fn a_job_goes_on_by_exec_where_init_cannot_run() {
    let Some(rig) = Rig::start().await else { return };
    for (image, container) in [("foreign", "job-2"), ("noexec", "job-4"), ("mute", "job-6")] {
        let (called, state) = prepared(&rig, image).await;
        let notices = called.stdout.lines().filter(|line| line.starts_with("::notice::")).count();
        assert_eq!(notices, 1, "{called:?}");
        assert_eq!(called.json()["isAlpine"], json!(false));
        assert_eq!(called.json()["context"]["container"]["id"], json!(container));
        let script = "echo \"$FROM_JOB, $A\"; pwd; cat | wc -c; echo error >&2; echo made > /github/workspace/made; exit 42";
        let step = rig.call("run_script_step", &rig.script(script), &state).await;
        assert_eq!((step.code, step.stderr.as_str()), (42, "error\n"), "{image}: {step:?}");
        let (said, error) = step.stdout.split_at(step.stdout.find("::error::").unwrap());
        assert_eq!(said, "of the job, from the step\n/__w/r/r\n0\n");
        assert!(error.contains("exit code 42"), "{error}");
        assert_eq!(fs::read_to_string(rig.path("_work/r/r/made")).unwrap(), "made\n");
        // A shell forgets such a name; what runs without one has it.
        let bare = json!({"entryPoint": "env", "entryPointArgs": []});
        let step = rig.call("run_script_step", &bare, &state).await;
        assert!(step.stdout.contains("INPUT_NODE-VERSION=20\n"), "{step:?}");
        let cleaned = rig.call("cleanup_job", &json!({}), &state).await;
        assert_eq!(cleaned.code, 0, "{cleaned:?}");
        rig.until_ended(container).await;
    }
    let seen = rig.spec();
    assert!(!seen.contains("hunter2") && !seen.contains("of the job"), "{seen}");
}

#[tokio::test]
async fn a_step_by_exec_can_be_cancelled_and_leaves_nothing() {
    let Some(rig) = Rig::start().await else { return };
    let (_, state) = prepared(&rig, "foreign").await;
    let script = "trap 'echo tidied; exit 5' INT; (trap '' INT; exec sleep 1000) & echo $! > /__w/left; while :; do sleep 0.05; done";
    let step = rig.begin("run_script_step", &rig.script(script), &state).await;
    wait_for(&rig.path("_work/left")).await;
    step.signal(Signal::INT);
    let called = step.finish().await;
    assert!(called.stdout.contains("cancelled"), "{called:?}");
    // The step's own last words and exit code, unless the machine is so busy that they come after the time
    // that the runner gives a cancelled step: the hook does not wait for longer.
    let is_late = called.code == 130 && called.took > Duration::from_secs(8);
    let has_tidied = called.code == 5 && called.stdout.contains("tidied");
    assert!(has_tidied || is_late, "{called:?}");
    if is_late {
        // What it did not come to end is ended with the job's container.
        let cleaned = rig.call("cleanup_job", &json!({}), &state).await;
        assert_eq!(cleaned.code, 0, "{cleaned:?}");
    }
    let left = fs::read_to_string(rig.path("_work/left")).unwrap();
    rig.until_gone("job-2", &left, "sleep").await;
}

#[tokio::test]
async fn an_exec_that_is_throttled_or_cut_short_is_asked_for_again() {
    let Some(rig) = Rig::start().await else { return };
    let (_, state) = prepared(&rig, "foreign").await;
    for answer in [Answer::Status(429, Some(1)), Answer::Status(503, None), Answer::Closed] {
        rig.api.faults().add(Rule { asked: "get pods/exec", times: 1, answer });
        let script = rig.script("echo ran >> /__w/ran; exit 6");
        let step = rig.call("run_script_step", &script, &state).await;
        assert_eq!(step.code, 6, "{answer:?}: {step:?}");
    }
    assert_eq!(fs::read_to_string(rig.path("_work/ran")).unwrap(), "ran\nran\nran\n");
}

#[tokio::test]
async fn a_connection_that_closes_without_a_status_is_no_success() {
    let Some(rig) = Rig::start().await else { return };
    let (_, state) = prepared(&rig, "foreign").await;
    let between = between(&rig, ports::free()).await;
    let script = "echo on > /__w/on; sleep 2; exit 0";
    let step = rig.begin("run_script_step", &rig.script(script), &state).await;
    wait_for(&rig.path("_work/on")).await;
    between.abort();
    let called = step.finish().await;
    assert!(called.code == 1 && called.stdout.contains("closed before"), "{called:?}");
}

#[tokio::test]
async fn a_role_without_exec_is_said_with_what_to_add() {
    let Some(rig) = Rig::start().await else { return };
    let rule = |resources: &str, verbs: &[&str]| json!({"apiGroups": [""], "resources": [resources], "verbs": verbs});
    let rules = vec![rule("pods", &["get", "watch"]), rule("pods/ephemeralcontainers", &["patch"])];
    rig.api.access().set("runner", Some(rules));
    let called = rig.call("prepare_job", &job("foreign"), &Value::Null).await;
    assert_eq!(called.code, 1, "{called:?}");
    assert!(called.stdout.contains("pods/exec") && called.stdout.contains("role"), "{called:?}");
}

#[tokio::test]
async fn a_container_step_runs_by_itself_where_init_cannot() {
    let Some(rig) = Rig::start().await else { return };
    let state = rig.prepared().await;
    let step = json!({
        "image": "foreign", "entryPoint": "sh", "entryPointArgs": ["-c", "\"echo", "$INPUT_X;", "exit", "7\""],
        "environmentVariables": {"INPUT_X": "by hand"}, "workingDirectory": "/github/workspace",
    });
    let step = rig.call("run_container_step", &step, &state).await;
    assert!(step.code == 7 && step.stdout.contains("by hand\n"), "{step:?}");
    assert!(step.stdout.contains("::notice::"), "{step:?}");
    assert!(!rig.spec().contains("by hand"));
    assert!(rig.api.store().secrets().names().is_empty());
}
