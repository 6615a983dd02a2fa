//! Memory is the whole pod's: who has to go when it is used up, and what is said of it.

use serde_json::{Value, json};

use super::runner::{Called, Runner, container, job};
use super::site::Site;
use crate::support::parts::{Effect, sole_agent};
use crate::support::workflow_images::BUSYBOX;

#[test]
fn a_step_that_takes_all_memory_is_said_to_have_and_the_runner_lives() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner_with(
        "runner-1",
        &json!({"limits": {"memory": "160Mi"}, "requests": {"memory": "160Mi"}}),
    );
    let state = runner.prepare(&job(BUSYBOX, ""), &[]);
    // One line that does not end. Version 1 kills the process, version 2 its whole container.
    let step = runner.script(&state, "exec tail /dev/zero");
    assert_eq!(step.code, 137, "{step:?}");
    assert!(step.says("ran out of memory and was killed"), "{step:?}");

    let own = container(BUSYBOX, &json!({"entryPointArgs": ["tail", "/dev/zero"]}));
    let called = runner.call("run_container_step", &own, &Value::Null);
    assert_eq!(called.code, 137, "{called:?}");
    assert!(called.says("out of memory"), "{called:?}");
    assert_eq!(site.end_of("runner-1", "step"), (137, "OOMKilled".to_owned()));

    let running = site.status("runner-1", "runner").unwrap();
    assert!(running.pointer("/state/running").is_some(), "{running}");
}

#[test]
fn a_limit_of_the_workflow_holds_by_the_agent_and_is_missed_without() {
    // No other agent may set them.
    let _agent = sole_agent(Effect::Limits);
    let Some(site) = Site::start() else { return };
    let limited = job(BUSYBOX, "--memory 48m --pids-limit 64");
    let without = site.runner("runner-1");
    let called = without.prepare_called(&limited, &[]);
    assert!(called.code == 0 && called.stdout.contains("are not in force"), "{called:?}");
    assert!(called.stdout.contains("--enforce-limits"), "{called:?}");
    let unlimited = called.json()["state"].clone();

    let agent = site.agent(&["--enforce-limits"]);
    let (runner, called) = prepared_within_limits(&site, "with", &limited);
    let state = called.json()["state"].clone();
    let step = runner.script(&state, "exec tail /dev/zero");
    assert_eq!(step.code, 137, "{step:?}");
    assert!(step.says("ran out of memory and was killed"), "{step:?}");
    // Nobody else is hit.
    assert_eq!(without.script(&unlimited, "echo on").stdout, "on\n");
    agent.stop();
}

/// Prepares a job whose limits an agent enforces, in a pod of this name and a number. The hook goes on without
/// them after two and a half seconds, by design, which a busy agent may exceed.
pub(super) fn prepared_within_limits(site: &Site, name: &str, asked: &Value) -> (Runner, Called) {
    let mut said = String::new();
    for number in 1..=5 {
        let runner = site.runner(&format!("{name}-{number}"));
        let called = runner.prepare_called(asked, &[]);
        assert_eq!(called.code, 0, "{called:?}");
        if !called.stdout.contains("are not in force") {
            return (runner, called);
        }
        said = called.stdout;
    }
    panic!("never in force: {said}");
}
