//! The collector goes away, the pod goes away, the agent is killed: no line may.

use std::collections::BTreeSet;

use super::backend::Backend;
use super::{PATIENCE, arrived};
use crate::support::agent::{Agent, TEXT};
use crate::support::collector::Wire;
use crate::support::process::until;
use crate::support::site::Site;

/// A figure of the agent's own, all series of it together.
pub(super) fn figure(agent: &Agent, name: &str) -> f64 {
    let page = agent.get("/metrics", TEXT).body;
    let series = page.lines().filter(|line| line.starts_with(name));
    series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
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
    job.end();
    pod.delete();
    // Whatever stood in the files is in the spool now, and nowhere else.
    until(PATIENCE, || {
        let spooled = figure(&agent, "ephemon_agent_spool_bytes") > 0.0;
        (spooled && figure(&agent, "ephemon_agent_log_lag_bytes") == 0.0).then_some(())
    })
    .unwrap_or_else(|| {
        panic!("not all was spooled:\n{}\n{}", agent.get("/metrics", TEXT).body, agent.log())
    });
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
