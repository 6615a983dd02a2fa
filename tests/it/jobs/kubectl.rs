//! The commands of `kubectl ephemon` over a real agent, which they reach by its address.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use ephemon_base::clock::now_ns;
use ephemon_contract::{Phase, StepKind};
use serde_json::Value;

use super::PATIENCE;
use super::sink::Sink;
use crate::support::agent::Agent;
use crate::support::http;
use crate::support::ports;
use crate::support::process::{Running, said_after, until};
use crate::support::programs;
use crate::support::site::Site;

/// How a command of this agent ends.
fn run(agent: &Agent, words: &[&str]) -> Output {
    let mut command = Command::new(programs::ephemon());
    command.args(words).args(["--agent", &format!("http://{}", agent.address())]);
    command.output().unwrap()
}

/// What it prints.
fn printed(agent: &Agent, words: &[&str]) -> String {
    let done = run(agent, words);
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// Asks until what it prints satisfies.
fn until_printed(agent: &Agent, words: &[&str], is_so: impl Fn(&str) -> bool) -> String {
    let look = || Some(printed(agent, words)).filter(|text| is_so(text));
    until(PATIENCE, look)
        .unwrap_or_else(|| panic!("{words:?}: {}\n{}", printed(agent, words), agent.log()))
}

fn failed(done: &Output) -> String {
    assert_eq!(done.status.code(), Some(1), "{}", String::from_utf8_lossy(&done.stdout));
    String::from_utf8_lossy(&done.stderr).into_owned()
}

#[test]
fn a_job_is_listed_shown_and_looked_into_while_it_runs_and_after_its_end() {
    let (site, sink) = (Site::new(), Sink::start());
    let agent = sink.agent_with_logs(&site, &["--page", "logs"]);
    assert_eq!(printed(&agent, &["jobs"]), "No job has run within the last hour.\n");
    assert_eq!(printed(&agent, &["top"]), "No job is under way.\n");
    let pod = site.runner(1);
    pod.start("job");
    pod.init_started("job");
    pod.launched("job");
    pod.called(Phase::PrepareJob, None, now_ns(), 0);
    pod.step_started("job", 1, "__run_\u{202e}1", StepKind::Script);
    pod.write_log("job", b"2026-11-23T12:19:10.000000000Z stdout F a \x1b]0;line\xe2\x80\xae\n");
    let text = until_printed(&agent, &["jobs"], |text| text.contains("▶ running"));
    assert!(text.contains("ci/runner-1") && text.contains(" it "), "{text}");
    let text = until_printed(&agent, &["job", "runner-1"], |text| text.contains("__run_"));
    assert!(text.contains("__run_‹U+202E›1") && text.contains("container job"), "{text}");
    assert!(text.contains("pod ci/runner-1 on it") && !text.contains('\u{1b}'), "{text}");
    until_printed(&agent, &["logs", "runner-1"], |text| text.contains("line‹U+202E›\n"));
    let log = printed(&agent, &["logs", "runner-1", "--container", "job"]);
    assert!(log.starts_with("a ") && !log.contains('\u{1b}'), "{log:?}");
    until_printed(&agent, &["top", "--containers"], |text| text.contains("ci/runner-1"));
    let why = printed(&agent, &["why", "ci/runner-1"]);
    assert!(why.contains("Nothing stands out") && why.contains("The longest step"), "{why}");

    let mut watching = Command::new(programs::ephemon());
    watching.args(["job", "--watch", "runner-1", "--agent", &agent.address().to_string()]);
    let watching = std::thread::spawn(move || watching.output().unwrap());
    let mut following = Command::new(programs::ephemon());
    following.args(["logs", "--follow", "runner-1", "--agent", &agent.address().to_string()]);
    let following = std::thread::spawn(move || following.output().unwrap());

    let since = now_ns();
    pod.step_ended("job", 1, 3);
    pod.called(Phase::RunScriptStep, Some("__run_1"), since, 3);
    pod.called(Phase::CleanupJob, None, now_ns(), 0);
    pod.write_log("job", b"2026-11-23T12:19:11.000000000Z stdout F the last one\n");
    pod.end("job");
    pod.delete();
    until_printed(&agent, &["jobs"], |text| text.contains("✕ failure"));
    let json: Value = serde_json::from_str(&printed(&agent, &["jobs", "-o", "json"])).unwrap();
    let listed = &json["jobs"][0];
    assert_eq!((&listed["pod"], &listed["node"]), (&"runner-1".into(), &"it".into()));
    assert_eq!(json["unreachable"], serde_json::json!([]));
    let id = listed["id"].as_str().unwrap();
    let json: Value = serde_json::from_str(&printed(&agent, &["job", id, "-o", "json"])).unwrap();
    assert_eq!(json["jobs"][0]["job"]["steps"][0]["exitCode"], 3);
    assert_eq!(json["jobs"][0]["samples"]["containers"][0]["ended"], true);
    let watched = watching.join().unwrap();
    let text = String::from_utf8(watched.stdout).unwrap();
    assert!(watched.status.success() && text.contains("✕ failure, exit code 3"), "{text}");
    let followed = following.join().unwrap();
    let text = String::from_utf8(followed.stdout).unwrap();
    assert!(followed.status.success() && text.ends_with("job: the last one\n"), "{text}");

    let done = run(&agent, &["job", "no-such-pod"]);
    assert!(failed(&done).contains("no job no-such-pod is shown"));
    let other = printed(&agent, &["jobs", "-n", "other"]);
    assert!(other.starts_with("No job has run"), "{other}");
    agent.stop();
}

#[test]
fn an_agent_that_is_not_there_or_has_no_page_is_named_with_what_to_do() {
    let (site, sink) = (Site::new(), Sink::start());
    let agent = sink.agent(&site, &[]);
    let error = failed(&run(&agent, &["jobs"]));
    let named = format!("node {}: its job page is off", agent.address());
    assert!(error.contains(&named) && error.contains("--page logs"), "{error}");
    assert!(error.contains("no agent has answered"), "{error}");
    // One of two: the rest is shown.
    let other = Site::new();
    let shown = sink.agent(&other, &["--page", "jobs"]);
    let done = run(&shown, &["jobs", "--agent", &agent.address().to_string()]);
    assert!(done.status.success());
    assert!(String::from_utf8_lossy(&done.stderr).contains(&named));
    shown.stop();
    agent.stop();
    // Not the port that it had: by now that may be another's.
    let address = format!("127.0.0.1:{}", ports::free());
    let mut command = Command::new(programs::ephemon());
    let done = command.args(["jobs", "--agent", &address]).output().unwrap();
    assert!(failed(&done).contains("cannot connect"));
}

#[test]
fn one_page_has_the_jobs_of_all_nodes_and_asks_each_of_its_own() {
    let sink = Sink::start();
    let sites = [Site::new(), Site::new()];
    let agents = sites.each_ref().map(|site| sink.agent(site, &["--page", "jobs"]));
    for (site, number) in sites.iter().zip(1..) {
        let pod = site.runner(number);
        pod.start("job");
        pod.init_started("job");
        pod.launched("job");
        pod.called(Phase::PrepareJob, None, now_ns(), 0);
    }
    let mut command = Command::new(programs::ephemon());
    command.args(["ui", "--port", "0"]).stderr(Stdio::piped());
    for agent in &agents {
        command.args(["--agent", &agent.address().to_string()]);
    }
    let mut ui = Running::start(&mut command);
    let address = said_after("ephemon: the jobs of 2 nodes: http://", ui.take_stderr());
    let address: SocketAddr = address.trim_end_matches('/').parse().unwrap();
    let get = |path: &str| http::get(address, path, "*/*").unwrap();
    let json = |path: &str| {
        let answer = get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert!(answer.head.contains("content-security-policy: default-src 'none'"));
        serde_json::from_str::<Value>(&answer.body).unwrap()
    };
    let listed =
        || Some(json("/api/v1/jobs")).filter(|it| it["jobs"].as_array().unwrap().len() == 2);
    let jobs = until(PATIENCE, listed).expect("the jobs of both nodes");
    assert_eq!(jobs["node"], "2 nodes");
    for job in jobs["jobs"].as_array().unwrap() {
        let path = format!("/api/v1/jobs/{}", job["id"].as_str().unwrap());
        assert_eq!(json(&path)["pod"], job["pod"]);
        assert_eq!(json(&format!("{path}/samples?since=0"))["apiVersion"], "v1");
        assert_eq!(json(&format!("{path}/log?after=0"))["served"], false);
    }
    assert_eq!(get("/api/v1/jobs/0e269fa4-f505-4963-9096-958063077203").status, 404);
    assert_eq!(get("/metrics").status, 404);
    assert!(get("/").body.contains("/page/main.js"));
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /api/v1/jobs HTTP/1.0\r\nHost: evil.example\r\n\r\n").unwrap();
    let mut refusal = String::new();
    stream.read_to_string(&mut refusal).unwrap();
    assert!(refusal.starts_with("HTTP/1.0 421"), "{refusal}");
    assert!(!refusal.contains("runner-1"));
    let [first, second] = agents;
    first.stop();
    let fewer = || Some(json("/api/v1/jobs")).filter(|it| it["node"] == "1 node, 1 not reached");
    until(PATIENCE, fewer).expect("the jobs of the node that is left");
    second.stop();
}

#[test]
fn as_a_plugin_it_is_called_kubectl_ephemon() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("kubectl-ephemon");
    symlink(fs::canonicalize(programs::ephemon()).unwrap(), &plugin).unwrap();
    let help = |plugin: &Path| Command::new(plugin).arg("--help").output().unwrap();
    let text = String::from_utf8(help(&plugin).stdout).unwrap();
    assert!(text.contains("Usage: kubectl ephemon <COMMAND>"), "{text}");
    assert!(text.contains("  why ") && !text.contains("  install "), "{text}");
    let completion = folder.path().join("kubectl_complete-ephemon");
    symlink(fs::canonicalize(programs::ephemon()).unwrap(), &completion).unwrap();
    let done = Command::new(&completion).arg("j").output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(
        text.contains("jobs\t") && text.contains("job\t") && text.ends_with("\n:4\n"),
        "{text}"
    );
}
