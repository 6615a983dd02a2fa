//! The embedded node with an agent that enforces limits.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ephemon_cgroup::{Files, Hierarchy, InForce, LimitFiles, Setting};
use ephemon_demo::api::containers;
use ephemon_demo::cgroups::Choice;
use ephemon_demo::{Node, NodeOptions};
use ephemon_model::Usage;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::support::agent::{Agent, TEXT};
use crate::support::exposition::Ledger;
use crate::support::process::until;
use crate::support::programs;

/// Nothing here takes longer unless it hangs; a virtual machine is slow.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);

/// The node. What runs on it waits for a file `go` where its command says so.
pub(super) struct Rig {
    node: Option<Node>,
    stop: Option<oneshot::Sender<Node>>,
    runtime: Option<JoinHandle<()>>,
    pub(super) scratch: tempfile::TempDir,
}

// === impl Rig ===

impl Rig {
    /// `None` where no kernel enforces limits; says so.
    pub(super) fn start() -> Option<Self> {
        let (node_tx, node_rx) = std::sync::mpsc::channel();
        let (stop, stop_rx) = oneshot::channel::<Node>();
        let runtime = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let options = NodeOptions {
                    cgroups: Choice::Auto,
                    relist: Duration::from_millis(100),
                    ..NodeOptions::new(programs::demo())
                };
                node_tx.send(Node::start(options).await.unwrap()).unwrap();
                if let Ok(node) = stop_rx.await {
                    node.shutdown().await;
                }
            });
        });
        let node: Node = node_rx.recv().unwrap();
        let enforced = node.cgroups().enforces_memory();
        let why = node.describe();
        let rig = Self {
            node: Some(node),
            stop: Some(stop),
            runtime: Some(runtime),
            scratch: tempfile::tempdir().unwrap(),
        };
        if enforced {
            return Some(rig);
        }
        assert!(std::env::var_os("CI").is_none(), "nothing may skip in CI, but: {why}");
        eprintln!("skipped: {why}");
        None
    }

    pub(super) fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    /// The agent, started by the words of `before` where it is not to be started plainly.
    pub(super) fn agent(&self, before: &[&str]) -> Agent {
        let ephemon = programs::ephemon().to_str().unwrap();
        let words: Vec<&str> = before.iter().copied().chain([ephemon, "agent"]).collect();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .args(["--enforce-limits", "--node-name", self.node().name(), "--kubeconfig"])
            .arg(self.node().kubeconfig())
            .args(["--log", "info,ephemon_enforcement=debug"]);
        Agent::launch(&mut command, self.node().root(), &self.node().kubepods())
    }

    /// Makes a pod of a runner that serves, and waits for it.
    pub(super) fn pod(&self, name: &str, labels: &Value, more: &Value) {
        let mut pod = json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "containers": [{
                    "name": "runner",
                    "image": "localhost/runner:1",
                    "command": ["ephemon-workload", "serve"],
                    "env": [{"name": "EPHEMON_LIMITS", "value": "cpus=0.5,pids=50"}],
                }],
            },
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            pod["spec"][key] = value.clone();
        }
        self.node().create_pod(pod).unwrap();
        self.id(name, "runner");
    }

    /// Adds ephemeral containers of a name, limits and shell command each, and waits for them.
    pub(super) fn add(&self, pod: &str, containers: &[(&str, &str, &str)]) {
        let containers: Vec<Value> = containers
            .iter()
            .map(|(name, limits, command)| {
                let go = self.scratch.path().join("go");
                let script =
                    format!("until [ -e {} ]; do sleep 0.05; done; {command}", go.display());
                json!({
                    "name": name,
                    "image": "localhost/step:1",
                    "imagePullPolicy": "Never",
                    "command": ["sh", "-c", script],
                    "env": [{"name": "EPHEMON_LIMITS", "value": limits}],
                })
            })
            .collect();
        self.node().add_ephemeral("default", pod, &containers).unwrap();
        for container in &containers {
            self.id(pod, container["name"].as_str().unwrap());
        }
    }

    /// Lets those that wait go on.
    pub(super) fn go(&self) {
        fs::write(self.scratch.path().join("go"), "").unwrap();
    }

    /// A running container's id, by the link to its log.
    pub(super) fn id(&self, pod: &str, container: &str) -> String {
        let links = self.node().root().join("var/log/containers");
        let prefix = format!("{pod}_default_{container}-");
        let look = || {
            let names = fs::read_dir(&links).unwrap().flatten().map(|entry| entry.file_name());
            let mut names = names.filter_map(|name| name.into_string().ok());
            let name = names.find(|name| name.starts_with(&prefix))?;
            Some(name.strip_prefix(&prefix)?.strip_suffix(".log")?.to_owned())
        };
        until(PATIENCE, look).unwrap_or_else(|| panic!("{container} never ran"))
    }

    /// What is in force in a container's own cgroup.
    pub(super) fn in_force(&self, pod: &str, container: &str) -> InForce {
        self.files(pod, container).read().unwrap()
    }

    /// Sets a limit behind the agent's back.
    pub(super) fn set(&self, pod: &str, container: &str, setting: Setting) {
        self.files(pod, container).set(setting).unwrap();
    }

    /// Memory in use.
    pub(super) fn memory(&self, pod: &str, container: &str) -> Option<u64> {
        let (hierarchy, place) = self.place(pod, container);
        let mut usage = Usage::default();
        Files::open(&hierarchy, &place).read(&mut usage, &mut Vec::new()).ok()?;
        usage.memory.usage_bytes
    }

    pub(super) fn is_v2(&self) -> bool {
        self.hierarchy().has_events()
    }

    fn hierarchy(&self) -> Hierarchy {
        Hierarchy::detect(&self.node().root().join("sys/fs/cgroup")).unwrap()
    }

    fn files(&self, pod: &str, container: &str) -> LimitFiles {
        let (hierarchy, place) = self.place(pod, container);
        LimitFiles::at(&hierarchy, &place)
    }

    /// Where its cgroup is.
    fn place(&self, pod: &str, container: &str) -> (Hierarchy, PathBuf) {
        let hierarchy = self.hierarchy();
        let uid = self.node().pod("default", pod).unwrap()["metadata"]["uid"].clone();
        let below = format!("pod{}/{}", uid.as_str().unwrap(), self.id(pod, container));
        let kubepods = PathBuf::from(self.node().kubepods());
        let root = hierarchy.watched_root().unwrap();
        let places = ["", "burstable", "besteffort"];
        let mut places = places.iter().map(|qos| kubepods.join(qos).join(&below));
        let place = places.find(|place: &PathBuf| root.join(place).is_dir()).unwrap();
        (hierarchy, place)
    }

    /// Waits until an ephemeral container is over, and returns its exit code and reason.
    pub(super) fn end(&self, pod: &str, container: &str) -> (i64, String) {
        let look = || {
            let pod = self.node().pod("default", pod).unwrap();
            let end = containers::status(&pod, container)?.pointer("/state/terminated")?;
            Some((end["exitCode"].as_i64()?, end["reason"].as_str()?.to_owned()))
        };
        until(PATIENCE, look).unwrap_or_else(|| panic!("{container} never ended"))
    }

    /// Whether a container runs, by its status.
    pub(super) fn runs(&self, pod: &str, container: &str) -> bool {
        let pod = self.node().pod("default", pod).unwrap();
        let status = containers::status(&pod, container);
        status.is_some_and(|status| status["state"].get("running").is_some())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let (Some(node), Some(stop)) = (self.node.take(), self.stop.take()) {
            drop(stop.send(node));
        }
        if let Some(runtime) = self.runtime.take() {
            drop(runtime.join());
        }
    }
}

/// Scrapes until the sum of these series satisfies.
pub(super) fn shown(
    agent: &Agent,
    name: &str,
    labels: &[(&str, &str)],
    satisfied: impl Fn(f64) -> bool,
) -> f64 {
    let look = || {
        let mut ledger = Ledger::default();
        ledger.enter(&agent.get("/metrics", TEXT).body);
        ledger.sum(name, labels).filter(|value| satisfied(*value))
    };
    until(PATIENCE, look).unwrap_or_else(|| {
        let body = agent.get("/metrics", TEXT).body;
        let lines: Vec<&str> = body.lines().filter(|line| line.starts_with(name)).collect();
        panic!("{name} {labels:?} never satisfied: {lines:#?}\n{}", agent.log())
    })
}

/// A sum of series: their name, labels that they have, and how much it must be at least.
pub(super) type Wanted<'a> = (&'a str, &'a [(&'a str, &'a str)], f64);

/// Scrapes until each of these sums was at least so much. What was shown once counts: an ended
/// container's series go when they were fetched twice.
pub(super) fn all_shown(agent: &Agent, wanted: &[Wanted<'_>]) {
    let mut ledger = Ledger::default();
    let mut missing = Vec::new();
    let all = until(PATIENCE, || {
        ledger.enter(&agent.get("/metrics", TEXT).body);
        let short = |(name, labels, least): &&Wanted<'_>| {
            ledger.sum(name, labels).is_none_or(|value| value < *least)
        };
        missing = wanted.iter().filter(short).collect();
        missing.is_empty().then_some(())
    });
    assert!(all.is_some(), "never shown: {missing:?}\n{}", agent.log());
}

/// How many containers' limits came to this.
pub(super) fn results(agent: &Agent, result: &str, expected: f64) {
    let equal = |value: f64| (value - expected).abs() < 0.5;
    shown(agent, "ephemon_agent_limit_enforcements_total", &[("result", result)], equal);
}
