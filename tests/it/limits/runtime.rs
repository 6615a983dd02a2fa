//! Limits in the cgroups of containerd and runc, which has work of its own to do there first.

use std::path::Path;
use std::process::Command;

use ephemon_cgroup::{Hierarchy, LimitFiles};

use super::{PATIENCE, limits, results};
use crate::support::agent::Agent;
use crate::support::containerd::{Containerd, PARTS};
use crate::support::kubelet::{Pod, Spec};
use crate::support::node::Node;
use crate::support::parts::{all_there, busy};
use crate::support::process::until;
use crate::support::programs;
use crate::support::runner_pod::{NODE, RunnerPod};

/// A limit of one task would keep runc, which has threads, from starting the container, and at the
/// end of its work runc sets `cpu.max` of version 2 to what it was told: to none.
#[test]
fn limits_hold_after_the_runtime_is_done_and_do_not_keep_it_from_its_work() {
    if !all_there(&PARTS) {
        return;
    }
    let _busy = busy();
    let node = Node::new();
    let known = RunnerPod::create("runner-0", node.scratch().join("kubeconfig"));
    let containerd = Containerd::start(&node);
    let cri = containerd.cri();
    let mut command = Command::new(programs::ephemon());
    command
        .args(["agent", "--enforce-limits", "--node-name", NODE, "--kubeconfig"])
        .arg(known.kubeconfig())
        .args(["--log", "info,ephemon_enforcement=debug"]);
    let agent = Agent::launch(&mut command, &node.root(), &node.kubepods());

    let pod = Pod::start(&node, &cri, known.place.clone());
    let mut ids = Vec::new();
    for number in 0..3 {
        let name = format!("job-{number}");
        let spec = Spec::load(&name, "sleep 600000");
        let started = known.run_limited((&pod, &cri), "cpus=0.3,memory=32Mi,pids=1", spec);
        let status = cri.container_status(&started.id);
        assert!(started.runs, "{name} must start under its limits: {status:?}\n{}", agent.log());
        ids.push(started.id);
    }
    results(&agent, "applied", 3.0);
    let hierarchy = Hierarchy::detect(Path::new("/sys/fs/cgroup")).unwrap();
    let base = Path::new(node.cgroups().base()).join(known.place.cgroup());
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
