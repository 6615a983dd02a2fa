//! Containers that somebody attached by hand, from the API server to metrics, log and collector.

use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ephemon_demo::cgroups::Choice;
use ephemon_demo::{Node, NodeOptions};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::support::agent::{Agent, TEXT};
use crate::support::collector::{Collector, Wire};
use crate::support::exposition::Ledger;
use crate::support::process::until;
use crate::support::programs;

/// Nothing here takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_mins(1);

const INFO: &str = "ephemon_debug_container_info";

fn pod(name: &str, labels: &Value) -> Value {
    json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "app",
                "image": "localhost/app:1",
                "command": ["ephemon-workload", "serve"],
            }],
        },
    })
}

fn debugger(name: &str) -> Value {
    json!({
        "name": name,
        "image": "localhost/busybox:1",
        "imagePullPolicy": "Never",
        "targetContainerName": "app",
        "command": ["sh", "-c", "exit 3 # --password=hunter2"],
    })
}

fn agent(node: &Node, scope: &str, collector: &Collector) -> Agent {
    let mut command = Command::new(programs::ephemon());
    command
        .args(["agent", "--debug-containers", scope, "--node-name", node.name(), "--kubeconfig"])
        .arg(node.kubeconfig())
        .args(["--state-dir", &format!("/var/lib/ephemon-{scope}")])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", collector.protocol());
    Agent::launch(&mut command, node.root(), &node.kubepods())
}

fn scrape_until(agent: &Agent, is_so: impl Fn(&Ledger) -> bool) -> Ledger {
    let mut ledger = Ledger::default();
    until(PATIENCE, || {
        ledger = Ledger::default();
        ledger.enter(&agent.get("/metrics", TEXT).body);
        is_so(&ledger).then_some(())
    })
    .unwrap_or_else(|| panic!("in vain: {}\n{}", agent.get("/metrics", TEXT).body, agent.log()));
    ledger
}

fn events(collector: &Collector) -> Vec<LogRecord> {
    let logs = collector.logs().into_iter().flat_map(|request| request.resource_logs);
    let records = logs.flat_map(|logs| logs.scope_logs).flat_map(|scope| scope.log_records);
    records.filter(|record| record.event_name.starts_with("ephemon.debug.")).collect()
}

fn attribute(record: &LogRecord, key: &str) -> Option<Any> {
    let found = record.attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.clone()?.value
}

/// The node and the collector, each served by its own thread.
struct Rig {
    node: Option<Node>,
    stop: Option<oneshot::Sender<Node>>,
    thread: Option<JoinHandle<()>>,
    collector: Collector,
    _runtime: Runtime,
}

impl Rig {
    fn start() -> Self {
        let (node_tx, node_rx) = std::sync::mpsc::channel();
        let (stop, stop_rx) = oneshot::channel::<Node>();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let options = NodeOptions {
                    cgroups: Choice::Scratch,
                    relist: Duration::from_millis(100),
                    ..NodeOptions::new(programs::demo())
                };
                node_tx.send(Node::start(options).await.unwrap()).unwrap();
                if let Ok(node) = stop_rx.await {
                    node.shutdown().await;
                }
            });
        });
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let collector = runtime.block_on(Collector::start(Wire::Http, None));
        let node = Some(node_rx.recv().unwrap());
        Self { node, stop: Some(stop), thread: Some(thread), collector, _runtime: runtime }
    }

    fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let (Some(node), Some(stop)) = (self.node.take(), self.stop.take()) {
            drop(stop.send(node));
        }
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

#[test]
fn what_is_attached_by_hand_is_reported_everywhere_with_all_but_its_arguments() {
    let rig = Rig::start();
    let (node, collector) = (rig.node(), &rig.collector);
    node.create_pod(pod("runner-1", &json!({"actions-ephemeral-runner": "True"}))).unwrap();
    node.create_pod(pod("web-1", &json!({}))).unwrap();
    let selected = agent(node, "selected", collector);
    let whole = agent(node, "node", collector);
    for pod in ["runner-1", "web-1"] {
        node.add_ephemeral("default", pod, &[debugger("debugger-x")]).unwrap();
    }
    let code = "ephemon_debug_container_exit_code";
    let ledger = scrape_until(&whole, |ledger| ledger.all(code).count() == 2);
    let labels = [
        ("pod", "web-1"),
        ("container", "debugger-x"),
        ("image", "localhost/busybox:1"),
        ("target_container", "app"),
        ("command", "sh"),
    ];
    assert_eq!(ledger.with(INFO, &labels).count(), 1, "{ledger:?}");
    assert!(ledger.all(code).all(|(_, value)| (value - 3.0).abs() < f64::EPSILON));
    assert_eq!(ledger.all("ephemon_debug_container_duration_seconds").count(), 2);
    let ledger = scrape_until(&selected, |ledger| ledger.all(code).count() == 1);
    assert_eq!(ledger.with(INFO, &[("pod", "runner-1")]).count(), 1, "{ledger:?}");

    until(PATIENCE, || (events(collector).len() >= 9).then_some(()))
        .unwrap_or_else(|| panic!("{:?}", events(collector)));
    let all = events(collector);
    let ended: Vec<_> =
        all.iter().filter(|record| record.event_name == "ephemon.debug.ended").collect();
    assert_eq!(ended.len(), 3, "one of the selected pod, two of all: {all:?}");
    for record in &ended {
        assert_eq!(attribute(record, "process.exit.code"), Some(Any::IntValue(3)));
        let command = Any::StringValue("sh".to_owned());
        assert_eq!(attribute(record, "ephemon.debug.command"), Some(command));
    }
    let texts = ["a debug container was attached to a pod", "a debug container has ended"];
    let counts = || texts.map(|text| whole.log().matches(text).count());
    until(PATIENCE, || counts().iter().all(|count| *count >= 2).then_some(()));
    assert_eq!(counts(), [2, 2], "{}", whole.log());
    let log = whole.log();
    let shown = format!("{all:?}{log}{}", whole.get("/metrics", TEXT).body);
    assert!(!shown.contains("hunter2"));
    selected.stop();
    whole.stop();
}
