//! Whose line is it: logs and traces of one job at one collector, joined by their ids; and what the
//! runner's own log adds to the job.

use std::thread;
use std::time::Duration;

use ephemon_contract::{CgroupDelta, End, Phase};

use super::PATIENCE;
use super::backend::{Backend, LogLine, attribute};
use crate::support::collector::Wire;
use crate::support::job_pod::{JOB, JobPod, RUN};
use crate::support::process::until;
use crate::support::site::Site;

/// Steps that follow one another at once, for longer than the agent pauses between its looks.
const STEPS: u64 = 200;
/// How long each takes, and a little.
const STEP: Duration = Duration::from_millis(1);

#[test]
fn a_line_carries_the_span_of_its_step_and_the_runners_log_gives_the_job_its_name_and_result() {
    let site = Site::new();
    let collector = Backend::start(Wire::Grpc);
    let mut pod = JobPod::new(&site);
    let agent = pod.agent(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", collector.protocol()),
    ]);
    pod.runner_says("Running job: Build and test");
    let prepare = JobPod::call(Phase::PrepareJob, None);
    ["job", "service"].iter().zip(["job", "cache"]).for_each(|(role, name)| pod.ask(name, role));
    let mut job = pod.start("job", &agent);
    let mut cache = pod.start("cache", &agent);
    cache.say_now("the service listens");
    job.say_now("before any step");
    pod.done(&prepare, 0);
    let mut written = Vec::new();
    for number in 1..=STEPS {
        // What follows a step that fails runs where the workflow says so.
        let (name, code) = if number % 10 == 0 { ("test", 1) } else { ("__run", 0) };
        let call = JobPod::call(Phase::RunScriptStep, Some(name));
        let span = call.span().unwrap().span_id.to_string();
        pod.step_started(&call, "job", number);
        job.say_now(&format!("line of step {number}"));
        written.push((format!("line of step {number}"), span.clone()));
        thread::sleep(STEP);
        pod.step_ended("job", number, End::Code(code), CgroupDelta::default());
        // By something that the step left behind, or late on its way through a pipe.
        job.say_now(&format!("after step {number}"));
        written.push((format!("after step {number}"), span));
        pod.done(&call, code);
    }
    let call = JobPod::call(Phase::RunContainerStep, Some("lint"));
    pod.ask("lint-1", "step");
    let mut lint = pod.start("lint-1", &agent);
    pod.step_started(&call, "lint-1", 1);
    lint.say_now("line of the action");
    pod.step_ended("lint-1", 1, End::Code(0), CgroupDelta::default());
    pod.end("lint-1", lint, 0, "Completed");
    pod.done(&call, 0);
    let cleanup = JobPod::call(Phase::CleanupJob, None);
    pod.end("job", job, 143, "Error");
    pod.end("cache", cache, 0, "Completed");
    pod.done(&cleanup, 0);
    pod.runner_says("Job Build and test completed with result: Succeeded");
    for (line, container) in [
        ("the service listens", "cache"),
        ("before any step", "job"),
        ("line of the action", "lint-1"),
    ] {
        let span = JOB.container_span(container).span_id.to_string();
        written.push((line.to_owned(), span));
    }

    let arrived = || Some(collector.lines()).filter(|lines| lines.len() >= written.len());
    let lines = until(PATIENCE, arrived)
        .unwrap_or_else(|| panic!("{} lines\n{}", collector.lines().len(), agent.log()));
    let own = JOB.span().span_id.to_string();
    let spans = until(PATIENCE, || Some(collector.spans()).filter(|all| all.contains_key(&own)));
    let spans = spans.unwrap_or_else(|| panic!("no span of the job\n{}", agent.log()));
    let trace = RUN.trace_id().to_string();
    for (text, span) in &written {
        let of_text: Vec<&LogLine> = lines.iter().filter(|line| line.body == *text).collect();
        let [only] = &of_text[..] else { panic!("{text:?} came {} times", of_text.len()) };
        assert_eq!((&only.trace_id, &only.span_id), (&trace, span), "{text:?}");
        assert!(spans.contains_key(span), "the span of {text:?} must be sent, too");
    }
    assert_eq!(lines.len(), written.len(), "the runner's own lines are not exported");

    let job = &spans[&own];
    assert_eq!(job.name, "Build and test");
    // Steps failed, and the runner went on: nobody else can know.
    assert_eq!(attribute(job, "cicd.pipeline.task.run.result"), "success");
    assert_eq!(attribute(job, "ephemon.result.source"), "runner");
    assert!(job.status.is_none(), "{job:?}");
    agent.stop();
}
