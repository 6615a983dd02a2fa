//! What a CI system's pod says of its job, entered for each of its containers.

use ephemon_ci_systems::CiSystems;
use ephemon_model::ContainerType;
use k8s_openapi::api::core::v1::Pod;

use crate::inventory::SpecEntry;

/// Enters the job for the pod's own containers. Ephemeral ones are somebody else's, and have their own
/// environment.
pub(super) fn enter(pod: &Pod, ci_systems: &CiSystems, spec: &mut [SpecEntry]) {
    let Some(job) = ci_systems.job(pod) else { return };
    for entry in spec.iter_mut().filter(|entry| entry.container_type != ContainerType::Ephemeral) {
        let message = message(pod, &entry.name);
        entry.job = Some(job.of_container(&entry.name, entry.container_type, message));
    }
}

/// The termination message of a container that is over.
fn message<'a>(pod: &'a Pod, container: &str) -> Option<&'a str> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let status = statuses.iter().find(|status| status.name == container)?;
    status.state.as_ref()?.terminated.as_ref()?.message.as_deref()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::pod_view::PodView;

    fn tekton(state: &Value) -> Pod {
        let started = json!({"running": {"startedAt": "2026-11-20T10:00:00Z"}});
        let ended = json!({"terminated": {
            "exitCode": 0, "finishedAt": "2026-11-20T10:00:09Z", "message": state,
        }});
        serde_json::from_value(json!({
            "metadata": {
                "name": "build-pod", "namespace": "ci", "uid": "0e269fa4-f505-4963-9096-958063077203",
                "labels": {"tekton.dev/taskRun": "build", "tekton.dev/pipelineTask": "compile"},
            },
            "spec": {
                "containers": [{"name": "step-build"}],
                "initContainers": [{"name": "prepare"}],
                "ephemeralContainers": [{"name": "debugger"}],
            },
            "status": {"containerStatuses": [{
                "name": "step-build", "image": "i", "imageID": "i", "ready": false, "restartCount": 0,
                "state": if state.is_null() { started } else { ended },
            }]},
        }))
        .unwrap()
    }

    #[test]
    fn each_own_container_has_the_job_and_a_step_its_record_once_it_is_over() {
        let at = r#"[{"key":"StartedAt","value":"2026-11-20T10:00:03.250Z","type":3}]"#;
        for (message, began) in [(Value::Null, None), (json!(at), Some(1_795_168_803_250_000_000))]
        {
            let (view, odd) = PodView::of(&tekton(&message));
            assert_eq!(odd, []);
            let spec = view.unwrap().spec;
            let job =
                |name: &str| spec.iter().find(|entry| &*entry.name == name).unwrap().job.clone();
            assert_eq!(job("debugger"), None);
            assert_eq!(job("prepare").unwrap().role.as_deref(), Some("system"));
            let step = job("step-build").unwrap();
            assert_eq!(
                (step.name.as_deref(), step.role.as_deref()),
                (Some("compile"), Some("step"))
            );
            let ci = step.ci.as_ref().unwrap();
            assert_eq!(ci.step_name.as_deref(), Some("build"));
            assert_eq!(ci.step.as_ref().map(|step| step.started_ns), began);
        }
    }
}
