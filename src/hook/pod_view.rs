//! The parts of the runner's pod that the hook uses.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodSpec, ResourceRequirements, Volume};
use serde::{Deserialize, Serialize};

use super::volumes::path;

/// The name that actions-runner-controller gives the runner's container.
const RUNNER: &str = "runner";

/// Waiting reasons that are part of a normal start.
const USUAL: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// The parts of the pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct PodView {
    pub(super) uid: String,
    /// The names of containers of every kind.
    pub(super) containers: Vec<String>,
    volumes: Vec<PodVolume>,
    pub(super) has_pull_secrets: bool,
    /// The image of the runner's container, the only one that is certain to be on the node.
    pub(super) runner_image: Option<String>,
    /// Whether the kubelet limits the memory of all containers together.
    pub(super) memory_is_limited: bool,
    runners_mounts: Vec<RunnersMount>,
}

/// A volume mount of the runner's container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunnersMount {
    pub(super) volume: String,
    path: String,
    pub(super) read_only: bool,
}

/// A volume of the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PodVolume {
    name: String,
    /// Contains neither secrets nor files of the node.
    pub(super) for_workflows: bool,
    /// An emptyDir of medium Memory.
    pub(super) is_memory: bool,
}

/// The kubelet's status of one ephemeral container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// No status yet, or a normal start.
    Waiting,
    /// A start that fails, with the kubelet's message.
    Stuck { reason: String, message: String },
    /// It is running.
    Running { id: String },
    /// It has ended.
    Ended { exit_code: i32, reason: String, message: String },
}

// === impl PodView ===

impl PodView {
    /// Reads a pod of the API.
    pub(super) fn of(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else { return Self::default() };
        let regular = spec.containers.iter().map(|container| &container.name);
        let init = spec.init_containers.iter().flatten().map(|container| &container.name);
        let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| &container.name);
        let volumes = spec.volumes.iter().flatten().map(|volume| PodVolume {
            name: volume.name.clone(),
            for_workflows: is_for_workflows(volume),
            is_memory: volume
                .empty_dir
                .as_ref()
                .is_some_and(|empty| empty.medium.as_deref() == Some("Memory")),
        });
        Self {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            containers: regular.chain(init).chain(ephemeral).cloned().collect(),
            volumes: volumes.collect(),
            has_pull_secrets: spec.image_pull_secrets.as_ref().is_some_and(|list| !list.is_empty()),
            memory_is_limited: memory_is_limited(spec),
            runners_mounts: runners_mounts(spec),
            runner_image: spec
                .containers
                .iter()
                .find(|container| container.name == RUNNER)
                .or_else(|| spec.containers.first())
                .and_then(|container| container.image.clone()),
        }
    }

    /// The volume with this name.
    pub(super) fn volume(&self, name: &str) -> Option<&PodVolume> {
        self.volumes.iter().find(|volume| volume.name == name)
    }

    /// The volume that contains a path of the runner's container, and the path in it.
    pub(super) fn runners_mount_of<'a>(
        &'a self,
        path: &'a str,
    ) -> Option<(&'a RunnersMount, &'a str)> {
        let below = |mount: &'a RunnersMount| {
            let rest = path.strip_prefix(mount.path.as_str())?;
            (rest.is_empty() || rest.starts_with('/'))
                .then(|| (mount, rest.trim_start_matches('/')))
        };
        self.runners_mounts.iter().filter_map(below).max_by_key(|(mount, _)| mount.path.len())
    }
}

/// Whole volumes only: if the runner mounts a part of one, a job could see the rest.
fn runners_mounts(spec: &PodSpec) -> Vec<RunnersMount> {
    let runner = spec.containers.iter().find(|container| container.name == RUNNER);
    let mounts = runner.or(spec.containers.first()).into_iter();
    let mounts = mounts.flat_map(|container| container.volume_mounts.iter().flatten());
    mounts
        .filter(|mount| mount.sub_path.is_none() && mount.sub_path_expr.is_none())
        .map(|mount| RunnersMount {
            volume: mount.name.clone(),
            path: path::clean(&mount.mount_path).trim_end_matches('/').to_owned(),
            read_only: mount.read_only.unwrap_or_default(),
        })
        .collect()
}

/// The kubelet sets the memory limit of a pod's cgroup if the pod has one of its own, or if every
/// container and every init container has one (kubernetes v1.36.3, `ResourceConfigForPod`).
fn memory_is_limited(spec: &PodSpec) -> bool {
    let has = |resources: Option<&ResourceRequirements>| {
        resources
            .and_then(|resources| resources.limits.as_ref()?.get("memory"))
            .is_some_and(|limit| limit.0 != "0")
    };
    let all = || spec.containers.iter().chain(spec.init_containers.iter().flatten());
    has(spec.resources.as_ref())
        || (all().next().is_some() && all().all(|container| has(container.resources.as_ref())))
}

fn is_for_workflows(volume: &Volume) -> bool {
    volume.empty_dir.is_some()
        || volume.persistent_volume_claim.is_some()
        || volume.ephemeral.is_some()
        || volume.image.is_some()
}

// === impl Progress ===

impl Progress {
    /// The status of the container with this name.
    pub(super) fn of(pod: &Pod, container: &str) -> Self {
        let statuses = pod
            .status
            .iter()
            .flat_map(|status| status.ephemeral_container_statuses.iter().flatten());
        let mut found = statuses.filter(|status| status.name == container);
        found.next().map_or(Self::Waiting, Self::of_status)
    }

    fn of_status(status: &ContainerStatus) -> Self {
        let Some(state) = &status.state else { return Self::Waiting };
        if let Some(ended) = &state.terminated {
            return Self::Ended {
                exit_code: ended.exit_code,
                reason: ended.reason.clone().unwrap_or_default(),
                message: ended.message.clone().unwrap_or_default(),
            };
        }
        if state.running.is_some() {
            return Self::Running { id: status.container_id.clone().unwrap_or_default() };
        }
        let waiting = state.waiting.as_ref();
        let reason = waiting.and_then(|waiting| waiting.reason.clone()).unwrap_or_default();
        if reason.is_empty() || USUAL.contains(&reason.as_str()) {
            return Self::Waiting;
        }
        let message = waiting.and_then(|waiting| waiting.message.clone()).unwrap_or_default();
        Self::Stuck { reason, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn progress(state: &Value) -> Progress {
        let pod = json!({"status": {"ephemeralContainerStatuses": [
            {"name": "other", "image": "", "imageID": "", "ready": false, "restartCount": 0},
            {"name": "job", "image": "", "imageID": "", "ready": false, "restartCount": 0,
             "containerID": "containerd://ab", "state": state},
        ]}});
        Progress::of(&serde_json::from_value(pod).unwrap(), "job")
    }

    #[test]
    fn the_kubelets_states_are_told_apart() {
        assert_eq!(progress(&json!({})), Progress::Waiting);
        assert_eq!(
            progress(&json!({"waiting": {"reason": "ContainerCreating"}})),
            Progress::Waiting
        );
        let running = progress(&json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}));
        assert_eq!(running, Progress::Running { id: "containerd://ab".into() });
        let stuck =
            progress(&json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}}));
        let words = ("ErrImagePull".to_owned(), "not found".to_owned());
        assert_eq!(stuck, Progress::Stuck { reason: words.0, message: words.1 });
        let ended = progress(&json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}));
        assert!(matches!(ended, Progress::Ended { exit_code: 137, .. }));
        assert_eq!(Progress::of(&Pod::default(), "job"), Progress::Waiting);
    }

    #[test]
    fn memory_is_limited_by_the_pod_or_by_every_container() {
        let limited = json!({"limits": {"memory": "1Gi"}});
        let open = json!({"limits": {"cpu": "1"}});
        for (pod, init, runner, expected) in [
            (json!(null), &limited, &limited, true),
            (json!(null), &open, &limited, false),
            (json!(null), &limited, &json!(null), false),
            (limited.clone(), &open, &json!(null), true),
            (open.clone(), &open, &limited, false),
        ] {
            let pod = json!({"spec": {
                "resources": pod, "initContainers": [{"name": "i", "resources": init}],
                "containers": [{"name": "runner", "resources": runner}],
            }});
            let view = PodView::of(&serde_json::from_value(pod.clone()).unwrap());
            assert_eq!(view.memory_is_limited, expected, "{pod}");
        }
    }

    #[test]
    fn a_path_of_the_runner_lies_in_the_innermost_volume() {
        let pod = json!({"spec": {"containers": [{"name": "other"}, {"name": "runner", "volumeMounts": [
            {"name": "opt", "mountPath": "/opt/"},
            {"name": "tools", "mountPath": "/opt/tools", "readOnly": true},
            {"name": "part", "mountPath": "/part", "subPath": "x"},
            {"name": "cache", "mountPath": "/opt/./x/..//cache/", "readOnly": true},
        ]}]}});
        let view = PodView::of(&serde_json::from_value(pod).unwrap());
        let of = |path| {
            let (mount, below) = view.runners_mount_of(path)?;
            Some((mount.volume.clone(), below.to_owned(), mount.read_only))
        };
        assert_eq!(of("/opt/tools/node"), Some(("tools".into(), "node".into(), true)));
        assert_eq!(of("/opt/toolsy"), Some(("opt".into(), "toolsy".into(), false)));
        assert_eq!(of("/opt"), Some(("opt".into(), String::new(), false)));
        assert_eq!((of("/part"), of("/")), (None, None));
        // In whatever form the template has the path.
        assert_eq!(of("/opt/cache/a"), Some(("cache".into(), "a".into(), true)));
    }

    #[test]
    fn a_recorded_pod_is_understood() {
        let list = include_str!("../../tests/it/fixtures/kubernetes-1.36/pod-list.json");
        let list: Value = serde_json::from_str(list).unwrap();
        let pod: Pod = serde_json::from_value(list["items"][0].clone()).unwrap();
        let view = PodView::of(&pod);
        assert!(view.containers.contains(&"runner".to_owned()), "{view:?}");
        assert!(!view.uid.is_empty());
    }
}
