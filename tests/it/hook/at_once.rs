//! Calls at one time: steps with `background: true`, as runners since 2026 have them. Each is a
//! process of its own; what they share is the pod, its volume, and the job container's init.

use std::collections::BTreeSet;
use std::fs;

use ephemon_contract::{Phase, Record};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::rig::Rig;

/// A container action that waits until all of them run, so that none can be after another.
fn action(image: &str, entry_point: bool, number: usize, all: usize) -> Value {
    let script = format!(
        "touch /__w/here/{number}; while test $(ls /__w/here | wc -l) -lt {all}; do sleep 0.02; done; echo action $INPUT_N; exit $INPUT_N"
    );
    let env = json!({"INPUT_N": number.to_string()});
    if entry_point {
        let args = ["-c".to_owned(), format!("\"{script}\"")];
        json!({"image": image, "entryPoint": "sh", "entryPointArgs": args, "environmentVariables": env})
    } else {
        json!({"image": image, "entryPointArgs": [format!("\"{script}\"")], "environmentVariables": env})
    }
}

#[tokio::test]
async fn container_actions_at_one_time_each_have_their_own_container_and_result() {
    const ALL: usize = 8;
    let Some(rig) = Rig::start().await else { return };
    let state = rig.prepared().await;
    // Of one image, with the environment in a Secret and over a socket, and of several.
    for (round, images) in
        [["one"; ALL], ["a", "b", "c", "d", "a", "b", "c", "d"]].iter().enumerate()
    {
        fs::create_dir(rig.path("_work/here")).unwrap();
        let actions = images.iter().enumerate();
        let actions: Vec<Value> =
            actions.map(|(n, image)| action(image, n % 2 == 0, n + 1, ALL)).collect();
        let calls = actions.iter().map(|args| rig.call("run_container_step", args, &state));
        for (number, called) in (1..).zip(join_all(calls).await) {
            let said = format!("action {number}\n");
            assert!(called.code == number && called.stdout.contains(&said), "{number}: {called:?}");
            assert_eq!(called.stdout.matches("action ").count(), 1, "{called:?}");
        }
        fs::remove_dir_all(rig.path("_work/here")).unwrap();
        let spec: Value = serde_json::from_str(&rig.spec()).unwrap();
        let names: BTreeSet<&str> = spec["ephemeralContainers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|container| container["name"].as_str().unwrap())
            .collect();
        assert_eq!(names.len(), 1 + ALL * (round + 1), "{names:?}");
    }
    assert!(rig.api.store().secrets().names().is_empty());
    // The agent can tell whose container each was.
    let journal = fs::read_to_string(rig.path("ephemon/journal/_hook.jsonl")).unwrap();
    let about: BTreeSet<String> = journal
        .lines()
        .filter_map(|line| Record::from_line(line.as_bytes()))
        .filter_map(|record| match record {
            Record::HookPhase { phase: Phase::RunContainerStep, container, .. } => container,
            _ => None,
        })
        .collect();
    assert_eq!(about.len(), 2 * ALL, "{about:?}");
}

#[tokio::test]
async fn equal_actions_at_one_time_are_not_one() {
    let Some(rig) = Rig::start().await else { return };
    // Nothing tells them apart but that there are two.
    let action = json!({"image": "tool", "entryPointArgs": ["echo ran >> /__w/ran; exit 3"]});
    let state = rig.prepared().await;
    let calls = (0..4).map(|_| rig.call("run_container_step", &action, &state));
    for called in join_all(calls).await {
        assert_eq!(called.code, 3, "{called:?}");
    }
    assert_eq!(fs::read_to_string(rig.path("_work/ran")).unwrap(), "ran\n".repeat(4));
}

#[tokio::test]
async fn script_steps_at_one_time_keep_apart_what_they_say_and_are_told() {
    const ALL: usize = 12;
    let Some(rig) = Rig::start().await else { return };
    let state = rig.prepared().await;
    fs::create_dir(rig.path("_work/here")).unwrap();
    let steps: Vec<Value> = (1..=ALL)
        .map(|number| {
            let script = format!(
                "touch /__w/here/{number}; while test $(ls /__w/here | wc -l) -lt {ALL}; do sleep 0.02; done; for i in 1 2 3 4 5; do echo $N $i; done; exit $N"
            );
            let mut step = rig.script(&script);
            step["environmentVariables"] = json!({"N": number.to_string()});
            step
        })
        .collect();
    let calls = steps.iter().map(|args| rig.call("run_script_step", args, &state));
    for (number, called) in (1..).zip(join_all(calls).await) {
        let said: String = (1..=5).fold(String::new(), |all, i| all + &format!("{number} {i}\n"));
        assert!(called.code == number && called.stdout.starts_with(&said), "{called:?}");
    }
    let lines = fs::read_to_string(rig.path("ephemon/journal/job.jsonl")).unwrap();
    let started = lines.lines().filter(|line| line.contains("step_started")).count();
    assert_eq!(started, ALL, "{lines}");
    let lines = fs::read_to_string(rig.path("ephemon/journal/_hook.jsonl")).unwrap();
    assert!(
        lines
            .lines()
            .filter(|it| !it.is_empty())
            .all(|it| Record::from_line(it.as_bytes()).is_some())
    );
}
