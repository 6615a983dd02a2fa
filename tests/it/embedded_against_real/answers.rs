//! Answers and refusals of the `ephemeralcontainers` subresource.

use hyper::Method;
use serde_json::{Value, json};

use super::client::{Client, NAMESPACE, UNTIL_ASKED, keys, sorted};
use super::recording::Recording;

const STRATEGIC: &str = "application/strategic-merge-patch+json";
const MERGE: &str = "application/merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";

/// The pod that is asked for.
const POD: &str = "subject";

pub(super) async fn record(client: &Client, out: &mut Recording) {
    let made = client.create(&client.pod(POD, UNTIL_ASKED)).await;
    note_form(client, &made, out);
    client.until_running(POD, "main").await;
    additions(client, out).await;
    changes(client, out).await;
    media_types(client, out).await;
    containers(client, out).await;
    // A status that comes between a reading and a writing makes of the writing a conflict.
    client.until_running(POD, "by-json").await;
    versions(client, out).await;
    others(client, out).await;
    // What follows watches the pod, on which nothing happens then.
    client.until_running(POD, "by-put").await;
}

/// What the server makes of a pod.
fn note_form(client: &Client, pod: &Value, out: &mut Recording) {
    for part in ["metadata", "spec", "status"] {
        out.note(format!("pod: keys of {part}"), keys(&pod[part]));
    }
    out.note("pod: container", client.neutral(&sorted(&pod["spec"]["containers"][0])));
}

async fn additions(client: &Client, out: &mut Recording) {
    let mut first = client.container("first", UNTIL_ASKED);
    first["volumeMounts"] = json!([{"name": "work", "mountPath": "/work"}]);
    first["env"] = json!([{"name": "A", "value": "1"}]);
    let answer = client.add(POD, &json!([first])).await;
    out.note("add: answer", answer.line());
    out.note("add: container", client.neutral(&sorted(&list(&answer.body)[0])));
    out.note("add: generation", &answer.body["metadata"]["generation"]);
    let again = client.add(POD, &json!([first])).await;
    out.note("add again: answer", again.line());
    client.until_running(POD, "first").await;
    out.note("add again: version stays", version_stays(client, &first).await);
    let two = [client.container("second", UNTIL_ASKED), client.container("third", UNTIL_ASKED)];
    let answer = client.add(POD, &json!(two)).await;
    out.note("add two: order", names(&answer.body));
    for name in ["second", "third"] {
        client.until_running(POD, name).await;
    }
}

/// Whether the same once more changes nothing. The kubelet may change something in the meantime, but not
/// each time.
async fn version_stays(client: &Client, same: &Value) -> bool {
    let version = |pod: &Value| pod["metadata"]["resourceVersion"].clone();
    for _ in 0..5 {
        let before = client.look(POD).await;
        let after = client.add(POD, &json!([same])).await.body;
        if version(&after) == version(&before) {
            return true;
        }
    }
    false
}

async fn changes(client: &Client, out: &mut Recording) {
    let changed = client.add(POD, &json!([client.container("first", "exit 9")])).await;
    out.note("change: command", client.neutral(&changed.line()));
    let path = Client::ephemeral(POD);
    let one = json!({"spec": {"ephemeralContainers": [client.container("tried", "exit 0")]}});
    let answer = client.send(Method::PATCH, &path, MERGE, &one.to_string()).await;
    out.note("change: a merge patch that leaves out others", client.neutral(&answer.line()));
    let none = json!({"spec": {"ephemeralContainers": null}});
    let answer = client.send(Method::PATCH, &path, MERGE, &none.to_string()).await;
    out.note("change: a merge patch that removes all", client.neutral(&answer.line()));
    let removal = json!([{"$patch": "delete", "name": "first"}]);
    let answer = client.add(POD, &removal).await;
    out.note("change: a strategic removal", client.neutral(&answer.line()));
    let more = json!({"metadata": {"labels": {"more": "yes"}}, "spec": {"priority": 7}});
    let answer = client.send(Method::PATCH, &path, STRATEGIC, &more.to_string()).await;
    out.note("change: something else", answer.line());
    out.note("change: something else is left", sorted(&answer.body["metadata"]["labels"]));
}

async fn media_types(client: &Client, out: &mut Recording) {
    let added = json!({
        "op": "add", "path": "/spec/ephemeralContainers/-",
        "value": client.container("by-json", UNTIL_ASKED),
    });
    let remove = json!([{"op": "remove", "path": "/spec/ephemeralContainers/0"}]);
    let missing = json!([{"op": "remove", "path": "/spec/nothing/7"}]);
    let test = json!([{"op": "test", "path": "/spec/nodeName", "value": "other"}]);
    let unknown = json!([{"op": "turn", "path": "/spec/nodeName", "value": "other"}]);
    let nothing = json!({"spec": {}});
    let cases = [
        ("JSON patch: add", JSON_PATCH, json!([added]).to_string()),
        ("JSON patch: remove", JSON_PATCH, remove.to_string()),
        ("JSON patch: no such path", JSON_PATCH, missing.to_string()),
        ("JSON patch: a test that fails", JSON_PATCH, test.to_string()),
        ("JSON patch: no such operation", JSON_PATCH, unknown.to_string()),
        ("JSON patch: no list", JSON_PATCH, nothing.to_string()),
        ("strategic merge patch: no JSON", STRATEGIC, "{".to_owned()),
        ("strategic merge patch: a list", STRATEGIC, "[]".to_owned()),
        ("merge patch: no JSON", MERGE, "{".to_owned()),
        ("merge patch: nothing", MERGE, nothing.to_string()),
        ("media type: text", "text/plain", nothing.to_string()),
        ("media type: none", "", nothing.to_string()),
        ("media type: JSON", "application/json", nothing.to_string()),
    ];
    for (name, kind, body) in cases {
        let answer = client.send(Method::PATCH, &Client::ephemeral(POD), kind, &body).await;
        out.note(name, client.neutral(&answer.line()));
    }
}

/// One container that is not as it must be, each.
async fn containers(client: &Client, out: &mut Recording) {
    let probe = json!({"exec": {"command": ["true"]}});
    let mount = |more: &Value| {
        let mut mount = json!({"name": "work", "mountPath": "/a"});
        more.as_object().unwrap().iter().for_each(|(key, value)| mount[key] = value.clone());
        json!({"volumeMounts": [mount]})
    };
    let twice = json!([{"name": "work", "mountPath": "/a"}, {"name": "work", "mountPath": "/a"}]);
    let cases = [
        ("ports", json!({"ports": [{"containerPort": 80}]})),
        ("a liveness probe", json!({"livenessProbe": probe})),
        ("a readiness probe", json!({"readinessProbe": probe})),
        ("a startup probe", json!({"startupProbe": probe})),
        ("a lifecycle", json!({"lifecycle": {"preStop": {"exec": {"command": ["true"]}}}})),
        ("resources", json!({"resources": {"limits": {"memory": "1Mi"}}})),
        ("a restart policy", json!({"restartPolicy": "Always"})),
        (
            "a resize policy",
            json!({"resizePolicy": [
            {"resourceName": "cpu", "restartPolicy": "NotRequired"}]}),
        ),
        ("a target that is not there", json!({"targetContainerName": "nope"})),
        ("an ephemeral target", json!({"targetContainerName": "first"})),
        ("a subPath", mount(&json!({"subPath": "b"}))),
        ("a subPathExpr", mount(&json!({"subPathExpr": "b"}))),
        ("an unknown volume", mount(&json!({"name": "nope"}))),
        ("no mount path", mount(&json!({"mountPath": ""}))),
        ("a mount path twice", json!({"volumeMounts": twice})),
        ("no image", json!({"image": ""})),
        ("the name of a container", json!({"name": "main"})),
        ("a bad name", json!({"name": "Bad_Name"})),
        ("a long name", json!({"name": "a".repeat(64)})),
        ("no name", json!({"name": ""})),
        ("a bad pull policy", json!({"imagePullPolicy": "Sometimes"})),
        ("a variable without name", json!({"env": [{"value": "1"}]})),
        ("a number for an image", json!({"name": "typed-1", "image": 5})),
        ("text for a list", json!({"name": "typed-2", "command": "true"})),
        ("an unknown field and a bad name", json!({"name": "B", "colour": "red"})),
    ];
    for (name, more) in cases {
        let mut container = client.container("tried", "exit 0");
        more.as_object().unwrap().iter().for_each(|(key, value)| container[key] = value.clone());
        let answer = client.add(POD, &json!([container])).await;
        out.note(format!("refused: {name}"), client.neutral(&answer.line()));
    }
    let same = client.container("tried", "exit 0");
    let twice = json!([
        {"op": "add", "path": "/spec/ephemeralContainers/-", "value": same},
        {"op": "add", "path": "/spec/ephemeralContainers/-", "value": same},
    ]);
    let path = Client::ephemeral(POD);
    let answer = client.send(Method::PATCH, &path, JSON_PATCH, &twice.to_string()).await;
    out.note("refused: a name twice", client.neutral(&answer.line()));
}

/// Writes that tell which version they are of.
async fn versions(client: &Client, out: &mut Recording) {
    let path = Client::ephemeral(POD);
    let stale = json!({
        "metadata": {"resourceVersion": "1"},
        "spec": {"ephemeralContainers": [client.container("tried", "exit 0")]},
    });
    let answer = client.send(Method::PATCH, &path, STRATEGIC, &stale.to_string()).await;
    out.note("version: a stale patch", client.neutral(&answer.line()));
    let mut whole = client.get(&path).await.body;
    out.note("version: get", client.neutral(&format!("{} {}", whole["kind"], names(&whole))));
    let list = whole["spec"]["ephemeralContainers"].as_array_mut().unwrap();
    list.push(client.container("by-put", UNTIL_ASKED));
    let answer = client.send(Method::PUT, &path, "application/json", &whole.to_string()).await;
    out.note("version: put", client.neutral(&answer.line()));
    out.note("version: put, order", names(&answer.body));
    whole["spec"]["ephemeralContainers"].as_array_mut().unwrap().remove(0);
    let answer = client.send(Method::PUT, &path, "application/json", &whole.to_string()).await;
    out.note("version: a stale put", client.neutral(&answer.line()));
    whole["metadata"]["resourceVersion"] = Value::Null;
    let answer = client.send(Method::PUT, &path, "application/json", &whole.to_string()).await;
    out.note("version: a put without one that removes", client.neutral(&answer.line()));
}

async fn others(client: &Client, out: &mut Recording) {
    let one = json!({"spec": {"ephemeralContainers": [client.container("tried", "exit 0")]}});
    let one = one.to_string();
    let path = Client::ephemeral("nobody");
    let answer = client.send(Method::PATCH, &path, STRATEGIC, &one).await;
    out.note("no such pod: patch", answer.line());
    out.note("no such pod: get", client.get(&path).await.line());
    let path = format!("{}/nobody", Client::pods());
    let answer = client.send(Method::DELETE, &path, "application/json", "").await;
    out.note("no such pod: delete", answer.line());
    let path = "/api/v1/namespaces/elsewhere/pods/subject/ephemeralcontainers";
    let answer = client.send(Method::PATCH, path, STRATEGIC, &one).await;
    out.note("no such namespace: patch", answer.line());
    let pod = client.pod(POD, "exit 0").to_string();
    let answer = client.send(Method::POST, &Client::pods(), "application/json", &pod).await;
    out.note("create: a pod that is there", answer.line());
    let mut pod = client.pod("tried", "exit 0");
    pod["spec"]["ephemeralContainers"] = json!([client.container("early", "exit 0")]);
    let pod = pod.to_string();
    let answer = client.send(Method::POST, &Client::pods(), "application/json", &pod).await;
    out.note("create: with ephemeral containers", client.neutral(&answer.line()));
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/subject/nothing");
    out.note("no such subresource", client.get(&path).await.line());
}

fn list(pod: &Value) -> Vec<Value> {
    pod["spec"]["ephemeralContainers"].as_array().cloned().unwrap_or_default()
}

fn names(pod: &Value) -> String {
    let names: Vec<String> =
        list(pod).iter().map(|c| c["name"].as_str().unwrap_or_default().to_owned()).collect();
    names.join(" ")
}
