//! The hook as the runner calls it: the real programs, the recorded API server's behaviour, and
//! containers in mount namespaces.

mod asking;
mod at_once;
mod environment;
mod fallback;
mod health;
mod impostors;
mod job_summary;
mod jobs;
mod killed;
mod networks;
mod outages;
mod pod;
mod policies;
mod requests;
mod rig;
mod services;
mod standby;
mod start;
mod steps;
mod traces;

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use ephemon_demo::api::Fault;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::support::ports;
use rig::{Called, Rig};

/// How often a scenario is played that may come too late.
const ATTEMPTS: usize = 5;

#[tokio::test]
async fn a_whole_job_is_played() {
    let Some(rig) = Rig::start().await else { return };
    let args = json!({
        "container": {
            "image": "init", "environmentVariables": {"FROM_JOB": "of the job", "HOME": "/github/home"},
            "workingDirectory": "/__w/r/r", "registry": null, "portMappings": [],
        },
        "services": [{
            "image": "redis:7", "entryPoint": "sleep", "entryPointArgs": ["1000"],
            "createOptions": "--name cache",
        }],
    });
    let prepared = rig.call("prepare_job", &args, &Value::Null).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    let response = prepared.json();
    assert_eq!(response["isAlpine"], json!(false));
    assert_eq!(response["context"]["services"][0]["ports"], json!({}));
    let state = response["state"].clone();
    let hosts = fs::read_to_string(rig.path("hosts")).unwrap();
    assert!(hosts.contains("redis") && hosts.contains("cache"), "{hosts}");

    let script = "echo \"$FROM_JOB, $A\"; pwd; echo ünïcode >&2; echo x > /github/workspace/made";
    fs::create_dir_all(rig.path("_work/_temp/_github_home")).unwrap();
    let step = rig.call("run_script_step", &rig.script(script), &state).await;
    assert_eq!((step.code, step.stderr.as_str()), (0, "ünïcode\n"), "{step:?}");
    assert_eq!(step.stdout, "of the job, from the step\n/__w/r/r\n");
    assert_eq!(step.response, "{}");

    let failing = rig.call("run_script_step", &rig.script("printf half; exit 42"), &state).await;
    assert_eq!(failing.code, 42);
    let (half, error) = failing.stdout.split_once('\n').unwrap();
    assert_eq!(half, "half");
    assert!(error.starts_with("::error::") && error.contains("exit code 42"), "{error}");

    let container = json!({
        "image": "init", "entryPoint": "sh", "entryPointArgs": ["-c", "\"echo", "$INPUT_X;", "exit", "7\""],
        "environmentVariables": {"INPUT_X": "by hand"}, "workingDirectory": "/github/workspace",
    });
    let step = rig.call("run_container_step", &container, &state).await;
    assert!(step.code == 7 && step.stdout.contains("by hand\n"), "{step:?}");

    let own = json!({"image": "tool", "entryPointArgs": ["exit", "9"]});
    let step = rig.call("run_container_step", &own, &state).await;
    assert_eq!(step.code, 9, "{step:?}");
    assert!(step.stdout.contains("exit code 9"));

    let summary = fs::read_to_string(rig.path("summary")).unwrap();
    assert!(summary.contains("CPU time") && summary.contains("| `__run` |"), "{summary}");
    let spec = rig.spec();
    let token = state["token"].as_str().unwrap();
    for secret in ["hunter2", "by hand", "of the job", "ghs_", token] {
        assert!(!spec.contains(secret), "{secret} in {spec}");
    }
    let cleaned = rig.call("cleanup_job", &json!({}), &state).await;
    assert_eq!(cleaned.code, 0, "{cleaned:?}");
    let job = async {
        while !rig.pod.ended().iter().any(|(name, _)| name == "job") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), job).await.expect("the job container ends");
    let journal = fs::read_to_string(rig.path("ephemon/journal/_hook.jsonl")).unwrap();
    assert!(journal.contains("prepare_job") && journal.contains("cleanup_job"), "{journal}");
}

#[tokio::test]
async fn a_cancelled_step_may_tidy_up_and_its_code_is_passed_on() {
    let Some(rig) = Rig::start().await else { return };
    let state = rig.prepared().await;
    let script =
        "trap 'echo tidied; exit 5' INT; echo ready > /__w/ready; while :; do sleep 0.05; done";
    let step = rig.begin("run_script_step", &rig.script(script), &state).await;
    wait_for(&rig.path("_work/ready")).await;
    step.signal(Signal::INT);
    let called = step.finish().await;
    assert_eq!(called.code, 5, "{called:?}");
    assert!(called.stdout.contains("tidied"), "{called:?}");
}

#[tokio::test]
async fn a_killed_hook_takes_its_step_with_it_and_the_job_goes_on() {
    let Some(rig) = Rig::start().await else { return };
    let state = rig.prepared().await;
    let script = "echo $$ > /__w/pid; exec sleep 1000";
    let step = rig.begin("run_script_step", &rig.script(script), &state).await;
    wait_for(&rig.path("_work/pid")).await;
    step.signal(Signal::KILL);
    assert_eq!(step.finish().await.code, 137);
    let pid = fs::read_to_string(rig.path("_work/pid")).unwrap();
    rig.until_gone("job", &pid, "sleep").await;
    let next = rig.call("run_script_step", &rig.script("echo on"), &state).await;
    assert!(next.code == 0 && next.stdout.starts_with("on\n"), "{next:?}");
}

#[tokio::test]
async fn a_hook_killed_while_it_prepares_leaves_a_cleanup_that_succeeds() {
    let Some(rig) = Rig::start().await else { return };
    let args = json!({"container": {"image": "late"}});
    let call = rig.begin("prepare_job", &args, &Value::Null).await;
    while !rig.spec().contains("late") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    call.signal(Signal::KILL);
    assert_eq!(call.finish().await.code, 137);
    let cleaned = rig.call("cleanup_job", &json!({}), &Value::Null).await;
    assert_eq!((cleaned.code, cleaned.response.as_str()), (0, "{}"));
}

#[tokio::test]
async fn images_that_cannot_be_had_fail_with_the_kubelets_reason() {
    let Some(rig) = Rig::start().await else { return };
    for (image, word) in [
        ("missing", "ErrImagePull: manifest unknown; check its name and tag"),
        ("private", "add a pull secret for docker.io to imagePullSecrets"),
        ("never", "ErrImageNeverPull: not present"),
        ("offline", "no such host"),
        ("broken", "StartError"),
    ] {
        let args = json!({"container": {"image": image}});
        let called = rig.call("prepare_job", &args, &Value::Null).await;
        assert_eq!((called.code, called.response.as_str()), (1, ""), "{called:?}");
        assert!(called.stdout.contains("::error::") && called.stdout.contains(word), "{called:?}");
        // What no time heals is not waited for, nor what three tries did not.
        assert!(!called.stdout.contains("did not start within"), "{called:?}");
        let step = json!({"image": image});
        let called = rig.call("run_container_step", &step, &Value::Null).await;
        assert!(called.code != 0 && called.stdout.contains("::error::"), "{called:?}");
        assert!(image == "broken" || called.stdout.contains(word), "{called:?}");
    }
}

#[tokio::test]
async fn what_the_api_server_refuses_is_said_with_advice() {
    let Some(mut rig) = Rig::start().await else { return };
    rig.set("ACTIONS_RUNNER_PREPARE_JOB_TIMEOUT_SECONDS", "5");
    let args = json!({"container": {"image": "init"}});
    for (code, advice) in [
        (403, "role"),
        (404, "ACTIONS_RUNNER_POD_NAME"),
        (500, "retries did not help"),
        (429, "429"),
    ] {
        rig.api.faults().set(Fault::Refuse(code));
        // The last try has what is left of the time, and may be given up before it has its answer.
        let is_late = |called: &Called| called.stdout.contains("no answer in");
        let call = async || Some(rig.call("prepare_job", &args, &Value::Null).await);
        let called = again_if(is_late, call).await.unwrap();
        assert_eq!(called.code, 1, "{called:?}");
        assert!(called.stdout.contains(advice), "{code}: {called:?}");
    }
    rig.api.faults().set(Fault::None);
    // A server that stops leaves its port to whoever comes next.
    look_for_the_api_server_at(&rig, ports::free());
    let called = rig.call("prepare_job", &args, &Value::Null).await;
    assert!(
        called.code == 1 && called.stdout.contains("cannot reach the API server"),
        "{called:?}"
    );
}

#[tokio::test]
async fn trouble_that_passes_does_no_harm() {
    let Some(rig) = Rig::start().await else { return };
    for code in [409, 429, 500, 503] {
        rig.api.faults().set(Fault::Refuse(code));
        let args = json!({"container": {"image": "init"}});
        let before = rig.api.faults().requests();
        let call = rig.begin("prepare_job", &args, &Value::Null).await;
        rig.until_asked(before, 2).await;
        rig.api.faults().set(Fault::None);
        let called = call.finish().await;
        assert_eq!(called.code, 0, "{code}: {called:?}");
    }
}

#[tokio::test]
async fn a_clash_of_ports_is_refused_before_anything_starts() {
    let Some(rig) = Rig::start().await else { return };
    let service = |ports: &str| json!({"image": "postgres", "portMappings": [ports]});
    let args = json!({"container": {"image": "init"}, "services": [service("5432"), service("5433:5432")]});
    let called = rig.call("prepare_job", &args, &Value::Null).await;
    assert!(called.code == 1 && called.stdout.contains("5432/tcp"), "{called:?}");
    assert!(!rig.spec().contains("postgres"));
}

#[tokio::test]
async fn what_makes_no_sense_is_one_sentence_without_a_secret() {
    let Some(rig) = Rig::start().await else { return };
    let step = json!({"entryPoint": "sh", "environmentVariables": {"T": "hunter2"}});
    let called = rig.call("run_script_step", &step, &Value::Null).await;
    assert!(
        called.code == 1 && called.stdout.starts_with("::error::the job is not prepared"),
        "{called:?}"
    );
    let called = rig.call("dance", &json!("hunter2"), &Value::Null).await;
    assert!(called.code == 1 && !called.stdout.contains("hunter2"), "{called:?}");
}

/// What `seq 1 LAST` prints.
fn numbers(last: u32) -> String {
    (1..=last).fold(String::new(), |text, number| text + &number.to_string() + "\n")
}

/// Whether the hook gave up the rest of a container's log, for which it waits 5 s from the container's end.
fn gave_up_the_log(called: &Called) -> bool {
    called.stdout.contains("timed out waiting for the end of the log")
}

/// The hook's calls from now on look for the API server at this port.
fn look_for_the_api_server_at(rig: &Rig, port: u16) {
    let path = rig.path("kubeconfig");
    let kubeconfig = fs::read_to_string(&path).unwrap();
    let here = format!("http://127.0.0.1:{port}");
    fs::write(path, kubeconfig.replace(&rig.api.url(), &here)).unwrap();
}

/// Puts somebody between hook and API server, at this port, who cuts every connection when aborted.
async fn between(rig: &Rig, port: u16) -> JoinHandle<()> {
    let listener = ports::listen(SocketAddr::from(([127, 0, 0, 1], port)));
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let server = rig.api.url().strip_prefix("http://").unwrap().to_owned();
    look_for_the_api_server_at(rig, port);
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut hook, _)) = listener.accept().await {
            let mut api = TcpStream::connect(&server).await.unwrap();
            connections.spawn(async move {
                drop(tokio::io::copy_bidirectional(&mut hook, &mut api).await);
            });
        }
    })
}

async fn wait_for(path: &std::path::Path) {
    until(|| fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0)).await;
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let so = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), so).await.expect("it comes to be so");
}

/// Plays a scenario, and again while it comes too late, a few times at most; what the last one came to.
/// For what the hook gives up early by design, which it does on a busy machine where a test wants to see
/// the rest. None where it cannot be played.
///
/// `is_late` names a sign of lateness, such as what the hook says or does when it gives up. "Anything but
/// what is expected" is none: a race that is lost half of the time would pass nearly always. All that a late
/// play does not change is asserted in the play itself.
async fn again_if<T>(is_late: impl Fn(&T) -> bool, play: impl AsyncFn() -> Option<T>) -> Option<T> {
    for _ in 1..ATTEMPTS {
        let played = play().await?;
        if !is_late(&played) {
            return Some(played);
        }
    }
    play().await
}
