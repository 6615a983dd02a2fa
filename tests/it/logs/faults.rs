//! A collector in every bad mood, one after the other: each line comes, with one uid, and what the
//! collector would not have is counted.

use std::collections::BTreeMap;
use std::time::Duration;

use super::PATIENCE;
use super::backend::Backend;
use super::outage::{figure, numbers};
use crate::support::agent::{Agent, TEXT};
use crate::support::collector::{Mood, Wire};
use crate::support::process::until;
use crate::support::site::{Container, Site};

/// Lines of one mood.
const LINES: u32 = 200;

/// How the collector misbehaves, in order.
const MOODS: [&str; 5] = ["stalls and refuses", "dies", "splits", "half accepts", "is well"];

fn write(job: &mut Container, wave: u32) {
    (wave * LINES..(wave + 1) * LINES).for_each(|number| job.say(&format!("line {number}")));
}

fn come(backend: &Backend, lines: u32, agent: &Agent) {
    let all = usize::try_from(lines).unwrap();
    until(PATIENCE, || (numbers(backend).len() >= all).then_some(())).unwrap_or_else(|| {
        panic!("{} of {lines} lines came:\n{}", numbers(backend).len(), agent.log())
    });
}

fn end_of(backend: &Backend, container: &str) -> super::backend::LogLine {
    let end = until(PATIENCE, || {
        let all = backend.records().into_iter();
        let mut ends = all.filter(|record| record.event == "ephemon.log.end");
        ends.find(|end| end.resource("k8s.container.name") == container)
    });
    end.unwrap_or_else(|| panic!("no last record of {container}"))
}

fn refuse(after: Option<Duration>) -> Mood {
    Mood::Refuse { grpc: tonic::Code::Unavailable, http: 503, after }
}

fn play(wire: Wire) {
    let site = Site::new();
    let mut backend = Backend::start(wire);
    // Traces would be in those moods, too.
    let more = [("OTEL_EXPORTER_OTLP_TIMEOUT", "2000"), ("OTEL_TRACES_EXPORTER", "none")];
    let agent = site.agent_to((&backend.endpoint(), backend.protocol()), &[], &more);
    let pod = site.pod(1);
    let mut well = pod.start("well");
    well.say("all is well");
    well.end();
    let mut job = pod.start("job");
    let requests = |result: &str| {
        format!("ephemon_agent_otlp_requests_total{{result=\"{result}\",signal=\"logs\"}}")
    };
    assert_eq!(end_of(&backend, "well").attribute("ephemon.log.complete"), "true");
    for (wave, mood) in (0..).zip(MOODS) {
        match mood {
            "stalls and refuses" => {
                let later = Some(Duration::from_secs(1));
                backend.be_next([Mood::Stall, refuse(None), refuse(later)]);
                write(&mut job, wave);
            }
            "dies" => {
                let before = backend.attempts();
                backend.be(Mood::Stall);
                write(&mut job, wave);
                let tried = || (backend.attempts() > before).then_some(());
                until(PATIENCE, tried).expect("a request under way");
                backend.die();
                job.rotate("20261125-120000");
                backend.be(Mood::Accept);
                backend.revive();
            }
            "splits" => {
                backend.be(Mood::AtMost(4096));
                write(&mut job, wave);
                come(&backend, (wave + 1) * LINES, &agent);
                backend.be(Mood::Accept);
            }
            "half accepts" => {
                // Until the agent has heard so: a busy machine may give the answer after the timeout,
                // and the same lines come again.
                backend.be(Mood::Partial(1));
                write(&mut job, wave);
                let heard = || (figure(&agent, &requests("partial")) > 0.0).then_some(());
                until(PATIENCE, heard).unwrap_or_else(|| panic!("{}", agent.log()));
                backend.be(Mood::Accept);
            }
            _ => write(&mut job, wave),
        }
        come(&backend, (wave + 1) * LINES, &agent);
    }
    job.end();

    let end = end_of(&backend, "job");
    let lines = u32::try_from(MOODS.len()).unwrap() * LINES;
    assert_eq!(end.attribute("ephemon.log.lines"), lines.to_string(), "{end:?}");
    assert_eq!(end.attribute("ephemon.log.lost_bytes"), "0", "{end:?}");
    // One of each such request the collector said it did not take, and not which.
    assert_eq!(end.attribute("ephemon.log.complete"), "false", "{end:?}");
    let refused = "ephemon_agent_dropped_items_total{reason=\"refused\",signal=\"logs\"}";
    let off = figure(&agent, refused) - figure(&agent, &requests("partial"));
    assert!(off.abs() < 0.5, "{}", agent.log());
    let page = agent.get("/metrics", TEXT).body;
    for result in ["accepted", "partial", "retried", "split"] {
        assert!(figure(&agent, &requests(result)) > 0.0, "{result}: {page}");
    }
    assert_eq!(numbers(&backend), (0..lines).collect());
    let mut uids: BTreeMap<String, String> = BTreeMap::new();
    for line in backend.lines() {
        let uid = line.attribute("log.record.uid");
        let before = uids.insert(line.body.clone(), uid.clone());
        assert!(before.is_none_or(|before| before == uid), "{line:?} comes again as another");
    }
    agent.stop();
}

#[test]
fn a_collector_that_stalls_refuses_dies_and_takes_halves_gets_every_line_by_grpc() {
    play(Wire::Grpc);
}

#[test]
fn a_collector_that_stalls_refuses_dies_and_takes_halves_gets_every_line_by_http() {
    play(Wire::Http);
}

#[test]
fn a_log_that_goes_on_after_its_end_is_closed_again_under_the_same_uid() {
    let site = Site::new();
    let backend = Backend::start(Wire::Http);
    let agent = backend.agent(&site, &[]);
    let pod = site.pod(1);
    let mut job = pod.start("job");
    job.say("line 0");
    let mut late = pod.again("job");
    job.end();
    let first = end_of(&backend, "job");
    assert_eq!(first.attribute("ephemon.log.lines"), "1");
    late.say("line 1");
    let ends = until(PATIENCE, || {
        let all = backend.records().into_iter();
        let ends: Vec<_> = all.filter(|record| record.event == "ephemon.log.end").collect();
        ends.iter().any(|end| end.attribute("ephemon.log.lines") == "2").then_some(ends)
    });
    let ends = ends.unwrap_or_else(|| panic!("no second end:\n{}", agent.log()));
    let uids = ends.iter().map(|end| end.attribute("log.record.uid"));
    assert!(uids.clone().all(|uid| uid == first.attribute("log.record.uid")), "{ends:?}");
    let last = ends.last().expect("the second");
    assert_eq!(last.attribute("ephemon.log.complete"), "true", "{last:?}");
    assert_eq!(numbers(&backend), (0..2).collect());
    agent.stop();
}
