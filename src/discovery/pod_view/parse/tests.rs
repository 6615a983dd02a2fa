//! Pods as real API servers send them, and as hostile ones may.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const WATCH: &str = include_str!("../../../../tests/it/fixtures/kubernetes-1.36/watch-pods.jsonl");
const LIST: &str = include_str!("../../../../tests/it/fixtures/kubernetes-1.36/pod-list.json");

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
fn init_is_wanted_where_it_is_asked_for_and_mounted_and_no_command_is_given() {
    let asking = |name: &str, over: Value| {
        let mut one = json!({
            "name": name, "env": [{"name": "EPHEMON_INIT", "value": "[]"}],
            "volumeMounts": [
                {"name": "ephemon-bin", "mountPath": "/ephemon/bin", "readOnly": true},
            ],
        });
        one.as_object_mut().unwrap().extend(over.as_object().unwrap().clone());
        one
    };
    let mounted = |over: Value| {
        let mut mount =
            json!({"name": "ephemon-bin", "mountPath": "/ephemon/bin", "readOnly": true});
        mount.as_object_mut().unwrap().extend(over.as_object().unwrap().clone());
        json!({"volumeMounts": [mount]})
    };
    let pod = json!({
        "metadata": {"name": "r", "namespace": "ci", "uid": "0e269fa4-f505-4963-9096-958063077203"},
        "spec": {
            "containers": [asking("runner", json!({}))],
            "ephemeralContainers": [
                asking("service", json!({})),
                asking("not-asked", json!({"env": [{"name": "OTHER", "value": "[]"}]})),
                asking("commanded", json!({"command": ["sh"]})),
                asking("elsewhere", mounted(json!({"mountPath": "/bin"}))),
                asking("another", mounted(json!({"name": "cache"}))),
                asking("writable", mounted(json!({"readOnly": false}))),
                asking("below", mounted(json!({"subPath": "x"}))),
            ],
        },
    });
    let (view, _) = PodView::of(&serde_json::from_value(pod).unwrap());
    let spec = view.unwrap().spec;
    let wanted = spec.iter().filter(|entry| entry.wants_init).map(|entry| &*entry.name);
    assert_eq!(wanted.collect::<Vec<_>>(), ["service"]);
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
