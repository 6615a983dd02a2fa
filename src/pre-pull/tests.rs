//! The whole, beside a runtime that is away or says nothing.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc;

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::*;

const UID: &str = "0e269fa4-f505-4963-9096-958063077203";
/// Nothing here takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_mins(1);

fn pod(images: &[&str]) -> Pod {
    let container = |(number, image): (usize, &&str)| json!({"name": format!("c-{number}"), "image": image, "imagePullPolicy": "IfNotPresent"});
    let containers: Vec<_> = images.iter().enumerate().map(container).collect();
    serde_json::from_value(json!({
        "metadata": {"name": "runner-1", "namespace": "ci", "uid": UID},
        "spec": {"containers": [], "ephemeralContainers": containers},
    }))
    .unwrap()
}

/// Runs it at this socket until so many images came to this.
async fn until(socket: &Path, act: impl FnOnce(&AwaitedImages), result: PrePulled, count: u64) {
    let (told, _heard) = mpsc::sync_channel(MAX_TOLD);
    let self_metrics = SelfMetrics::new().unwrap();
    let awaited = AwaitedImages::default();
    let parts = Parts {
        socket: socket.to_owned(),
        most: 8,
        awaited: awaited.clone(),
        told,
        feed: Feed::default(),
        self_metrics: self_metrics.clone(),
    };
    awaited.apply(&pod(&["a:1", "b:1", "not a name"]));
    let running = tokio::spawn(run(parts));
    // Both are asked for, and what is no name is counted.
    while self_metrics.pre_pulled_so_far(PrePulled::Name) < 1 {
        tokio::task::yield_now().await;
    }
    act(&awaited);
    let reached = async {
        while self_metrics.pre_pulled_so_far(result) < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.expect("it is counted");
    assert!(!running.is_finished());
    running.abort();
}

#[tokio::test]
async fn a_runtime_that_is_away_costs_one_attempt_for_each_image() {
    let directory = tempfile::tempdir().unwrap();
    until(&directory.path().join("no.sock"), |_| {}, PrePulled::Unreachable, 2).await;
}

#[tokio::test]
async fn nothing_goes_on_for_a_pod_that_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("hangs.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let gone = |awaited: &AwaitedImages| awaited.deleted(&PodUid::parse(UID).unwrap());
    until(&socket, gone, PrePulled::Cancelled, 2).await;
}
