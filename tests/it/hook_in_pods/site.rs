//! A node with containerd, a kubelet and the API stand-in; runners' pods on it.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ephemon::demo::api::{ApiServer, Store};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::runner::Runner;
use crate::support::agent::Agent;
use crate::support::containerd::Containerd;
use crate::support::cri::Cri;
use crate::support::cri_kubelet::CriKubelet;
use crate::support::node::Node;
use crate::support::parts::{Part, all_there};
use crate::support::process::until;
use crate::support::workflow_images::{self, BUSYBOX};

const PARTS: [Part; 8] = [
    Part::WritableCgroups,
    Part::Program("bash"),
    Part::Program("busybox"),
    Part::Program("containerd"),
    Part::Program("ctr"),
    Part::Program("ip"),
    Part::Program("nsenter"),
    Part::Program("runc"),
];

/// The namespace of all pods.
pub(super) const NAMESPACE: &str = "default";
/// The node's name in the API.
const NODE: &str = "node";
/// Longest wait for anything of the rig's own.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);
/// The volumes of a runner's pod, as the README has them, and one that its operator added.
const VOLUMES: [&str; 6] = ["work", "externals", "github", "ephemon", "ephemon-bin", "cache"];

/// Everything of one node. The parts go in this order.
pub(super) struct Site {
    pub(super) kubelet: CriKubelet,
    pub(super) containerd: Containerd,
    pub(super) node: Arc<Node>,
    pub(super) api: ApiServer,
    pub(super) background: Background,
}

/// A thread for what serves while a scenario waits. It ends when dropped, and with it all that its
/// tasks hold of the node.
pub(super) struct Background {
    pub(super) handle: Handle,
    stop: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

// === impl Background ===

impl Background {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            // Whoever is to stop it lets go of the other end.
            drop(runtime.block_on(stopped));
        });
        Self { handle, stop: Some((stop, thread)) }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.stop.take() {
            drop(stop);
            drop(thread.join());
        }
    }
}

// === impl Site ===

impl Site {
    /// None where the machine lacks a part; says so.
    pub(super) fn start() -> Option<Self> {
        if !all_there(&PARTS) {
            return None;
        }
        let node = Arc::new(Node::new());
        let containerd = Containerd::start(&node);
        let images = node.scratch().join("images");
        std::fs::create_dir(&images).unwrap();
        containerd.import(&workflow_images::archive(&images));
        let background = Background::start();
        let store = Store::new(NODE, 1000);
        let api = background.handle.block_on(ApiServer::start(store)).unwrap();
        let kubelet = CriKubelet::start(&node, &containerd, &api);
        Some(Self { kubelet, containerd, node, api, background })
    }

    /// A runner's pod, its runner container running.
    pub(super) fn runner(&self, name: &str) -> Runner {
        self.runner_with(name, &json!({}))
    }

    /// The same with these `resources` of the runner's container.
    pub(super) fn runner_with(&self, name: &str, resources: &Value) -> Runner {
        let volume = |name: &str| json!({"name": name, "emptyDir": {}});
        let mount = |name: &str, path: &str| json!({"name": name, "mountPath": path});
        let pod = json!({
            "metadata": {"name": name, "labels": {"actions-ephemeral-runner": "True"}},
            "spec": {
                "containers": [{
                    "name": "runner", "image": BUSYBOX, "resources": resources,
                    "command": ["sh", "-c", "trap exit TERM; while :; do sleep 1000 & wait; done"],
                    "securityContext": {"runAsUser": 1001, "runAsGroup": 1001},
                    "volumeMounts": [
                        mount("work", "/home/runner/_work"),
                        mount("externals", "/home/runner/externals"),
                        mount("github", "/github"), mount("ephemon", "/ephemon"), mount("ephemon-bin", "/ephemon/bin"),
                    ],
                }],
                "volumes": VOLUMES.map(volume),
                "terminationGracePeriodSeconds": 60,
            },
        });
        let made = self.api.store().create(NAMESPACE, pod).unwrap();
        let id = self.until_status(name, "runner", |status| {
            status.pointer("/state/running")?;
            id_of(status)
        });
        let pid = self.cri().container_pid(&id).unwrap();
        Runner::new(self, name, made["metadata"]["uid"].as_str().unwrap(), pid)
    }

    /// An agent on the node, with these flags.
    pub(super) fn agent(&self, flags: &[&str]) -> Agent {
        let kubeconfig = self.node.scratch().join("kubeconfig");
        self.api.write_kubeconfig(&kubeconfig).unwrap();
        Agent::start_with_api(&self.node, &kubeconfig, NODE, flags)
    }

    /// A connection to the runtime.
    pub(super) fn cri(&self) -> Cri {
        self.containerd.cri()
    }

    /// A pod as the API has it.
    pub(super) fn pod(&self, name: &str) -> Arc<Value> {
        self.api.store().get(&(NAMESPACE.to_owned(), name.to_owned())).unwrap()
    }

    /// What the API says of a container, if anything.
    pub(super) fn status(&self, pod: &str, container: &str) -> Option<Value> {
        let pod = self.pod(pod);
        let lists = ["containerStatuses", "ephemeralContainerStatuses"];
        let mut all = lists.iter().filter_map(|list| pod["status"][list].as_array()).flatten();
        all.find(|status| status["name"] == container).cloned()
    }

    /// Waits until what the API says of a container satisfies.
    pub(super) fn until_status<T>(
        &self,
        pod: &str,
        container: &str,
        mut satisfied: impl FnMut(&Value) -> Option<T>,
    ) -> T {
        until(PATIENCE, || satisfied(&self.status(pod, container)?)).unwrap_or_else(|| {
            panic!("{container}: {:?}\n{}", self.status(pod, container), self.containerd.log())
        })
    }

    /// Waits for a container's end: its exit code and reason.
    pub(super) fn end_of(&self, pod: &str, container: &str) -> (i64, String) {
        self.until_status(pod, container, |status| {
            let ended = status.pointer("/state/terminated")?;
            Some((ended["exitCode"].as_i64()?, ended["reason"].as_str()?.to_owned()))
        })
    }

    /// What a container has written, without the runtime's stamps.
    pub(super) fn log_of(&self, runner: &Runner, container: &str) -> String {
        let path = self.node.pod_logs(&runner.place).join(container).join("0.log");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.splitn(4, ' ').nth(3));
        lines.fold(String::new(), |all, line| all + line + "\n")
    }
}

/// The runtime's id of a container, once it has one.
pub(super) fn id_of(status: &Value) -> Option<String> {
    let id = status.get("containerID")?.as_str()?;
    Some(id.trim_start_matches("containerd://").to_owned())
}
