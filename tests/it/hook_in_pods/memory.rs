//! Memory is the whole pod's: who has to go when it is used up, and what is said of it.

use serde_json::{Value, json};

use super::runner::{Called, Runner, container, job, prepared_in_time};
use super::site::Site;
use crate::support::parts::{Effect, sole_agent};
use crate::support::workflow_images::BUSYBOX;

/// The kubelet's reason for a container that the kernel has killed for want of memory.
const OUT_OF_MEMORY: &str = "OOMKilled";

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
    assert_out_of_memory(&site, &runner, "step", &called);
    if site.end_of("runner-1", "step").1 != OUT_OF_MEMORY {
        let next = container(BUSYBOX, &json!({"entryPointArgs": ["true"]}));
        let next = runner.call("run_container_step", &next, &Value::Null);
        assert_eq!(next.code, 0, "{next:?}");
    }
    until_out_of_memory(&site, &runner, "step");

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

/// Asserts what the hook says of a container without init that has just ended for want of memory. The runtime
/// may hear of such a kill after the end: until then the kubelet, and so the hook, knows no more than the code.
/// That it comes to know it is for [`until_out_of_memory`].
pub(super) fn assert_out_of_memory(site: &Site, runner: &Runner, name: &str, called: &Called) {
    let (code, reason) = site.end_of(&runner.name, name);
    assert_eq!((called.code, code), (137, 137), "{reason}: {called:?}");
    let words = ["out of memory", "ended with exit code 137 (Error)"];
    assert!(words.iter().any(|words| called.says(words)), "{reason}: {called:?}");
}

/// Waits until the kubelet knows that a container has ended for want of memory: at the latest when another
/// container of the pod ends, as it then reads all of them again.
pub(super) fn until_out_of_memory(site: &Site, runner: &Runner, name: &str) {
    site.until_status(&runner.name, name, |status| {
        let ended = status.pointer("/state/terminated")?;
        (ended["exitCode"] == 137 && ended["reason"] == OUT_OF_MEMORY).then_some(())
    });
}

/// Prepares a job whose limits an agent enforces, in a pod of this name and a number.
pub(super) fn prepared_within_limits(site: &Site, name: &str, asked: &Value) -> (Runner, Called) {
    prepared_in_time(is_late_with_limits, |number| {
        let runner = site.runner(&format!("{name}-{number}"));
        let called = runner.prepare_called(asked, &[]);
        (runner, called)
    })
}

/// Whether the hook went on without the limits, as it does after two and a half seconds.
pub(super) fn is_late_with_limits(called: &Called) -> bool {
    called.stdout.contains("are not in force")
}
