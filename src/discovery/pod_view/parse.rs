//! Converts a pod of the API.

use std::sync::Arc;
use std::time::SystemTime;

use crate::logs::names::{is_label, is_pod_name};
use ephemon_contract::{Limits, LimitsError, env};
use ephemon_model::{ContainerId, ContainerType, Exit, PodRef, PodUid};
use k8s_openapi::api::core::v1::{
    ContainerStateTerminated, ContainerStatus, EphemeralContainer, Pod,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::job::job;
use super::{InvalidField, PodView, Run};
use crate::inventory::SpecEntry;

/// On a static pod's mirror: the UID in its cgroups and logs, which is the hash of the static pod's
/// file, or what the file has as `metadata.uid`.
///
/// Source: kubernetes v1.36.2, `pkg/kubelet/types/constants.go`, `ConfigMirrorAnnotationKey`;
/// `pkg/kubelet/config/common.go`, `applyDefaults`.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Longest reason of a status, and longest name of an image.
const MAX_TEXT: usize = 1024;

impl PodView {
    /// Extracts the used parts; `None` if the pod cannot be identified.
    pub fn of(pod: &Pod) -> (Option<Self>, Vec<InvalidField>) {
        let mut odd = Vec::new();
        let view = reference(pod, &mut odd).map(|pod_ref| Self {
            mirrors: mirrored(pod).filter(|uid| *uid != pod_ref.uid),
            pod: pod_ref,
            spec: spec(pod, &mut odd),
            runs: runs(pod, &mut odd),
        });
        (view, odd)
    }
}

fn reference(pod: &Pod, odd: &mut Vec<InvalidField>) -> Option<PodRef> {
    let meta = &pod.metadata;
    let (name, namespace) = (meta.name.as_deref(), meta.namespace.as_deref());
    let (Some(name), Some(namespace)) =
        (name.filter(|name| is_pod_name(name)), namespace.filter(|namespace| is_label(namespace)))
    else {
        odd.push(InvalidField::Name);
        return None;
    };
    let Some(uid) = meta.uid.as_deref().and_then(|uid| PodUid::parse(uid).ok()) else {
        odd.push(InvalidField::Uid);
        return None;
    };
    Some(PodRef { namespace: namespace.into(), name: name.into(), uid })
}

fn mirrored(pod: &Pod) -> Option<PodUid> {
    PodUid::parse(pod.metadata.annotations.as_ref()?.get(MIRROR)?).ok()
}

fn spec(pod: &Pod, odd: &mut Vec<InvalidField>) -> Vec<SpecEntry> {
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    let containers =
        spec.containers.iter().map(|c| (&c.name, &c.image, ContainerType::Container, None, None));
    let init = spec.init_containers.iter().flatten().map(|c| {
        let container_type = match c.restart_policy.as_deref() {
            Some("Always") => ContainerType::Sidecar,
            _ => ContainerType::Init,
        };
        (&c.name, &c.image, container_type, None, None)
    });
    let ephemeral = spec
        .ephemeral_containers
        .iter()
        .flatten()
        .map(|c| (&c.name, &c.image, ContainerType::Ephemeral, limits(c), job(c)));
    containers
        .chain(init)
        .chain(ephemeral)
        .filter_map(|(name, image, container_type, limits, job)| {
            Some(SpecEntry {
                name: container_name(name, odd)?,
                container_type,
                image: text(image.as_deref()),
                limits,
                job,
            })
        })
        .collect()
}

/// The limits in the container's environment. If a variable is set twice, the kubelet uses the last
/// one.
fn limits(container: &EphemeralContainer) -> Option<Result<Limits, LimitsError>> {
    let mut variables = container.env.iter().flatten();
    let text = variables.rfind(|variable| variable.name == env::LIMITS)?.value.as_deref()?;
    Some(text.parse()).filter(|limits| *limits != Ok(Limits::default()))
}

fn runs(pod: &Pod, odd: &mut Vec<InvalidField>) -> Vec<Run> {
    let Some(status) = &pod.status else {
        return Vec::new();
    };
    let lists = [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ];
    let mut runs = Vec::new();
    for status in lists.into_iter().flatten().flatten() {
        let Some(name) = container_name(&status.name, odd) else {
            continue;
        };
        runs.extend(previous_run(status, &name, odd));
        runs.extend(current_run(status, &name, odd));
    }
    runs
}

fn current_run(
    status: &ContainerStatus,
    name: &Arc<str>,
    odd: &mut Vec<InvalidField>,
) -> Option<Run> {
    let id = container_id(status.container_id.as_deref(), odd)?;
    let state = status.state.as_ref();
    let running = state.and_then(|state| state.running.as_ref());
    // A waiting container may still have the id of the previous run.
    let terminated = state.and_then(|state| state.terminated.as_ref()).filter(|end| {
        end.container_id
            .as_deref()
            .is_none_or(|text| ContainerId::parse_status(text).is_ok_and(|other| other == id))
    });
    Some(Run {
        id,
        name: name.clone(),
        image_id: text(Some(&status.image_id)),
        started: running
            .and_then(|running| time(running.started_at.as_ref()))
            .or_else(|| terminated.and_then(|end| time(end.started_at.as_ref()))),
        finished: terminated.and_then(|end| time(end.finished_at.as_ref())),
        exit: terminated.map(exit),
    })
}

fn previous_run(
    status: &ContainerStatus,
    name: &Arc<str>,
    odd: &mut Vec<InvalidField>,
) -> Option<Run> {
    let end = status.last_state.as_ref()?.terminated.as_ref()?;
    Some(Run {
        id: container_id(end.container_id.as_deref(), odd)?,
        name: name.clone(),
        image_id: None,
        started: time(end.started_at.as_ref()),
        finished: time(end.finished_at.as_ref()),
        exit: Some(exit(end)),
    })
}

fn exit(end: &ContainerStateTerminated) -> Exit {
    Exit { code: end.exit_code, reason: text(end.reason.as_deref()).unwrap_or_default() }
}

fn container_name(name: &str, odd: &mut Vec<InvalidField>) -> Option<Arc<str>> {
    if is_label(name) {
        return Some(name.into());
    }
    odd.push(InvalidField::ContainerName);
    None
}

/// A missing or empty id means that the container has not been created, which is normal.
fn container_id(id: Option<&str>, odd: &mut Vec<InvalidField>) -> Option<ContainerId> {
    let id = id.filter(|id| !id.is_empty())?;
    let parsed = ContainerId::parse_status(id).ok();
    if parsed.is_none() {
        odd.push(InvalidField::ContainerId);
    }
    parsed
}

fn text(text: Option<&str>) -> Option<Arc<str>> {
    let text = text.filter(|text| !text.is_empty())?;
    Some(text.chars().take(MAX_TEXT).collect::<String>().into())
}

/// The API's zero time (year 1, which Go writes for "never") becomes `None`.
fn time(time: Option<&Time>) -> Option<SystemTime> {
    let time = SystemTime::from(time?.0);
    (time > SystemTime::UNIX_EPOCH).then_some(time)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const WATCH: &str = include_str!("../../../tests/it/fixtures/kubernetes-1.36/watch-pods.jsonl");
    const LIST: &str = include_str!("../../../tests/it/fixtures/kubernetes-1.36/pod-list.json");

    fn view(pod: Value) -> (Option<PodView>, Vec<InvalidField>) {
        PodView::of(&serde_json::from_value(pod).unwrap())
    }

    fn recorded() -> Vec<PodView> {
        let events = WATCH.lines().map(|line| {
            let mut event: Value = serde_json::from_str(line).unwrap();
            let (view, odd) = view(event["object"].take());
            assert_eq!(odd, []);
            view.unwrap()
        });
        events.collect()
    }

    fn exits(view: &PodView) -> Vec<(&str, Option<i32>, Option<&str>)> {
        view.runs
            .iter()
            .map(|run| {
                let exit = run.exit.as_ref();
                (&*run.name, exit.map(|exit| exit.code), exit.map(|exit| &*exit.reason))
            })
            .collect()
    }

    #[test]
    fn the_recorded_watch_is_read_from_first_event_to_last() {
        let views = recorded();
        let first = views.first().unwrap();
        assert_eq!(first.runs, []);
        assert_eq!(first.spec.len(), 1);
        let last = views.last().unwrap();
        assert_eq!(&*last.pod.name, "arc-runner-set-x7k2p-runner-b7w5d");
        let types: Vec<_> =
            last.spec.iter().map(|entry| (&*entry.name, entry.container_type)).collect();
        assert_eq!(
            types,
            [
                ("runner", ContainerType::Container),
                ("badimage", ContainerType::Ephemeral),
                ("step-1", ContainerType::Ephemeral),
                ("job", ContainerType::Ephemeral),
            ]
        );
        assert_eq!(
            exits(last),
            [
                ("runner", Some(137), Some("Error")),
                ("job", Some(143), Some("Error")),
                ("step-1", Some(3), Some("Error")),
            ]
        );
        let step = last.runs.last().unwrap();
        assert!(step.started.unwrap() <= step.finished.unwrap());
        assert!(step.image_id.is_some());
    }

    #[test]
    fn a_running_container_has_a_start_and_no_end() {
        let views = recorded();
        let run = views.iter().find_map(|view| view.runs.first()).unwrap();
        assert_eq!(&*run.name, "runner");
        assert!(run.started.is_some());
        assert_eq!((run.finished, run.exit.as_ref()), (None, None));
    }

    #[test]
    fn the_recorded_list_is_read_without_oddities() {
        let mut list: Value = serde_json::from_str(LIST).unwrap();
        let (view, odd) = view(list["items"][0].take());
        let view = view.unwrap();
        assert_eq!(odd, []);
        assert_eq!(view.pod.uid.as_str(), "0e269fa4-f505-4963-9096-958063077203");
        let ephemeral = |entry: &&SpecEntry| entry.container_type == ContainerType::Ephemeral;
        assert!(view.spec.iter().filter(ephemeral).count() > 2);
        assert!(exits(&view).contains(&("oom", Some(137), Some("OOMKilled"))));
    }

    fn pod(uid: &str) -> Value {
        json!({"metadata": {"name": "p", "namespace": "n", "uid": uid}, "spec": {"containers": []}})
    }

    #[test]
    fn sidecars_are_init_containers_that_always_restart() {
        let mut pod = pod("0e269fa4-f505-4963-9096-958063077203");
        pod["spec"]["initContainers"] = json!([
            {"name": "setup"},
            {"name": "proxy", "restartPolicy": "Always"},
            {"name": "other", "restartPolicy": "Never"},
        ]);
        let types: Vec<_> = view(pod).0.unwrap().spec;
        let types: Vec<_> = types.iter().map(|entry| entry.container_type).collect();
        assert_eq!(types, [ContainerType::Init, ContainerType::Sidecar, ContainerType::Init]);
    }

    #[test]
    fn limits_are_taken_from_ephemeral_containers_and_from_no_other() {
        let mut pod = pod("0e269fa4-f505-4963-9096-958063077203");
        let limited = |name: &str, text: &str| {
            let first = json!({"name": "EPHEMON_LIMITS", "value": "pids=1"});
            let last = json!({"name": "EPHEMON_LIMITS", "value": text});
            json!({"name": name, "env": [{"name": "TOKEN", "value": "secret"}, first, last]})
        };
        pod["spec"]["containers"] = json!([limited("runner", "pids=10")]);
        pod["spec"]["initContainers"] = json!([limited("setup", "pids=10")]);
        pod["spec"]["ephemeralContainers"] = json!([
            limited("job", "cpus=1.5,pids=10"),
            limited("none", ""),
            limited("wrong", "pids=all"),
            {"name": "from", "env": [{"name": "EPHEMON_LIMITS", "valueFrom": {}}]},
        ]);
        let spec = view(pod).0.unwrap().spec;
        let limits = |name: &str| {
            spec.iter().find(|entry| &*entry.name == name).and_then(|entry| entry.limits.clone())
        };
        let asked = Limits { cpu_millis: Some(1500), pids: Some(10), ..Limits::default() };
        assert_eq!(limits("job"), Some(Ok(asked)));
        assert!(matches!(limits("wrong"), Some(Err(_))));
        for unlimited in ["runner", "setup", "none", "from"] {
            assert_eq!(limits(unlimited), None, "{unlimited}");
        }
    }

    #[test]
    fn a_restarted_container_tells_of_both_runs() {
        let (old, new) = ("a".repeat(64), "b".repeat(64));
        let mut pod = pod("0e269fa4-f505-4963-9096-958063077203");
        pod["status"] = json!({"containerStatuses": [{
            "name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 1,
            "containerID": format!("cri-o://{new}"),
            "state": {"running": {"startedAt": "2026-11-23T12:19:10Z"}},
            "lastState": {"terminated": {
                "containerID": format!("cri-o://{old}"), "exitCode": 1, "reason": "Error",
                "startedAt": null, "finishedAt": "0001-01-01T00:00:00Z",
            }},
        }]});
        let runs = view(pod).0.unwrap().runs;
        assert_eq!(runs.len(), 2);
        assert_eq!((runs[0].id.as_str(), runs[1].id.as_str()), (&*old, &*new));
        assert_eq!((runs[0].finished, runs[0].exit.as_ref().unwrap().code), (None, 1));
        assert_eq!(runs[1].exit, None);
    }

    #[test]
    fn a_mirror_names_the_static_pods_uid_beside_its_own() {
        let hash = "d4d3ee05e3a7ab4fd9be4e35a8e7c1f0";
        let (own, other) =
            ("0e269fa4-f505-4963-9096-958063077203", "1e269fa4-f505-4963-9096-958063077203");
        let cases =
            [(hash, Some(hash)), (other, Some(other)), (own, None), ("", None), ("../..", None)];
        for (annotation, expected) in cases {
            let mut pod = pod(own);
            pod["metadata"]["annotations"] = json!({MIRROR: annotation});
            let view = view(pod).0.unwrap();
            assert_eq!(view.pod.uid.as_str(), own);
            assert_eq!(view.mirrors.as_ref().map(PodUid::as_str), expected, "{annotation}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_absent_and_told() {
        assert_eq!(view(json!({"metadata": {}})), (None, vec![InvalidField::Name]));
        assert_eq!(view(pod("../..")), (None, vec![InvalidField::Uid]));
        let mut pod = pod("0e269fa4-f505-4963-9096-958063077203");
        pod["spec"]["containers"] = json!([{"name": "a\"b\n"}, {"name": "good"}]);
        pod["status"] = json!({"containerStatuses": [{
            "name": "good", "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "containerID": "docker://short",
        }]});
        let (view, odd) = view(pod);
        let view = view.unwrap();
        assert_eq!((view.spec.len(), view.runs.len()), (1, 0));
        assert_eq!(odd, [InvalidField::ContainerName, InvalidField::ContainerId]);
    }

    proptest! {
        #[test]
        fn any_text_in_any_place_is_taken_without_panic(
            name in any::<String>(),
            uid in any::<String>(),
            id in any::<String>(),
            image in any::<String>(),
        ) {
            let (view, odd) = view(json!({
                "metadata": {"name": name, "namespace": "n", "uid": uid},
                "spec": {"containers": [{"name": name, "image": image}]},
                "status": {"containerStatuses": [{
                    "name": "c", "image": image, "imageID": image, "ready": true,
                    "restartCount": 0, "containerID": id,
                }]},
            }));
            prop_assert_eq!(view.is_none(), odd.iter().any(|o| matches!(o, InvalidField::Uid | InvalidField::Name)));
        }
    }
}
