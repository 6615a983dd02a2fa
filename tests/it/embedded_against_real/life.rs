//! The events of two pods' lives: one that is deleted with an ephemeral container in it, one that
//! ends by itself.

use std::fs;

use hyper::Method;
use serde_json::{Value, json};

use super::client::{Client, UNTIL_ASKED, Watch, keys, status_of};
use super::events::{self, aspects, is};
use super::node::Node;
use super::recording::Recording;

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
    events::note("deleted", &events, |text| client.neutral(text), out);
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
    let told = client.exec("completed", "before", &["true"]).await;
    out.note("completed: a command in its init container", client.neutral(&told));
    let log = format!("{}/completed/log?container=main", Client::pods());
    out.note("completed: the log of what waits for it", client.get(&log).await.line());
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
    events::note("completed", &events, |text| client.neutral(text), out);
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

/// Which keys the status of a running pod has.
fn note_form(client: &Client, pod: &Value, out: &mut Recording) {
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
