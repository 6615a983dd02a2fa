//! The API watch against a server that misbehaves by script. Each request must be the one the
//! script expects next; too few and too many both fail.

#![expect(clippy::string_slice, reason = "the string is the test's own")]

mod script;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ephemon_discovery::api::{Patience, Watch};
use ephemon_discovery::debug_containers::DebugContainer;
use ephemon_discovery::inventory::Verdict;
use ephemon_model::{ContainerId, ContainerType, PodUid};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::support::ports;

const RECORDED_WATCH: &str = include_str!("fixtures/kubernetes-1.36/watch-pods.jsonl");
const RECORDED_LIST: &str = include_str!("fixtures/kubernetes-1.36/pod-list.json");

/// A secret that must not show up anywhere.
const TOKEN: &str = "s3cret-token";

/// A watch that ends before is cut, after is orderly.
const WHOLE_WATCH: Duration = Duration::from_millis(100);

use script::*;

#[tokio::test]
async fn the_recorded_list_and_watch_lead_to_the_recorded_containers() {
    let listed: Value = serde_json::from_str(RECORDED_LIST).unwrap();
    let events: Vec<Value> =
        RECORDED_WATCH.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let first = Box::leak(
        listed["metadata"]["resourceVersion"].as_str().unwrap().to_owned().into_boxed_str(),
    );
    let rig = Rig::start([
        (Ask::List, Reply::Whole(200, listed)),
        (Ask::Watch(first), Reply::Lines(events, End::Orderly)),
        open_watch("930"),
    ])
    .await;
    let pod = PodUid::parse("228a4300-f750-475e-9c0f-a65a1b0c2bfc").unwrap();
    let step = RECORDED_WATCH.split("613cf1b197ff").nth(1).unwrap();
    let id = ContainerId::parse(&format!("613cf1b197ff{}", &step[..52])).unwrap();
    rig.until("the step's exit", |inventory| {
        let facts = inventory.container(&pod, &id);
        facts.is_some_and(|facts| facts.exit.is_some())
    })
    .await;
    let facts = rig.inventory.container(&pod, &id).unwrap();
    assert_eq!(&*facts.name, "step-1");
    assert_eq!(facts.container_type, ContainerType::Ephemeral);
    assert_eq!(facts.image.as_deref(), Some("localhost/busybox:1"));
    assert_eq!(facts.exit.as_ref().unwrap().code, 3);
    assert_eq!(&*rig.inventory.pod(&pod).unwrap().name, "arc-runner-set-x7k2p-runner-b7w5d");
    // Neither names a role of the hook: for a cluster they were attached by hand.
    let debug = rig.debug.shown();
    let is_step = |one: &&Arc<DebugContainer>| one.pod.uid == pod && &*one.container == "step-1";
    let step = debug.iter().find(is_step).unwrap();
    assert_eq!(step.field_manager.as_deref(), Some("Python-urllib"));
    assert_eq!((step.command.as_deref(), step.exit_code), (Some("sh"), Some(3)));
    assert!(step.attached.is_some_and(|at| at <= step.started.unwrap()));
    assert!(step.duration().is_some());
    rig.until_done().await;
    for query in rig.finish() {
        assert!(query.contains("fieldSelector=spec.nodeName%3Dnode1"), "{query}");
        let labels = "labelSelector=actions-ephemeral-runner%3DTrue";
        assert!(query.contains(labels), "{query}");
    }
}

#[tokio::test]
async fn the_first_list_tells_that_it_is_complete() {
    let mut rig = Rig::start([(Ask::List, list("5", &[1])), open_watch("5")]).await;
    (&mut rig.listed).await.unwrap();
    assert_eq!(rig.verdict(1), Verdict::Wanted);
    assert_eq!(rig.verdict(2), Verdict::Open, "may be newer than our watch");
    rig.until_done().await;
    rig.finish();
}

#[tokio::test]
async fn a_list_in_pages_is_put_together() {
    let paged = json!({"resourceVersion": "5", "continue": "more"});
    let mut rig = Rig::start([
        (Ask::List, Reply::Whole(200, pod_list(paged, &[1]))),
        (Ask::Page("more"), list("5", &[2])),
        open_watch("5"),
    ])
    .await;
    (&mut rig.listed).await.unwrap();
    assert_eq!((rig.verdict(1), rig.verdict(2)), (Verdict::Wanted, Verdict::Wanted));
    rig.until_done().await;
    rig.finish();
}

#[tokio::test]
async fn after_410_in_the_stream_pods_are_listed_anew() {
    let gone = event("ERROR", failure(410));
    let rig = Rig::start([
        (Ask::List, list("5", &[1])),
        (Ask::Watch("5"), Reply::Lines(vec![gone], End::Hold)),
        (Ask::List, list("9", &[2])),
        open_watch("9"),
    ])
    .await;
    rig.until("pod 2", |inventory| inventory.pod(&uid(2)).is_some()).await;
    assert_eq!(rig.verdict(1), Verdict::Wanted, "its last figures are to come");
    rig.until_done().await;
    assert!(!rig.log.text().contains("WARN"), "{}", rig.log.text());
    rig.finish();
}

#[tokio::test]
async fn after_410_to_the_watch_itself_pods_are_listed_anew() {
    let rig = Rig::start([
        (Ask::List, list("5", &[])),
        (Ask::Watch("5"), Reply::Whole(410, failure(410))),
        (Ask::List, list("9", &[2])),
        open_watch("9"),
    ])
    .await;
    rig.until("pod 2", |inventory| inventory.pod(&uid(2)).is_some()).await;
    rig.until_done().await;
    rig.finish();
}

#[tokio::test]
async fn after_a_broken_stream_pods_are_listed_anew_and_nothing_is_lost() {
    let added = event("ADDED", pod(2, "6"));
    // A busy machine has even this watch last for a while, which must not make it a whole one.
    let patience = Patience { whole_watch: Duration::from_mins(1), ..PATIENCE };
    let script = [
        (Ask::List, list("5", &[1])),
        (Ask::Watch("5"), Reply::Lines(vec![added], End::Cut)),
        (Ask::List, list("9", &[1, 2, 3])),
        open_watch("9"),
    ];
    let rig = Rig::start_with(patience, script).await;
    rig.until("pod 3", |inventory| inventory.pod(&uid(3)).is_some()).await;
    rig.until_done().await;
    for n in 1..=3 {
        assert_eq!(rig.verdict(n), Verdict::Wanted);
    }
    rig.finish();
}

#[tokio::test]
async fn a_watch_that_ends_in_order_is_taken_up_where_it_was() {
    let lines = vec![
        event("ADDED", pod(2, "6")),
        event(
            "BOOKMARK",
            json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": "8"}}),
        ),
    ];
    let last = event("DELETED", pod(2, "10"));
    let rig = Rig::start([
        (Ask::List, list("5", &[1])),
        (Ask::Watch("5"), Reply::Lines(lines, End::Orderly)),
        (Ask::Watch("8"), Reply::Lines(vec![last], End::Orderly)),
        open_watch("10"),
    ])
    .await;
    rig.until_done().await;
    rig.finish();
}

#[tokio::test]
async fn a_failing_server_is_asked_again_and_everything_stays_open_until_it_answers() {
    let patience = Patience { answer: Duration::from_secs(2), ..PATIENCE };
    let script = [
        (Ask::List, Reply::Whole(500, failure(500))),
        (Ask::List, Reply::Whole(503, failure(503))),
        (Ask::List, Reply::Whole(403, failure(403))),
        (Ask::List, Reply::Whole(401, failure(401))),
        (Ask::List, Reply::Whole(200, json!("no list"))),
        (Ask::List, Reply::Hang),
        (Ask::List, list("5", &[1])),
        open_watch("5"),
    ];
    let mut rig = Rig::start_with(patience, script).await;
    assert_eq!(rig.verdict(1), Verdict::Open);
    (&mut rig.listed).await.unwrap();
    assert_eq!(rig.verdict(1), Verdict::Wanted);
    rig.until_logged("answers again").await;
    let log = rig.log.text();
    for said in [
        "500, refused with 500",
        "503, refused with 503",
        "403, refused with 403; grant the agent's account a ClusterRole",
        "401, refused with 401; the token or client certificate is not accepted",
        "no answer in",
    ] {
        assert!(log.contains(said), "{said} not in {log}");
    }
    rig.until_done().await;
    rig.finish();
}

#[tokio::test]
async fn a_watch_that_is_forbidden_names_the_verb_and_lists_go_on() {
    let rig = Rig::start([
        (Ask::List, list("5", &[1])),
        (Ask::Watch("5"), Reply::Whole(403, failure(403))),
        (Ask::List, list("6", &[1, 2])),
        (Ask::Watch("6"), Reply::Whole(403, failure(403))),
        (Ask::List, list("7", &[1, 2])),
        open_watch("7"),
    ])
    .await;
    rig.until_logged("answers again").await;
    assert_eq!(rig.verdict(2), Verdict::Wanted);
    let log = rig.log.text();
    assert_eq!(log.matches("WARN").count(), 1, "said once: {log}");
    assert!(log.contains("(here `watch` is missing)"), "{log}");
    rig.finish();
}

#[tokio::test]
async fn a_watch_that_falls_silent_is_given_up() {
    let patience = Patience { event: Duration::from_secs(2), ..PATIENCE };
    let script = [
        (Ask::List, list("5", &[1])),
        open_watch("5"),
        (Ask::List, list("6", &[2])),
        open_watch("6"),
    ];
    let rig = Rig::start_with(patience, script).await;
    rig.until("pod 2", |inventory| inventory.pod(&uid(2)).is_some()).await;
    rig.until_done().await;
    rig.finish();
}

#[tokio::test]
async fn one_senseless_pod_costs_no_other() {
    let mut bad = pod(2, "6");
    bad["metadata"]["uid"] = json!("../../etc/passwd");
    let lines = vec![event("ADDED", bad), event("ADDED", pod(3, "7"))];
    let rig = Rig::start([
        (Ask::List, list("5", &[1])),
        (Ask::Watch("5"), Reply::Lines(lines, End::Hold)),
    ])
    .await;
    rig.until("pod 3", |inventory| inventory.pod(&uid(3)).is_some()).await;
    assert!(rig.log.text().contains("invalid UID"));
    rig.finish();
}

#[tokio::test]
async fn what_stands_in_the_way_is_named() {
    for (url, said) in [
        (format!("http://127.0.0.1:{}", ports::free()), "connection refused"),
        ("http://ephemon.invalid:6443".into(), "the node's resolver"),
    ] {
        let rig = Rig::connect(&url, []).await;
        rig.until_logged(said).await;
        assert!(rig.log.text().contains(&format!("cannot list pods at {url}: ")));
        assert_eq!(rig.verdict(1), Verdict::Open);
        rig.finish();
    }
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", plain.local_addr().unwrap());
    let rig = Rig::connect(&url, []).await;
    let (mut stream, _) = plain.accept().await.unwrap();
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    rig.until_logged("check that the server uses TLS").await;
    rig.finish();
}

#[tokio::test]
async fn a_missing_configuration_names_every_way_out() {
    let missing = Path::new("/nonexistent/kubeconfig");
    let error = Watch::connect(options(missing)).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("/nonexistent/kubeconfig") && text.contains("--no-api"), "{text}");
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
        let mut options = options(missing);
        options.kubeconfig = None;
        let text = Watch::connect(options).await.unwrap_err().to_string();
        assert!(text.contains("--kubeconfig FILE"), "{text}");
        assert!(text.contains("service account") && text.contains("--no-api"), "{text}");
    }
}
