//! A runner's pod on a site of files, known to an API server, whose job asks for containers as the
//! hook does and keeps the journals that hook and init keep.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ephemon_base::clock::now_ns;
use ephemon_contract::trace::{JobKey, RunKey, Traceparent};
use ephemon_contract::{CgroupDelta, End, Phase, ProcessUsage, Record, StepKind};
use ephemon_journal::HOOK;
use serde_json::{Value, json};

use super::agent::{Agent, TEXT};
use super::process::until;
use super::programs;
use super::runner_pod::{NODE, RunnerPod};
use super::site::{Container, OTLP_TIMEOUT, Pod, Site};

/// The pod's name.
pub(crate) const NAME: &str = "runner-1";
/// The run, by which the OpenTelemetry Collector's GitHub receiver knows the trace.
pub(crate) const RUN: RunKey<'static> = RunKey { run_id: "14460881260", run_attempt: "13" };
/// The job of it.
pub(crate) const JOB: JobKey<'static> = JobKey { run: RUN, job: "build", runner: NAME };

const PATIENCE: Duration = Duration::from_mins(1);

/// The pod; its own container runs from the beginning.
pub(crate) struct JobPod {
    root: PathBuf,
    pod: Pod,
    known: RunnerPod,
    pub(crate) runner: Container,
    /// By name: the API's list of statuses that it stands in, and its status.
    statuses: BTreeMap<String, (&'static str, Value)>,
}

/// A call of the hook under way.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) phase: Phase,
    /// `GITHUB_ACTION`, of a step.
    pub(crate) name: Option<&'static str>,
    pub(crate) began_ns: u64,
}

// === impl JobPod ===

impl JobPod {
    pub(crate) fn new(site: &Site) -> Self {
        let known = RunnerPod::create(NAME, site.root().join("kubeconfig"));
        let pod = site.pod_of(NAME, &known.place.uid).with_journals();
        let runner = pod.start("runner");
        let root = site.root().to_owned();
        let mut pod = Self { root, pod, known, runner, statuses: BTreeMap::new() };
        let id = pod.runner.id.clone();
        pod.status("containerStatuses", "runner", &id, &json!({"running": {"startedAt": now()}}));
        pod
    }

    /// Starts the agent with these variables, and [`OTLP_TIMEOUT`] where they have no other.
    pub(crate) fn agent(&self, variables: &[(&str, &str)]) -> Agent {
        let mut command = Command::new(programs::ephemon());
        command
            .args(["agent", "--node-name", NODE, "--kubeconfig"])
            .arg(self.known.kubeconfig())
            .envs([OTLP_TIMEOUT])
            .envs(variables.iter().copied());
        Agent::launch(&mut command, &self.root, "kubepods")
    }

    /// Asks for a container with this role, as the hook does: by a patch.
    pub(crate) fn ask(&self, name: &str, role: &str) {
        let variable = |name: &str, value: &str| json!({"name": name, "value": value});
        let env = [
            ("EPHEMON_ROLE", role),
            ("EPHEMON_JOB_REPOSITORY", "octo-org/widgets"),
            ("EPHEMON_JOB_RUN_ID", RUN.run_id),
            ("EPHEMON_JOB_RUN_ATTEMPT", RUN.run_attempt),
            ("EPHEMON_JOB_NAME", JOB.job),
            ("EPHEMON_JOB_WORKFLOW", "ci"),
            ("EPHEMON_JOB_REF", "refs/heads/main"),
            ("EPHEMON_JOB_SHA", "8b1a9953c4611296a827abf8c47804d7b1a9953c"),
            ("EPHEMON_JOB_RUNNER", JOB.runner),
            ("TRACEPARENT", &JOB.container_span(name).to_string()),
        ];
        let env = env.map(|(name, value)| variable(name, value));
        self.known.ask(&json!({"name": name, "image": image(name), "env": env}));
    }

    /// Asks for a container as an administrator does, outside the hook.
    pub(crate) fn debug(&self, name: &str) {
        self.known.ask(&json!({"name": name, "image": image(name)}));
    }

    /// The runner's container is over, by the kernel and by the kubelet.
    pub(crate) fn runner_ends(&mut self, exit_code: u8, reason: &str) {
        let gone = self.pod.again("runner");
        let runner = std::mem::replace(&mut self.runner, gone);
        let id = runner.id.clone();
        runner.end();
        let end = json!({"terminated": {
            "exitCode": exit_code, "reason": reason, "startedAt": now(), "finishedAt": now(),
        }});
        self.status("containerStatuses", "runner", &id, &end);
    }

    /// Starts a container that was asked for, and its init, and waits until the agent shows it.
    pub(crate) fn start(&mut self, name: &str, agent: &Agent) -> Container {
        let container = self.pod.start(name);
        let status = json!({"running": {"startedAt": now()}});
        self.status("ephemeralContainerStatuses", name, &container.id, &status);
        let label = format!("container=\"{name}\"");
        until(PATIENCE, || agent.get("/metrics", TEXT).body.contains(&label).then_some(()))
            .unwrap_or_else(|| panic!("{name} must be seen:\n{}", agent.log()));
        // A runtime takes tens of milliseconds from a cgroup to a program in it. Without them the agent
        // could hear of the cgroup after init's first word, and there would be no time to make it in.
        self.pod.init_started(name);
        container
    }

    /// Ends one with this exit code.
    pub(crate) fn end(&mut self, name: &str, container: Container, exit_code: u8, reason: &str) {
        self.pod.init_ended(name, exit_code);
        let id = container.id.clone();
        container.end();
        let end = json!({"terminated": {
            "exitCode": exit_code, "reason": reason, "startedAt": now(), "finishedAt": now(),
        }});
        self.status("ephemeralContainerStatuses", name, &id, &end);
    }

    /// The hook is called.
    pub(crate) fn call(phase: Phase, name: Option<&'static str>) -> Call {
        Call { phase, name, began_ns: now_ns() }
    }

    /// The call is over; when.
    pub(crate) fn done(&self, call: &Call, exit_code: u8) -> u64 {
        let end_ns = now_ns();
        let record = Record::HookPhase {
            at_ns: call.began_ns,
            phase: call.phase,
            duration_ns: end_ns - call.began_ns,
            success: exit_code == 0,
            container: None,
            name: call.name.map(str::to_owned),
            display_name: None,
            traceparent: call.span().map(|span| span.to_string()),
            exit_code: Some(exit_code),
        };
        self.record(HOOK, &record);
        end_ns
    }

    /// Init runs a step's process in a container.
    pub(crate) fn step_started(&self, call: &Call, container: &str, step: u64) {
        let kind = match call.phase {
            Phase::RunContainerStep => StepKind::Container,
            _ => StepKind::Script,
        };
        let name = call.name.unwrap_or_default().to_owned();
        let record = Record::StepStarted {
            at_ns: now_ns(),
            step,
            name: name.clone(),
            kind,
            id: Some(name),
            called_ns: Some(call.began_ns),
            pid: 7,
        };
        self.record(container, &record);
    }

    /// The process has ended.
    pub(crate) fn step_ended(&self, container: &str, step: u64, end: End, cgroup: CgroupDelta) {
        let process = ProcessUsage::default();
        let (at_ns, duration_ns, cancelled) = (now_ns(), 0, false);
        let record =
            Record::StepEnded { at_ns, step, duration_ns, end, cancelled, process, cgroup };
        self.record(container, &record);
    }

    /// A line of the runner's own log, as the runner writes it.
    pub(crate) fn runner_says(&mut self, text: &str) {
        let stamp = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%SZ");
        self.runner.say_now(&format!("{stamp}: {text}"));
    }

    /// Adds a record to a journal: a container's, or the hook's.
    pub(crate) fn record(&self, file: &str, record: &Record) {
        self.pod.record(file, record);
    }

    /// What the agent keeps of the pod's job for the case that it is killed.
    pub(crate) fn kept(&self) -> String {
        self.pod.kept()
    }

    /// How many lines of a container's log an agent that starts now would not read again.
    pub(crate) fn delivered(&self, container: &str) -> Option<u64> {
        let text = fs::read_to_string(self.root.join("var/lib/ephemon/logs.checkpoint")).ok()?;
        let rows: Vec<Value> = serde_json::from_str(text.split_once('\n')?.1).ok()?;
        let is_of = |row: &&Value| row["uid"] == self.pod.uid && row["container"] == container;
        rows.iter().find(is_of)?["mark"]["lines"].as_u64()
    }

    /// What the kubelet tells the API server of a container.
    fn status(&mut self, list: &'static str, name: &str, id: &str, state: &Value) {
        let status = json!({
            "name": name, "image": image(name), "imageID": "", "ready": true, "restartCount": 0,
            "containerID": format!("containerd://{id}"), "state": state,
        });
        self.statuses.insert(name.to_owned(), (list, status));
        let mut whole = json!({"phase": "Running"});
        for (list, status) in self.statuses.values() {
            match whole[*list].as_array_mut() {
                Some(all) => all.push(status.clone()),
                None => whole[*list] = json!([status]),
            }
        }
        self.known.set_status(whole);
    }
}

// === impl Call ===

impl Call {
    /// The step's span.
    pub(crate) fn span(&self) -> Option<Traceparent> {
        self.name.map(|name| JOB.step_span(name, self.began_ns))
    }
}

/// As the API has it: whole seconds.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn image(name: &str) -> String {
    format!("localhost/{name}:1")
}
