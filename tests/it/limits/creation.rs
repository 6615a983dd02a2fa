//! Limits that the runtime sets for the agent when it creates a container (NRI), with containerd 2
//! and runc and without a kubelet: so they are seen on cgroup v2, too.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::{PATIENCE, Wanted, all_shown, shown};
use crate::support::agent::Agent;
use crate::support::cgroups::is_v2;
use crate::support::containerd::Containerd;
use crate::support::cri::Cri;
use crate::support::exposition::Ledger;
use crate::support::kubelet::{Pod, Spec, Started};
use crate::support::node::Node;
use crate::support::parts::{Part, all_there, busy};
use crate::support::process::until;
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

/// Most attempts at a container for which the agent is in time.
const ATTEMPTS: usize = 5;
/// How long the agent does not wait for what the API server tells of a pod, after it has waited in vain
/// (`STRANGER_FOR` in `src/enforcement/plugin.rs`). It does not show for which pods.
const STRANGER_FOR: Duration = Duration::from_secs(10);

/// A pod whose ephemeral containers ask for limits.
struct Limited<'a> {
    agent: &'a Agent,
    known: &'a RunnerPod,
    node: &'a Node,
    cri: &'a Cri,
    pod: Pod<'a>,
}

// === impl Limited ===

impl Limited<'_> {
    /// Adds an ephemeral container of this name and a number in the API and runs it, as the kubelet does.
    /// Repeated because by design the runtime creates a container without an agent that a busy machine keeps
    /// from its answer, or from what the API server tells; which the agent counts.
    fn add(&self, name: &str, limits: &str, command: &[&str]) -> Started {
        let added = (1..=ATTEMPTS).find_map(|number| {
            let [applied, missed] = self.counted();
            let spec = Spec::new(&format!("{name}-{number}"), command.iter().copied());
            let started = self.known.run_limited((&self.pod, self.cri), limits, spec);
            assert!(started.runs, "{name} must start under its limits");
            let counted = self.counted();
            // Counted before the answer, which a session that ends at that moment does not bring.
            if counted[0] > applied && counted[1] <= missed {
                return Some(started);
            }
            until(PATIENCE, || (self.counted()[1] > missed).then_some(())).unwrap_or_else(|| {
                panic!("{name}: no limits, and none was late:\n{}", self.agent.log())
            });
            // It would go on without limits.
            self.cri.stop_container(&started.id, 0).unwrap();
            self.cri.remove_container(&started.id).unwrap();
            thread::sleep(STRANGER_FOR);
            until_taken(self.agent);
            None
        });
        added.unwrap_or_else(|| panic!("{name}: in time in no attempt:\n{}", self.agent.log()))
    }

    /// How many containers the agent has decided on, and for how many it was not in time; a session that has
    /// ended is one of these, as the runtime ends one in which it gets no answer.
    fn counted(&self) -> [f64; 2] {
        let mut ledger = Ledger::default();
        self.agent.scrape_into(&mut ledger);
        let of = |family, label| ledger.sum(family, &[label]).unwrap_or_default();
        let result = |result| of("ephemon_agent_limits_at_creation_total", ("result", result));
        let ended = of("ephemon_agent_watch_failures_total", ("watch", "nri"));
        [result("applied"), result("late") + result("unknown") + ended]
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

/// Waits until the runtime has taken the agent's plugin.
fn until_taken(agent: &Agent) {
    shown(agent, "ephemon_agent_watch_up", &[("watch", "nri")], |up| up > 0.0);
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
    until_taken(&agent);
    let pod = Pod::start(&node, &cri, known.place.clone());
    // Only a container of the pod shows which limits the kernel has.
    let runner = pod.run(&cri, &Spec::load("runner", "sleep 6000000"));
    shown(&agent, "ephemon_container_info", &[("container", "runner")], |info| info > 0.0);
    let limited = Limited { agent: &agent, known: &known, node: &node, cri: &cri, pod };

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

    let [of_eater, of_bomb, of_busy] =
        [&eater, &bomb, &busy].map(|started| ("container", started.name.as_str()));
    let kills = [("event", "oom_kill"), of_eater];
    let together = [("event", "oom_group_kill"), of_eater];
    let waits = [("resource", "cpu"), of_busy];
    let (hits, throttled) = ([of_bomb], [of_busy]);
    let mut wanted: Vec<Wanted<'_>> = vec![
        ("ephemon_container_memory_events_total", &kills, 1.0),
        ("ephemon_container_tasks_limit_hits_total", &hits, 1.0),
        ("ephemon_container_cpu_cfs_throttled_periods_total", &throttled, 5.0),
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
