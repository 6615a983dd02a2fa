//! A namespace of a real node for one scenario: account, role and policies as shipped, and runners'
//! pods made of the values as shipped.

use std::fs;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ephemon_demo::api::containers;
use ephemon_demo::kubelet::paths;
use serde_json::{Value, json};

use super::runner::Runner;
use crate::support::agent::Agent;
use crate::support::cri::Cri;
use crate::support::parts;
use crate::support::process::{output, until};
use crate::support::programs;
use crate::support::real_node::turns::Turn;
use crate::support::real_node::{Api, Kubectl, NODE, RealNode};
use crate::support::workflow_images::{EPHEMON, RUNNER};
use crate::support::{real_node_images, runner_template};

/// Longest wait for anything of the rig's own.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);

/// The label of a pod that says which site's it is.
const SITE: &str = "ephemon.test/site";

/// One scenario's part of the node; its pods go with it.
pub(super) struct Site {
    pub(super) node: Arc<RealNode>,
    namespace: String,
    kubectl: Kubectl,
    api: Api,
    /// Where scenarios take turns.
    _turn: Option<Turn>,
}

// === impl Site ===

impl Site {
    /// None where the machine lacks a part; says so.
    pub(super) fn start() -> Option<Self> {
        Some(Self::on(RealNode::shared()?))
    }

    /// The same on a node where no other scenario is meanwhile: for one that disturbs others, as it stops the
    /// runtime or changes policies of the cluster, or that counts what the node does.
    pub(super) fn alone() -> Option<Self> {
        let turn = Turn::take();
        Some(Self::in_turn(turn.node()?, Some(turn)))
    }

    /// Like [`Self::start`], on a node of other versions.
    pub(super) fn on(node: Arc<RealNode>) -> Self {
        Self::in_turn(node, None)
    }

    fn in_turn(node: Arc<RealNode>, turn: Option<Turn>) -> Self {
        real_node_images::import_once(&node);
        let (kubectl, api) = (node.kubectl(), node.api());
        if let Some(class) = node.runtime_class() {
            let class = json!({
                "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass",
                "metadata": {"name": class}, "handler": class,
            });
            kubectl.apply(&class.to_string());
        }
        let namespace = format!("runners-{:08x}", fastrand::u32(..));
        let own = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": namespace, "labels": {"ephemon.dev/runners": "true"}},
        });
        kubectl.apply(&format!(
            "{own}\n---\n{}",
            shipped(&kubectl).replace("arc-runners", &namespace)
        ));
        // Until it has the account that pods without one of their own get, such pods are refused.
        let account = || api.get(&namespace, "serviceaccount", "default");
        until(PATIENCE, account).expect("the namespace's own account");
        Self { node, namespace, kubectl, api, _turn: turn }
    }

    /// The namespace of its pods.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A client with every right.
    pub(super) fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// The API with every right, for what is asked many times.
    pub(super) fn api(&self) -> &Api {
        &self.api
    }

    /// Takes the namespace from those that the policies guard.
    pub(super) fn unguard(&self) {
        self.kubectl.run(&["label", "namespace", &self.namespace, "ephemon.dev/runners-"]);
    }

    /// The labels of its runners' pods: that of all runners, and that of the site.
    pub(super) fn labels(&self) -> Value {
        json!({"actions-ephemeral-runner": "True", SITE: self.namespace})
    }

    /// Selects these pods and no other scenario's.
    pub(super) fn selector(&self) -> String {
        format!("{SITE}={}", self.namespace)
    }

    /// A runner's pod, its runner container running.
    pub(super) fn runner(&self, name: &str) -> Runner {
        self.runner_with(name, &json!({"requests": {"cpu": "10m"}}))
    }

    /// The same with these `resources` of the runner's container.
    pub(super) fn runner_with(&self, name: &str, resources: &Value) -> Runner {
        self.runner_by(name, resources, &["values.yaml"], RUNNER)
    }

    /// The same by these values files, with this image of the runner.
    pub(super) fn runner_by(
        &self,
        name: &str,
        resources: &Value,
        values: &[&str],
        image: &str,
    ) -> Runner {
        self.runner_of(name, spec(resources, values, image))
    }

    /// The same as shipped, with these fields of the pod's spec beside.
    pub(super) fn runner_beside(&self, name: &str, resources: &Value, fields: &Value) -> Runner {
        let mut spec = spec(resources, &["values.yaml"], RUNNER);
        for (field, value) in fields.as_object().unwrap() {
            spec[field] = value.clone();
        }
        self.runner_of(name, spec)
    }

    fn runner_of(&self, name: &str, mut spec: Value) -> Runner {
        if let Some(class) = self.node.runtime_class() {
            spec["runtimeClassName"] = json!(class);
        }
        self.api.create(&json!({
            "apiVersion": "v1", "kind": "Pod", "spec": spec,
            "metadata": {
                "name": name, "namespace": self.namespace, "labels": self.labels(),
            },
        }));
        let id = self.until_status(name, "runner", |status| {
            status.pointer("/state/running")?;
            id_of(status)
        });
        let pid = self.host_pid_of(&id);
        Runner::new(self, name, self.pod(name)["metadata"]["uid"].as_str().unwrap(), pid)
    }

    /// An agent in the node's namespaces, with these flags. Where they name no folder for its state it has one
    /// of its own: agents that share one refuse to run beside each other.
    pub(super) fn agent(&self, flags: &[&str]) -> Agent {
        self.agent_with(flags, &[])
    }

    /// The same, exporting to a collector.
    pub(super) fn agent_to(&self, endpoint: &str, flags: &[&str]) -> Agent {
        self.agent_with(flags, &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)])
    }

    fn agent_with(&self, flags: &[&str], env: &[(&str, &str)]) -> Agent {
        let mut command = self.node.inside(programs::ephemon());
        command.args(["agent", "--node-name", NODE, "--kubeconfig"]).arg(self.kubectl.kubeconfig());
        if !flags.contains(&"--state-dir") {
            command.args([
                "--state-dir",
                &format!("/run/{}-{:08x}", self.namespace, fastrand::u32(..)),
            ]);
        }
        command.args(flags).envs(env.iter().copied());
        Agent::launch_inside(&mut command, self.node.address())
    }

    /// A connection to the runtime.
    pub(super) fn cri(&self) -> Cri {
        self.node.cri()
    }

    /// This machine's number of a container's first process, once that is the container's own: a container
    /// runs by the API while the runtime's process has still to start it.
    pub(super) fn host_pid_of(&self, id: &str) -> i32 {
        let pid = self.cri().container_pid(id).expect("the container runs");
        let host = self.node.host_pid(pid).expect("its process is there");
        let is_started = || {
            let name = fs::read_to_string(format!("/proc/{host}/comm")).ok()?;
            (!name.starts_with("runc") && !name.starts_with("crun")).then_some(())
        };
        until(PATIENCE, is_started).expect("the container's own process is started, and is there");
        host
    }

    /// A pod as the API has it.
    pub(super) fn pod(&self, name: &str) -> Value {
        self.api.get(&self.namespace, "pod", name).unwrap_or(Value::Null)
    }

    /// Changes a pod in what means nothing, so that its kubelet looks at it.
    pub(super) fn touch(&self, pod: &str) {
        let touched = format!("ephemon.test/touched={:08x}", fastrand::u32(..));
        let words = ["annotate", "--overwrite", "pod", pod, "-n", &self.namespace];
        self.kubectl.run(&[&words[..], &[touched.as_str()]].concat());
    }

    /// The names of its Secrets.
    pub(super) fn secrets(&self) -> Vec<String> {
        let all = self.api.list(&self.namespace, "secret", "");
        all.iter()
            .filter_map(|secret| secret["metadata"]["name"].as_str().map(str::to_owned))
            .collect()
    }

    /// What the API says of a container, if anything.
    pub(super) fn status(&self, pod: &str, container: &str) -> Option<Value> {
        containers::status(&self.pod(pod), container).cloned()
    }

    /// Waits until what the API says of a container satisfies.
    pub(super) fn until_status<T>(
        &self,
        pod: &str,
        container: &str,
        mut satisfied: impl FnMut(&Value) -> Option<T>,
    ) -> T {
        until(PATIENCE, || satisfied(&self.status(pod, container)?)).unwrap_or_else(|| {
            panic!("{container}: {}\n{}", self.pod(pod)["status"], self.node.log("kubelet"))
        })
    }

    /// Waits for a container's end: its exit code and reason.
    pub(super) fn end_of(&self, pod: &str, container: &str) -> (i64, String) {
        self.until_status(pod, container, |status| {
            let ended = status.pointer("/state/terminated")?;
            Some((ended["exitCode"].as_i64()?, ended["reason"].as_str()?.to_owned()))
        })
    }

    /// What a container that has ended wrote: the runtime says of its end once all of it is in the log.
    pub(super) fn log_of_ended(&self, runner: &Runner, container: &str) -> String {
        self.end_of(&runner.name, container);
        self.log_so_far(runner, container)
    }

    /// Waits until what a container has written satisfies: the runtime copies it into the log, which is
    /// later than a step that wrote it has ended.
    pub(super) fn until_logged(
        &self,
        runner: &Runner,
        container: &str,
        satisfied: impl Fn(&str) -> bool,
    ) -> String {
        let logged = || Some(self.log_so_far(runner, container)).filter(|log| satisfied(log));
        until(PATIENCE, logged).unwrap_or_else(|| {
            panic!("{container} has not written it: {}", self.log_so_far(runner, container))
        })
    }

    /// What is in a container's log now, without the runtime's stamps.
    fn log_so_far(&self, runner: &Runner, container: &str) -> String {
        let place = &runner.place;
        let root = self.node.path("/");
        let pod = paths::pod_logs(&root, (&place.namespace, &place.name), &place.uid);
        // One file for each time that the kubelet started it.
        let directory = pod.join(container);
        let files = (0..9).map(|attempt| directory.join(format!("{attempt}.log")));
        let text: String = files.filter_map(|file| fs::read_to_string(file).ok()).collect();
        let lines = text.lines().filter_map(|line| line.splitn(4, ' ').nth(3));
        lines.fold(String::new(), |all, line| all + line + "\n")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.api.remove_namespace(&self.namespace);
    }
}

/// A runner's pod by these values files.
fn spec(resources: &Value, values: &[&str], image: &str) -> Value {
    let mut spec = runner_template::spec(values, EPHEMON, image);
    spec["nodeName"] = json!(NODE);
    // The scale set's chart sets it (templates/autoscalingrunnerset.yaml); with another policy a
    // kubelet shows a container that could not be started as waiting for ever.
    spec["restartPolicy"] = json!("Never");
    // The operator's own.
    spec["volumes"].as_array_mut().unwrap().push(json!({"name": "cache", "emptyDir": {}}));
    spec["containers"][0]["resources"] = resources.clone();
    // The node has no room for many pods of the shipped size.
    spec["resources"]["requests"] = json!({"cpu": "10m", "memory": "160Mi"});
    if let Some(limit) = resources.pointer("/limits/memory") {
        spec["resources"]["limits"]["memory"] = limit.clone();
    }
    for container in spec["initContainers"].as_array_mut().unwrap() {
        container["resources"] = json!({"limits": {"memory": "64Mi"}});
    }
    spec
}

/// What `kubectl apply` is given of `deploy/hook`: the kustomization, and the files for more rights.
fn shipped(kubectl: &Kubectl) -> &'static str {
    static SHIPPED: OnceLock<String> = OnceLock::new();
    SHIPPED.get_or_init(|| {
        let folder = parts::repository().join("deploy/hook");
        let kustomization = output(kubectl.command(&["kustomize"]).arg(&folder));
        let more = ["rbac-exec.yaml", "rbac-events.yaml"];
        let more = more.map(|file| fs::read_to_string(folder.join(file)).unwrap());
        [&[kustomization][..], &more].concat().join("\n---\n")
    })
}

/// The runtime's id of a container, once it has one.
pub(super) fn id_of(status: &Value) -> Option<String> {
    let (_runtime, id) = status.get("containerID")?.as_str()?.split_once("://")?;
    Some(id.to_owned())
}
