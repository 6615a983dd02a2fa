//! What goes wrong in and below a job's containers, and what the hook says of it.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::runner::{Runner, container, job};
use super::site::{PATIENCE, Site, id_of};
use crate::support::process::{kill, until};
use crate::support::real_node::registry::REGISTRY;
use crate::support::workflow_images::BUSYBOX;

const TIMEOUT: &str = "ACTIONS_RUNNER_PREPARE_JOB_TIMEOUT_SECONDS";
/// Longest time for calls each of which waits to the end.
const MANY_TRIES: Duration = Duration::from_mins(5);

#[test]
fn images_and_commands_that_cannot_be_had_fail_with_their_reason() {
    let Some(site) = Site::start() else { return };
    let mut runner = site.runner("runner-1");
    let never = runner.prepare_called(&job("ephemon.test/missing:1", "--pull never"), &[]);
    assert!(never.code == 1 && never.says("ErrImageNeverPull"), "{never:?}");
    assert!(!never.says("within"), "what no time heals is not waited for: {never:?}");

    let missing = runner.prepare_called(&job(&format!("{REGISTRY}/missing:1"), ""), &[]);
    assert!(missing.code == 1 && missing.says("check its name and tag"), "{missing:?}");
    assert!(missing.says("not found") && missing.says("ImagePull"), "{missing:?}");
    assert!(!missing.says("within"), "another try changes nothing: {missing:?}");
    let private = runner.prepare_called(&job(&format!("{REGISTRY}/private/a:1"), ""), &[]);
    assert!(private.code == 1 && private.says("imagePullSecrets"), "{private:?}");
    assert!(!private.says("within"), "another try changes nothing: {private:?}");

    let usual = runner.env.len();
    let template = json!({"spec": {"containers": [{
        "name": "$job", "envFrom": [{"secretRef": {"name": "proxy"}}],
    }]}});
    fs::write(runner.directory.volume("ephemon").join("template.yaml"), template.to_string())
        .unwrap();
    runner.env.push(("EPHEMON_HOOK_TEMPLATE".to_owned(), "/ephemon/template.yaml".to_owned()));
    // A Secret that is not of the pod, which the policies as shipped forbid.
    site.unguard();
    let (before, mut seconds) = (runner.env.len(), 0_u32);
    let secret = until(MANY_TRIES, || {
        // A kubelet starts the next ephemeral container seconds after the last event of the pod, on a busy
        // machine later. The hook waits for its reason to the end.
        seconds += 20;
        runner.env.truncate(before);
        runner.env.push((TIMEOUT.to_owned(), seconds.min(60).to_string()));
        let called = runner.prepare_called(&job(BUSYBOX, ""), &[]);
        // The policy may hold for a moment, and a kubelet that comes to it later has said nothing yet.
        called.says("CreateContainerConfigError").then_some(called)
    });
    let secret = secret.expect("the kubelet's own reason");
    assert_eq!(secret.code, 1, "{secret:?}");
    assert!(secret.says("secret \"proxy\" not found"), "{secret:?}");
    runner.env.truncate(usual);

    let service = container(BUSYBOX, &json!({"entryPoint": "/no/such/program"}));
    let called = runner.prepare_called(&job(BUSYBOX, ""), std::slice::from_ref(&service));
    assert!(called.code == 1 && called.says("exit code 127"), "{called:?}");
    assert!(called.stdout.contains("/no/such/program: command not found"), "{called:?}");

    let step = runner.call("run_container_step", &service, &json!(null));
    assert!(step.code == 127 && step.says("/no/such/program: command not found"), "{step:?}");
    let mut own = service;
    own["entryPoint"] = json!(null);
    own["entryPointArgs"] = json!(["/no/such/program"]);
    let step = runner.call("run_container_step", &own, &json!(null));
    assert!(step.code == 128 && step.says("cannot start"), "{step:?}");
    assert!(step.says("/no/such/program"), "{step:?}");
}

#[test]
fn a_container_that_dies_in_mid_step_is_named() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    let state = runner.prepare(&job(BUSYBOX, ""), &[]);
    let step =
        runner.begin("run_script_step", &runner.script_args("echo on > begun; sleep 1000"), &state);
    until_written(|| runner.read("r/r/begun"));
    let id = site.until_status("runner-1", "job", id_of);
    kill(site.host_pid_of(&id));
    let in_it = step.finish();
    // The next one is told of its end by the kubelet, which the hook waits for some seconds only.
    site.end_of("runner-1", "job");
    for called in [in_it, runner.script(&state, "echo never")] {
        assert_eq!(called.code, 137, "{called:?}");
        assert!(called.says("container job exited unexpectedly"), "{called:?}");
    }
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
}

#[test]
fn a_job_goes_on_while_the_runtime_is_restarted() {
    let Some(site) = Site::alone() else { return };
    let runner = site.runner("runner-1");
    let state = runner.prepare(&job(BUSYBOX, ""), &[]);
    let long = runner.begin(
        "run_script_step",
        &runner.script_args("echo on > begun; while [ ! -e go ]; do sleep 0.05; done; echo done"),
        &state,
    );
    until_written(|| runner.read("r/r/begun"));
    site.node.stop_containerd();
    let step = runner.script(&state, "echo without a runtime");
    assert_eq!((step.code, step.stdout.as_str()), (0, "without a runtime\n"), "{step:?}");
    site.node.start_containerd();
    runner.write("r/r/go", "");
    let called = long.finish();
    assert_eq!((called.code, called.stdout.as_str()), (0, "done\n"), "{called:?}");
    let action = container(BUSYBOX, &json!({"entryPoint": "echo", "entryPointArgs": ["again"]}));
    let step = runner.call("run_container_step", &action, &state);
    assert_eq!((step.code, step.printed().as_str()), (0, "again\n"), "{step:?}");
}

#[test]
fn a_container_that_the_kubelet_runs_again_refuses() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    let action = container(
        BUSYBOX,
        &json!({
            "entryPoint": "sh", "entryPointArgs": ["-c", "\"echo run >> /github/workspace/runs; exit 4\""],
        }),
    );
    let step = runner.call("run_container_step", &action, &json!(null));
    assert_eq!(step.code, 4, "{step:?}");
    assert_eq!(site.end_of("runner-1", "step").0, 4);
    // As a garbage collector would (kubernetes#124176).
    let id = site.until_status("runner-1", "step", id_of);
    site.cri().remove_container(&id).unwrap();
    // A removed container alone has no kubelet look at the pod before its next round, a minute later
    // (`isSyncPodWorthy` in pkg/kubelet/kubelet.go); any change of the pod does.
    site.touch("runner-1");
    let again = site.until_status("runner-1", "step", |status| {
        let ended = status.pointer("/state/terminated")?;
        (!status["containerID"].as_str()?.contains(&id)).then(|| ended["exitCode"].clone())
    });
    assert_eq!(again, json!(125));
    let log = site.log_of_ended(&runner, "step");
    assert!(
        log.contains("step has already run, and an ephemeral container runs only once"),
        "{log}"
    );
    assert_eq!(runner.read("r/r/runs"), "run\n");
}

/// Cancels a step that begins with this script, hears of its end, tidies up and says how it ends.
pub(super) fn cancel_a_step(runner: &Runner, state: &Value, script: &str) {
    let ends = "trap 'echo tidied; exit 5' INT; echo on > begun; while :; do sleep 0.05; done";
    let script = runner.script_args(&format!("{script}{ends}"));
    let step = runner.begin("run_script_step", &script, state);
    until_written(|| runner.read("r/r/begun"));
    step.signal(Signal::INT);
    let called = step.finish();
    assert_eq!((called.code, called.stdout.lines().next()), (5, Some("tidied")), "{called:?}");
}

fn until_written(read: impl Fn() -> String) {
    let written = until(PATIENCE, || (!read().is_empty()).then_some(()));
    written.expect("the step begins");
}

#[test]
fn a_cancelled_step_may_tidy_up_and_leaves_nothing_running() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    let state = runner.prepare(&job(BUSYBOX, ""), &[]);
    cancel_a_step(&runner, &state, "sleep 1001 & ");
    let left = runner.script(&state, "ps | grep -c '[s]leep 1001' || true");
    assert_eq!(left.stdout, "0\n", "{left:?}");
}
