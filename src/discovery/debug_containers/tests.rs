//! The list, from pods as the API server shows them.

use serde_json::{Value, json};

use super::*;

const UID: &str = "0e269fa4-f505-4963-9096-958063077203";

fn debugger(name: &str) -> Value {
    json!({
        "name": name,
        "image": "busybox:1.36",
        "targetContainerName": "app",
        "command": ["sh -c", "curl -H 'Authorization: Bearer secret' http://x"],
        "env": [{ "name": "PASSWORD", "value": "secret" }],
    })
}

fn pod(uid: &str, containers: &[Value], statuses: &[Value]) -> Pod {
    let manager = json!({
        "manager": "kubectl",
        "operation": "Update",
        "time": "2026-11-29T03:00:00Z",
        "subresource": "ephemeralcontainers",
        "fieldsType": "FieldsV1",
        "fieldsV1": { "f:spec": { "f:ephemeralContainers": {
            ".": {}, "k:{\"name\":\"debugger-x\"}": { ".": {}, "f:image": {} } } } },
    });
    let kubelet = json!({ "manager": "kubelet", "fieldsV1": { "f:status": {} } });
    serde_json::from_value(json!({
        "metadata": {
            "name": "web-1", "namespace": "shop", "uid": uid, "managedFields": [kubelet, manager],
        },
        "spec": { "containers": [], "ephemeralContainers": containers },
        "status": { "ephemeralContainerStatuses": statuses },
    }))
    .unwrap()
}

fn status(state: &Value) -> Value {
    json!({ "name": "debugger-x", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
        "state": state })
}

fn words(list: &DebugContainers) -> Vec<&'static str> {
    list.take_changes().0.iter().map(|(change, _)| change.as_str()).collect()
}

#[test]
fn a_container_that_was_attached_by_hand_is_listed_with_all_but_its_arguments() {
    let list = DebugContainers::default();
    list.apply(&pod(UID, &[debugger("debugger-x")], &[]));
    let shown = list.shown();
    assert_eq!(shown.len(), 1);
    let one = &shown[0];
    assert_eq!(
        (&*one.pod.namespace, &*one.pod.name, &*one.container),
        ("shop", "web-1", "debugger-x")
    );
    assert_eq!((one.image.as_deref(), one.target.as_deref()), (Some("busybox:1.36"), Some("app")));
    assert_eq!(
        (one.command.as_deref(), one.field_manager.as_deref()),
        (Some("sh"), Some("kubectl"))
    );
    assert!(one.attached.is_some() && one.started.is_none());
    assert!(!format!("{one:?}").contains("secret"));
}

#[test]
fn each_change_is_told_once() {
    let list = DebugContainers::default();
    let containers = [debugger("debugger-x")];
    let running = status(&json!({ "running": { "startedAt": "2026-11-29T03:00:02Z" } }));
    let over = status(&json!({ "terminated": { "exitCode": 3, "reason": "Error",
        "startedAt": "2026-11-29T03:00:02Z", "finishedAt": "2026-11-29T03:00:44Z" } }));
    list.apply(&pod(UID, &containers, &[]));
    assert_eq!(words(&list), ["attached"]);
    list.apply(&pod(UID, &containers, &[]));
    list.apply(&pod(UID, &containers, &[running]));
    assert_eq!(words(&list), ["started"]);
    list.apply(&pod(UID, &containers, std::slice::from_ref(&over)));
    list.apply(&pod(UID, &containers, std::slice::from_ref(&over)));
    assert_eq!(words(&list), ["ended"]);
    let one = &list.shown()[0];
    assert_eq!((one.exit_code, one.duration()), (Some(3), Some(Duration::from_secs(42))));
    let late = DebugContainers::default();
    late.apply(&pod(UID, &containers, &[over]));
    assert_eq!(words(&late), ["attached", "started", "ended"], "all of it, by a new agent");
}

#[test]
fn the_hooks_own_are_nobodys_by_hand() {
    let list = DebugContainers::default();
    let mut hooks = debugger("job");
    hooks["env"] = json!([{ "name": ephemon_contract::env::ROLE, "value": "job" }]);
    list.apply(&pod(UID, &[hooks], &[]));
    assert!(list.shown().is_empty() && words(&list).is_empty());
}

#[test]
fn what_is_listed_is_bounded_and_the_deleted_go_first() {
    let list = DebugContainers::default();
    let many: Vec<_> = (0..MAX_LISTED_PER_POD + 5).map(|n| debugger(&format!("d-{n}"))).collect();
    list.apply(&pod(UID, &many, &[]));
    assert_eq!(list.shown().len(), MAX_LISTED_PER_POD);
    assert_eq!(list.take_changes().1, 5);
    list.apply(&pod(UID, &many, &[]));
    assert_eq!(list.take_changes().1, 0, "each is counted once");
    for number in 0..MAX_LISTED {
        let uid = format!("{number:08}-0000-4000-8000-000000000000");
        let mut pod = pod(&uid, &[debugger("d")], &[]);
        pod.metadata.name = Some(format!("p-{number}"));
        list.apply(&pod);
        if number == 100 {
            list.deleted(&PodUid::parse(&uid).unwrap());
        }
    }
    let shown = list.shown();
    assert_eq!(shown.len(), MAX_LISTED);
    assert!(shown.iter().all(|one| &*one.pod.name != "p-100"));
    assert!(list.take_changes().1 > 0);
}

#[test]
fn texts_of_others_are_cut_and_have_no_control_characters() {
    let mut odd = debugger("debugger-x");
    odd["image"] = json!(format!("evil\n\u{1b}[31m{}", "x".repeat(10_000)));
    odd["command"] = json!(["\u{202e}"]);
    odd["targetContainerName"] = json!("../..");
    let list = DebugContainers::default();
    list.apply(&pod(UID, &[odd], &[]));
    let one = list.shown().remove(0);
    assert_eq!(one.image.as_deref().unwrap().len(), 256);
    assert!(one.image.as_deref().unwrap().starts_with("evil[31m"));
    assert_eq!((one.command.as_deref(), one.target.as_deref()), (None, None));
}

fn many(range: std::ops::Range<usize>) -> Vec<Pod> {
    let named = |number: usize| {
        let uid = format!("{number:08}-0000-4000-8000-000000000000");
        let mut pod = pod(&uid, &[debugger("d")], &[]);
        pod.metadata.name = Some(format!("p-{number}"));
        pod
    };
    range.map(named).collect()
}

#[test]
fn of_living_pods_none_goes_for_another_and_none_is_told_twice() {
    let list = DebugContainers::default();
    let pods = many(0..MAX_LISTED + 4);
    for pod in &pods {
        list.apply(pod);
    }
    let (changes, dropped) = list.take_changes();
    assert_eq!((changes.len(), dropped), (MAX_LISTED, 4));
    for pod in &pods {
        list.apply(pod);
    }
    let (changes, dropped) = list.take_changes();
    assert_eq!((changes.len(), dropped), (0, 0), "nothing has changed");
}

#[test]
fn a_pod_that_is_there_again_was_not_deleted() {
    let list = DebugContainers::default();
    let pods = many(0..1);
    list.apply(&pods[0]);
    list.list_complete(&HashSet::new());
    list.apply(&pods[0]);
    assert!(list.state().listed.values().all(|one| one.deleted.is_none()));
}

#[test]
fn the_end_of_a_listed_one_is_seen_beside_many_that_are_over() {
    let over = |name: &str| {
        json!({ "name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "terminated": { "exitCode": 0,
                "startedAt": "2026-11-29T03:00:02Z", "finishedAt": "2026-11-29T03:00:44Z" } } })
    };
    let names: Vec<String> = (0..MAX_LISTED_PER_POD).map(|n| format!("d-{n}")).collect();
    let mut containers: Vec<_> = names.iter().map(|name| debugger(name)).collect();
    let mut statuses: Vec<_> = names.iter().map(|name| over(name)).collect();
    containers.push(debugger("debugger-x"));
    let list = DebugContainers::default();
    list.apply(&pod(UID, &containers, &statuses));
    list.take_changes();
    statuses.push(over("debugger-x"));
    list.apply(&pod(UID, &containers, &statuses));
    let (changes, _) = list.take_changes();
    let ended = |(change, one): &(DebugChange, Arc<DebugContainer>)| {
        *change == DebugChange::Ended && &*one.container == "debugger-x"
    };
    assert!(changes.iter().any(ended), "{changes:?}");
}
