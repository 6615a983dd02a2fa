//! Limits in the cgroups of containerd and runc, which has work of its own to do there first.

use std::path::Path;
use std::process::Command;

use ephemon_cgroup::{Hierarchy, LimitFiles};
use ephemon_demo::api::{PatchKind, Store};
use serde_json::json;

use super::{PATIENCE, limits, results};
use crate::support::agent::Agent;
use crate::support::api_server::Api;
use crate::support::containerd::Containerd;
use crate::support::kubelet::{Pod, Spec};
use crate::support::node::{Node, PodPlace};
use crate::support::parts::{Part, all_there, alone};
use crate::support::process::until;
use crate::support::programs;

const PARTS: [Part; 5] = [
    Part::WritableCgroups,
    Part::Program("containerd"),
    Part::Program("ctr"),
    Part::Program("runc"),
    Part::Program("busybox"),
];

/// A limit of one task would keep runc, which has threads, from starting the container, and at the
/// end of its work runc sets `cpu.max` of version 2 to what it was told: to none.
#[test]
fn limits_hold_after_the_runtime_is_done_and_do_not_keep_it_from_its_work() {
    if !all_there(&PARTS) {
        return;
    }
    let _alone = alone();
    let node = Node::new();
    let store = Store::new("it", 1000);
    let pod = json!({
        "metadata": {"name": "runner-0", "labels": {"actions-ephemeral-runner": "True"}},
        "spec": {"nodeName": "it", "containers": [{"name": "runner", "image": "runner"}]},
    });
    let created = store.create("ci", pod).unwrap();
    let place = PodPlace {
        namespace: "ci".to_owned(),
        name: "runner-0".to_owned(),
        uid: created["metadata"]["uid"].as_str().unwrap().to_owned(),
    };
    let kubeconfig = node.scratch().join("kubeconfig");
    let _api = Api::serve(store.clone(), &kubeconfig);
    let containerd = Containerd::start(&node);
    let cri = containerd.cri();
    let mut command = Command::new(programs::ephemon());
    command
        .args(["agent", "--enforce-limits", "--node-name", "it", "--kubeconfig"])
        .arg(&kubeconfig)
        .args(["--log", "info,ephemon_enforcement=debug"]);
    let agent = Agent::launch(&mut command, &node.root(), &node.kubepods());

    let pod = Pod::start(&node, &cri, place.clone());
    let key = (place.namespace.clone(), place.name.clone());
    let mut ids = Vec::new();
    for number in 0..3 {
        let name = format!("job-{number}");
        let container = json!({
            "name": name,
            "image": "job",
            "env": [{"name": "EPHEMON_LIMITS", "value": "cpus=0.3,memory=32Mi,pids=1"}],
        });
        let patch = json!({"spec": {"ephemeralContainers": [container]}});
        store.patch_ephemeral(&key, PatchKind::Strategic, &patch).unwrap();
        let started = pod.run(&cri, &Spec::load(&name, "sleep 600000"));
        let status = cri.container_status(&started.id);
        assert!(started.runs, "{name} must start under its limits: {status:?}\n{}", agent.log());
        ids.push(started.id);
    }
    results(&agent, "applied", 3.0);
    let hierarchy = Hierarchy::detect(Path::new("/sys/fs/cgroup")).unwrap();
    let base = Path::new(node.cgroups().base()).join(place.cgroup());
    let wanted = [Some(30_000), Some(32 << 20), Some(1)];
    for id in &ids {
        let files = LimitFiles::at(&hierarchy, &base.join(id));
        // The runtime is done: what it undid at its end is set again, and stays.
        let hold = || (limits(&files.read().unwrap()) == wanted).then_some(());
        until(PATIENCE, hold).unwrap_or_else(|| panic!("{:?}\n{}", files.read(), agent.log()));
    }
    let log = agent.log();
    log.lines().filter(|line| line.contains("limits")).for_each(|line| eprintln!("{line}"));
    pod.stop(&cri, &ids);
    agent.stop();
}
