//! The job page's API over a real agent.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use ephemon_base::clock::now_ns;
use ephemon_contract::{Phase, StepKind};
use serde_json::Value;

use super::PATIENCE;
use super::sink::Sink;
use crate::support::agent::Agent;
use crate::support::process::until;
use crate::support::site::Site;

fn get(agent: &Agent, path: &str) -> Value {
    let answer = agent.get(&format!("/api/v1/{path}"), "application/json");
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    assert!(answer.head.contains("content-security-policy: default-src 'none'"), "{}", answer.head);
    serde_json::from_str(&answer.body).unwrap()
}

fn until_so(agent: &Agent, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let look = || {
        let answer = get(agent, path);
        if !is_so(&answer) {
            thread::sleep(Duration::from_millis(100));
        }
        is_so(&answer).then_some(answer)
    };
    until(PATIENCE, look).unwrap_or_else(|| panic!("{path}: {}\n{}", get(agent, path), agent.log()))
}

#[test]
fn a_job_is_seen_while_it_runs_with_its_steps_and_samples_and_after_its_end() {
    let (site, sink) = (Site::new(), Sink::start());
    let agent = sink.agent(&site, &["--page", "logs"]);
    assert_eq!(get(&agent, "jobs")["jobs"], serde_json::json!([]));
    let pod = site.runner(1);
    pod.start_without("job", "memory.current");
    pod.init_started("job");
    pod.launched("job");
    pod.called(Phase::PrepareJob, None, now_ns(), 0);
    pod.step_started("job", 1, "__run_1", StepKind::Script);
    let has_job = |answer: &Value| answer["jobs"][0]["result"] == "running";
    let jobs = until_so(&agent, "jobs", has_job);
    assert_eq!(jobs["node"], "it");
    let path = format!("jobs/{}", jobs["jobs"][0]["id"].as_str().unwrap());
    let is_running = |job: &Value| job["steps"][0]["result"] == "running";
    let job = until_so(&agent, &path, is_running);
    assert_eq!(job["steps"][0]["endUnixMs"], Value::Null);
    let has_samples =
        |samples: &Value| samples["containers"][0]["usage"]["to"].as_array().is_some();
    let samples = until_so(&agent, &format!("{path}/samples"), has_samples);
    let columns = &samples["containers"][0]["usage"];
    assert_eq!(columns["memoryKibibytes"][0], Value::Null, "the node has no such file");
    let log = get(&agent, &format!("{path}/log"));
    assert_eq!(log["served"], false, "there is no place that logs are exported to: {log}");
    assert!(log["reason"].as_str().unwrap().contains("collects no logs"), "{log}");

    let since = now_ns();
    pod.step_ended("job", 1, 3);
    pod.called(Phase::RunScriptStep, Some("__run_1"), since, 3);
    let has_failed = |job: &Value| job["steps"][0]["result"] == "failure";
    let job = until_so(&agent, &path, has_failed);
    assert_eq!((&job["steps"][0]["exitCode"], &job["result"]), (&3.into(), &"running".into()));
    pod.called(Phase::CleanupJob, None, now_ns(), 0);
    pod.end("job");
    pod.delete();
    let is_over = |answer: &Value| answer["jobs"][0]["result"] == "failure";
    until_so(&agent, "jobs", is_over);
    let job = get(&agent, &path);
    assert_eq!(job["containers"][0]["usage"]["cpuSeconds"], 1.5);
    let samples = get(&agent, &format!("{path}/samples"));
    assert_eq!(samples["containers"][0]["ended"], true, "the curve stays");
    agent.stop();
}

#[test]
fn exported_lines_are_shown_masked_and_changes_are_told() {
    let (site, sink) = (Site::new(), Sink::start());
    let agent = sink.agent_with_logs(&site, &["--page", "logs"]);
    let pod = site.runner(1);
    pod.start("job");
    pod.init_started("job");
    pod.launched("job");
    pod.called(Phase::PrepareJob, None, now_ns(), 0);
    let stamp = "2026-11-23T12:19:10.000000000Z stdout F";
    let lines = ["::add-mask::correct horse", "the battery is correct horse", "\u{1b}[31mred"];
    for line in lines {
        pod.write_log("job", format!("{stamp} {line}\n").as_bytes());
    }
    let jobs = until_so(&agent, "jobs", |answer| answer["jobs"][0]["id"].is_string());
    let id = jobs["jobs"][0]["id"].as_str().unwrap().to_owned();
    let has_lines = |log: &Value| log["lines"].as_array().is_some_and(|lines| lines.len() >= 2);
    let log = until_so(&agent, &format!("jobs/{id}/log"), has_lines);
    let texts: Vec<_> = log["lines"].as_array().unwrap().iter().map(|line| &line["text"]).collect();
    assert_eq!(texts, ["the battery is ***", "red"]);
    let after = log["nextAfter"].as_u64().unwrap();
    let rest = get(&agent, &format!("jobs/{id}/log?after={after}"));
    assert_eq!(rest["lines"], serde_json::json!([]));

    let mut stream = TcpStream::connect(agent.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /api/v1/events?job={id} HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    let mut read_until = |wanted: &str| {
        let mut piece = [0; 1024];
        while !text.contains(wanted) {
            let count = stream.read(&mut piece).unwrap();
            assert!(count > 0, "the stream has ended without {wanted}: {text}");
            text.push_str(str::from_utf8(&piece[..count]).unwrap());
        }
    };
    read_until(&format!("\"log\":{after}}}\n\n"));
    pod.write_log("job", format!("{stamp} more\n").as_bytes());
    read_until(&format!("\"log\":{}}}\n\n", after + 1));
    assert!(text.contains("content-type: text/event-stream\r\n"), "{text}");
    agent.stop();
    // The end of the agent ends the stream, too.
    stream.read_to_string(&mut text).unwrap();
}

#[test]
fn without_the_flag_there_is_no_page() {
    let (site, sink) = (Site::new(), Sink::start());
    let agent = sink.agent(&site, &[]);
    for path in ["/api/v1/jobs", "/page/main.js", "/api/v1/events"] {
        assert_eq!(agent.get(path, "*/*").status, 404, "{path}");
    }
    assert!(agent.get("/", "*/*").body.starts_with("ephemon "));
    agent.stop();
}
