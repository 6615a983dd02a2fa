//! Limits that the runtime sets for the agent when it creates a container (NRI), with containerd 2
//! and runc and without a kubelet: so they are seen on cgroup v2, too.

use std::fs;
use std::process::Command;

use super::{Wanted, all_shown, shown};
use crate::support::agent::Agent;
use crate::support::cgroups::is_v2;
use crate::support::containerd::Containerd;
use crate::support::cri::Cri;
use crate::support::kubelet::{Pod, Spec, Started};
use crate::support::node::Node;
use crate::support::parts::{Part, all_there, busy};
use crate::support::programs;
use crate::support::real_node;
use crate::support::runner_pod::{NODE, RunnerPod};

const READ_V1: &str = "cd /sys/fs/cgroup; busybox cat memory/memory.limit_in_bytes \
    memory/memory.memsw.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us";
/// Version 1 counts memory and swap together.
const LIMITED_V1: [&str; 5] = ["50331648", "50331648", "64", "50000", "100000"];

const READ_V2: &str =
    "cd /sys/fs/cgroup; busybox cat memory.max memory.swap.max pids.max cpu.max memory.oom.group";
/// The last is the kubelet's, and stays.
const LIMITED_V2: [&str; 6] = ["50331648", "0", "64", "50000", "100000", "1"];

/// A pod whose ephemeral containers ask for limits.
struct Limited<'a> {
    known: &'a RunnerPod,
    node: &'a Node,
    cri: &'a Cri,
    pod: Pod<'a>,
}

// === impl Limited ===

impl Limited<'_> {
    /// Adds an ephemeral container in the API and runs it, as the kubelet does.
    fn add(&self, name: &str, limits: &str, command: &[&str]) -> Started {
        let spec = Spec::new(name, command.iter().copied());
        let started = self.known.run_limited((&self.pod, self.cri), limits, spec);
        assert!(started.runs, "{name} must start under its limits");
        started
    }

    /// The words that a container has written until its end.
    fn said(&self, started: &Started) -> Vec<String> {
        self.pod.wait(self.cri, &started.id);
        let log = self.node.pod_logs(&self.pod.place).join(&started.name).join("0.log");
        let log = fs::read_to_string(log).unwrap();
        let texts = log.lines().filter_map(|line| line.splitn(4, ' ').nth(3));
        texts.flat_map(str::split_whitespace).map(str::to_owned).collect()
    }
}

#[test]
fn limits_that_the_runtime_sets_at_creation_are_enforced_by_the_kernel_and_counted() {
    let containerd = real_node::folder("containerd", "CONTAINERD");
    let mut parts = vec![Part::WritableCgroups, Part::Built("containerd 2", containerd.clone())];
    parts.extend(["runc", "busybox"].map(Part::Program));
    if !all_there(&parts) {
        return;
    }
    let _busy = busy();
    let node = Node::new();
    let known = RunnerPod::create("runner-0", node.scratch().join("kubeconfig"));
    let containerd = Containerd::start_from(&node, Some(containerd.join("bin")));
    let cri = containerd.cri();
    let mut command = Command::new(programs::ephemon());
    command
        .args(["agent", "--node-name", NODE, "--nri-socket", &containerd.plugins_on(&node)])
        .args(["--log", "info,ephemon_enforcement=debug", "--kubeconfig"])
        .arg(known.kubeconfig());
    let agent = Agent::launch(&mut command, &node.root(), &node.kubepods());
    shown(&agent, "ephemon_agent_watch_up", &[("watch", "nri")], |up| up > 0.0);
    let pod = Pod::start(&node, &cri, known.place.clone());
    // Only a container of the pod shows which limits the kernel has.
    let runner = pod.run(&cri, &Spec::load("runner", "sleep 6000000"));
    shown(&agent, "ephemon_container_info", &[("container", "runner")], |info| info > 0.0);
    let limited = Limited { known: &known, node: &node, cri: &cri, pod };

    let (read, expected) =
        if is_v2() { (READ_V2, &LIMITED_V2[..]) } else { (READ_V1, &LIMITED_V1[..]) };
    let reader = limited.add("reader", "memory=48Mi,cpus=0.5,pids=64", &["sh", "-c", read]);
    assert_eq!(limited.said(&reader), expected, "{}", agent.log());

    // The shell outlives its child only where the kernel does not kill all of them. There it waits until the
    // agent has read what the kernel has counted: a busy one comes too late for the end.
    let eats = ["sh", "-c", "load memory 96; load wait /gate/open; exit 7"];
    let eater = limited.add("eater", "memory=48Mi", &eats);
    let forks = ["sh", "-c", "load pids 50; code=$?; load wait /gate/open; exit $code"];
    let bomb = limited.add("bomb", "pids=32", &forks);
    // For as long as it takes: beside others it comes to its quota in few of its periods.
    let busy = limited.add("busy", "cpus=0.1", &["/bin/load", "burn", "6000000"]);

    let kills = [("event", "oom_kill"), ("container", "eater")];
    let together = [("event", "oom_group_kill"), ("container", "eater")];
    let waits = [("resource", "cpu"), ("container", "busy")];
    let mut wanted: Vec<Wanted<'_>> = vec![
        ("ephemon_container_memory_events_total", &kills, 1.0),
        ("ephemon_container_tasks_limit_hits_total", &[("container", "bomb")], 1.0),
        ("ephemon_container_cpu_cfs_throttled_periods_total", &[("container", "busy")], 5.0),
        ("ephemon_agent_limits_at_creation_total", &[("result", "applied")], 4.0),
    ];
    if is_v2() {
        wanted.push(("ephemon_container_memory_events_total", &together, 1.0));
        wanted.push(("ephemon_container_pressure_waiting_seconds_total", &waits, 0.1));
    }
    all_shown(&agent, &wanted);
    limited.pod.open_gate();
    let end = limited.pod.wait(&cri, &eater.id).exit_code;
    assert_eq!(end, if is_v2() { 137 } else { 7 }, "{}", agent.log());
    assert_ne!(limited.pod.wait(&cri, &bomb.id).exit_code, 0);
    let ids = [runner, reader, eater, bomb, busy].map(|started| started.id);
    limited.pod.stop(&cri, &ids);
    agent.stop();
}
