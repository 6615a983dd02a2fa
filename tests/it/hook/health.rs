//! Health commands of services whose image's own entrypoint runs: by `exec`, where the account may.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};

use super::rig::Rig;
use super::{again_if, until};
use crate::support::ports;

/// A job on the runner itself, with one service that runs `script` by its own entrypoint.
fn only(script: &str, options: &str, ports: &[String]) -> Value {
    json!({"container": null, "services": [{
        "image": "db", "entryPointArgs": [script], "createOptions": options, "portMappings": ports,
    }]})
}

#[tokio::test]
async fn a_health_command_runs_in_a_service_that_has_no_init() {
    let Some(rig) = Rig::start().await else { return };
    let args = only(
        "sleep 0.5; touch /tmp/up; exec sleep 1000",
        "--health-cmd \"test -e /tmp/up || exit 1\" --health-interval 1s --health-retries 60",
        &[],
    );
    let prepared = rig.call("prepare_job", &args, &Value::Null).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    let pid = rig.pod.pid("db").unwrap();
    assert!(fs::metadata(format!("/proc/{pid}/root/tmp/up")).is_ok());
}

#[tokio::test]
async fn an_unhealthy_service_fails_the_job_with_its_log() {
    let Some(rig) = Rig::start().await else { return };
    // It fails once the log is there, which the hook reads only once.
    let command = "until test -e /tmp/go; do sleep 0.02; done; echo no database; false";
    let options = format!(
        "--health-cmd \"{command}\" --health-interval 300ms --health-timeout 30s --health-retries 2"
    );
    let args = only("echo of the service; exec sleep 1000", &options, &[]);
    let call = rig.begin("prepare_job", &args, &Value::Null).await;
    rig.until_logged("db", "of the service\n").await;
    let pid = rig.first_process("db").await;
    fs::write(format!("/proc/{pid}/root/tmp/go"), "").unwrap();
    let prepared = call.finish().await;
    assert_eq!((prepared.code, prepared.response.as_str()), (1, ""), "{prepared:?}");
    let (log, error) = prepared.stdout.split_once("::error::").unwrap();
    assert!(log.contains("Log of service db") && log.contains("of the service\n"), "{log}");
    assert!(error.contains("db does not become healthy"), "{error}");
    assert!(error.contains("exit code 1: no database"), "{error}");
}

#[tokio::test]
async fn a_health_command_that_hangs_is_killed() {
    // At the end of that time the hook kills, once, what it finds of the command: it must have begun. On a
    // busy machine it may not have.
    let options = "--health-cmd \"touch /tmp/begun; exec sleep 777\" --health-interval 100ms --health-timeout 3s --health-retries 1";
    let args = only("exec sleep 1000", options, &[]);
    let has_begun = |rig: &Rig| {
        let pid = rig.pod.pid("db").unwrap();
        fs::metadata(format!("/proc/{pid}/root/tmp/begun")).is_ok()
    };
    let is_late = |rig: &Rig| !has_begun(rig);
    let rig = again_if(is_late, async || {
        let rig = Rig::start().await?;
        let prepared = rig.call("prepare_job", &args, &Value::Null).await;
        let has_timed_out = prepared.stdout.contains("no answer within 3s");
        assert!(prepared.code == 1 && has_timed_out, "{prepared:?}");
        Some(rig)
    });
    let Some(rig) = rig.await else { return };
    assert!(has_begun(&rig), "the command must have begun");
    let processes = format!("/proc/{}/root/proc", rig.pod.pid("db").unwrap());
    let hangs = || {
        fs::read_dir(&processes).unwrap().any(|entry| {
            let command = entry.unwrap().path().join("cmdline");
            fs::read(command).is_ok_and(|line| line.starts_with(b"sleep\x00777"))
        })
    };
    // What was killed ends once it gets a processor.
    until(|| !hangs()).await;
}

/// Databases answer their own socket while they set themselves up, end, and start anew.
#[tokio::test]
async fn a_success_before_dockers_first_probe_counts_only_once_a_port_listens() {
    let Some(rig) = Rig::start().await else { return };
    let port = ports::free();
    let script = format!("sleep 1.5; exec busybox httpd -f -p {port} -h /tmp");
    let options = "--health-cmd true --health-interval 10s";
    let prepared =
        rig.call("prepare_job", &only(&script, options, &[port.to_string()]), &Value::Null).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    std::net::TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    assert!(prepared.took >= Duration::from_millis(1500), "{prepared:?}");
}

#[tokio::test]
async fn where_the_account_may_not_exec_it_is_said_and_ports_are_tried() {
    let Some(rig) = Rig::start().await else { return };
    let rule = |resources: &str, verbs: &[&str]| json!({"apiGroups": [""], "resources": [resources], "verbs": verbs});
    let rules = vec![
        rule("pods", &["get", "watch"]),
        rule("pods/ephemeralcontainers", &["patch"]),
        rule("pods/log", &["get"]),
    ];
    rig.api.access().set("runner", Some(rules));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let args = only("exec sleep 1000", "--health-cmd false --health-retries 1", &[port]);
    let prepared = rig.call("prepare_job", &args, &Value::Null).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    let warning = prepared.stdout.lines().find(|line| line.starts_with("::warning::")).unwrap();
    for words in [
        "health command of db is not run",
        "pods/exec",
        "rbac-exec.yaml",
        "connections to its ports",
    ] {
        assert!(warning.contains(words), "{words}: {warning}");
    }
}

#[tokio::test]
async fn a_service_that_ends_before_it_is_healthy_fails_at_once() {
    let Some(rig) = Rig::start().await else { return };
    let options = "--health-cmd false --health-interval 60s";
    let args = only("echo cannot start; sleep 0.3; exit 3", options, &[]);
    let prepared = rig.call("prepare_job", &args, &Value::Null).await;
    assert_eq!(prepared.code, 1, "{prepared:?}");
    assert!(prepared.stdout.contains("cannot start\n"), "{prepared:?}");
    let error = "db (container db) ended with exit code 3 (Error) before it was ready";
    assert!(prepared.stdout.contains(error), "{prepared:?}");
}
