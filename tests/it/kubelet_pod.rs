//! The kubelet stand-in's pods from the inside: volumes, hosts file, Secrets, init containers, exec
//! and logs, in every way in which containers come to see their volumes.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ephemon_demo::cgroups::Choice;
use ephemon_demo::{MountMode, Node, NodeEvent, NodeOptions};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::parts::{self, Part};
use crate::support::programs;

/// Nothing here takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_mins(1);

async fn node(mount_mode: MountMode) -> Node {
    let options = NodeOptions {
        cgroups: Choice::Scratch,
        mount_mode: Some(mount_mode),
        relist: Duration::from_millis(100),
        log_removal: Duration::from_millis(100),
        ..NodeOptions::new(programs::demo())
    };
    Node::start(options).await.unwrap()
}

fn pod(init: &[Value]) -> Value {
    let mounts = json!([{"name": "shared", "mountPath": "/shared"}]);
    json!({
        "metadata": {"name": "p"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "volumes": [{"name": "shared", "emptyDir": {}}],
            "initContainers": init,
            "containers": [{
                "name": "runner", "image": "localhost/runner:1",
                "command": ["ephemon-workload", "serve"], "volumeMounts": mounts,
            }],
        },
    })
}

/// A container with the shared volume that runs a line of shell.
fn shell(name: &str, line: &str) -> Value {
    json!({
        "name": name, "image": "localhost/step:1", "command": ["sh", "-c", line],
        "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
    })
}

/// Adds a container and waits for its end; the exit code.
async fn run(node: &Node, container: Value) -> i32 {
    let name = container["name"].as_str().unwrap().to_owned();
    let mut events = node.node_events();
    node.add_ephemeral("default", "p", &[container]).unwrap();
    let end = async {
        loop {
            if let NodeEvent::Ended(truth) = events.recv().await.unwrap()
                && truth.container == name
            {
                return truth.exit_code;
            }
        }
    };
    timeout(PATIENCE, end).await.unwrap_or_else(|_| panic!("{name} does not end"))
}

async fn runs(node: &Node, pod: Value, container: &str) {
    let mut events = node.node_events();
    node.create_pod(pod).unwrap();
    let start = async {
        while !matches!(events.recv().await.unwrap(), NodeEvent::Started { container: c, .. } if c == container)
        {
        }
    };
    timeout(PATIENCE, start).await.unwrap_or_else(|_| panic!("{container} does not start"));
}

fn volume(node: &Node) -> PathBuf {
    let pod = node.pod("default", "p").unwrap();
    let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
    let pods = node.root().join("var/lib/kubelet/pods").join(uid);
    pods.join("volumes/kubernetes.io~empty-dir/shared")
}

fn log(node: &Node, container: &str) -> String {
    let pod = node.pod("default", "p").unwrap();
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let path = format!("var/log/pods/default_p_{uid}/{container}/0.log");
    fs::read_to_string(node.root().join(path)).unwrap()
}

async fn volumes_are_shared(mount_mode: MountMode, needs: &[Part]) {
    if !parts::all_there(needs) {
        return;
    }
    let node = node(mount_mode).await;
    runs(&node, pod(&[]), "runner").await;
    let mut step = shell("one", "cp /etc/hostname \"$TO\" && cd \"$HERE\" && echo seen > from-one");
    step["env"] = json!([
        {"name": "TO", "value": "/shared/hostname"}, {"name": "HERE", "value": "/shared"},
    ]);
    assert_eq!(run(&node, step).await, 0, "{}", log(&node, "one"));
    assert_eq!(fs::read_to_string(volume(&node).join("from-one")).unwrap(), "seen\n");

    let mut exec = node
        .exec("default", "p", "runner", &["cat".into(), "/proc/self/mountinfo".into()])
        .unwrap();
    let mounts = String::from_utf8(exec.output().unwrap().stdout).unwrap();
    assert_eq!(mounts.contains(" /shared "), mount_mode != MountMode::Textual, "{mounts}");
    node.shutdown().await;
}

#[tokio::test]
async fn volumes_are_shared_in_mount_namespaces() {
    volumes_are_shared(MountMode::Namespace, &[Part::MountNamespace]).await;
}

#[tokio::test]
async fn volumes_are_shared_in_user_namespaces() {
    volumes_are_shared(MountMode::UserNamespace, &[Part::UserNamespace]).await;
}

#[tokio::test]
async fn volumes_are_shared_by_words() {
    volumes_are_shared(MountMode::Textual, &[]).await;
}

#[tokio::test]
async fn the_hosts_file_is_shared_and_forgets_at_every_start() {
    if !parts::all_there(&[Part::MountNamespace]) {
        return;
    }
    let node = node(MountMode::Namespace).await;
    runs(&node, pod(&[]), "runner").await;
    let add = shell("add", "echo '127.0.0.1 redis' >> /etc/hosts; grep -c redis /etc/hosts");
    assert_eq!(run(&node, add).await, 0, "{}", log(&node, "add"));
    let look = shell(
        "look",
        "grep -q kubernetes /etc/hosts || grep -qi 'managed hosts' /etc/hosts && ! grep -q redis /etc/hosts",
    );
    assert_eq!(run(&node, look).await, 0, "{}", log(&node, "look"));
    node.shutdown().await;
}

#[tokio::test]
async fn a_secret_reaches_the_environment_and_a_missing_one_is_waited_for() {
    let node = node(MountMode::Textual).await;
    runs(&node, pod(&[]), "runner").await;
    let mut step = shell("needs", "test \"$PASSWORD\" = 'grüße' && test \"$A\" = own");
    step["envFrom"] = json!([{"secretRef": {"name": "s"}}]);
    step["env"] = json!([{"name": "A", "value": "own"}]);
    let secret =
        json!({"metadata": {"name": "s"}, "data": {"PASSWORD": "Z3LDvMOfZQ==", "A": "eA=="}});
    let late = async {
        let waiting = |pod: &Value| {
            let state = pod.pointer("/status/ephemeralContainerStatuses/0/state/waiting");
            state.filter(|state| state["reason"] == "CreateContainerConfigError").cloned()
        };
        let reason = async {
            loop {
                if let Some(waiting) = waiting(&node.pod("default", "p").unwrap()) {
                    return waiting;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waiting = timeout(PATIENCE, reason).await.expect("it waits");
        assert_eq!(waiting["message"], "secret \"s\" not found");
        node.store().secrets().create("default", secret).unwrap();
    };
    let (code, ()) = tokio::join!(run(&node, step), late);
    assert_eq!(code, 0);
    node.shutdown().await;
}

#[tokio::test]
async fn init_containers_come_first_and_one_that_fails_is_the_last() {
    let node = node(MountMode::Textual).await;
    let init = shell("prepare", "echo ready > \"$SHARED\"");
    let init = |code: i32| {
        let mut init = init.clone();
        init["env"] = json!([{"name": "SHARED", "value": "/shared/ready"}]);
        init["command"][2] = json!(format!("echo ready > \"$SHARED\"; exit {code}"));
        init
    };
    runs(&node, pod(&[init(0)]), "runner").await;
    assert_eq!(fs::read_to_string(volume(&node).join("ready")).unwrap(), "ready\n");

    let mut failing = pod(&[init(3)]);
    failing["metadata"]["name"] = json!("q");
    node.create_pod(failing).unwrap();
    let status = async {
        loop {
            let pod = node.pod("default", "q").unwrap();
            let init = pod.pointer("/status/initContainerStatuses/0/state/terminated/exitCode");
            if init == Some(&json!(3)) {
                return pod["status"]["containerStatuses"][0]["state"].clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let runner = timeout(PATIENCE, status).await.expect("it fails");
    assert_eq!(runner, json!({"waiting": {"reason": "PodInitializing"}}));
    node.shutdown().await;
}
