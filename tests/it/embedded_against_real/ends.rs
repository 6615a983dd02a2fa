//! How containers end, and why they wait.

use serde_json::{Value, json};

use super::client::{Client, UNTIL_ASKED, status_of};
use super::recording::Recording;

const POD: &str = "ends";
const WAITING: &str = "waits";

pub(super) async fn record(client: &Client, out: &mut Recording) {
    let mut pod = client.pod(POD, UNTIL_ASKED);
    pod["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": "64Mi"}});
    client.create(&pod).await;
    client.until_running(POD, "main").await;
    let with = |name: &str, more: Value| {
        let mut container = client.container(name, "exit 0");
        more.as_object().unwrap().iter().for_each(|(key, value)| container[key] = value.clone());
        container
    };
    let memory = "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done";
    let over = [
        client.container("well", "exit 0"),
        client.container("three", "exit 3"),
        client.container("term", "sleep 1000 & kill -TERM $!; wait $!"),
        client.container("memory", memory),
        with("no-file", json!({"command": ["/does/not/exist", "a"]})),
        with("no-program", json!({"command": ["does-not-exist"]})),
        with("directory", json!({"command": ["/tmp"]})),
        with("no-directory", json!({"workingDir": "/made/for/it"})),
    ];
    let secret = json!({"secretRef": {"name": "nobody"}});
    let key = json!({"secretKeyRef": {"name": "nobody", "key": "k"}});
    let absent = "127.0.0.1:9/absent:1";
    let waiting = [
        with("no-secret", json!({"envFrom": [secret]})),
        with("no-key", json!({"env": [{"name": "A", "valueFrom": key}]})),
        with("never", json!({"image": absent, "imagePullPolicy": "Never"})),
        with("absent", json!({"image": absent, "imagePullPolicy": "IfNotPresent"})),
        with("bad-image", json!({"image": "no image"})),
    ];
    let optional = with(
        "optional",
        json!({
            "envFrom": [{"secretRef": {"name": "nobody", "optional": true}}],
        }),
    );
    let over = over.iter().chain([&optional]);
    let over: Vec<(&str, &Value)> =
        over.map(|container| (container["name"].as_str().unwrap(), container)).collect();
    for (name, container) in &over {
        client.add(POD, &json!([container])).await;
        client.until_over(POD, name).await;
    }
    // A runtime may hear of a kill for want of memory after the end, and the kubelet reads all again
    // when the next container ends.
    let pod = client.look(POD).await;
    for (name, _) in &over {
        let status = status_of(&pod, name).unwrap();
        out.note(format!("end: {name}"), client.neutral(&end(status)));
    }
    out.note("end: the pod goes on", &pod["status"]["phase"]);
    client.create(&client.pod(WAITING, UNTIL_ASKED)).await;
    client.until_running(WAITING, "main").await;
    // One pod of their own, at once: a kubelet takes its time with a pod that has one of them.
    client.add(WAITING, &json!(waiting)).await;
    for container in &waiting {
        let name = container["name"].as_str().unwrap();
        let last = client.until_state(WAITING, name, settled).await;
        out.note(format!("wait: {name}"), client.neutral(&last));
    }
}

/// Code, reason, message and the two times of an end.
fn end(status: &Value) -> String {
    let ended = &status["state"]["terminated"];
    let text = |key: &str| ended[key].as_str().unwrap_or("-").to_owned();
    let began = if text("startedAt").starts_with("1970") { "never" } else { "once" };
    let order = text("startedAt") <= text("finishedAt");
    let own = ended["containerID"] == status["containerID"];
    format!(
        "{} {} began {began}, times in order: {order}, its id: {own}, message: {}",
        ended["exitCode"],
        text("reason"),
        text("message")
    )
}

/// Reason and message, once the reason is one that a kubelet ends up with.
fn settled(status: &Value) -> Option<String> {
    let waiting = &status["state"]["waiting"];
    let reason = waiting["reason"].as_str()?;
    if ["ContainerCreating", "ErrImagePull"].contains(&reason) {
        return None;
    }
    // What follows is the runtime's own word on the network.
    let message = waiting["message"].as_str().unwrap_or("-");
    let message = message.split(": failed to resolve").next().unwrap_or_default();
    Some(format!("{reason}: {message}"))
}
