//! The runner's pod, as far as the hook has to know it.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, Volume};

/// Reasons to wait that no time heals.
const HOPELESS: [&str; 2] = ["InvalidImageName", "ErrImageNeverPull"];

/// Reasons that are part of a normal start.
const USUAL: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// What the pod is made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct PodView {
    pub(super) uid: String,
    /// Of containers of every kind.
    pub(super) containers: Vec<String>,
    volumes: Vec<PodVolume>,
    pub(super) has_pull_secrets: bool,
}

/// A volume of the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodVolume {
    name: String,
    /// Holds nothing secret and nothing of the node.
    pub(super) for_workflows: bool,
}

/// What the kubelet says of one ephemeral container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing yet, or a normal start.
    Waiting,
    /// A start that does not succeed, with the kubelet's words.
    Stuck { reason: String, message: String, hopeless: bool },
    /// It runs.
    Running { id: String },
    /// It is over.
    Ended { exit_code: i32, reason: String, message: String },
}

// === impl PodView ===

impl PodView {
    /// Of a pod as the API shows it.
    pub(super) fn of(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else { return Self::default() };
        let regular = spec.containers.iter().map(|container| &container.name);
        let init = spec.init_containers.iter().flatten().map(|container| &container.name);
        let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| &container.name);
        let volumes = spec.volumes.iter().flatten().map(|volume| PodVolume {
            name: volume.name.clone(),
            for_workflows: is_for_workflows(volume),
        });
        Self {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            containers: regular.chain(init).chain(ephemeral).cloned().collect(),
            volumes: volumes.collect(),
            has_pull_secrets: spec.image_pull_secrets.as_ref().is_some_and(|list| !list.is_empty()),
        }
    }

    /// A volume by its name.
    pub(super) fn volume(&self, name: &str) -> Option<&PodVolume> {
        self.volumes.iter().find(|volume| volume.name == name)
    }
}

fn is_for_workflows(volume: &Volume) -> bool {
    volume.empty_dir.is_some()
        || volume.persistent_volume_claim.is_some()
        || volume.ephemeral.is_some()
        || volume.image.is_some()
}

// === impl Progress ===

impl Progress {
    /// How far the container of this name is.
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
        let hopeless = HOPELESS.contains(&reason.as_str());
        let message = waiting.and_then(|waiting| waiting.message.clone()).unwrap_or_default();
        Self::Stuck { reason, message, hopeless }
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
        assert!(matches!(stuck, Progress::Stuck { hopeless: false, .. }));
        let never = progress(&json!({"waiting": {"reason": "ErrImageNeverPull"}}));
        assert!(matches!(never, Progress::Stuck { hopeless: true, .. }));
        let ended = progress(&json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}));
        assert!(matches!(ended, Progress::Ended { exit_code: 137, .. }));
        assert_eq!(Progress::of(&Pod::default(), "job"), Progress::Waiting);
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
