//! The job of these scenarios: a job container, a service, two script steps of which one fails, a
//! container step that the OOM killer ends; and the spans that must come of it.

use ephemon_base::clock::now_ns;
use ephemon_contract::{CgroupDelta, End, Phase, Record};
use ephemon_journal::HOOK;

use crate::support::agent::Agent;
use crate::support::job_pod::{Call, JOB, JobPod};

/// The job's name as people see it.
pub(super) const DISPLAY_NAME: &str = "Build and test";

/// A span that must be there.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) id: String,
    pub(super) parent: Option<String>,
    pub(super) name: String,
    /// None of what has no result of its own.
    pub(super) result: Option<&'static str>,
    pub(super) fault: Option<&'static str>,
    /// Whether it has the event of the OOM killer.
    pub(super) oom: bool,
    /// When it began and ended, where it is known to the nanosecond.
    pub(super) times: Option<(u64, u64)>,
}

/// Plays the job from the runner's first word to its last; the job's own span is the first.
pub(super) fn play(pod: &mut JobPod, agent: &Agent) -> Vec<Expected> {
    let mut spans = Vec::new();
    pod.runner_says(&format!("Running job: {DISPLAY_NAME}"));
    let prepare = JobPod::call(Phase::PrepareJob, None);
    launched(pod, "job");
    ["job", "service"].iter().zip(["job", "cache"]).for_each(|(role, name)| pod.ask(name, role));
    let mut job = pod.start("job", agent);
    job.say_now("job says hello");
    let mut cache = pod.start("cache", agent);
    cache.say_now("cache says hello");
    spans.push(done(pod, &prepare, 0));
    for (number, name, code) in [(1, "build", 0), (2, "test", 42)] {
        let call = JobPod::call(Phase::RunScriptStep, Some(name));
        pod.step_started(&call, "job", number);
        pod.step_ended("job", number, End::Code(code), CgroupDelta::default());
        spans.push(done(pod, &call, code));
    }
    spans.extend(killed(pod, agent));
    let cleanup = JobPod::call(Phase::CleanupJob, None);
    pod.end("job", job, 143, "Error");
    pod.end("cache", cache, 0, "Completed");
    spans.push(done(pod, &cleanup, 0));
    for name in ["job", "cache"] {
        spans.extend(container(name, span_of_job(), "success"));
    }
    spans.push(Expected { parent: Some(span_of_job()), ..plain("runner", "success") });
    pod.runner_says(&format!("Job {DISPLAY_NAME} completed with result: Failed"));
    let job = Expected {
        id: span_of_job(),
        name: DISPLAY_NAME.to_owned(),
        // GitHub knows failures only; this one was the machine's.
        result: Some("error"),
        fault: Some("OOMKilled"),
        ..plain("job", "error")
    };
    spans.insert(0, job);
    spans
}

/// A container step that takes more memory than it may.
fn killed(pod: &mut JobPod, agent: &Agent) -> Vec<Expected> {
    let call = JobPod::call(Phase::RunContainerStep, Some("lint"));
    launched(pod, "lint-1");
    pod.ask("lint-1", "step");
    let mut lint = pod.start("lint-1", agent);
    lint.say_now("lint-1 says hello");
    pod.step_started(&call, "lint-1", 1);
    lint.count("memory.peak", "104857600\n");
    lint.count("memory.events", "oom 1\noom_kill 1\n");
    let cgroup = CgroupDelta { oom_kills: Some(1), ..CgroupDelta::default() };
    pod.step_ended("lint-1", 1, End::Signal(9), cgroup);
    pod.end("lint-1", lint, 137, "OOMKilled");
    let step = done(pod, &call, 137);
    let killed = |one: Expected| Expected {
        result: Some("error"),
        fault: Some("OOMKilled"),
        oom: true,
        ..one
    };
    // Its container's cgroup is gone a moment after init's last word.
    let step = killed(Expected { times: None, ..step });
    let mut spans = container("lint-1", step.id.clone(), "error");
    spans[0] = killed(spans[0].clone());
    spans.push(step);
    spans
}

/// The hook asks for a container.
fn launched(pod: &JobPod, container: &str) {
    let (container, image) = (container.to_owned(), format!("localhost/{container}:1"));
    let record = Record::HookLaunched { at_ns: now_ns(), container, image, running_at_ns: None };
    pod.record(HOOK, &record);
}

/// Ends a call; its span.
fn done(pod: &JobPod, call: &Call, code: u8) -> Expected {
    let end_ns = pod.done(call, code);
    let name = match call.phase {
        Phase::PrepareJob => "prepare",
        Phase::CleanupJob => "cleanup",
        _ => call.name.unwrap_or_default(),
    };
    let span = call.span().unwrap_or_else(|| JOB.phase_span(name));
    Expected {
        id: span.span_id.to_string(),
        parent: Some(span_of_job()),
        fault: (code != 0).then_some("exit_code"),
        times: Some((call.began_ns, end_ns)),
        ..plain(name, if code == 0 { "success" } else { "failure" })
    }
}

/// A container's span with those of the parts of its life.
fn container(name: &str, parent: String, result: &'static str) -> Vec<Expected> {
    let own = Expected { parent: Some(parent), ..plain(name, result) };
    let stages = ["wait", "create", "run"].map(|stage| Expected {
        id: JOB.stage_span(name, stage).span_id.to_string(),
        parent: Some(own.id.clone()),
        name: stage.to_owned(),
        result: None,
        ..own.clone()
    });
    [own.clone()].into_iter().chain(stages).collect()
}

/// Of a container's id, with nothing special about it.
fn plain(name: &str, result: &'static str) -> Expected {
    Expected {
        id: JOB.container_span(name).span_id.to_string(),
        parent: None,
        name: name.to_owned(),
        result: Some(result),
        fault: None,
        oom: false,
        times: None,
    }
}

fn span_of_job() -> String {
    JOB.span().span_id.to_string()
}
