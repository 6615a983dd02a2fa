//! What operators look into the agent with: `--check`, a configuration file, `ephemon debug`.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use super::{PATIENCE, Started, node, until};
use crate::support::programs;

/// What an operator has in the environment and must not be passed on.
const SECRET: &str = "hunter2hunter2";

fn ephemon(node: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(programs::ephemon());
    command.args(words).env("EPHEMON_NODE_ROOT", node).env_remove("KUBECONFIG").output().unwrap()
}

/// Runs `ephemon debug`, and again where the agent and it took longer than they give each other: 10 s.
fn debug(node: &Path, words: &[&str]) -> Output {
    let start = Instant::now();
    loop {
        let began = Instant::now();
        let output = ephemon(node, &[&["debug"][..], words].concat());
        let is_late = began.elapsed() >= Duration::from_secs(10)
            && text(&output.stderr).contains("gave no answer");
        if !is_late || start.elapsed() > PATIENCE {
            return output;
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_check_says_what_is_missing_and_its_exit_code_says_whether_the_agent_would_run() {
    let node = node();
    let check = ["agent", "--check", "--no-api", "--listen", "127.0.0.1:0"];
    let output = ephemon(node.path(), &check);
    let table = text(&output.stdout);
    assert!(output.status.success(), "{table}{}", text(&output.stderr));
    assert!(table.contains("ok       cgroups"), "{table}");
    assert!(table.contains("API server") && table.contains("--no-api"), "{table}");

    // Without an API server where one is asked for, and without cgroups, it cannot work.
    let nowhere = tempfile::tempdir().unwrap();
    let output = ephemon(nowhere.path(), &["agent", "--check", "--listen", "127.0.0.1:0"]);
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{table}");
    assert!(table.contains("MISSING  cgroups"), "{table}");
    assert!(table.contains("MISSING  API server"), "{table}");
}

#[test]
fn a_collector_that_does_not_take_requests_is_named_by_the_check_without_its_secrets() {
    let node = node();
    let output = Command::new(programs::ephemon())
        .args(["agent", "--check", "--no-api", "--listen", "127.0.0.1:0"])
        .env("EPHEMON_NODE_ROOT", node.path())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("http://user:{SECRET}@127.0.0.1:1"))
        .env("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization=Bearer {SECRET}"))
        .output()
        .unwrap();
    let table = text(&output.stdout);
    assert!(output.status.success(), "it would run all the same: {table}");
    assert!(table.contains("limited  logs") && table.contains("127.0.0.1:1"), "{table}");
    assert!(!table.contains(SECRET), "{table}");
}

#[test]
fn a_configuration_file_sets_flags_and_a_wrong_one_ends_the_start_with_two() {
    let node = node();
    let file = node.path().join("agent.yaml");
    std::fs::write(&file, "no-api: true\nsample-budget: 7\n").unwrap();
    let mut agent = Started::on(node.path(), &["--config", file.to_str().unwrap()]);
    let address = agent.address();
    let state = until(address, "/debug/state", |status, _| status == 200);
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    let settings = state["settings"].as_array().unwrap();
    let setting = |flag: &str| settings.iter().find(|setting| setting["flag"] == flag).unwrap();
    assert_eq!(setting("sample-budget")["value"], "7");
    assert_eq!(setting("sample-budget")["source"], "file");
    assert_eq!(setting("node-name")["source"], "command-line");
    agent.terminate();

    std::fs::write(&file, "sample-budgt: 7\n").unwrap();
    let (status, log) = Started::on(node.path(), &["--config", file.to_str().unwrap()]).end();
    assert_eq!(status.code(), Some(2), "{log}");
    assert!(log.contains("agent.yaml") && log.contains("`sample-budgt`"), "{log}");
}

#[test]
fn the_running_agent_is_asked_and_its_log_changed_through_the_socket_that_only_root_can_open() {
    let node = node();
    let variables = [
        ("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization=Bearer {SECRET}")),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://user:{SECRET}@127.0.0.1:1")),
    ];
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut agent = Started::with(node.path(), &["--no-api"], &variables);
    let address = agent.address();
    until(address, "/readyz", |status, _| status == 200);
    until(address, "/metrics", |_, text| text.contains(&"a".repeat(64)));

    let bundle = debug(node.path(), &["bundle"]);
    let bundle = text(&bundle.stdout);
    for part in ["# node\nkernel: ", "# state\n{", "# metrics\n", "ephemon_agent_", "runner-1"] {
        assert!(bundle.contains(part), "{part:?} is missing in {bundle}");
    }
    assert!(!bundle.contains(SECRET), "a secret is in the bundle");

    let socket = node.path().join("var/lib/ephemon/agent.sock");
    let mode = std::os::unix::fs::PermissionsExt::mode(&socket.metadata().unwrap().permissions());
    assert_eq!(mode & 0o077, 0, "others may open it: {mode:o}");

    let output = debug(node.path(), &["log", "info,ephemon_agent=debug", "--for", "1h"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    agent.says("the log's filter was changed");
    let state = debug(node.path(), &["state"]);
    let state: serde_json::Value = serde_json::from_slice(&state.stdout).unwrap();
    assert_eq!(state["log"]["filter"], "info,ephemon_agent=debug");
    // What only such a filter lets through: a client that leaves without a word.
    drop(UnixStream::connect(&socket).unwrap());
    agent.says("control client left early");
    let output = debug(node.path(), &["log", "a=b=c"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("a=b=c"), "{}", text(&output.stderr));
    // For a second, and then as before.
    debug(node.path(), &["log", "debug", "--for", "1s"]);
    agent.says("the log's filter is the configured one again");
    agent.terminate();

    let output = debug(node.path(), &["state"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("agent.sock"), "{}", text(&output.stderr));
}
