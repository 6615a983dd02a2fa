//! A thousand jobs through one agent: all counted, all sent, and it has not grown.

use std::time::Instant;

use ephemon_base::clock::now_ns;
use ephemon_contract::{Phase, StepKind};

use super::sink::Sink;
use super::{PATIENCE, counted, until_counted};
use crate::support::agent::{Agent, TEXT};
use crate::support::parts::busy;
use crate::support::process::{memory, until};
use crate::support::site::{Pod, Site};

/// Pods at a time.
const PODS: usize = 50;
/// Jobs of which the first measure is taken when they are over, and each one after it.
const ROUND: usize = 200;
const JOBS: usize = 1000;
/// What the agent may hold more after all of them than after the first round. Measured: 2.3 MB, of
/// which 1.3 by the second round, in which shown jobs fill their 256 places, and 0.05 in the last one:
/// up to 2000 pods the inventory remembers, and up to 4096 are remembered as sent. A leak of one job's
/// evidence, 7 KB at least, would be 5.6 MB.
const GROWTH_BYTES: u64 = 4 * 1024 * 1024;

/// Memory that is the agent's own.
fn held(agent: &Agent) -> u64 {
    memory(agent.pid(), "RssAnon").expect("the agent runs")
}

fn play(pod: &Pod) {
    pod.start("job");
    pod.init_started("job");
    pod.launched("job");
    let since_ns = now_ns();
    pod.called(Phase::PrepareJob, None, since_ns, 0);
    for step in 1..=3 {
        let name = format!("__run_{step}");
        let since_ns = now_ns();
        pod.step_started("job", step, &name, StepKind::Script);
        pod.step_ended("job", step, 0);
        pod.called(Phase::RunScriptStep, Some(&name), since_ns, 0);
    }
    pod.called(Phase::CleanupJob, None, now_ns(), 0);
}

#[test]
fn a_thousand_jobs_are_counted_and_sent_and_leave_nothing_in_memory() {
    let _busy = busy();
    let (site, sink) = (Site::new(), Sink::start());
    // So long after its start an agent shows everything: scrapers may still be to come.
    let agent = sink.agent(&site, &["--retain-ended", "10s"]);
    let began = Instant::now();
    let mut measures = Vec::new();
    for first in (0..JOBS).step_by(PODS) {
        let pods: Vec<Pod> = (first..first + PODS).map(|number| site.runner(number)).collect();
        pods.iter().for_each(play);
        let done = first + PODS;
        until_counted(&agent, "ephemon_job_started_total", done);
        // Taken in, whatever becomes of the files.
        for pod in &pods {
            let taken = || pod.kept().matches("{\"journal\":").count() == 13;
            until(PATIENCE, || taken().then_some(())).unwrap_or_else(|| panic!("{}", agent.log()));
            pod.end("job");
            pod.delete();
        }
        if done.is_multiple_of(ROUND) {
            until_counted(&agent, "ephemon_job_completed_total", done);
            until(PATIENCE, || (sink.traces() >= done).then_some(())).expect("a trace for each");
            // Ended containers are let go once they were fetched twice.
            let shown = || agent.get("/metrics", TEXT).body.contains("ephemon_container_info{");
            until(PATIENCE, || (!shown()).then_some(())).expect("their series go");
            measures.push(held(&agent));
        }
    }
    let kilobytes: Vec<u64> = measures.iter().map(|bytes| bytes / 1024).collect();
    eprintln!(
        "{JOBS} jobs in {:.1} s; held after each {ROUND}, KiB: {kilobytes:?}",
        began.elapsed().as_secs_f64()
    );
    assert!(measures[measures.len() - 1] <= measures[0] + GROWTH_BYTES, "{kilobytes:?} KiB");
    for family in ["ephemon_job_started_total", "ephemon_job_completed_total"] {
        assert_eq!(counted(&agent, family), JOBS, "{family}");
    }
    let page = agent.get("/metrics", TEXT).body;
    let dropped = page.lines().filter(|line| {
        line.starts_with("ephemon_agent_dropped_items_total{") && !line.ends_with(" 0")
    });
    assert_eq!(dropped.collect::<Vec<_>>(), [""; 0]);
    agent.stop();
    assert_eq!(sink.traces(), JOBS);
    let spans = sink.spans();
    let mut ids: Vec<_> = spans.iter().map(|span| (&span.trace_id, &span.span_id)).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), spans.len(), "each span once");
}
