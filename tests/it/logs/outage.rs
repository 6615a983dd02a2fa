//! The collector goes away, the pod goes away, the agent is killed: no line may.

use std::collections::{BTreeMap, BTreeSet};

use super::backend::{Backend, LogLine};
use super::{PATIENCE, arrived};
use crate::support::agent::{Agent, TEXT};
use crate::support::collector::{Mood, Wire};
use crate::support::process::until;
use crate::support::site::Site;

/// Bytes of logs that are written and not yet delivered.
const LAG: &str = "ephemon_agent_log_lag_bytes";

/// A figure of the agent's own, all series of it together.
pub(super) fn figure(agent: &Agent, name: &str) -> f64 {
    let page = agent.get("/metrics", TEXT).body;
    let series = page.lines().filter(|line| line.starts_with(name));
    series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Waits until the agent counts as undelivered what a refusing collector did not take. The figure is renewed
/// once a second: before that it is zero too, as it is when all is in the spool.
fn until_behind(agent: &Agent) {
    until(PATIENCE, || (figure(agent, LAG) > 0.0).then_some(()))
        .unwrap_or_else(|| panic!("nothing waits:\n{}", agent.log()));
}

/// Waits until an agent that was behind has all that it had read in its spool.
pub(super) fn until_spooled(agent: &Agent) {
    until(PATIENCE, || {
        let spooled = figure(agent, "ephemon_agent_spool_bytes{signal=\"logs\"}") > 0.0;
        (spooled && figure(agent, LAG) == 0.0).then_some(())
    })
    .unwrap_or_else(|| {
        panic!("not all was spooled:\n{}\n{}", agent.get("/metrics", TEXT).body, agent.log())
    });
}

/// Whether a figure is this count.
fn is(figure: f64, count: u32) -> bool {
    (figure - f64::from(count)).abs() < 0.5
}

/// The numbers of the lines `line N`, in what came.
pub(super) fn numbers(collector: &Backend) -> BTreeSet<u32> {
    let lines = collector.lines();
    lines.iter().filter_map(|line| line.body.strip_prefix("line ")?.parse().ok()).collect()
}

#[test]
fn what_is_written_while_the_collector_refuses_comes_once_it_takes_again() {
    let site = Site::new();
    let collector = Backend::start(Wire::Grpc);
    collector.refuse();
    let agent = collector.agent(&site, &[]);
    let mut job = site.pod(1).start("job");
    (0..1000).for_each(|number| job.say(&format!("line {number}")));
    until(PATIENCE, || (collector.attempts() >= 2).then_some(())).expect("it must have tried");
    assert_eq!(numbers(&collector).len(), 0);
    collector.accept();
    arrived(&collector, 1000, &agent);
    assert_eq!(numbers(&collector), (0..1000).collect());
    agent.stop();
}

#[test]
fn a_pod_deleted_and_an_agent_killed_while_the_collector_is_away_cost_no_line() {
    let site = Site::new();
    let collector = Backend::start(Wire::Grpc);
    collector.refuse();
    let agent = collector.agent(&site, &[]);
    let pod = site.pod(1);
    let mut job = pod.start("job");
    (0..2000).for_each(|number| job.say(&format!("line {number}")));
    until(PATIENCE, || (collector.attempts() >= 1).then_some(())).expect("it must have tried");
    until_behind(&agent);
    job.end();
    pod.delete();
    // Whatever stood in the files is in the spool now, and nowhere else.
    until_spooled(&agent);
    drop(agent);
    collector.accept();
    let agent = collector.agent(&site, &[]);
    arrived(&collector, 2000, &agent);
    assert_eq!(numbers(&collector), (0..2000).collect());
    agent.stop();
}

#[test]
fn an_agent_that_is_killed_again_and_again_loses_no_line_and_repeats_by_the_same_uid() {
    const ROUNDS: u32 = 6;
    const LINES: u32 = 300;
    let site = Site::new();
    let collector = Backend::start(Wire::Grpc);
    let mut job = site.pod(1).start("job");
    for round in 0..ROUNDS {
        let agent = collector.agent(&site, &[]);
        for number in round * LINES..(round + 1) * LINES {
            job.say(&format!("line {number}"));
            if number % LINES == LINES / 2 {
                job.rotate(&format!("20261125-1200{round:02}"));
            }
        }
        // Some of this round is delivered, some is not.
        let begun = usize::try_from(round * LINES + 1).unwrap();
        until(PATIENCE, || (numbers(&collector).len() >= begun).then_some(()))
            .unwrap_or_else(|| panic!("nothing came:\n{}", agent.log()));
        // Dropped, it is killed.
        drop(agent);
    }
    let agent = collector.agent(&site, &[]);
    let all = usize::try_from(ROUNDS * LINES).unwrap();
    let lines = arrived(&collector, all, &agent);
    assert_eq!(numbers(&collector), (0..ROUNDS * LINES).collect());
    assert_eq!(lines.len(), all, "a line that comes again has the uid it had");
    agent.stop();
}

/// Waits for the last record of so many logs.
fn ends(collector: &Backend, count: usize, agent: &Agent) -> Vec<LogLine> {
    let ends = || {
        let all = collector.records().into_iter();
        let ends: Vec<LogLine> = all.filter(|record| record.event == "ephemon.log.end").collect();
        (ends.len() >= count).then_some(ends)
    };
    until(PATIENCE, ends).unwrap_or_else(|| panic!("no end came:\n{}", agent.log()))
}

#[test]
fn what_was_rescued_from_an_outage_comes_once_and_is_refused_once() {
    let site = Site::new();
    let collector = Backend::start(Wire::Grpc);
    collector.refuse();
    // A request of spans would have the mood that is meant for one of logs.
    let more = [("OTEL_TRACES_EXPORTER", "none")];
    let agent = site.agent_to((&collector.endpoint(), collector.protocol()), &[], &more);
    let pod = site.pod(1);
    let mut job = pod.start("job");
    // More than the queue in memory holds.
    let filler = "x".repeat(1000);
    (0..6000).for_each(|number| job.say(&format!("line {number} {filler}")));
    until(PATIENCE, || (collector.attempts() >= 1).then_some(())).expect("it must have tried");
    until_behind(&agent);
    job.end();
    pod.delete();
    until_spooled(&agent);
    // Of the first request that it takes, the collector refuses some records.
    collector.be_next([Mood::Partial(7)]);
    collector.accept();
    ends(&collector, 1, &agent);
    // What is written now comes behind all that was there before.
    let another = site.pod(2);
    another.start("job").say("the last line");
    until(PATIENCE, || {
        collector.lines().iter().any(|line| line.body == "the last line").then_some(())
    })
    .unwrap_or_else(|| panic!("the last line did not come:\n{}", agent.log()));

    let mut often: BTreeMap<String, u32> = BTreeMap::new();
    for line in collector.lines() {
        *often.entry(line.attribute("log.record.uid")).or_default() += 1;
    }
    let twice = often.values().filter(|times| **times > 1).count();
    assert_eq!((often.len(), twice), (6001, 0), "{}", agent.log());
    assert!(is(figure(&agent, "ephemon_agent_dropped_items_total{"), 7));
    until(PATIENCE, || (figure(&agent, "ephemon_agent_spool_bytes") == 0.0).then_some(()))
        .unwrap_or_else(|| panic!("the spool is not empty:\n{}", agent.log()));
    agent.stop();
}

#[test]
fn a_log_removed_while_the_agent_was_away_has_an_end_and_is_counted_as_incomplete() {
    let site = Site::new();
    let collector = Backend::start(Wire::Http);
    let agent = collector.agent(&site, &[]);
    let pod = site.pod(1);
    let mut job = pod.start("job");
    (0..10).for_each(|number| job.say(&format!("line {number}")));
    arrived(&collector, 10, &agent);
    agent.stop();
    // Nobody can say how much this was.
    job.say("a line that nobody saw");
    job.end();
    pod.delete();
    let agent = collector.agent(&site, &[]);
    let [end] = ends(&collector, 1, &agent).try_into().unwrap();
    assert_eq!(end.resource("k8s.container.name"), "job");
    assert_eq!(end.attribute("ephemon.log.complete"), "false", "{end:?}");
    assert_eq!(end.attribute("ephemon.log.lines"), "10");
    assert!(is(figure(&agent, "ephemon_agent_logs_incomplete_total"), 1));
    agent.until_logged("the container's log did not come through whole");
    agent.stop();
}

#[test]
fn a_logs_counts_go_on_when_the_agent_is_started_anew() {
    let site = Site::new();
    let collector = Backend::start(Wire::Http);
    let mut job = site.pod(1).start("job");
    let mut bytes = 0;
    for round in 0..2 {
        let agent = collector.agent(&site, &[]);
        for number in 0..10 {
            job.say(&format!("line {number}"));
        }
        bytes += 60;
        arrived(&collector, (round + 1) * 10, &agent);
        until(PATIENCE, || {
            let counted = figure(&agent, "ephemon_container_log_bytes_total");
            is(counted, bytes).then_some(())
        })
        .unwrap_or_else(|| panic!("{bytes}: {}", agent.get("/metrics", TEXT).body));
        let lines = figure(&agent, "ephemon_container_log_lines_total");
        assert!(is(lines, bytes / 6), "{lines}");
        agent.stop();
    }
}
