//! Ten thousand logs on one node, and as many files in the agent's state directory.

use std::fs;

use super::PATIENCE;
use super::flood::{EXPORT_LIMIT, peak, written};
use super::sink::Sink;
use crate::support::agent::{Agent, TEXT};
use crate::support::parts::busy;
use crate::support::process::until;
use crate::support::site::{Pod, Site};

/// Pods, and logs of each: more of a pod than are read of one at a time, and of all than are read of
/// a node.
const PODS: usize = 40;
const LOGS: usize = 250;

/// Waits until so many lines of the ordinary pod are delivered.
fn until_delivered(agent: &Agent, lines: u64) {
    let is_own = |line: &&str| {
        line.starts_with("ephemon_container_log_delivered_lines_total{")
            && line.contains("pod=\"runner-0\"")
    };
    let delivered = || {
        let page = agent.get("/metrics", TEXT).body;
        let own = page.lines().filter(is_own);
        own.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>()
    };
    until(PATIENCE, || (delivered() >= lines).then_some(()))
        .unwrap_or_else(|| panic!("{} of {lines} lines\n{}", delivered(), agent.log()));
}

#[test]
fn ten_thousand_logs_cost_neither_the_agent_nor_another_pods_log_anything() {
    let _busy = busy();
    let (site, sink) = (Site::new(), Sink::start());
    let crowd: Vec<Pod> = (1..=PODS).map(|number| site.runner(number)).collect();
    for pod in &crowd {
        for container in 0..LOGS {
            pod.write_log(&format!("c{container}"), written("a line", true).as_bytes());
        }
    }
    let agent = sink.agent_with_logs(&site, &[]);
    // They are there first, and all places are taken.
    let full = || agent.log().contains("more logs than can be followed at once").then_some(());
    until(PATIENCE, full).unwrap_or_else(|| panic!("{}", agent.log()));
    let honest = site.runner(0);
    honest.start("job");
    let say = |text: &str| honest.write_log("job", written(text, true).as_bytes());
    ["one", "two", "three"].into_iter().for_each(say);
    until_delivered(&agent, 3);
    let first = peak(&agent);
    agent.stop();

    let jobs = site.root().join("var/lib/ephemon/jobs");
    fs::create_dir_all(&jobs).unwrap();
    for number in 0..10_000 {
        let name = format!("1e269fa4-f505-4963-9096-{number:012x}.jsonl");
        fs::write(jobs.join(name), "what is no evidence of anything\n".repeat(8)).unwrap();
    }
    let agent = sink.agent_with_logs(&site, &[]);
    ["four", "five"].into_iter().for_each(say);
    until_delivered(&agent, 5);
    let second = peak(&agent);
    eprintln!("at most {} and {} KiB", first / 1024, second / 1024);
    assert!(first.max(second) < EXPORT_LIMIT, "{first} and {second} bytes");
    agent.stop();
}
