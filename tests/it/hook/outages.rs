//! The API server's bad days: throttling, outages at every call, watches that break.

use std::fs;
use std::time::Duration;

use ephemon_demo::api::{Answer, Fault, Rule};
use serde_json::{Value, json};

use super::rig::{Called, Rig};
use super::{again_if, between, gave_up_the_log};
use crate::support::ports;

/// Everything a job asks of the API server.
const ASKED: [&str; 6] = [
    "get pods",
    "watch pods",
    "patch pods/ephemeralcontainers",
    "create secrets",
    "delete secrets",
    "get pods/log",
];

/// A job with a service and a container step, both by their own entrypoints.
async fn play(rig: &Rig) {
    let env = json!({"KEY": "value"});
    let service = json!({"image": "db", "entryPointArgs": ["echo of the service; exec sleep 1000"], "environmentVariables": env});
    let args = json!({"container": {"image": "init"}, "services": [service]});
    let prepared = rig.call("prepare_job", &args, &Value::Null).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    let response = prepared.json();
    let state = response["state"].clone();
    let step = json!({"image": "tool", "entryPointArgs": ["echo of the step; exit 5"], "environmentVariables": env});
    let step = rig.call("run_container_step", &step, &state).await;
    assert!(step.code == 5 && step.stdout.contains("of the step\n"), "{step:?}");
    let service = response["context"]["services"][0]["id"].as_str().unwrap();
    rig.until_logged(service, "of the service\n").await;
    let cleaned = rig.call("cleanup_job", &json!({}), &state).await;
    assert!(cleaned.code == 0 && cleaned.stdout.contains("of the service\n"), "{cleaned:?}");
    assert!(rig.api.store().secrets().names().is_empty());
}

#[tokio::test]
async fn throttling_and_short_outages_at_every_call_are_waited_out() {
    let Some(rig) = Rig::start().await else { return };
    for answer in [Answer::Status(429, Some(1)), Answer::Status(503, None), Answer::Closed] {
        for asked in ASKED {
            rig.api.faults().add(Rule { asked, times: 1, answer });
        }
        play(&rig).await;
    }
}

#[tokio::test]
async fn retry_after_is_heeded() {
    let Some(rig) = Rig::start().await else { return };
    let answer = Answer::Status(429, Some(2));
    rig.api.faults().add(Rule { asked: "patch pods/ephemeralcontainers", times: 1, answer });
    let args = json!({"container": {"image": "init"}});
    let called = rig.call("prepare_job", &args, &Value::Null).await;
    assert!(called.code == 0 && called.took >= Duration::from_secs(2), "{called:?}");
}

/// What was carried out and never answered is asked again, and has the effect of once.
#[tokio::test]
async fn answers_that_are_lost_do_no_harm() {
    let Some(rig) = Rig::start().await else { return };
    for asked in ["patch pods/ephemeralcontainers", "create secrets"] {
        rig.api.faults().add(Rule { asked, times: 1, answer: Answer::Lost });
    }
    play(&rig).await;
    let spec: Value = serde_json::from_str(&rig.spec()).unwrap();
    assert_eq!(spec["ephemeralContainers"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_watch_that_breaks_or_expires_is_taken_up_again() {
    let Some(rig) = Rig::start().await else { return };
    let service = json!({"image": "late", "entryPointArgs": ["sleep 1000"]});
    let args = json!({"container": {"image": "init"}, "services": [service]});
    let prepare = rig.begin("prepare_job", &args, &Value::Null).await;
    rig.first_process("job").await;
    let faults = rig.api.faults();
    let cut = async |asked: u64| {
        let before = faults.requests();
        faults.drop_watches();
        rig.until_asked(before, asked).await;
    };
    cut(1).await;
    let before = faults.requests();
    faults.expire_watches();
    rig.until_asked(before, 1).await;
    // The second time it asks, the first has been refused.
    faults.set(Fault::Gone);
    cut(2).await;
    faults.set(Fault::Refuse(500));
    cut(2).await;
    faults.set(Fault::None);
    fs::write(rig.path("late"), "").unwrap();
    let called = prepare.finish().await;
    assert_eq!(called.code, 0, "{called:?}");
}

#[tokio::test]
async fn a_log_that_breaks_off_is_taken_up_where_it_was() {
    let script = "seq 1 1000; while ! test -e /__w/go; do sleep 0.02; done; seq 1001 2000";
    let step = json!({"image": "tool", "entryPointArgs": [script]});
    let step = again_if(gave_up_the_log, async || {
        let rig = Rig::start().await?;
        let port = ports::free();
        let relay = between(&rig, port).await;
        let state = rig.prepared().await;
        let mut call = rig.begin("run_container_step", &step, &state).await;
        call.read_until("\n1000\n").await;
        relay.abort();
        // Nobody listens any more.
        assert!(relay.await.unwrap_err().is_cancelled());
        fs::write(rig.path("_work/go"), "").unwrap();
        between(&rig, port).await;
        let step = call.finish().await;
        assert_eq!(step.code, 0, "{:.300}", step.stdout);
        Some(step)
    });
    let Some(step) = step.await else { return };
    let numbers = super::numbers(2000);
    assert!(step.stdout.ends_with(&numbers), "{:.300}", step.stdout);
}

#[tokio::test]
async fn a_step_is_cancelled_in_time_though_the_api_server_does_not_answer() {
    let service = json!({"image": "db", "entryPointArgs": ["exec sleep 1000"]});
    let args = json!({"container": {"image": "foreign"}, "services": [service]});
    // The hook has 0.7 s between its end and the third signal, which kills it. On a busy machine that may be
    // too little, but not every time.
    let is_late = |script: &Called| script.code == 137;
    let script = again_if(is_late, async || {
        let rig = Rig::start().await?;
        let prepared = rig.call("prepare_job", &args, &Value::Null).await;
        assert_eq!(prepared.code, 0, "{prepared:?}");
        let state = prepared.json()["state"].clone();
        rig.api.faults().set(Fault::Hang);
        // Neither has anything to end yet: the one asks for its container, the other has the service's
        // name written.
        let action = json!({"image": "init", "entryPoint": "true"});
        let action = rig.begin("run_container_step", &action, &state).await;
        let script = rig.begin("run_script_step", &rig.script("echo never"), &state).await;
        let (action, script) = tokio::join!(action.cancel(), script.cancel());
        // At once.
        assert!(action.code == 130 && action.stdout.contains("cancelled"), "{action:?}");
        Some(script)
    });
    let Some(script) = script.await else { return };
    // After the second signal, just before the third.
    assert!(script.code == 143 && script.stdout.contains("cancelled"), "{script:?}");
}
