//! The events of two pods' lives: one that is deleted with an ephemeral container in it, one that
//! ends by itself.
//!
//! A kubelet may publish several changes at once, so what is compared is the order of each aspect's
//! own values, and which aspects change together.

use std::collections::BTreeMap;
use std::fs;

use hyper::Method;
use serde_json::{Value, json};

use super::client::{Client, UNTIL_ASKED, Watch, status_of};
use super::node::Node;
use super::recording::Recording;

/// What an aspect has where the event says nothing of it.
const NOTHING: &str = "-";

pub(super) async fn record(node: &impl Node, client: &Client, out: &mut Recording) {
    deleted(client, out).await;
    completed(node, client, out).await;
    failed(client, out).await;
}

/// Runs until it is deleted; an ephemeral container that does not hear is killed after the grace.
async fn deleted(client: &Client, out: &mut Recording) {
    let (mut watch, mut events) = (open(client, "deleted").await, Vec::new());
    client.create(&client.pod("deleted", UNTIL_ASKED)).await;
    follow(&mut watch, &mut events, |pod| is(pod, "main", "running")).await;
    let deaf = client.container("deaf", "sleep 1000; true");
    client.add("deleted", &json!([deaf])).await;
    follow(&mut watch, &mut events, |pod| is(pod, "deaf", "running")).await;
    note_form(client, &events[events.len() - 1]["object"], out);
    let path = format!("{}/deleted", Client::pods());
    let answer = client.send(Method::DELETE, &path, "application/json", "").await;
    out.note("deleted: answer", answer.line());
    let again = client.send(Method::DELETE, &path, "application/json", "").await;
    out.note("deleted: asked for again", again.line());
    let late = client.add("deleted", &json!([client.container("late", "exit 0")])).await;
    out.note("deleted: a container that comes late", late.line());
    loop {
        let event = watch.next().await.expect("the pod's end");
        events.push(event);
        if events[events.len() - 1]["type"] == "DELETED" {
            break;
        }
    }
    note_events("deleted", client, &events, out);
    out.note("deleted: then", client.get(&path).await.line());
}

/// Ends by itself, after an init container; each step waits until the one before was published.
async fn completed(node: &impl Node, client: &Client, out: &mut Recording) {
    let wait = |file: &str| format!("until [ -e /work/{file} ]; do sleep 0.1; done");
    let mut pod = client.pod("completed", &wait("end"));
    let mut init = pod["spec"]["containers"][0].clone();
    init["name"] = json!("before");
    init["command"] = json!(["sh", "-c", wait("begin")]);
    pod["spec"]["initContainers"] = json!([init]);
    let (mut watch, mut events) = (open(client, "completed").await, Vec::new());
    let pod = client.create(&pod).await;
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let volume = format!("/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~empty-dir/work");
    follow(&mut watch, &mut events, |pod| is(pod, "before", "running")).await;
    fs::write(node.path(&volume).join("begin"), "").unwrap();
    follow(&mut watch, &mut events, |pod| is(pod, "main", "running")).await;
    let mut beside = client.container("beside", &wait("beside"));
    beside["volumeMounts"] = json!([{"name": "work", "mountPath": "/work"}]);
    client.add("completed", &json!([beside])).await;
    follow(&mut watch, &mut events, |pod| is(pod, "beside", "running")).await;
    fs::write(node.path(&volume).join("beside"), "").unwrap();
    follow(&mut watch, &mut events, |pod| is(pod, "beside", "terminated")).await;
    fs::write(node.path(&volume).join("end"), "").unwrap();
    follow(&mut watch, &mut events, |pod| pod["status"]["phase"] == "Succeeded").await;
    note_events("completed", client, &events, out);
    let late = client.add("completed", &json!([client.container("late", "exit 0")])).await;
    out.note("completed: a container that comes late", late.line());
}

/// Its only container fails.
async fn failed(client: &Client, out: &mut Recording) {
    let mut watch = open(client, "failed").await;
    client.create(&client.pod("failed", "exit 3")).await;
    let mut events = Vec::new();
    follow(&mut watch, &mut events, |pod| pod["status"]["phase"] == "Failed").await;
    let last = &events[events.len() - 1]["object"];
    for (aspect, value) in aspects(last) {
        out.note(format!("failed: {aspect}"), client.neutral(&value));
    }
}

async fn open(client: &Client, name: &str) -> Watch {
    let list = client.get(&Client::pods()).await.body;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let query = format!("resourceVersion={version}&fieldSelector=metadata.name%3D{name}");
    client.watch(&query).await
}

/// Takes events until a pod satisfies.
async fn follow(watch: &mut Watch, events: &mut Vec<Value>, enough: impl Fn(&Value) -> bool) {
    loop {
        let event = watch.next().await.expect("the watch goes on");
        let done = enough(&event["object"]);
        events.push(event);
        if done {
            return;
        }
    }
}

fn is(pod: &Value, container: &str, state: &str) -> bool {
    status_of(pod, container).is_some_and(|status| status["state"].get(state).is_some())
}

/// Which keys the status of a running pod has.
fn note_form(client: &Client, pod: &Value, out: &mut Recording) {
    let keys = |value: &Value| {
        let mut keys: Vec<&str> =
            value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        keys.join(" ")
    };
    out.note("status: its keys", keys(&pod["status"]));
    for container in ["main", "deaf"] {
        let status = status_of(pod, container).unwrap();
        out.note(format!("status: keys of {container}"), keys(status));
        let id = status["containerID"].as_str().unwrap_or_default();
        out.note(format!("status: id of {container}"), client.neutral(id));
    }
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    let order: Vec<&str> =
        conditions.iter().map(|condition| condition["type"].as_str().unwrap()).collect();
    out.note("status: conditions", order.join(" "));
    out.note("status: keys of a condition", keys(&conditions[0]));
}

fn note_events(life: &str, client: &Client, events: &[Value], out: &mut Recording) {
    let mut orders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let all: Vec<BTreeMap<String, String>> =
        events.iter().map(|event| aspects(&event["object"])).collect();
    let names: Vec<&String> = all.iter().flat_map(BTreeMap::keys).collect();
    for name in names {
        let mut order: Vec<String> =
            all.iter().map(|of| of.get(name).map_or(NOTHING, String::as_str).to_owned()).collect();
        order.dedup();
        orders.insert(name.clone(), order);
    }
    let mut kinds: Vec<String> =
        events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
    kinds.dedup();
    out.note(format!("{life}: events"), kinds.join(" > "));
    for (aspect, order) in orders {
        out.note(format!("{life}: {aspect}"), client.neutral(&order.join(" > ")));
    }
    let first =
        |enough: &dyn Fn(&Value) -> bool| events.iter().position(|event| enough(&event["object"]));
    let main = first(&|pod| is(pod, "main", "running"));
    let phase = first(&|pod| pod["status"]["phase"] == "Running");
    let ready = first(&|pod| aspects(pod).get("condition Ready").is_some_and(|r| r == "True"));
    let ip = first(&|pod| pod["status"].get("podIP").is_some());
    out.note(format!("{life}: running with its phase"), main == phase);
    out.note(format!("{life}: running with its readiness"), main == ready);
    out.note(format!("{life}: an address not after it runs"), ip <= main);
    let versions: Vec<u64> = events
        .iter()
        .map(|event| &event["object"]["metadata"]["resourceVersion"])
        .map(|version| version.as_str().unwrap().parse().unwrap())
        .collect();
    out.note(format!("{life}: versions rise"), versions.is_sorted_by(|a, b| a < b));
}

/// What an event says of a pod, aspect by aspect.
fn aspects(pod: &Value) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let text = |value: &Value| value.to_string().replace('"', "");
    let metadata = &pod["metadata"];
    for (name, value) in [
        ("phase", &pod["status"]["phase"]),
        ("reason", &pod["status"]["reason"]),
        ("grace", &metadata["deletionGracePeriodSeconds"]),
        ("generation", &metadata["generation"]),
        ("class", &pod["status"]["qosClass"]),
    ] {
        let value = if value.is_null() { NOTHING.to_owned() } else { text(value) };
        all.insert(name.to_owned(), value);
    }
    for condition in pod["status"]["conditions"].as_array().into_iter().flatten() {
        let mut value = text(&condition["status"]);
        for more in ["reason", "message"] {
            if let Some(more) = condition[more].as_str() {
                value = format!("{value} {more}");
            }
        }
        all.insert(format!("condition {}", text(&condition["type"])), value);
    }
    for list in ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"] {
        for status in pod["status"][list].as_array().into_iter().flatten() {
            let name = text(&status["name"]);
            all.insert(format!("{name} ready"), text(&status["ready"]));
            all.insert(format!("{name} started"), text(&status["started"]));
            all.insert(format!("{name} restarts"), text(&status["restartCount"]));
            all.insert(format!("{name} state"), state(&status["state"]));
        }
    }
    all
}

/// `waiting ContainerCreating`, `running`, `terminated 3 Error`.
fn state(state: &Value) -> String {
    let Some((kind, more)) = state.as_object().and_then(|state| state.iter().next()) else {
        return NOTHING.to_owned();
    };
    let code = more["exitCode"].as_i64().map(|code| format!(" {code}")).unwrap_or_default();
    let reason = more["reason"].as_str().map(|reason| format!(" {reason}")).unwrap_or_default();
    format!("{kind}{code}{reason}")
}
