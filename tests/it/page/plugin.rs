//! The commands of `kubectl ephemon` over made-up jobs.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::time::Duration;

use ephemon_demo::api::{ApiServer, Store};
use serde_json::{Value, json};

use super::stage::{Stage, running_job};
use crate::support::ports;
use crate::support::process::until;
use crate::support::programs;
use crate::support::proxy::{COLLECTOR as BEHIND, Manner, Proxy};

/// Longest wait.
const PATIENCE: Duration = Duration::from_mins(1);
/// What is printed where there is nothing to complete.
const NOTHING: &str = ":4\n";

fn printed(stage: &Stage, words: &[&str]) -> String {
    let mut command = Command::new(programs::ephemon());
    let done = command.args(words).args(["--agent", &stage.url("")]).output().unwrap();
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// The story's runner has samples like the job's own containers, and is not counted by `jobs`.
#[test]
fn top_counts_the_containers_that_jobs_counts() {
    let stage = Stage::new();
    let job = running_job(1);
    stage.show(&job);
    stage.sample(&job);
    let path = format!("api/v1/jobs/{}", job.pod.uid);
    let parts: Value = serde_json::from_str(&http(&stage, &path)).unwrap();
    let roles = parts["usageRoles"].as_array().unwrap();
    let with_id = |one: &&Value| !one["id"].is_null();
    let containers = parts["containers"].as_array().unwrap();
    let all = containers.iter().filter(with_id).count();
    let own = containers.iter().filter(with_id).filter(|one| roles.contains(&one["role"])).count();
    assert!(0 < own && own < all, "{own} of {all}: {parts}");
    let each = printed(&stage, &["top", "--containers"]);
    assert_eq!(each.lines().skip(1).filter(|line| line.starts_with("300m")).count(), all, "{each}");
    let sum = printed(&stage, &["top"]);
    assert!(sum.lines().nth(1).unwrap().starts_with(&format!("{}m", own * 300)), "{sum}");
}

fn http(stage: &Stage, path: &str) -> String {
    let address =
        stage.url("").trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
    crate::support::http::get(address, &format!("/{path}"), "application/json").unwrap().body
}

/// As kubectl starts it for the words after `kubectl ephemon`.
#[test]
fn the_pods_of_jobs_are_completed() {
    let stage = Stage::new();
    let job = running_job(1);
    stage.show(&job);
    let scratch = tempfile::tempdir().unwrap();
    let program = scratch.path().join("kubectl_complete-ephemon");
    symlink(programs::ephemon(), &program).unwrap();
    let complete = |words: &[&str]| {
        let output = Command::new(&program).args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let (pod, url) = (&*job.pod.name, stage.url(""));
    // On a busy machine the jobs may come after the time that somebody at a prompt waits: then none is named.
    let asked = || Some(complete(&["why", "--agent", &url, ""])).filter(|text| text != NOTHING);
    let text = until(PATIENCE, asked).expect("a job");
    assert_eq!(text, format!("{pod}\tnumber 1, ▶ running\n{NOTHING}"));
    assert_eq!(complete(&["job", "--agent", &url, "nothing"]), NOTHING);
    let nobody = format!("http://127.0.0.1:{}", ports::free());
    assert_eq!(complete(&["why", "--agent", &nobody, ""]), NOTHING, "no agent, no word of it");
}

/// A shell waits for what is printed, and nothing is left behind at its prompt.
#[tokio::test]
async fn completion_ends_a_credential_plugin_that_hangs_with_all_that_it_has_started() {
    let api = ApiServer::start(Store::new("node", 1000)).await.unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let program = scratch.path().join("kubectl_complete-ephemon");
    symlink(programs::ephemon(), &program).unwrap();
    let [file, begun] = ["config", "begun"].map(|name| scratch.path().join(name));
    api.write_kubeconfig(&file).unwrap();
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let script = format!("trap '' TERM; sleep 600 & echo $$ $! > {}; wait", begun.display());
    config["users"][0]["user"] = json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script],
        "interactiveMode": "Never",
    }});
    fs::write(&file, config.to_string()).unwrap();
    let mut command = Command::new(&program);
    command.args(["why", "--kubeconfig"]).arg(&file).arg("").stdout(Stdio::piped());
    // On a busy machine the time may be over before the plugin has begun: it has written less than both ids
    // then, and is called once more.
    let pids = until(PATIENCE, || {
        let mut completing = command.spawn().unwrap();
        let status = until(PATIENCE, || completing.try_wait().unwrap());
        let output = completing.wait_with_output().unwrap();
        assert!(status.is_some_and(|it| it.success()), "{status:?}: {output:?}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), NOTHING);
        let pids = fs::read_to_string(&begun).unwrap_or_default();
        (pids.split_whitespace().count() == 2).then_some(pids)
    });
    let pids = pids.expect("the plugin's ids");
    for pid in pids.split_whitespace() {
        // One that nobody has waited for yet has an empty command line.
        let is_gone = || fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().is_empty();
        until(PATIENCE, || is_gone().then_some(())).unwrap_or_else(|| panic!("{pid} runs"));
    }
}

/// Only the proxy knows where the API server is.
#[tokio::test]
async fn the_cluster_is_reached_by_the_proxy_of_the_kubeconfig() {
    let api = ApiServer::start(Store::new("node", 1000)).await.unwrap();
    let proxy = Proxy::start(Manner { wants: Some("user:word"), ..Manner::default() });
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("config");
    let address = api.url();
    let server = format!("{BEHIND}:{}", address.rsplit(':').next().unwrap());
    let failure = async |url: &str| {
        api.write_kubeconfig(&file).unwrap();
        let mut config: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        config["clusters"][0]["cluster"] =
            json!({"server": format!("http://{server}"), "proxy-url": url});
        fs::write(&file, config.to_string()).unwrap();
        let mut command = tokio::process::Command::new(programs::ephemon());
        let output = command.args(["jobs", "--kubeconfig"]).arg(&file).output().await.unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let none = failure(&proxy.url("user:word@")).await;
    assert!(none.contains("no agent in namespace ephemon or any other"), "{none}");
    assert_eq!(proxy.asked()[0], format!("CONNECT {server} HTTP/1.1"));
    let refused = failure(&proxy.url("user:wrong@")).await;
    assert!(refused.contains("proxy auth") && !refused.contains("wrong"), "{refused}");
    let other = failure(&proxy.url("user:word@").replace("http", "socks5")).await;
    assert!(other.contains("\"socks5\" is not supported"), "{other}");
}
