//! The kubelet stand-in, seen from the node: real processes, cgroups, logs, statuses, accounts.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::Command;
use std::time::Duration;

use ephemon_demo::api::containers;
use ephemon_demo::cgroups::Choice;
use ephemon_demo::{Kind, Node, NodeEvent, NodeOptions, Truth};
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;

use crate::support::process::output;
use crate::support::{programs, verdict};

/// Nothing here takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_mins(1);

async fn node(choice: Choice) -> Option<Node> {
    let options = NodeOptions {
        cgroups: choice,
        relist: Duration::from_millis(100),
        log_removal: Duration::from_millis(100),
        ..NodeOptions::new(programs::demo())
    };
    match Node::start(options).await {
        Ok(node) => Some(node),
        Err(why) => {
            assert_ne!(choice, Choice::Scratch, "a scratch tree works everywhere: {why}");
            eprintln!("skipped for {choice:?}: {why}");
            None
        }
    }
}

fn runner(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"actions-ephemeral-runner": "True"}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "runner",
                "image": "localhost/runner:1",
                "command": ["ephemon-workload", "serve"],
                "resources": {"limits": {"memory": "96Mi"}},
            }],
        },
    })
}

fn ephemeral(name: &str, command: &[&str]) -> Value {
    json!({"name": name, "image": "localhost/step:1", "imagePullPolicy": "Never", "command": command})
}

async fn until<T>(
    events: &mut Receiver<NodeEvent>,
    mut wanted: impl FnMut(NodeEvent) -> Option<T>,
) -> T {
    let search = async {
        loop {
            if let Some(found) = wanted(events.recv().await.unwrap()) {
                return found;
            }
        }
    };
    timeout(PATIENCE, search).await.expect("it never happened")
}

async fn started(events: &mut Receiver<NodeEvent>, name: &str) {
    until(events, |happening| match happening {
        NodeEvent::Started { container, .. } if container == name => Some(()),
        _ => None,
    })
    .await;
}

/// Waits for the ends of as many ephemeral containers.
async fn ends(events: &mut Receiver<NodeEvent>, count: usize) -> BTreeMap<String, Truth> {
    let mut all = BTreeMap::new();
    until(events, |happening| {
        if let NodeEvent::Ended(truth) = happening
            && truth.kind == Kind::Ephemeral
        {
            all.insert(truth.container.clone(), *truth);
        }
        (all.len() == count).then_some(())
    })
    .await;
    all
}

/// Opens the gate for which a container waits once it has as many processes, or in the end at any rate: in a
/// scratch tree its peak is the most that was seen at once, and a busy machine looks seldom.
async fn open_at(count: usize, node: &Node, uid: &str, container: &str, mut gate: &fs::File) {
    let kubepods = node.root().join("sys/fs/cgroup");
    let processes = || {
        let pod = node.pod("default", "r1").unwrap();
        let status = containers::status(&pod, container)?;
        let (_, id) = status["containerID"].as_str()?.split_once("://")?;
        let pods = walk(&kubepods, &format!("pod{uid}")).into_iter();
        let procs = pods.map(|pod| fs::read_to_string(pod.join(id).join("cgroup.procs")));
        procs.filter_map(Result::ok).map(|procs| procs.lines().count()).max()
    };
    let all_there = async {
        while processes().is_none_or(|there| there < count) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE / 2, all_there).await.ok();
    gate.write_all(b"\n").unwrap();
}

fn cpu_ms(truth: &Truth) -> u64 {
    truth.account.figures.cpu_ns.unwrap() / 1_000_000
}

async fn containers_are_run_accounted_and_removed(choice: Choice) {
    let Some(node) = node(choice).await else {
        return;
    };
    let mut events = node.node_events();
    let uid =
        node.create_pod(runner("r1")).unwrap()["metadata"]["uid"].as_str().unwrap().to_owned();
    started(&mut events, "runner").await;
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    output(Command::new("mkfifo").arg(&gate));
    let six = format!("for n in 1 2 3 4 5; do sleep 60 & done; read go < {}", gate.display());
    // With both ends open here, neither waits for the other.
    let gate = fs::File::options().read(true).write(true).open(gate).unwrap();
    let burn = ["ephemon-workload", "burn", "200ms", "+", "say", "3", "line"];
    node.add_ephemeral(
        "default",
        "r1",
        &[
            ephemeral("burn", &burn),
            ephemeral("hold", &["ephemon-workload", "hold", "32", "300ms"]),
            ephemeral("many", &["sh", "-c", &six]),
            ephemeral("three", &["sh", "-c", "sleep 5 & exit 3"]),
            ephemeral("missing", &["/does/not/exist"]),
        ],
    )
    .unwrap();
    let open = open_at(6, &node, &uid, "many", &gate);
    let (ends, ()) = tokio::join!(ends(&mut events, 5), open);
    assert!((200..400).contains(&cpu_ms(&ends["burn"])), "{:?}", ends["burn"]);
    assert_eq!(ends["burn"].account.log_lines, 3);
    if let Some(peak) = ends["hold"].account.figures.memory_peak_bytes {
        assert!(peak >= 32 << 20, "{peak}");
    }
    if let Some(peak) = ends["many"].account.figures.pids_peak {
        assert!(peak >= 6, "{peak}");
    }
    assert_eq!((ends["three"].exit_code, ends["three"].reason), (3, "Error"));
    assert_eq!((ends["missing"].exit_code, ends["missing"].reason), (128, "StartError"));
    assert_eq!(ends["missing"].started_at, None);

    let kubepods = node.root().join("sys/fs/cgroup");
    let pods: Vec<_> = walk(&kubepods, &format!("pod{uid}"));
    assert!(!pods.is_empty(), "the pod's cgroup stands below the node's root");
    for pod in &pods {
        assert!(!pod.join(&ends["burn"].id).exists(), "an ended container's cgroup is gone");
    }
    let log = node.root().join(format!("var/log/pods/default_r1_{uid}/burn/0.log"));
    let log = fs::read_to_string(log).unwrap();
    assert!(log.lines().all(|line| line.contains(" stdout F line ")), "{log}");
    let link = format!("var/log/containers/r1_default_burn-{}.log", ends["burn"].id);
    assert!(node.root().join(link).exists());

    node.delete_pod("default", "r1", None).unwrap();
    until(&mut events, |happening| matches!(happening, NodeEvent::Gone { .. }).then_some(())).await;
    assert!(node.pod("default", "r1").is_err());
    assert!(!node.root().join(format!("var/log/pods/default_r1_{uid}")).exists());
    assert!(walk(&kubepods, &format!("pod{uid}")).is_empty());
    let root = node.root().to_owned();
    node.shutdown().await;
    assert!(!root.exists());
}

/// Directories of a name below the demo's own cgroups.
fn walk(below: &std::path::Path, name: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![(below.to_owned(), 0)];
    while let Some((dir, depth)) = todo.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) || depth > 5 {
                continue;
            }
            if entry.file_name() == name {
                found.push(entry.path());
            } else {
                todo.push((entry.path(), depth + 1));
            }
        }
    }
    found
}

#[tokio::test]
async fn containers_run_in_real_cgroups_version_1() {
    containers_are_run_accounted_and_removed(Choice::V1).await;
}

#[tokio::test]
async fn containers_run_in_real_cgroups_version_2() {
    containers_are_run_accounted_and_removed(Choice::V2).await;
}

#[tokio::test]
async fn containers_run_in_a_scratch_tree() {
    containers_are_run_accounted_and_removed(Choice::Scratch).await;
}

#[tokio::test]
async fn the_kernels_figure_and_the_reapers_agree() {
    for choice in [Choice::V1, Choice::V2, Choice::Scratch] {
        let Some(node) = node(choice).await else {
            continue;
        };
        let mut events = node.node_events();
        node.create_pod(runner("r1")).unwrap();
        started(&mut events, "runner").await;
        let burn = ["ephemon-workload", "burn", "300ms"];
        node.add_ephemeral("default", "r1", &[ephemeral("burn", &burn)]).unwrap();
        let ends = ends(&mut events, 1).await;
        let account = &ends["burn"].account;
        let kernel = Duration::from_nanos(account.figures.cpu_ns.unwrap());
        // The counter also has a process's last steps, after it was reaped. On a busy machine it is
        // charged a tick or two for them; a third is the margin.
        let tick = Duration::from_secs_f64(verdict::TICK);
        assert!(kernel.saturating_sub(account.reaped) < tick * 3, "{account:?}");
        // The reaper also sees what the first process used before it entered the cgroup: on a busy machine
        // more, but less than half of what it burned there. A counter that has lost the burn lacks all of it.
        let before = account.reaped.saturating_sub(kernel);
        assert!(before < Duration::from_millis(150), "{account:?}");
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_container_over_the_pods_limit_is_killed_and_says_so() {
    let Some(node) = node(Choice::Auto).await else {
        return;
    };
    if !node.cgroups().enforces_memory() {
        eprintln!("skipped: {}", node.describe());
        return node.shutdown().await;
    }
    let mut events = node.node_events();
    node.create_pod(runner("r1")).unwrap();
    started(&mut events, "runner").await;
    let eat = ["ephemon-workload", "eat", "512"];
    node.add_ephemeral("default", "r1", &[ephemeral("eat", &eat)]).unwrap();
    let ends = ends(&mut events, 1).await;
    assert_eq!((ends["eat"].exit_code, ends["eat"].reason), (137, "OOMKilled"));
    assert_eq!(ends["eat"].account.figures.oom_kills, Some(1));
    let status = wait_for_status(&node, "eat", "terminated").await;
    assert_eq!(status["reason"], "OOMKilled");
    assert_eq!(node.pod("default", "r1").unwrap()["status"]["phase"], "Running");
    node.shutdown().await;
}

#[tokio::test]
async fn an_image_that_is_not_there_waits_and_holds_up_nobody() {
    let node = node(Choice::Scratch).await.unwrap();
    let mut events = node.node_events();
    node.create_pod(runner("r1")).unwrap();
    started(&mut events, "runner").await;
    let mut absent = ephemeral("absent", &["true"]);
    absent["image"] = json!("registry.example/absent:1");
    node.add_ephemeral("default", "r1", &[absent, ephemeral("next", &["true"])]).unwrap();
    let ends = ends(&mut events, 1).await;
    assert_eq!(ends["next"].exit_code, 0);
    let waiting = wait_for_status(&node, "absent", "waiting").await;
    assert_eq!(waiting["reason"], "ErrImageNeverPull");
    node.shutdown().await;
}

#[tokio::test]
async fn when_the_runner_exits_the_pod_ends_after_its_grace_with_all_states_at_once() {
    let node = node(Choice::Scratch).await.unwrap();
    let mut events = node.node_events();
    let mut pod = runner("r1");
    let scratch = tempfile::tempdir().unwrap();
    let go = scratch.path().join("go");
    let script = format!("until [ -e {} ]; do sleep 0.05; done", go.display());
    pod["spec"]["containers"][0]["command"] = json!(["sh", "-c", script]);
    node.create_pod(pod).unwrap();
    started(&mut events, "runner").await;
    // Without a handler the first process of a container does not hear SIGTERM.
    node.add_ephemeral("default", "r1", &[ephemeral("deaf", &["sleep", "600"])]).unwrap();
    started(&mut events, "deaf").await;
    fs::write(go, "").unwrap();
    let ends = ends(&mut events, 1).await;
    assert_eq!(ends["deaf"].exit_code, 137);
    wait_for_status(&node, "deaf", "terminated").await;
    assert_eq!(node.pod("default", "r1").unwrap()["status"]["phase"], "Succeeded");
    node.shutdown().await;
}

async fn wait_for_status(node: &Node, container: &str, state: &str) -> Value {
    let look = async {
        loop {
            let pod = node.pod("default", "r1").unwrap();
            let found = containers::status(&pod, container)
                .and_then(|status| status["state"].get(state).cloned());
            // Every container waits so at first.
            let found = found.filter(|state| state["reason"] != "ContainerCreating");
            if let Some(found) = found {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, look).await.expect("the status never showed it")
}
