//! Pods whose journals are within every bound of a single one, and far more than there is memory for.

use std::time::Duration;

use ephemon_base::clock::now_ns;
use ephemon_contract::{Phase, StepKind};

use super::sink::{Sink, attributes};
use super::{PATIENCE, counted, until_counted};
use crate::support::agent::{Agent, TEXT};
use crate::support::full_journal::{JOURNALS, RECORDS, full_journal};
use crate::support::parts::busy;
use crate::support::process::{memory, until};
use crate::support::site::{Pod, Site};

/// Hostile pods.
const PODS: usize = 5;
/// `resources.limits.memory` of the manifests.
const LIMIT: u64 = ephemon_agent::budget::LIMIT as u64;
/// The same with a collector.
pub(super) const EXPORT_LIMIT: u64 = ephemon_agent::budget::EXPORT_LIMIT as u64;

/// Longest wait until an agent on a busy machine has gone through all journals.
const TAKEN_IN: Duration = Duration::from_mins(5);

/// The highest resident set of the agent so far.
pub(super) fn peak(agent: &Agent) -> u64 {
    memory(agent.pid(), "VmHWM").expect("the agent runs")
}

/// What the agent dropped of a signal for a reason.
fn dropped(agent: &Agent, signal: &str, reason: &str) -> usize {
    let page = agent.get("/metrics", TEXT).body;
    let series =
        format!("ephemon_agent_dropped_items_total{{reason=\"{reason}\",signal=\"{signal}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).unwrap_or(0)
}

/// All that was not kept was counted: the rest are at most as many as are kept of five pods.
fn until_dropped(agent: &Agent) {
    let least = PODS * (JOURNALS - 1) * RECORDS / 2;
    let enough = || (dropped(agent, "journal", "cap") >= least).then_some(());
    until(TAKEN_IN, enough)
        .unwrap_or_else(|| panic!("{} dropped\n{}", dropped(agent, "journal", "cap"), agent.log()));
}

/// Part of a line, or a whole one, as the runtime writes it.
pub(super) fn written(text: &str, whole: bool) -> String {
    let tag = if whole { 'F' } else { 'P' };
    format!("2026-11-28T10:00:00.000000000Z stdout {tag} {text}\n")
}

/// Logs that never end their lines: so many pods, containers of each, and bytes of each line.
const ENDLESS: (usize, usize, usize) = (9, 64, 128 * 1024);

/// A pod whose job has filled its journals: all of them but `job` are of containers that never were.
fn hostile(site: &Site, number: usize) -> Pod {
    let pod = site.runner(number);
    let full = full_journal(now_ns());
    for journal in 0..JOURNALS {
        pod.write_journal(&format!("c{journal}"), &full);
    }
    pod.start("job");
    pod.init_started("job");
    pod
}

#[test]
fn five_pods_with_full_journals_cost_neither_the_agent_nor_another_pods_job_anything() {
    let _busy = busy();
    let (site, sink) = (Site::new(), Sink::start());
    let pods: Vec<Pod> = (1..=PODS).map(|number| hostile(&site, number)).collect();
    let agent = sink.agent(&site, &[]);
    let honest = site.runner(0);
    honest.start("job");
    honest.init_started("job");
    honest.launched("job");
    honest.called(Phase::PrepareJob, None, now_ns(), 0);
    for step in 1..=3 {
        let (name, since_ns) = (format!("__run_{step}"), now_ns());
        honest.step_started("job", step, &name, StepKind::Script);
        honest.step_ended("job", step, 0);
        honest.called(Phase::RunScriptStep, Some(&name), since_ns, 0);
    }
    until_dropped(&agent);
    honest.called(Phase::CleanupJob, None, now_ns(), 0);
    for pod in pods.iter().chain([&honest]) {
        pod.end("job");
        pod.delete();
    }
    until_counted(&agent, "ephemon_job_completed_total", PODS + 1);
    let traces = || sink.traces() > PODS;
    until(PATIENCE, || traces().then_some(())).expect("a trace of each");
    let peak = peak(&agent);
    eprintln!("at most {} KiB", peak / 1024);
    assert!(peak < LIMIT, "{} KiB", peak / 1024);
    assert_eq!(counted(&agent, "ephemon_job_started_total"), PODS + 1, "it has never been killed");
    until_named(&agent, 1..=PODS);
    let log = agent.log();
    assert!(!log.contains("pod=runner-0 pieces"), "{log}");
    agent.stop();

    let spans = sink.spans();
    let left_out: Vec<u64> = spans
        .iter()
        .filter_map(|span| attributes(span).get("ephemon.left_out")?.parse().ok())
        .collect();
    assert_eq!(left_out.len(), PODS, "each hostile job says so in its trace");
    let steps = spans.iter().filter(|span| span.name.starts_with("__run_"));
    assert_eq!(steps.count(), 3, "the honest one's");
}

#[test]
fn all_pools_filled_at_once_stay_within_the_limit_and_say_what_was_dropped() {
    let _busy = busy();
    let (site, sink) = (Site::new(), Sink::start());
    let pods: Vec<Pod> = (1..=PODS).map(|number| hostile(&site, number)).collect();
    let (endless, containers, bytes) = ENDLESS;
    let piece = written(&"x".repeat(16 * 1024), false).repeat(bytes / 16 / 1024);
    for number in 100..100 + endless {
        let pod = site.runner(number);
        for container in 0..containers {
            pod.write_log(&format!("c{container}"), piece.as_bytes());
        }
    }
    // One value of 256 KiB, as many as there is room for, and more of three bytes than are kept.
    for number in 200..208 {
        let told = (0..60).map(|value| {
            let value = format!("{number}-{value}-").repeat(4096 / 8);
            written(&format!("::add-mask::{value}"), true)
        });
        site.runner(number).write_log("job", told.collect::<String>().as_bytes());
    }
    let huge = written(&format!("::add-mask::{}", "y".repeat(256 * 1024)), true);
    site.runner(208).write_log("job", huge.as_bytes());
    let short = |value: u32| written(&format!("::add-mask::{value:03x}"), true);
    let short: String = (0..65_000).map(|value| short(value % 4096)).collect();
    let brief = site.runner(209);
    brief.write_log("job", short.as_bytes());
    brief.write_log("job", written("withheld", true).as_bytes());
    let agent = sink.agent_with_logs(&site, &[]);
    let honest = site.runner(0);
    honest.start("job");
    honest.init_started("job");
    honest.called(Phase::PrepareJob, None, now_ns(), 0);
    until_dropped(&agent);
    let withheld = || (dropped(&agent, "logs", "withheld") > 0).then_some(());
    until(PATIENCE, withheld).unwrap_or_else(|| panic!("{}", agent.log()));
    honest.called(Phase::CleanupJob, None, now_ns(), 0);
    for pod in pods.iter().chain([&honest]) {
        pod.end("job");
        pod.delete();
    }
    until_counted(&agent, "ephemon_job_completed_total", PODS + 1);
    let peak = peak(&agent);
    eprintln!("at most {} KiB", peak / 1024);
    assert!(peak < EXPORT_LIMIT, "{} KiB", peak / 1024);
    until_named(&agent, (1..=PODS).chain([209]));
    agent.stop();
}

/// Waits until the agent has logged of which pods it left something out.
fn until_named(agent: &Agent, numbers: impl Iterator<Item = usize>) {
    for number in numbers {
        let pod = format!("runner-{number}");
        let named = || {
            let log = agent.log();
            let mut after = log.split(&pod).skip(1);
            after.any(|after| !after.starts_with(|next: char| next.is_ascii_digit())).then_some(())
        };
        until(PATIENCE, named).unwrap_or_else(|| panic!("no {pod} in:\n{}", agent.log()));
    }
}
