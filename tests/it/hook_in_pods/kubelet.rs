//! What a kubelet does to a job's containers: processes that others ask for, the pod's end.

use serde_json::json;

use super::runner::job;
use super::site::{PATIENCE, Site};
use crate::support::process::until;
use crate::support::workflow_images::BUSYBOX;

#[test]
fn a_process_that_the_api_server_asks_for_is_in_the_container() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    let state = runner.prepare(&job(BUSYBOX, ""), &[]);
    let words = ["exec", "-n", site.namespace(), "runner-1", "-c", "job", "--"];
    let mut exec = site.kubectl().command(&words);
    let output = exec.args(["sh", "-c", "echo $EPHEMON_ROLE; exit 7"]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(7), &b"job\n"[..]));
    // Init knows nothing of it and goes on.
    assert_eq!(runner.script(&state, "echo on").stdout, "on\n");
}

#[test]
fn a_pod_that_is_deleted_need_not_be_killed() {
    let Some(site) = Site::start() else { return };
    // As shipped it is ten seconds, which a busy machine may take for what takes a moment.
    let resources = json!({"requests": {"cpu": "10m"}});
    let grace = json!({"terminationGracePeriodSeconds": 60});
    let runner = site.runner_beside("runner-1", &resources, &grace);
    let state = runner.prepare(&job(BUSYBOX, ""), &[]);
    let id = site.until_status("runner-1", "job", super::site::id_of);
    let script = "trap 'echo tidied; exit 3' TERM; echo on > begun; while :; do sleep 0.05; done";
    let step = runner.begin("run_script_step", &runner.script_args(script), &state);
    let begun = || (!runner.read("r/r/begun").is_empty()).then_some(());
    until(PATIENCE, begun).expect("the step begins");
    site.kubectl().run(&["delete", "pod", "runner-1", "-n", site.namespace(), "--wait=false"]);
    let ended = until(PATIENCE, || {
        let status = site.cri().container_status(&id).ok()?;
        (status.finished_at > 0).then_some(status.exit_code)
    });
    // Not 137: within the grace, by SIGTERM.
    assert_eq!(ended, Some(0));
    let called = step.finish();
    assert_eq!((called.code, called.stdout.lines().next()), (3, Some("tidied")), "{called:?}");
    let gone = || site.pod("runner-1").is_null().then_some(());
    until(PATIENCE, gone).expect("the pod goes");
}
