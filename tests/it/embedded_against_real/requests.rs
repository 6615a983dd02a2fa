//! Lists, watches, logs and commands, asked for rightly and wrongly.

use serde_json::{Value, json};

use super::client::{Client, UNTIL_ASKED, keys, until};
use super::recording::Recording;

const POD: &str = "asked";

pub(super) async fn record(client: &Client, out: &mut Recording) {
    client.create(&client.pod(POD, &format!("echo one; echo two; {UNTIL_ASKED}"))).await;
    client.until_running(POD, "main").await;
    lists(client, out).await;
    watches(client, out).await;
    ends(client, out).await;
    let mut absent = client.container("absent", "exit 0");
    absent["image"] = json!("127.0.0.1:9/absent:1");
    absent["imagePullPolicy"] = json!("Never");
    client.add(POD, &json!([client.container("over", "echo over"), absent])).await;
    client.until_over(POD, "over").await;
    let waits = |status: &Value| {
        (status["state"]["waiting"]["reason"] == "ErrImageNeverPull").then_some(())
    };
    client.until_state(POD, "absent", waits).await;
    commands(client, out).await;
    logs(client, out).await;
}

async fn lists(client: &Client, out: &mut Recording) {
    let cases = [
        ("a bad label selector", "labelSelector=a%20b"),
        ("a label selector without a value list", "labelSelector=a%20in%20b"),
        ("a bad label", "labelSelector=-a%3Db"),
        ("an unknown field", "fieldSelector=spec.colour%3Dred"),
        ("a bad field selector", "fieldSelector=metadata.name"),
        ("a version that is no number", "resourceVersion=abc"),
        ("a match without a version", "resourceVersionMatch=Exact"),
        ("a limit that is no number", "limit=abc"),
        ("initial events without a watch", "sendInitialEvents=true"),
    ];
    for (name, query) in cases {
        let answer = client.get(&format!("{}?{query}", Client::pods())).await;
        out.note(format!("list: {name}"), client.neutral(&answer.line()));
    }
    let list = client.get(&Client::pods()).await.body;
    out.note("list: its keys", keys(&list));
    out.note("list: keys of its metadata", keys(&list["metadata"]));
    out.note("list: an item has a kind", list["items"][0]["kind"].is_string());
    let none = client.get("/api/v1/namespaces/elsewhere/pods").await;
    out.note("list: no such namespace", format!("{} {}", none.line(), none.body["items"]));
    let chosen =
        client.get(&format!("{}?fieldSelector=metadata.name%3Dsubject", Client::pods())).await;
    let pods = client.get(&format!("{}?limit=1", Client::pods())).await.body;
    let more = pods["metadata"].get("continue").is_some();
    let count = pods["items"].as_array().map_or(0, Vec::len);
    out.note("list: no more than one", format!("{count}, to be continued: {more}"));
    out.note("list: one by name", chosen.body["items"].as_array().map_or(0, Vec::len));
}

async fn watches(client: &Client, out: &mut Recording) {
    let cases = [
        ("a version that is no number", "resourceVersion=abc"),
        ("initial events without a match", "sendInitialEvents=true"),
        (
            "initial events without bookmarks",
            "sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
        ),
        ("a match without initial events", "resourceVersion=1&resourceVersionMatch=Exact"),
        ("a timeout that is no number", "timeoutSeconds=abc"),
        ("an unknown field", "fieldSelector=spec.colour%3Dred"),
    ];
    for (name, query) in cases {
        // A watch that is taken ends at once.
        let end = if query.contains("timeoutSeconds") { "" } else { "&timeoutSeconds=1" };
        let path = format!("{}?watch=true&{query}{end}", Client::pods());
        let answer = client.get(&path).await;
        out.note(format!("watch: {name}"), client.neutral(&answer.line()));
    }
    let all = "fieldSelector=metadata.name%3Dsubject&allowWatchBookmarks=true";
    let initial = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let mut streamed = client.watch(&format!("{all}&{initial}&timeoutSeconds=60")).await;
    for place in ["first", "second"] {
        let event = streamed.next().await;
        out.note(format!("watch: initial events, the {place}"), form(event.as_ref()));
    }
    let mut plain = client.watch(&format!("{all}&timeoutSeconds=60")).await;
    for place in ["first", "second"] {
        let event = plain.next().await;
        out.note(format!("watch: without a version, the {place}"), form(event.as_ref()));
    }
    let mut zero = client.watch(&format!("{all}&resourceVersion=0&timeoutSeconds=60")).await;
    for place in ["first", "second"] {
        let event = zero.next().await;
        out.note(format!("watch: from version 0, the {place}"), form(event.as_ref()));
    }
}

/// What a watch on which nothing happens has until its time is over.
async fn ends(client: &Client, out: &mut Recording) {
    let list = client.get(&Client::pods()).await.body;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    let quiet = "fieldSelector=metadata.name%3Dno-such-pod&allowWatchBookmarks=true";
    let mut quiet =
        client.watch(&format!("{quiet}&resourceVersion={version}&timeoutSeconds=5")).await;
    // A real server may leave the bookmark out.
    let end = loop {
        let event = quiet.next().await;
        if event.as_ref().is_none_or(|event| event["type"] != "BOOKMARK") {
            break form(event.as_ref());
        }
    };
    out.note("watch: on which nothing happens, its end", end);
}

/// An event's form, without what stands in its object.
fn form(event: Option<&Value>) -> String {
    let Some(event) = event else { return "the end".to_owned() };
    let object = &event["object"];
    if event["type"] != "BOOKMARK" {
        return format!("{} of a {}", event["type"], object["kind"]).replace('"', "");
    }
    let annotations = object["metadata"]["annotations"].to_string();
    let (keys, metadata) = (keys(object), keys(&object["metadata"]));
    format!("BOOKMARK ({keys}) with ({metadata}) and {annotations}")
}

async fn commands(client: &Client, out: &mut Recording) {
    let cases = [
        ("that ends well", POD, "main", &["true"][..]),
        ("that fails", POD, "main", &["sh", "-c", "exit%203"]),
        ("that is not there", POD, "main", &["/does/not/exist"]),
        ("without words", POD, "main", &[]),
        ("in no container of the pod", POD, "nobody", &["true"]),
        ("in a container that is over", POD, "over", &["true"]),
        ("in a container that waits", POD, "absent", &["true"]),
        ("in no pod", "nobody", "main", &["true"]),
    ];
    for (name, pod, container, words) in cases {
        let told = client.exec(pod, container, words).await;
        out.note(format!("command: {name}"), client.neutral(&told));
    }
    let path = format!("{}/{POD}/exec?container=main&command=true&stdout=true", Client::pods());
    out.note("command: without an upgrade", client.neutral(&client.get(&path).await.line()));
}

async fn logs(client: &Client, out: &mut Recording) {
    let cases = [
        ("of no container of the pod", POD, "container=nobody"),
        ("of a container whose image is missing", POD, "container=absent"),
        ("of which container", POD, ""),
        ("of no pod", "nobody", "container=main"),
        ("of a container before", POD, "container=main&previous=true"),
        ("with a bad tail", POD, "container=main&tailLines=-1"),
        (
            "with two beginnings",
            POD,
            "container=main&sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z",
        ),
    ];
    for (name, pod, query) in cases {
        let answer = client.get(&format!("{}/{pod}/log?{query}", Client::pods())).await;
        out.note(format!("log: {name}"), client.neutral(&answer.line()));
    }
    let path = |query: &str| format!("{}/{POD}/log?container=main{query}", Client::pods());
    let whole = until("the log is written", async || {
        let text = client.get(&path("")).await.text;
        (text.lines().count() == 2).then_some(text)
    })
    .await;
    out.note("log: whole", whole);
    for (name, query) in [
        ("with times", "&timestamps=true"),
        ("its last line", "&tailLines=1"),
        ("its first bytes", "&limitBytes=5"),
    ] {
        let text = client.get(&path(query)).await.text;
        out.note(format!("log: {name}"), client.neutral(&text));
    }
    let over = format!("{}/{POD}/log?container=over&follow=true", Client::pods());
    out.note("log: followed to its end", client.get(&over).await.text);
}
