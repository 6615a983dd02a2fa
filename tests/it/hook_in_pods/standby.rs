//! Containers that stand by for container actions, under the real kubelet and the policies as
//! shipped.

use std::path::PathBuf;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::runner::{Calling, Runner, container, job};
use super::site::{PATIENCE, Site, id_of};
use crate::support::process::{memory, until};
use crate::support::real_node::registry::{REGISTRY, SLOWNESS};
use crate::support::workflow_images::{ALPINE, BUSYBOX, TOOL};

fn action(image: &str, script: &str) -> Value {
    let over = json!({
        "entryPoint": "sh", "entryPointArgs": ["-c", format!("\"{script}\"")],
        "environmentVariables": {"OWN": "of the step"}, "workingDirectory": "/github/workspace",
    });
    container(image, &over)
}

fn names(site: &Site) -> Vec<String> {
    let pod = site.pod("runner-1");
    let all = pod["spec"]["ephemeralContainers"].as_array().cloned().unwrap_or_default();
    let mut all: Vec<String> =
        all.iter().filter_map(|one| Some(one["name"].as_str()?.to_owned())).collect();
    all.sort();
    all
}

/// Waits until a container's init listens.
fn until_ready(runner: &Runner, container: &str) {
    let socket: PathBuf = runner.directory.volume("ephemon/run").join(format!("{container}.sock"));
    until(PATIENCE, || socket.exists().then_some(())).expect("it stands by");
}

#[test]
fn actions_take_containers_that_stand_by_and_what_is_left_ends_with_the_job() {
    let Some(site) = Site::start() else { return };
    let mut runner = site.runner("runner-1");
    runner.expect(3, &[BUSYBOX, BUSYBOX, ALPINE, BUSYBOX], "sh");
    let state = runner.prepare(&job(BUSYBOX, ""), &[]);
    for container in ["standby", "standby-2", "standby-3"] {
        until_ready(&runner, container);
    }
    assert_eq!(names(&site), ["job", "standby", "standby-2", "standby-3"]);
    let id = site.until_status("runner-1", "standby", id_of);
    let resident = memory(site.host_pid_of(&id), "VmRSS").unwrap();
    // A debug build has more; what is shipped is in deploy/docs/performance.md.
    assert!(resident < 8 << 20, "an init that waits has {resident} bytes");

    // Two at one time: each goes on only when the other is there.
    let meet = |number: usize| {
        format!(
            "mkdir -p here; touch here/{number}; until [ $(ls here | wc -l) = 2 ]; do sleep 0.05; done; \
             echo $OWN {number}; exit {number}"
        )
    };
    let both = [3, 4].map(|number| {
        let action = action(BUSYBOX, &meet(number));
        (number, runner.begin("run_container_step", &action, &state))
    });
    for (number, called) in both.map(|(number, calling)| (number, calling.finish())) {
        assert_eq!(called.code, i32::try_from(number).unwrap(), "{called:?}");
        assert!(called.stdout.contains(&format!("of the step {number}\n")), "{called:?}");
    }
    for (container, code) in
        ["standby", "standby-2"].map(|one| (one, site.end_of("runner-1", one).0))
    {
        assert!([3, 4].contains(&code), "{container}: {code}");
    }
    // Behind them is one for the last step, still on its way perhaps.
    assert_eq!(names(&site), ["job", "standby", "standby-2", "standby-3", "standby-4"]);
    let third = runner.call("run_container_step", &action(BUSYBOX, "echo third"), &state);
    assert_eq!((third.code, third.printed().as_str()), (0, "third\n"), "{third:?}");
    assert_eq!(site.end_of("runner-1", "standby-4").0, 0);

    // An image's own entrypoint is not known to us: such an action has its container as ever.
    let own = runner.call("run_container_step", &container(TOOL, &json!({})), &state);
    assert_eq!(own.code, 3, "{own:?}");
    let cleaned = runner.call("cleanup_job", &json!({}), &state);
    assert_eq!(cleaned.code, 0, "{cleaned:?}");
    assert_eq!(site.end_of("runner-1", "standby-3"), (0, "Completed".to_owned()));
    assert_eq!(names(&site), ["job", "standby", "standby-2", "standby-3", "standby-4", "step"]);
}

#[test]
fn an_image_that_cannot_be_had_stands_by_in_vain_and_fails_its_own_step() {
    let Some(site) = Site::start() else { return };
    let mut runner = site.runner("runner-1");
    let missing = format!("{REGISTRY}/missing:1");
    runner.expect(2, &[&missing, BUSYBOX], "sh");
    let state = runner.prepare(&job(BUSYBOX, ""), &[]);
    assert_eq!(runner.script(&state, "echo on").stdout, "on\n");
    let called = runner.call("run_container_step", &action(&missing, "true"), &state);
    assert!(called.code == 1 && called.says("check its name and tag"), "{called:?}");
    assert!(called.says("(container standby) does not start"), "{called:?}");
    let called = runner.call("run_container_step", &action(BUSYBOX, "echo on"), &state);
    assert_eq!((called.code, called.printed().as_str()), (0, "on\n"), "{called:?}");
    assert_eq!(site.end_of("runner-1", "standby-2").0, 0);

    // One that is cancelled or killed ends what it had taken, and nothing else.
    let long = |begun: &str| action(BUSYBOX, &format!("echo on > {begun}; exec sleep 1000"));
    for (begun, signal, code) in [("one", Signal::INT, 130), ("two", Signal::KILL, 137)] {
        let step: Calling = runner.begin("run_container_step", &long(begun), &state);
        let path = format!("r/r/{begun}");
        until(PATIENCE, || (!runner.read(&path).is_empty()).then_some(())).expect("it runs");
        step.signal(signal);
        assert_eq!(step.finish().code, code);
    }
    assert_eq!(runner.script(&state, "echo on").stdout, "on\n");
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
    for container in names(&site).iter().filter(|name| *name != "standby") {
        site.end_of("runner-1", container);
    }
}

#[test]
fn an_image_is_pulled_while_the_steps_before_its_own_run() {
    let Some(site) = Site::start() else { return };
    let mut runner = site.runner("runner-1");
    let absent = format!("{REGISTRY}/slow/standby:1");
    runner.expect(1, &[&absent], "sh");
    let began = Instant::now();
    let state = runner.prepare(&job(BUSYBOX, ""), &[]);
    // Nobody waits for the pull but the step that needs it.
    assert_eq!(runner.script(&state, "echo on").stdout, "on\n");
    assert!(site.status("runner-1", "standby").is_none_or(|one| one["state"]["running"].is_null()));
    let called = runner.call("run_container_step", &action(&absent, "cat /name"), &state);
    assert_eq!((called.code, called.printed().as_str()), (0, "standby"), "{called:?}");
    assert!(began.elapsed() >= SLOWNESS, "it was not there before");
    assert_eq!(site.end_of("runner-1", "standby"), (0, "Completed".to_owned()));
    assert_eq!(names(&site), ["job", "standby"]);
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
}
