//! What a kubelet does to a job's containers: processes that others ask for, the pod's end.

use super::runner::job;
use super::site::{NAMESPACE, Site};
use crate::support::parts::alone;
use crate::support::process::until;
use crate::support::workflow_images::BUSYBOX;

#[test]
fn a_process_that_the_api_server_asks_for_is_in_the_container() {
    let _alone = alone();
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    let state = runner.prepare(&job(BUSYBOX, ""), &[]);
    let pod = (NAMESPACE.to_owned(), runner.name.clone());
    let command = ["sh", "-c", "echo $EPHEMON_ROLE; exit 7"].map(str::to_owned);
    let kubelet = site.kubelet.runtime();
    assert!(kubelet.is_running(&pod, "job") && !kubelet.is_running(&pod, "nobody"));
    let output = kubelet.exec(&pod, "job", &command).unwrap().output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(7), &b"job\n"[..]));
    // Init knows nothing of it and goes on.
    assert_eq!(runner.script(&state, "echo on").stdout, "on\n");
}

#[test]
fn a_pod_that_is_deleted_need_not_be_killed() {
    let _alone = alone();
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    let state = runner.prepare(&job(BUSYBOX, ""), &[]);
    let script = "trap 'echo tidied; exit 3' TERM; echo on > begun; while :; do sleep 0.05; done";
    let step = runner.begin("run_script_step", &runner.script_args(script), &state);
    let begun = || (!runner.read("r/r/begun").is_empty()).then_some(());
    until(super::site::PATIENCE, begun).expect("the step begins");
    let pod = (NAMESPACE.to_owned(), runner.name.clone());
    let store = site.api.store();
    let before = store.list().1;
    store.delete(&pod, None).unwrap();
    let called = step.finish();
    assert_eq!((called.code, called.stdout.lines().next()), (3, Some("tidied")), "{called:?}");
    until(super::site::PATIENCE, || store.get(&pod).is_err().then_some(())).expect("the pod goes");
    let last =
        store.since(before).unwrap().into_iter().filter_map(|change| change.after).next_back();
    let statuses = &last.unwrap()["status"]["ephemeralContainerStatuses"];
    // Not 137: within the grace, by SIGTERM.
    assert_eq!(statuses[0]["state"]["terminated"]["exitCode"], 0, "{statuses}");
}
