//! Containers' logs from the node's files to a collector, through the agent as a user starts it.

pub(crate) mod backend;
mod containerd;
mod faults;
mod full_disk;
mod linked;
mod masks;
mod outage;
mod proxies;
mod real_collector;
mod steps;
mod strangers;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::agent::{Agent, TEXT};
use crate::support::collector::Wire;
use crate::support::process::until;
use crate::support::programs;
use crate::support::site::Site;
use backend::{Backend, LogLine};

/// Nothing here takes longer unless it hangs: tens of thousands of lines are the most that is waited for.
const PATIENCE: Duration = Duration::from_mins(5);

/// Waits until so many different records have come, and gives all of them by their uid.
fn arrived(collector: &Backend, count: usize, agent: &Agent) -> BTreeMap<String, LogLine> {
    let all = || -> BTreeMap<String, LogLine> {
        let lines = collector.lines().into_iter();
        lines.map(|line| (line.attribute("log.record.uid"), line)).collect()
    };
    until(PATIENCE, || (all().len() >= count).then_some(())).unwrap_or_else(|| {
        panic!("{} of {count} records came; the agent says:\n{}", all().len(), agent.log())
    });
    all()
}

#[test]
fn every_line_comes_with_its_place_its_severity_and_without_secrets() {
    let site = Site::new();
    let collector = Backend::start(Wire::Http);
    let agent = collector.agent(&site, &[]);
    let pod = site.pod(1);
    let mut job = pod.start("job");
    let mut other = pod.start("step-2");
    job.say("hello");
    job.record("stdout P", b"half of a line, ");
    job.record("stderr F", b"something else meanwhile");
    job.record("stdout F", b"and the rest");
    job.say("::add-mask::opensesame");
    job.say("the word is opensesame");
    job.say("::error file=src/app.js,line=10::it \u{1b}[31mfailed\u{1b}[0m");
    job.record("stdout F", b"not UTF-8: \xff\xfe");
    job.record("stdout P", b"the last line without an end");
    until(PATIENCE, || (collector.lines().len() >= 6).then_some(())).expect("the first lines");
    other.say("opensesame, says the other container");
    job.end();
    other.end();

    let lines = arrived(&collector, 8, &agent);
    assert_eq!(lines.len(), 8, "{lines:?}");
    let bodies: Vec<&str> = lines.values().map(|line| line.body.as_str()).collect();
    let find = |text: &str| {
        let found = lines.values().find(|line| line.body.contains(text));
        found.unwrap_or_else(|| panic!("{text:?} is not among {bodies:?}"))
    };
    let first = find("hello");
    assert_eq!(first.resource("k8s.pod.name"), "runner-1");
    assert_eq!(first.resource("k8s.namespace.name"), "ci");
    assert_eq!(first.resource("k8s.container.name"), "job");
    assert_eq!(first.resource("k8s.node.name"), "it");
    assert_eq!(first.attribute("log.iostream"), "stdout");
    assert_eq!(first.time_unix_nano, 1_795_000_001_000_000_000);
    find("half of a line, and the rest");
    assert_eq!(find("something else").attribute("log.iostream"), "stderr");
    find("the word is ***");
    find("***, says the other container");
    assert!(bodies.iter().all(|body| !body.contains("opensesame")), "{bodies:?}");
    let error = find("it failed");
    assert_eq!(error.severity, 17);
    assert_eq!(error.attribute("code.file.path"), "src/app.js");
    assert_eq!(error.attribute("code.line.number"), "10");
    assert_eq!(find("not UTF-8").bytes, b"not UTF-8: \xff\xfe");
    let last = find("the last line without an end");
    assert_eq!(last.attribute("ephemon.log.unended"), "true");
    assert_eq!(last.attribute("ephemon.log.sequence"), "8");

    // The agent's own books say so, too; what was shown twice is shown no more.
    let mut shown = BTreeMap::new();
    until(PATIENCE, || {
        let page = agent.get("/metrics", TEXT).body;
        let series = page.lines().filter_map(|line| line.rsplit_once(' '));
        shown.extend(series.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let complete = shown.iter().filter(|(name, value)| {
            name.starts_with("ephemon_container_log_complete{") && *value == "1"
        });
        (complete.count() == 2).then_some(())
    })
    .unwrap_or_else(|| panic!("the logs must be complete: {shown:#?}\n{}", agent.log()));
    let delivered = shown.iter().find(|(name, _)| {
        name.starts_with("ephemon_container_log_delivered_lines_total")
            && name.contains("container=\"job\"")
    });
    assert_eq!(delivered.map(|(_, value)| value.as_str()), Some("8"));
    // And so does the last record of each container.
    let end = until(PATIENCE, || {
        let all = collector.records();
        all.into_iter().find(|record| {
            record.event == "ephemon.log.end" && record.resource("k8s.container.name") == "job"
        })
    });
    let end = end.expect("the log's last record");
    assert_eq!(end.attribute("ephemon.log.complete"), "true", "{end:?}");
    assert_eq!(end.attribute("ephemon.log.lines"), "8");
    assert_eq!(end.attribute("ephemon.log.lost_bytes"), "0");
    agent.stop();
}

#[test]
fn without_a_collector_lines_go_to_standard_output_where_that_is_asked_for() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};
    let site = Site::new();
    let pod = site.pod(1);
    let mut job = pod.start("job");
    job.say("hello \"world\"");
    job.end();
    let mut child = Command::new(programs::ephemon())
        .args(["agent", "--no-api", "--node-name", "it", "--logs-to", "stdout"])
        .args(["--listen", "127.0.0.1:0", "--kubepods", "kubepods", "--node-root"])
        .arg(site.root())
        .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    let record = &json["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
    assert_eq!(record["body"]["stringValue"], "hello \"world\"", "{line}");
}
