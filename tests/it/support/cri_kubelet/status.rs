//! What the API server is told of a pod's containers. Pure.

use serde_json::{Value, json};

use super::super::cri_wire::{CONTAINER_EXITED, CONTAINER_RUNNING, ContainerStatus};
use super::super::pod_network::POD_ADDRESS;
use super::translate::text;

/// The last that was seen of a container.
#[derive(Debug, Clone)]
pub(super) enum Seen {
    /// Of the runtime: its id, its image's, its state.
    Runtime { id: String, image: String, status: ContainerStatus },
    /// The runtime does not have it, and why.
    Waiting { reason: &'static str, message: String },
}

/// The pod's status.
pub(super) fn of_pod(pod: &Value, seen: impl Fn(&str) -> Option<Seen>) -> Value {
    let list = |field: &str| -> Vec<Value> {
        let specs = pod.pointer(&format!("/spec/{field}")).and_then(Value::as_array);
        specs
            .into_iter()
            .flatten()
            .map(|spec| of_container(spec, seen(text(spec, "/name"))))
            .collect()
    };
    json!({
        "phase": "Running",
        "qosClass": "Burstable",
        "observedGeneration": pod.pointer("/metadata/generation"),
        "podIP": POD_ADDRESS,
        "podIPs": [{"ip": POD_ADDRESS}],
        "containerStatuses": list("containers"),
        "ephemeralContainerStatuses": list("ephemeralContainers"),
    })
}

fn of_container(spec: &Value, seen: Option<Seen>) -> Value {
    let (state, id, image) = match seen {
        None => (json!({"waiting": {"reason": "ContainerCreating"}}), None, String::new()),
        Some(Seen::Waiting { reason, message }) => {
            (json!({"waiting": {"reason": reason, "message": message}}), None, String::new())
        }
        Some(Seen::Runtime { id, image, status }) => {
            (state(&id, &status), Some(format!("containerd://{id}")), image)
        }
    };
    let mut status = json!({
        "name": spec["name"],
        "image": spec["image"],
        "imageID": image,
        "ready": state.get("running").is_some(),
        "restartCount": 0,
        "lastState": {},
        "state": state,
    });
    if let Some(id) = id {
        status["containerID"] = json!(id);
    }
    status
}

fn state(id: &str, status: &ContainerStatus) -> Value {
    match status.state {
        CONTAINER_RUNNING => json!({"running": {"startedAt": time(status.started_at)}}),
        CONTAINER_EXITED => {
            let mut terminated = json!({
                "exitCode": status.exit_code,
                "reason": status.reason,
                "startedAt": time(status.started_at),
                "finishedAt": time(status.finished_at),
                "containerID": format!("containerd://{id}"),
            });
            if !status.message.is_empty() {
                terminated["message"] = json!(status.message);
            }
            json!({"terminated": terminated})
        }
        _ => json!({"waiting": {"reason": "ContainerCreating"}}),
    }
}

/// As the API writes it: whole seconds.
fn time(nanoseconds: i64) -> String {
    jiff::Timestamp::from_second(nanoseconds / 1_000_000_000).unwrap().to_string()
}
