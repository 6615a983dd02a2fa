//! The API stand-in against recordings of a real Kubernetes 1.36.2 API server.

mod client;

use std::fs;
use std::path::Path;
use std::time::Duration;

use ephemon_demo::api::{ApiServer, Fault, Store};
use hyper::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

use client::{Watch, ask, get};

const STRATEGIC: &str = "application/strategic-merge-patch+json";
const MERGE: &str = "application/merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
const RUNNER: &str = "/api/v1/namespaces/default/pods/arc-runner-set-x7k2p-runner-9qz4m";

fn recorded(name: &str) -> String {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/fixtures/kubernetes-1.36");
    fs::read_to_string(fixtures.join(name)).unwrap()
}

/// The pod as recorded; with nine ephemeral containers.
fn recorded_runner() -> Value {
    let list: Value = serde_json::from_str(&recorded("pod-list.json")).unwrap();
    list["items"][0].clone()
}

async fn server() -> ApiServer {
    ApiServer::start(Store::new("node1", 1000)).await.unwrap()
}

fn pod(name: &str, node: &str, label: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"app": label}},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "localhost/a:1"}]},
    })
}

/// The recorded pod as it stood when the refusals were recorded: before `priv` and `sec`.
async fn with_recorded_runner() -> ApiServer {
    let api = server().await;
    let recorded = recorded_runner();
    let mut pod = recorded.clone();
    let spec = pod["spec"].as_object_mut().unwrap();
    let Some(Value::Array(ephemeral)) = spec.remove("ephemeralContainers") else {
        panic!("the recording has ephemeral containers")
    };
    pod.as_object_mut().unwrap().remove("status");
    let (code, made) =
        ask(&api, Method::POST, "/api/v1/namespaces/default/pods", "application/json", &pod).await;
    assert_eq!(code, 201, "{made}");
    let early = ephemeral.iter().filter(|c| c["name"] != "priv" && c["name"] != "sec");
    for container in early.rev() {
        let patch = json!({"spec": {"ephemeralContainers": [container]}});
        let (code, answer) = patch_ephemeral(&api, STRATEGIC, &patch).await;
        assert_eq!(code, 200, "{answer}");
    }
    api
}

async fn patch_ephemeral(api: &ApiServer, kind: &str, patch: &Value) -> (u16, Value) {
    ask(api, Method::PATCH, &format!("{RUNNER}/ephemeralcontainers"), kind, patch).await
}

/// An ephemeral container with one field more.
fn container(field: &str, value: Value) -> Value {
    let mut container = json!({"name": "new", "image": "localhost/busybox:1", "command": ["sh", "-c", "true"], "imagePullPolicy": "Never"});
    container[field] = value;
    container
}

#[tokio::test]
async fn containers_patched_in_one_by_one_stand_as_recorded() {
    let api = with_recorded_runner().await;
    let (_, pod) = get(&api, RUNNER).await;
    let recorded = recorded_runner();
    let recorded = recorded["spec"]["ephemeralContainers"].as_array().unwrap();
    assert_eq!(pod["spec"]["ephemeralContainers"], json!(recorded[2..]));
    // One at its creation, one for each of the seven.
    assert_eq!(pod["metadata"]["generation"], 8);
}

#[tokio::test]
async fn every_recorded_refusal_is_given_word_for_word() {
    let responses: Value =
        serde_json::from_str(&recorded("ephemeralcontainers-patch-responses.json")).unwrap();
    let job = json!({"name": "job", "image": "localhost/busybox:1", "command": ["different"]});
    let mount = |mount: Value| container("volumeMounts", json!([mount]));
    let probe = json!({"exec": {"command": ["true"]}});
    let cases = [
        ("resources", container("resources", json!({"limits": {"cpu": "1"}}))),
        ("ports", container("ports", json!([{"containerPort": 80}]))),
        ("livenessProbe", container("livenessProbe", probe.clone())),
        ("lifecycle", container("lifecycle", json!({"preStop": probe}))),
        ("restartPolicy", container("restartPolicy", json!("Always"))),
        ("subPath", mount(json!({"name": "work", "mountPath": "/w", "subPath": "x"}))),
        ("unknown-volume", mount(json!({"name": "nope", "mountPath": "/w"}))),
        ("unknown-target", container("targetContainerName", json!("nope"))),
        ("bad-name", container("name", json!("Bad_Name"))),
        ("name-taken-by-container", container("name", json!("runner"))),
        ("empty-image", container("image", json!(""))),
    ];
    let api = with_recorded_runner().await;
    let mut seen = 0;
    let mut check = |name: &str, (code, answer): (u16, Value)| {
        let expected = &responses[name];
        assert_eq!(json!(code), expected["code"], "{name}: {answer}");
        if code != 200 {
            assert_eq!(answer, expected["status"], "{name}");
        }
        seen += 1;
    };
    let added = |container: Value| json!({"spec": {"ephemeralContainers": [container]}});
    for (name, container) in cases {
        check(name, patch_ephemeral(&api, STRATEGIC, &added(container)).await);
    }
    // The recorded request left the first two words of the command as they were.
    let mut changed = job;
    changed["command"] = json!(["sh", "-c", "different"]);
    let answer = patch_ephemeral(&api, STRATEGIC, &added(changed)).await;
    check("duplicate-name-changed-command", answer);
    let replaced = added(container("name", json!("replacing")));
    check("merge-patch-replaces-list", patch_ephemeral(&api, MERGE, &replaced).await);
    let removal = json!([{"op": "remove", "path": "/spec/ephemeralContainers/0"}]);
    check("json-patch-remove", patch_ephemeral(&api, JSON_PATCH, &removal).await);
    let direct = json!({
        "name": "direct",
        "image": "localhost/busybox:1",
        "command": ["sh", "-c", "x"],
        "imagePullPolicy": "Never",
        "volumeMounts": [{"name": "work", "mountPath": "/__w"}],
    });
    let answer = ask(&api, Method::PATCH, RUNNER, STRATEGIC, &added(direct)).await;
    check("spec-directly-on-pod", answer);
    let privileged = container("securityContext", json!({"privileged": true}));
    check("privileged-allowed", patch_ephemeral(&api, STRATEGIC, &added(privileged)).await);
    let mut secret = container("envFrom", json!([{"secretRef": {"name": "nope"}}]));
    secret["name"] = json!("secret");
    check("env-only-secretRef-missing", patch_ephemeral(&api, STRATEGIC, &added(secret)).await);
    assert_eq!(seen, responses.as_object().unwrap().len());
}

#[tokio::test]
async fn a_pods_life_is_watched_in_the_recorded_order() {
    let recording = recorded("watch-pods.jsonl");
    let events: Vec<Value> = recording.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let api = server().await;
    let (_, list) = get(&api, "/api/v1/pods").await;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch = Watch::open(&api, &format!("resourceVersion={version}")).await;
    let first = &events[0]["object"];
    let mut fresh = json!({"metadata": {}, "spec": first["spec"]});
    for field in ["name", "labels", "annotations"] {
        fresh["metadata"][field] = first["metadata"][field].clone();
    }
    let path =
        format!("/api/v1/namespaces/default/pods/{}", first["metadata"]["name"].as_str().unwrap());
    ask(&api, Method::POST, "/api/v1/namespaces/default/pods", "application/json", &fresh).await;
    let mut last_version = version.parse::<u64>().unwrap();
    for event in &events {
        let expected = &event["object"];
        let key = ("default".to_owned(), expected["metadata"]["name"].as_str().unwrap().to_owned());
        // What the client or the kubelet did at this point of the recording.
        let grace = &expected["metadata"]["deletionGracePeriodSeconds"];
        if event["type"] == "MODIFIED" && *grace == 0 {
            // The kubelet's last word makes this event and the `DELETED` after it.
            api.store().remove(&key);
        } else if event["type"] == "MODIFIED" {
            let (_, now) = get(&api, &path).await;
            let spec = expected["spec"]["ephemeralContainers"].as_array();
            let known = now["spec"]["ephemeralContainers"].as_array().map_or(0, Vec::len);
            let more = spec.map_or(0, Vec::len).saturating_sub(known);
            if expected["metadata"]["deletionTimestamp"].is_string()
                && now["metadata"]["deletionTimestamp"].is_null()
            {
                ask(&api, Method::DELETE, &path, "", &Value::Null).await;
            } else if more > 0 {
                let added = json!({"spec": {"ephemeralContainers": spec.unwrap()[..more]}});
                let (code, answer) = ask(
                    &api,
                    Method::PATCH,
                    &format!("{path}/ephemeralcontainers"),
                    STRATEGIC,
                    &added,
                )
                .await;
                assert_eq!(code, 200, "{answer}");
            } else {
                api.store().set_status(&key, expected["status"].clone()).unwrap();
            }
        }
        let seen = watch.next().await.unwrap().expect("an event");
        assert_eq!(seen["type"], event["type"]);
        let metadata = &seen["object"]["metadata"];
        assert_eq!(metadata["generation"], expected["metadata"]["generation"]);
        let names = |pod: &Value| -> Vec<Value> {
            let list = pod["spec"]["ephemeralContainers"].as_array();
            list.into_iter().flatten().map(|c| c["name"].clone()).collect()
        };
        assert_eq!(names(&seen["object"]), names(expected));
        for field in
            expected["metadata"].as_object().unwrap().keys().filter(|f| *f != "managedFields")
        {
            assert!(!metadata[field].is_null(), "metadata.{field} is missing");
        }
        for field in expected["spec"].as_object().unwrap().keys() {
            assert!(!seen["object"]["spec"][field].is_null(), "spec.{field} is missing");
        }
        let version: u64 = metadata["resourceVersion"].as_str().unwrap().parse().unwrap();
        assert!(version > last_version, "versions only grow");
        last_version = version;
    }
}

#[tokio::test]
async fn lists_and_watches_show_what_their_selectors_ask_for() {
    let api = server().await;
    for (name, node, label) in [("a", "node1", "web"), ("b", "node2", "web"), ("c", "node1", "db")]
    {
        api.store().create("default", pod(name, node, label)).unwrap();
    }
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap();
        items.iter().map(|i| i["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let (_, all) = get(&api, "/api/v1/pods").await;
    assert_eq!(names(&all), ["a", "b", "c"]);
    let query = "fieldSelector=spec.nodeName%3Dnode1&labelSelector=app+in+%28web%2Cx%29";
    let (_, some) = get(&api, &format!("/api/v1/pods?{query}")).await;
    assert_eq!(names(&some), ["a"]);
    let (_, other) = get(&api, "/api/v1/namespaces/other/pods").await;
    assert_eq!(names(&other), [""; 0]);
    let (code, status) = get(&api, "/api/v1/pods?fieldSelector=spec.color%3Dred").await;
    assert_eq!((code, status["reason"].as_str()), (400, Some("BadRequest")));

    let mut watch = Watch::open(&api, query).await;
    assert_eq!(watch.kind_and_name().await, ("ADDED".to_owned(), "a".to_owned()));
    let relabel = json!({"metadata": {"labels": {"app": "other"}}});
    ask(&api, Method::PATCH, "/api/v1/namespaces/default/pods/a", MERGE, &relabel).await;
    assert_eq!(watch.kind_and_name().await, ("DELETED".to_owned(), "a".to_owned()));
}

#[tokio::test]
async fn a_streaming_list_ends_its_beginning_with_a_bookmark() {
    let api = server().await;
    api.store().create("default", pod("a", "node1", "web")).unwrap();
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1";
    let mut watch = Watch::open(&api, query).await;
    assert_eq!(watch.kind_and_name().await.0, "ADDED");
    let bookmark = watch.next().await.unwrap().unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    let metadata = &bookmark["object"]["metadata"];
    assert_eq!(metadata["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(
        metadata["resourceVersion"],
        get(&api, "/api/v1/pods").await.1["metadata"]["resourceVersion"]
    );
    // At its end it says once more how far it came.
    let last = watch.next().await.unwrap().unwrap();
    assert_eq!(last["type"], "BOOKMARK");
    assert!(watch.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_version_that_is_forgotten_is_gone_in_the_stream_and_by_status() {
    let api = server().await;
    api.store().create("default", pod("a", "node1", "web")).unwrap();
    let (_, list) = get(&api, "/api/v1/pods").await;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    api.store().create("default", pod("b", "node1", "web")).unwrap();
    api.store().forget_history();
    let mut watch = Watch::open(&api, &format!("resourceVersion={version}")).await;
    let event = watch.next().await.unwrap().unwrap();
    assert_eq!((event["type"].as_str(), &event["object"]["code"]), (Some("ERROR"), &json!(410)));
    assert_eq!(event["object"]["reason"], "Expired");
    assert!(watch.next().await.unwrap().is_none());
    api.faults().set(Fault::Gone);
    let (code, status) =
        get(&api, &format!("/api/v1/pods?watch=1&resourceVersion={version}")).await;
    assert_eq!((code, status["reason"].as_str()), (410, Some("Expired")));
    assert_eq!(get(&api, "/api/v1/pods").await.0, 200);
}

#[tokio::test]
async fn it_fails_on_demand_and_recovers() {
    let mut api = server().await;
    for code in [500, 429, 503] {
        api.faults().set(Fault::Refuse(code));
        let (answered, status) = get(&api, "/version").await;
        assert_eq!((answered, status["kind"].as_str()), (code, Some("Status")));
    }
    api.faults().set(Fault::Hang);
    let hung = timeout(Duration::from_millis(200), get(&api, "/version")).await;
    assert!(hung.is_err(), "{hung:?}");
    api.faults().set(Fault::None);
    let mut watch = Watch::open(&api, "").await;
    api.store().create("default", pod("a", "node1", "web")).unwrap();
    assert_eq!(watch.kind_and_name().await.0, "ADDED");
    api.faults().drop_watches();
    assert!(watch.next().await.is_err(), "a cut stream has no clean end");
    let mut watch = Watch::open(&api, "").await;
    assert_eq!(watch.kind_and_name().await.0, "ADDED");
    api.faults().expire_watches();
    assert_eq!(watch.kind_and_name().await.0, "ERROR");
    let address = api.url().strip_prefix("http://").unwrap().to_owned();
    api.stop();
    let refused = async {
        while TcpStream::connect(&address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_mins(1), refused).await.expect("nobody listens");
    api.restart().await.unwrap();
    assert_eq!(get(&api, "/version").await.1["gitVersion"], "v1.36.2");
}
