//! Runners without the hook: the runner's log tells of steps, and each has what the runner's container
//! used in its time.

use std::collections::BTreeMap;
use std::process::Command;

use ephemon_base::clock::now_ns;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::sink::{Sink, attributes};
use super::{PATIENCE, until_counted};
use crate::support::agent::{Agent, TEXT};
use crate::support::containerd::{Containerd, PARTS};
use crate::support::job_pod::JobPod;
use crate::support::kubelet::{Pod, Spec};
use crate::support::node::{Node, PodPlace};
use crate::support::parts::{all_there, busy};
use crate::support::process::{kill, until};
use crate::support::programs;
use crate::support::site::Site;

/// A machine may be too busy to read a line within the second in which its reading counts.
const ATTEMPTS: usize = 5;

/// How far stamps lie ahead of the clock, nanoseconds. The line that is to be late is waited for as long.
const AHEAD_NS: u64 = 10_000_000_000;

/// What the log of a runner says of a job of two steps, the second of which does the work. Around each
/// boundary nothing runs, so that it does not matter when exactly the counters are read.
const SCRIPT: &str = r#"
say() { echo "[WORKER $(date -u '+%Y-%m-%d %H:%M:%SZ') INFO $1] $2"; }
step() { say StepsRunner "Processing step: DisplayName='$1'"; sleep 1; }
done_() { sleep 1; say StepsRunner "No need for updating job result with current step result '$1'."; }
echo "$(date -u '+%Y-%m-%d %H:%M:%SZ'): Running job: build (1)"
say Worker 'Job message:'
say Worker ' {"name": "what is no step of all this"}'
say JobRunner 'Initialize job. Getting all job steps.'
sleep 1
say JobRunner 'Total job steps: 3.'
step 'Run actions/checkout@v4'
done_ Succeeded
step 'Compile "it'\''s" all'
say CompositeActionHandler "Processing embedded step: DisplayName='run'"
/bin/load burn 1500
done_ Succeeded
step 'Upload'
say StepsRunner 'Skipping step due to condition evaluation.'
done_ Skipped
say JobRunner 'Finalize job.'
sleep 1
say JobRunner 'Job result after all job steps finish: Succeeded'
echo "$(date -u '+%Y-%m-%d %H:%M:%SZ'): Job build (1) completed with result: Succeeded"
sleep 1
"#;

fn whole(sink: &Sink, name: &str, agent: &Agent) -> (Span, Vec<Span>) {
    let root = || sink.spans().into_iter().find(|span| span.name == name);
    let root = until(PATIENCE, root).unwrap_or_else(|| panic!("{}", agent.log()));
    let is_step = |span: &Span| attributes(span).contains_key("ephemon.step.source");
    let mut steps: Vec<Span> = sink.spans().into_iter().filter(is_step).collect();
    steps.sort_by_key(|span| (span.start_time_unix_nano, span.end_time_unix_nano));
    (root, steps)
}

fn seconds(span: &Span, name: &str) -> Option<f64> {
    attributes(span).get(name)?.parse().ok()
}

#[test]
fn steps_in_the_runners_container_have_its_cpu_time_in_their_windows() {
    if !all_there(&PARTS) {
        return;
    }
    let _busy = busy();
    let spans = (0..ATTEMPTS).find_map(|_| played()).expect("every line was read too late");
    let (runner, steps) = spans;
    let names: Vec<_> = steps.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(
        names,
        ["Set up job", "Run actions/checkout@v4", "Compile \"it's\" all", "Upload", "Complete job"]
    );
    let mut used = 0.0;
    for step in &steps {
        let shown = attributes(step);
        assert_eq!(shown["ephemon.step.source"], "runner_log");
        assert_eq!(shown["ephemon.usage.quality"], "window");
        assert_eq!(shown["ephemon.time.start.source"], "runner");
        assert_eq!(shown["k8s.container.name"], "runner");
        for absent in ["ephemon.step.kind", "ephemon.step.id", "ephemon.memory.byte_seconds"] {
            assert!(!shown.contains_key(absent), "{shown:?}");
        }
        let cpu = seconds(step, "ephemon.cpu.seconds").unwrap();
        used += cpu;
    }
    let of = |name: &str| steps.iter().find(|step| step.name.starts_with(name)).unwrap();
    let cpu = |name: &str| seconds(of(name), "ephemon.cpu.seconds").unwrap();
    // What burns has less of a busy machine, and is still most of it.
    for other in ["Set up", "Run actions", "Upload", "Complete"] {
        assert!(cpu("Compile") > 3.0 * cpu(other), "{} and {other} {}", cpu("Compile"), cpu(other));
    }
    let results: Vec<_> = steps
        .iter()
        .map(|step| attributes(step)["cicd.pipeline.task.run.result"].clone())
        .collect();
    assert_eq!(results, ["success", "success", "success", "skip", "success"]);
    let whole = seconds(&runner, "ephemon.cpu.seconds").unwrap();
    assert!(used <= whole + 1e-6, "the steps used {used} s of the container's {whole} s");
}

/// Plays the script in a container, and returns the spans of the container and the steps. None if a
/// line was read too late for a reading.
fn played() -> Option<(Span, Vec<Span>)> {
    let (node, sink) = (Node::new(), Sink::start());
    let containerd = Containerd::start(&node);
    let cri = containerd.cri();
    let mut command = Command::new(programs::ephemon());
    command.args(["agent", "--no-api", "--node-name", "it"]).envs(sink.for_traces());
    let agent = Agent::launch(&mut command, &node.root(), &node.kubepods());
    let pod = Pod::start(&node, &cri, PodPlace::new("ci", "runner-0"));
    let started = pod.run(&cri, &Spec::new("runner", ["sh", "-c", SCRIPT]));
    pod.wait(&cri, &started.id);
    let (root, steps) = whole(&sink, "build (1)", &agent);
    pod.stop(&cri, &[started.id]);
    let runner = sink.spans().into_iter().find(|span| span.name == "runner").unwrap();
    agent.stop();
    assert_eq!(sink.traces(), 1);
    assert!(steps.iter().all(|step| step.parent_span_id == root.span_id));
    let read = |step: &Span| seconds(step, "ephemon.cpu.seconds").is_some();
    steps.iter().all(read).then_some((runner, steps))
}

/// What a runner of files has said and used.
struct Stock {
    pod: JobPod,
    /// The stamp of the last line. Stamps lie ahead of the clock, so that an agent that is starved here
    /// is not late.
    at_ns: u64,
    lines: usize,
}

impl Stock {
    fn new(site: &Site) -> Self {
        Self { pod: JobPod::new(site), at_ns: now_ns() + AHEAD_NS, lines: 0 }
    }

    /// Starts the agent, and waits until it reads the runner's container.
    fn agent(&self, sink: &Sink) -> Agent {
        let agent = self.pod.agent(&sink.for_traces());
        let shown = || agent.get("/metrics", TEXT).body.contains("container=\"runner\"");
        until(PATIENCE, || shown().then_some(())).unwrap_or_else(|| panic!("{}", agent.log()));
        agent
    }

    fn line(&mut self, text: &str) {
        self.at_ns = (self.at_ns + 1_000_000).max(now_ns() + AHEAD_NS);
        let text = format!("[WORKER 2026-11-23 12:19:10Z INFO {text}");
        self.pod.runner.say_at_ns(self.at_ns, &text);
    }

    /// A line about a step, at which the container has used so much, and a wait until the agent has
    /// written it down.
    fn told(&mut self, text: &str, cpu_ms: u64, agent: &Agent) {
        self.pod.runner.count("cpu.stat", &format!("usage_usec {}\n", cpu_ms * 1000));
        self.pod.runner.count("memory.peak", &format!("{}\n", cpu_ms << 20));
        self.line(text);
        self.lines += 1;
        let lines = || self.pod.kept().matches("{\"step\":").count();
        until(PATIENCE, || (lines() == self.lines).then_some(()))
            .unwrap_or_else(|| panic!("{}\n{}", self.pod.kept(), agent.log()));
    }

    fn begin(&mut self, name: &str, cpu_ms: u64, agent: &Agent) {
        let text = format!("StepsRunner] Processing step: DisplayName='{name}'");
        self.told(&text, cpu_ms, agent);
    }

    fn end(&mut self, result: &str, cpu_ms: u64, agent: &Agent) {
        let said = if result == "Failed" { "Update" } else { "No need for updating" };
        let text = format!("StepsRunner] {said} job result with current step result '{result}'.");
        self.told(&text, cpu_ms, agent);
    }
}

#[test]
fn an_agent_that_is_killed_between_two_steps_and_in_one_sends_all_of_them_once() {
    let (site, sink) = (Site::new(), Sink::start());
    let mut stock = Stock::new(&site);
    let agent = stock.agent(&sink);
    stock.pod.runner_says("Running job: Build");
    stock.begin("Run make", 2000, &agent);
    stock.end("Succeeded", 2700, &agent);
    stock.begin("Run make test", 2700, &agent);
    kill(agent.pid());
    drop(agent);
    let agent = stock.agent(&sink);
    stock.end("Failed", 4000, &agent);
    // Nobody reads what is written while no agent runs: its time is known, and not what was used.
    kill(agent.pid());
    drop(agent);
    let token = format!("ghp_{}", "0123456789".repeat(4).get(..36).unwrap());
    stock.line(&format!("StepsRunner] Processing step: DisplayName='Report with {token}'"));
    let began_ns = stock.at_ns;
    until(PATIENCE, || (now_ns() > began_ns + 2_000_000_000).then_some(())).unwrap();
    stock.lines += 1;
    let agent = stock.agent(&sink);
    stock.end("Succeeded", 4100, &agent);
    stock.pod.runner_says("Job Build completed with result: Failed");

    let (root, steps) = whole(&sink, "Build", &agent);
    until_counted(&agent, "ephemon_job_steps_total", 3);
    let by_name: BTreeMap<&str, &Span> =
        steps.iter().map(|step| (step.name.as_str(), step)).collect();
    assert_eq!(by_name.len(), steps.len(), "each once");
    let shown = |name: &str| {
        let shown = attributes(by_name[name]);
        let of = |name: &str| shown.get(name).cloned();
        [
            of("cicd.pipeline.task.run.result"),
            of("ephemon.cpu.seconds"),
            of("ephemon.memory.peak.bytes"),
        ]
    };
    let some = |texts: [&str; 3]| texts.map(|text| Some(text.to_owned()));
    assert_eq!(shown("Run make"), some(["success", "0.7", &(2700_u64 << 20).to_string()]));
    assert_eq!(shown("Run make test"), some(["failure", "1.3", &(4000_u64 << 20).to_string()]));
    let late = by_name["Report with ***"];
    assert_eq!(late.start_time_unix_nano, began_ns);
    assert_eq!(shown("Report with ***"), [Some("success".to_owned()), None, None]);
    assert_eq!(attributes(&root)["cicd.pipeline.task.run.result"], "failure");
    agent.stop();
    assert_eq!(sink.traces(), 1);
}

#[test]
fn steps_of_a_job_that_the_hook_runs_are_the_hooks_alone() {
    use ephemon_contract::{CgroupDelta, End, Phase};

    let (site, sink) = (Site::new(), Sink::start());
    let mut stock = Stock::new(&site);
    let agent = stock.agent(&sink);
    stock.pod.runner_says("Running job: Build");
    let prepare = JobPod::call(Phase::PrepareJob, None);
    stock.pod.ask("job", "job");
    let job = stock.pod.start("job", &agent);
    stock.pod.done(&prepare, 0);
    stock.begin("Say hello", 2000, &agent);
    let call = JobPod::call(Phase::RunScriptStep, Some("__run"));
    stock.pod.step_started(&call, "job", 1);
    stock.pod.step_ended("job", 1, End::Code(0), CgroupDelta::default());
    stock.pod.done(&call, 0);
    stock.end("Succeeded", 2100, &agent);
    let cleanup = JobPod::call(Phase::CleanupJob, None);
    stock.pod.done(&cleanup, 0);
    stock.pod.end("job", job, 143, "Error");
    stock.pod.runner_says("Job Build completed with result: Succeeded");
    let (_, steps) = whole(&sink, "Build", &agent);
    let shown: Vec<_> = steps
        .iter()
        .map(|step| (step.name.clone(), attributes(step)["ephemon.step.source"].clone()))
        .collect();
    assert_eq!(shown, [("__run".to_owned(), "journal".to_owned())]);
    agent.stop();
}

#[test]
fn a_runner_that_keeps_its_log_to_itself_has_no_steps() {
    let (site, sink) = (Site::new(), Sink::start());
    let mut stock = Stock::new(&site);
    let agent = stock.agent(&sink);
    stock.pod.runner_says("Running job: Build");
    stock.pod.runner_says("Job Build completed with result: Succeeded");
    let (_, steps) = whole(&sink, "Build", &agent);
    assert_eq!(steps.len(), 0);
    agent.stop();
}
