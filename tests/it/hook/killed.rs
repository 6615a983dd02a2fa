//! Hooks that are killed at the worst moments leave nothing that runs on.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::rig::Rig;
use super::until;

#[tokio::test]
async fn containers_that_start_after_their_prepare_was_killed_and_cleaned_up_end_at_once() {
    let Some(mut rig) = Rig::start().await else { return };
    rig.set("GITHUB_RUN_ID", "7");
    rig.set("GITHUB_RUN_ATTEMPT", "1");
    let service = json!({"image": "late-service", "entryPoint": "sleep", "entryPointArgs": ["1000"], "environmentVariables": {"A": "b"}});
    let args = json!({"container": {"image": "late"}, "services": [service]});
    let prepare = rig.begin("prepare_job", &args, &Value::Null).await;
    until(|| rig.spec().contains("late-service")).await;
    prepare.signal(Signal::KILL);
    assert_eq!(prepare.finish().await.code, 137);
    let cleaned = rig.call("cleanup_job", &json!({}), &Value::Null).await;
    assert_eq!(cleaned.code, 0, "{cleaned:?}");
    assert!(rig.api.store().secrets().names().is_empty());
    assert!(!rig.runner_tmp().read_dir().unwrap().any(|_| true), "the token must be forgotten");
    // Only now the images have come. The service's Secret is gone, so that it never starts.
    fs::write(rig.path("late"), "").unwrap();
    rig.until_ended("job").await;
    let ended = rig.pod.ended();
    assert!(ended.contains(&("job".to_owned(), 125)), "{ended:?}");
}

#[tokio::test]
async fn a_step_container_whose_hook_was_killed_before_it_started_ends_and_is_no_success() {
    let Some(rig) = Rig::start().await else { return };
    let state = rig.prepared().await;
    let step = json!({"image": "late", "entryPoint": "true", "environmentVariables": {"A": "b"}});
    let step = rig.begin("run_container_step", &step, &state).await;
    until(|| rig.spec().contains("late")).await;
    step.signal(Signal::KILL);
    assert_eq!(step.finish().await.code, 137);
    fs::write(rig.path("late"), "").unwrap();
    rig.until_ended("step").await;
    assert!(rig.pod.ended().contains(&("step".to_owned(), 143)), "{:?}", rig.pod.ended());
    assert!(rig.pod.pid("job").is_some(), "the job goes on");
}

#[tokio::test]
async fn a_prepare_whose_answer_cannot_be_written_fails_and_leaves_nothing_that_runs() {
    let Some(mut rig) = Rig::start().await else { return };
    let called = rig.prepare_unanswered(&json!({"container": {"image": "init"}})).await;
    assert_eq!(called.code, 1, "{called:?}");
    let sentence = "::error::cannot write the response file ";
    assert!(called.stdout.contains(sentence), "{called:?}");
    let cleaned = rig.call("cleanup_job", &json!({}), &Value::Null).await;
    assert_eq!(cleaned.code, 0, "{cleaned:?}");
    rig.until_ended("job").await;
}

/// `RUNNER_TEMP` is the step's to empty, and the file for the answer lies in it.
#[tokio::test]
async fn a_step_that_empties_runner_temp_keeps_its_own_result() {
    let Some(rig) = Rig::start().await else { return };
    let state = rig.prepared().await;
    for (script, code) in [
        ("rm -rf /__w/_temp/*; exit 0", 0),
        ("rm -rf /__w/_temp/*; exit 42", 42),
        ("for f in /__w/_temp/*.json; do rm $f; mkdir $f; done", 0),
        ("for f in /__w/_temp/*.json; do rm $f; mkfifo $f; done; exit 7", 7),
    ] {
        let step = rig.call("run_script_step", &rig.script(script), &state).await;
        assert_eq!(step.code, code, "{script}: {step:?}");
        assert!(
            !step.stdout.contains("answer") || step.stdout.contains("::debug::the answer"),
            "{step:?}"
        );
        drop(fs::remove_dir_all(rig.path("_work/_temp")));
        fs::create_dir_all(rig.path("_work/_temp/_runner_file_commands")).unwrap();
    }
    let action = json!({"image": "init", "entryPoint": "sh", "entryPointArgs": ["-c", "\"rm -rf /__w/_temp; exit 6\""]});
    let step = rig.call("run_container_step", &action, &state).await;
    assert_eq!(step.code, 6, "{step:?}");
}
