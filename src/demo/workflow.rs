//! The demo's workflow: a job container with a service, script steps of every kind, and two
//! container actions. A runner runs it with the real hook, and every result is compared with the
//! expected one.

mod checks;
mod play;

use std::time::Duration;

use serde::Serialize;

use super::runner::{Action, Called, Container, Script};
use super::workload;
pub(super) use play::play;

/// A value that must not appear anywhere where others can read it.
pub(super) const SECRET: &str = "hunter2-of-the-demo";
/// Memory of the job container.
const MEMORY: &str = "512m";
/// The hook's message if no agent sets the limits.
const NOT_ENFORCED: &str = "are not in force";
/// Number of lines of the step with much output.
const LOUD_LINES: usize = 100_000;
/// Beginning of each of these lines.
const LOUD_TEXT: &str = "Größe ✓ 東京";
/// Number of steps that do almost nothing, to measure the overhead of a step.
const SMALL_STEPS: usize = 5;
/// The job's name as shown to people.
const DISPLAY_NAME: &str = "Build and test";
/// When the cancelled step is cancelled, after its start.
const CANCEL_AFTER: Duration = Duration::from_millis(700);

/// The result of the workflow: part `hook` of the report.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Played {
    /// The whole call.
    pub(super) prepare_job_ms: f64,
    /// Part of it, from the patch until the kubelet had started the last container.
    pub(super) prepare_job_kubelet_ms: f64,
    /// Overhead of a script step over its own process: the median of several.
    pub(super) script_step_ms: f64,
    /// The whole call of the first container step.
    pub(super) container_step_ms: f64,
    /// The whole call.
    pub(super) cleanup_job_ms: f64,
    pub(super) steps: Vec<Step>,
    /// The faults, one sentence each.
    pub(super) faults: Vec<String>,
    /// The expected content of its trace.
    #[serde(skip)]
    pub(super) job: JobTruth,
}

/// The job as it ran, which its trace must show.
#[derive(Debug, Clone, Default)]
pub(super) struct JobTruth {
    /// The runner's pod.
    pub(super) pod: String,
    /// `owner/name`.
    pub(super) repository: String,
    pub(super) run_id: u64,
    pub(super) run_attempt: u64,
    /// The job's name as people see it.
    pub(super) name: &'static str,
    /// Its result, as the runner reported it.
    pub(super) result: &'static str,
    /// Names of the steps, and their results in the terms of the semantic conventions.
    pub(super) steps: Vec<(String, &'static str)>,
}

/// One call.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Step {
    pub(super) name: String,
    pub(super) exit_code: i32,
    pub(super) duration_ms: f64,
}

/// What is run, and the expected result.
#[derive(Debug, Clone)]
struct Planned {
    name: &'static str,
    what: What,
    code: i32,
    check: Check,
    /// `continue-on-error`: the job does not fail with it.
    tolerated: bool,
}

#[derive(Debug, Clone)]
enum What {
    Script(Script),
    /// Cancelled shortly after its start.
    Cancelled(Script),
    Action(Action),
}

/// The expected result of a step.
#[derive(Debug, Clone)]
enum Check {
    Nothing,
    /// Lines of its output; the hook may print a line before them.
    Says(String),
    /// Its output file.
    Outputs(&'static str),
    /// Every line of the step with much output, in order.
    Loud,
}

/// The job that the demo runs.
#[derive(Debug, Clone)]
struct Job {
    container: Container,
    services: Vec<Container>,
    steps: Vec<Planned>,
}

// === impl Job ===

impl Job {
    /// `tool`: this program's own path in the job. `port`: the port of the service, and the one
    /// that is mapped to it. `name`: the service's name, if containers have a hosts file.
    /// `limited`: whether the container's limits can be set and read.
    fn new(tool: &str, (port, mapped): (u16, u16), name: &str, limited: bool) -> Self {
        let text = str::to_owned;
        let password = (text("CACHE_PASSWORD"), text(SECRET));
        let container = Container {
            image: text("localhost/build-tools:1"),
            options: limited.then(|| format!("--cpus 1.5 --memory {MEMORY} --pids-limit 200")),
            env: vec![(text("FROM_JOB"), text("set on the job's container"))],
            ..Container::default()
        };
        let cache = Container {
            image: text("localhost/cache:1"),
            entry_point_args: vec![port.to_string()],
            options: Some(text("--name cache")),
            env: vec![password.clone()],
            ports: vec![format!("{mapped}:{port}")],
        };
        let tool = format!("'{tool}' {} workload", super::helper::NAME);
        let script = |text: String| {
            What::Script(Script { text, env: vec![("API_TOKEN".to_owned(), SECRET.to_owned())] })
        };
        let step =
            |name, what, code, check| Planned { name, what, code, check, tolerated: code != 0 };
        let says = |text: &str| Check::Says(format!("{text}\n"));
        let mut steps: Vec<_> = (0..SMALL_STEPS)
            .map(|_| step("echo", script("echo hello".to_owned()), 0, says("hello")))
            .collect();
        let build = "echo \"$FROM_JOB\"; echo 'made by a step' > made; echo answer=42 >> \"$GITHUB_OUTPUT\"";
        steps.push(step("build", script(build.to_owned()), 0, Check::Outputs("answer=42\n")));
        let fetch = format!("{tool} fetch {name} {mapped}");
        let answer = Check::Says(workload::ANSWER.to_owned());
        steps.push(step("ask the service", script(fetch), 0, answer));
        let fails = script("echo 'this step fails'; exit 42".to_owned());
        steps.push(step("fails", fails, 42, says("this step fails")));
        let loud = script(format!("{tool} say {LOUD_LINES} '{LOUD_TEXT}'"));
        steps.push(step("much output", loud, 0, Check::Loud));
        let waits = Script { text: "exec sleep 60".to_owned(), env: Vec::new() };
        steps.push(step("cancelled", What::Cancelled(waits), 130, Check::Nothing));
        let lint = Action {
            image: text("localhost/linter:1"),
            entry_point: Some(text("sh")),
            args: vec![text("-c"), text("cat made; echo \"for $INPUT_WHO\"")],
            env: vec![(text("INPUT_WHO"), text("you and me")), password],
        };
        let seen = "made by a step\nfor you and me";
        steps.push(step("action", What::Action(lint), 0, says(seen)));
        let greet = Action {
            // Not on the node before, so that its pull is in the trace.
            image: text("localhost/far/greeter:1"),
            args: vec![text("grüße")],
            env: vec![(text("INPUT_TOKEN"), text(SECRET))],
            ..Action::default()
        };
        let own = step("action of its own", What::Action(greet), 0, says("grüße 1"));
        steps.push(own);
        Self { container, services: vec![cache], steps }
    }
}

// === impl Planned ===

impl Planned {
    /// `GITHUB_ACTION`.
    fn id(&self) -> String {
        self.name.replace(' ', "_")
    }

    /// The expected result, in the terms of the semantic conventions.
    fn result(&self) -> &'static str {
        match (&self.what, self.code) {
            (What::Cancelled(_), _) => "cancellation",
            (_, 0) => "success",
            _ => "failure",
        }
    }
}

// === impl Check ===

impl Check {
    /// The fault of a call, if there is one.
    fn fault(&self, called: &Called) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Says(text) if without_commands(&called.stdout).contains(text) => None,
            Self::Says(text) => Some(format!("said {}, not {text:?}", excerpt(&called.stdout))),
            Self::Outputs(text) if called.outputs == *text => None,
            Self::Outputs(text) => Some(format!("output {:?}, not {text:?}", called.outputs)),
            Self::Loud => {
                let said = String::from_utf8_lossy(&called.stdout);
                let nth = |line: &str| line.strip_prefix(LOUD_TEXT)?.trim_start().parse().ok();
                let whole = said.lines().map(nth).eq((1..=LOUD_LINES).map(Some));
                let lines = said.lines().count();
                (!whole).then(|| format!("wrote {LOUD_LINES} lines, but {lines} arrived"))
            }
        }
    }
}

/// What the runner shows: it removes lines with commands.
fn without_commands(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.split_inclusive('\n').filter(|line| !line.starts_with("::")).collect()
}

fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let short: String = text.chars().take(200).collect();
    format!("{short:?}")
}
