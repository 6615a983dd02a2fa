//! Runners' pods: one that waits is no job, one that is OOM-killed was not cancelled, and whoever
//! looks around in one is no step.

use ephemon_base::clock::now_ns;
use ephemon_contract::{CgroupDelta, End, Phase, ProcessUsage, Record};
use opentelemetry_proto::tonic::trace::v1::Span;

use super::sink::{Sink, attributes};
use super::{PATIENCE, counted, until_counted};
use crate::support::job_pod::{JOB, JobPod};
use crate::support::process::until;
use crate::support::site::Site;

/// A job in a pod of its own, from its beginning to its end.
fn play(site: &Site, number: usize, agent: &crate::support::agent::Agent) {
    let pod = site.runner(number);
    pod.start("job");
    pod.init_started("job");
    until_counted(agent, "ephemon_job_started_total", number - 1);
    pod.end("job");
    pod.delete();
    until_counted(agent, "ephemon_job_completed_total", number - 1);
}

#[test]
fn a_runner_that_waits_is_no_job_from_its_init_container_to_its_end() {
    let (site, sink) = (Site::new(), Sink::start());
    let agent = sink.agent(&site, &[]);
    let waiting = site.runner(1);
    waiting.start("init");
    until_counted(&agent, "ephemon_agent_containers_discovered_total", 1);
    // A job that comes later shows that nothing came of this pod.
    play(&site, 2, &agent);
    assert_eq!(counted(&agent, "ephemon_job_started_total"), 1);
    waiting.end("init");
    waiting.start("runner");
    until_counted(&agent, "ephemon_agent_containers_discovered_total", 3);
    waiting.end("runner");
    waiting.delete();
    play(&site, 3, &agent);
    for family in ["ephemon_job_started_total", "ephemon_job_completed_total"] {
        assert_eq!(counted(&agent, family), 2, "{family}:\n{}", agent.log());
    }
    agent.stop();
    assert_eq!(sink.traces(), 2);
}

#[test]
fn a_runner_that_is_oom_killed_makes_an_error_of_its_job_and_a_debugger_nothing() {
    let (site, sink) = (Site::new(), Sink::start());
    let mut pod = JobPod::new(&site);
    let agent = pod.agent(&sink.for_traces());
    // Before the job, and within it.
    pod.debug("debugger-a");
    let debugger = pod.start("debugger-a", &agent);
    pod.end("debugger-a", debugger, 1, "Error");
    // It ends when the agent sees it end.
    let is_over = |line: &str| {
        line.starts_with("ephemon_container_end_time_seconds{") && line.contains("\"debugger-a\"")
    };
    let page = || agent.get("/metrics", crate::support::agent::TEXT).body;
    until(PATIENCE, || page().lines().any(is_over).then_some(()))
        .unwrap_or_else(|| panic!("{}", agent.log()));
    pod.runner_says("Running job: Build");
    let prepare = JobPod::call(Phase::PrepareJob, None);
    pod.ask("job", "job");
    let job = pod.start("job", &agent);
    pod.done(&prepare, 0);
    pod.debug("debugger-b");
    let debugger = pod.start("debugger-b", &agent);
    pod.end("debugger-b", debugger, 137, "OOMKilled");
    let call = JobPod::call(Phase::RunScriptStep, Some("__run"));
    pod.step_started(&call, "job", 1);
    pod.runner.count("memory.events", "oom 1\noom_kill 1\n");
    pod.runner_ends(137, "OOMKilled");
    // The kubelet stops what is left of the pod.
    pod.record(
        "job",
        &Record::StepEnded {
            at_ns: now_ns(),
            step: 1,
            duration_ns: 1,
            end: End::Signal(15),
            cancelled: true,
            process: ProcessUsage::default(),
            cgroup: CgroupDelta::default(),
        },
    );
    pod.end("job", job, 143, "Error");

    let root = || sink.spans().into_iter().find(|span| span.name == "Build");
    let root = until(PATIENCE, root).unwrap_or_else(|| panic!("{}", agent.log()));
    until_counted(&agent, "ephemon_job_steps_total", 1);
    let spans = sink.spans();
    let result = |span: &Span| {
        let attributes = attributes(span);
        ["cicd.pipeline.task.run.result", "error.type"]
            .map(|name| attributes.get(name).cloned().unwrap_or_default())
    };
    assert_eq!(root.span_id, JOB.span().span_id.0);
    assert_eq!(result(&root), ["error", "OOMKilled"]);
    let step = spans.iter().find(|span| span.name == "__run").expect("the step");
    assert_eq!(result(step), ["error", "runner"]);
    let shown = attributes(&root);
    assert!(shown["ephemon.usage.roles"].contains("\"job\""), "{shown:?}");
    assert!(!shown["ephemon.usage.roles"].contains("debug"), "{shown:?}");
    assert_eq!(shown["ephemon.runner.cpu.seconds"], "1.5", "the runner's own stand apart");
    let debuggers: Vec<_> = spans.iter().filter(|span| span.name.starts_with("debugger")).collect();
    assert!(debuggers.iter().all(|span| span.name == "debugger-b"), "only while the job ran");
    for span in debuggers {
        let attributes = attributes(span);
        assert_eq!(attributes["ephemon.container.role"], "debug");
        assert!(!attributes.contains_key("ephemon.step.kind"));
    }
    assert_eq!(counted(&agent, "ephemon_job_containers_total"), 1);
    assert_eq!(counted(&agent, "ephemon_job_started_total"), 1);
    let page = page();
    let started = page.lines().find(|line| line.starts_with("ephemon_job_started_total{"));
    let started = started.expect("a count");
    for label in ["organization=\"octo-org\"", "repository=\"widgets\""] {
        assert!(started.contains(label), "{started}");
    }
    agent.stop();
}
