//! What a kubelet does round its container runtime, in its order: cgroups, logs, labels, ends.
//!
//! Source: kubernetes v1.36.2, `pkg/kubelet/kuberuntime/kuberuntime_{manager,container,sandbox}.go`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use super::cgroups::is_v2;
use super::containerd::RUNC;
use super::cri::Cri;
use super::cri_wire::{
    CONTAINER_EXITED, ContainerConfig, ContainerMetadata, ContainerSecurityContext,
    ContainerStatus, ImageSpec, KeyValue, LinuxContainerConfig, LinuxContainerResources,
    LinuxPodSandboxConfig, Mount, NAMESPACE_CONTAINER, NAMESPACE_NODE, NamespaceOption,
    PodSandboxConfig, PodSandboxMetadata, SandboxSecurityContext,
};
use super::image;
use super::node::{Node, PodPlace};
use super::process::until;

/// A container to run.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    /// Its name in the pod.
    pub(crate) name: String,
    command: Vec<String>,
    environment: Vec<KeyValue>,
    memory_limit: Option<i64>,
}

/// A pod that runs.
#[derive(Debug)]
pub(crate) struct Pod<'a> {
    node: &'a Node,
    /// Who it is.
    pub(crate) place: PodPlace,
    /// The id of its sandbox, which is a container too.
    pub(crate) sandbox: String,
    config: PodSandboxConfig,
}

/// What became of a start.
#[derive(Debug, Clone)]
pub(crate) struct Started {
    /// Its name in the pod.
    pub(crate) name: String,
    /// The runtime's id.
    pub(crate) id: String,
    /// Whether its command could be run.
    pub(crate) runs: bool,
}

impl Spec {
    /// `load` with these words.
    pub(crate) fn load(name: &str, words: &str) -> Self {
        let command = ["/bin/load"].into_iter().chain(words.split(' '));
        Self::new(name, command)
    }

    /// Any command.
    pub(crate) fn new<'a>(name: &str, command: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            name: name.to_owned(),
            command: command.into_iter().map(str::to_owned).collect(),
            environment: Vec::new(),
            memory_limit: None,
        }
    }

    /// With a variable in its environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push(KeyValue { key: name.to_owned(), value: value.to_owned() });
        self
    }

    /// With a limit on its memory, swap included.
    pub(crate) fn limited(mut self, bytes: i64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }
}

impl<'a> Pod<'a> {
    /// Makes the pod's cgroup and log directory and starts its sandbox, in the node's network: no
    /// network plug-in is needed.
    pub(crate) fn start(node: &'a Node, cri: &Cri, place: PodPlace) -> Self {
        Self::start_by(node, cri, place, RUNC)
    }

    /// The same by another handler of the runtime.
    pub(crate) fn start_by(node: &'a Node, cri: &Cri, place: PodPlace, handler: &str) -> Self {
        let cgroup = place.cgroup();
        node.cgroups().make(&cgroup);
        std::fs::create_dir_all(node.pod_logs(&place)).unwrap();
        std::fs::create_dir_all(node.scratch().join(format!("gate-{}", place.uid))).unwrap();
        let config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: place.name.clone(),
                uid: place.uid.clone(),
                namespace: place.namespace.clone(),
                attempt: 0,
            }),
            // As the kubelet has it for pods in the node's network.
            hostname: String::new(),
            log_directory: node.pod_logs(&place).to_string_lossy().into_owned(),
            labels: labels(&place, None),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: place.cgroup_parent(node.cgroups()),
                security_context: Some(SandboxSecurityContext {
                    namespace_options: Some(namespaces()),
                    ..SandboxSecurityContext::default()
                }),
            }),
        };
        let sandbox = cri.run_pod_sandbox(&config, handler).unwrap();
        Self { node, place, sandbox, config }
    }

    /// Creates and starts a container.
    pub(crate) fn run(&self, cri: &Cri, spec: &Spec) -> Started {
        self.node.make_log_directory(&self.place, &spec.name);
        let limit = spec.memory_limit.unwrap_or_default();
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: spec.name.clone(), attempt: 0 }),
            image: Some(ImageSpec { image: image::WORK.to_owned() }),
            command: spec.command.clone(),
            envs: spec.environment.clone(),
            mounts: vec![Mount {
                container_path: "/gate".to_owned(),
                host_path: self.gate().to_string_lossy().into_owned(),
                readonly: false,
            }],
            labels: labels(&self.place, Some(&spec.name)),
            annotations: HashMap::from([
                ("io.kubernetes.container.restartCount".to_owned(), "0".to_owned()),
                ("io.kubernetes.container.terminationMessagePath".to_owned(), String::new()),
            ]),
            log_path: format!("{}/0.log", spec.name),
            linux: Some(LinuxContainerConfig {
                resources: Some(LinuxContainerResources {
                    cpu_shares: 2,
                    memory_limit_in_bytes: limit,
                    memory_swap_limit_in_bytes: limit,
                    unified: files(),
                    ..LinuxContainerResources::default()
                }),
                security_context: Some(ContainerSecurityContext {
                    namespace_options: Some(namespaces()),
                    ..ContainerSecurityContext::default()
                }),
            }),
            ..ContainerConfig::default()
        };
        let id = cri.create_container(&self.sandbox, &self.config, config).unwrap();
        let runs = cri.start_container(&id).is_ok();
        // The kubelet links the log of what it started; a start that failed has no link.
        if runs {
            self.node.link_log(&self.place, &spec.name, &id);
        }
        let name = spec.name.clone();
        Started { name, id, runs }
    }

    /// Lets go of the containers that wait for `/gate/open`, all at once.
    pub(crate) fn open_gate(&self) {
        std::fs::write(self.gate().join("open"), "").unwrap();
    }

    fn gate(&self) -> PathBuf {
        self.node.scratch().join(format!("gate-{}", self.place.uid))
    }

    /// Waits for a container's end.
    pub(crate) fn wait(&self, cri: &Cri, id: &str) -> ContainerStatus {
        until(Duration::from_mins(5), || {
            cri.container_status(id).ok().filter(|status| status.state == CONTAINER_EXITED)
        })
        .unwrap_or_else(|| panic!("container {id} of {} does not end", self.place.name))
    }

    /// Ends the pod as at its deletion, and returns its CPU counter read just before its cgroup is
    /// removed: what all its containers used, the sandbox included.
    pub(crate) fn stop(self, cri: &Cri, containers: &[String]) -> u64 {
        let cgroup = self.place.cgroup();
        let counter = self.node.cgroups().cpu(&cgroup);
        for id in containers {
            cri.stop_container(id, 2).unwrap();
        }
        cri.stop_pod_sandbox(&self.sandbox).unwrap();
        let used = counter.read_ns().expect("the pod's cgroup must outlive its containers");
        self.node.cgroups().remove(&cgroup);
        for id in containers {
            cri.remove_container(id).unwrap();
        }
        cri.remove_pod_sandbox(&self.sandbox).unwrap();
        used
    }
}

/// What the kubelet writes on a sandbox, and with its name on a container.
pub(crate) fn labels(pod: &PodPlace, container: Option<&str>) -> HashMap<String, String> {
    let mut labels = HashMap::from([
        ("io.kubernetes.pod.name".to_owned(), pod.name.clone()),
        ("io.kubernetes.pod.namespace".to_owned(), pod.namespace.clone()),
        ("io.kubernetes.pod.uid".to_owned(), pod.uid.clone()),
    ]);
    if let Some(name) = container {
        labels.insert("io.kubernetes.container.name".to_owned(), name.to_owned());
    }
    labels
}

/// What the kubelet has written for every container on cgroup v2 (v1.28 on,
/// `kuberuntime_container_linux.go`): all its processes are killed together.
fn files() -> HashMap<String, String> {
    let group = ("memory.oom.group".to_owned(), "1".to_owned());
    is_v2().then_some(group).into_iter().collect()
}

fn namespaces() -> NamespaceOption {
    NamespaceOption { network: NAMESPACE_NODE, pid: NAMESPACE_CONTAINER, ipc: 0 }
}
