//! Limits that the runtime sets for the agent when it creates a container (NRI), with the real
//! containerd: they are there for the container's first instruction, and whatever becomes of the
//! agent, containers start.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::installed::Installed;
use super::runner::job;
use super::site::{PATIENCE, Site};
use crate::support::agent::Agent;
use crate::support::exposition::Ledger;
use crate::support::process::until;
use crate::support::real_node::NODE;
use crate::support::workflow_images::BUSYBOX;

const LIMITS: &str = "memory=48Mi,cpus=0.5,pids=64";
/// What a container with these limits reads in its cgroup.
const LIMITED: [&str; 3] = ["50331648", "50000", "64"];
/// The paths are those of cgroup version 1, and of version 2.
const READ: &str = "cd /sys/fs/cgroup; \
    cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us pids/pids.max 2> /dev/null || \
    { cat memory.max; cut -d ' ' -f 1 cpu.max; cat pids.max; }";

/// Adds an ephemeral container that asks for limits and reads at once those that it has.
fn read(site: &Site, pod: &str, name: &str, limits: &str) -> Vec<String> {
    // In quotes: a comma would begin the next variable.
    let env = format!("\"EPHEMON_LIMITS={limits}\"");
    let words = ["debug", pod, "-n", site.namespace(), "-c", name, "--env", &env];
    let more = ["--profile=general", "--image", BUSYBOX, "--attach=false", "--quiet"];
    site.kubectl().run(&[&words[..], &more[..], &["--", "sh", "-c", READ]].concat());
    let ended = site.end_of(pod, name);
    let seen = site.kubectl().run(&["logs", pod, "-n", site.namespace(), "-c", name]);
    assert_eq!(ended.0, 0, "{name}: {ended:?} {seen}");
    seen.split_whitespace().map(str::to_owned).collect()
}

/// Creates a pod with an ordinary container that has the variable.
fn pod(site: &Site, name: &str, labels: &Value, script: &str) {
    let own = json!({
        "name": "own", "image": BUSYBOX, "command": ["sh", "-c", script],
        "env": [{"name": "EPHEMON_LIMITS", "value": LIMITS}],
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": site.namespace(), "labels": labels},
        "spec": {"nodeName": NODE, "restartPolicy": "Never", "containers": [own]},
    });
    site.api().create(&pod);
}

fn counted(ledger: &Ledger, result: &str) -> f64 {
    let labels = [("result", result)];
    ledger.sum("ephemon_agent_limits_at_creation_total", &labels).unwrap_or_default()
}

/// Waits until the runtime has taken the agent's plugin.
pub(super) fn until_taken(agent: &Agent) {
    let taken = || {
        let mut ledger = Ledger::default();
        agent.scrape_into(&mut ledger);
        ledger.sum("ephemon_agent_watch_up", &[("watch", "nri")]).filter(|up| *up > 0.0)
    };
    until(PATIENCE, taken).unwrap_or_else(|| panic!("not registered:\n{}", agent.log()));
}

/// A container as the agent knows it.
pub(super) fn container(agent: &Agent, name: &str) -> Option<Value> {
    let state: Value = serde_json::from_str(&agent.get("/debug/state", "*/*").body).ok()?;
    let pods = state["pods"].as_array()?.iter();
    let mut all = pods.filter_map(|pod| pod["containers"].as_array()).flatten();
    all.find(|container| container["name"] == name).cloned()
}

/// The sources that have told the agent of it.
fn told_by(container: &Value) -> impl Iterator<Item = &str> {
    container["sources"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

#[test]
fn limits_are_there_for_the_first_instruction_and_only_where_they_are_asked_for() {
    let Some(site) = Site::alone() else { return };
    // Without `enforce-limits`: the cgroup tree is read only.
    let agent = Installed::apply(&site, "overlays/nri", "");
    agent.scrape_until(|ledger| {
        ledger.sum("ephemon_agent_watch_up", &[("watch", "nri")]).filter(|up| *up > 0.0)
    });
    let runner = site.runner("runner-1");
    assert_eq!(read(&site, "runner-1", "limited", LIMITS), LIMITED, "{}", agent.log());
    let least = ["33554432", "10000", "32"];
    assert_eq!(read(&site, "runner-1", "least", "memory=32Mi,cpus=0.1,pids=32"), least);

    // Without limits is what a container of the same pod has that asks for none.
    let free = read(&site, "runner-1", "free", "");
    assert_ne!(free, LIMITED);
    assert_eq!(read(&site, "runner-1", "small", "memory=16Mi,cpus=0.05,pids=8"), free);
    // Of a pod that is not selected, and an ordinary one of a pod that is.
    site.unguard();
    pod(&site, "stranger", &json!({}), "sleep 1000");
    site.until_status("stranger", "own", |status| status.pointer("/state/running").cloned());
    let unselected = read(&site, "stranger", "unselected", LIMITS);
    pod(&site, "ordinary", &json!({"actions-ephemeral-runner": "True"}), READ);
    assert_eq!(site.end_of("ordinary", "own").0, 0);
    let own = site.kubectl().run(&["logs", "ordinary", "-n", site.namespace()]);
    assert_eq!(own.split_whitespace().collect::<Vec<_>>(), unselected);
    assert!(unselected.iter().zip(LIMITED).all(|(seen, limit)| seen != limit), "{unselected:?}");

    // And by the hook, which asks whether they are in force.
    let called =
        runner.prepare_called(&job(BUSYBOX, "--memory 48m --cpus 0.5 --pids-limit 64"), &[]);
    assert!(called.code == 0 && !called.stdout.contains("are not in force"), "{called:?}");
    let step = runner.script(&called.json()["state"], READ);
    assert_eq!(step.stdout.split_whitespace().collect::<Vec<_>>(), LIMITED, "{step:?}");
    let counts = agent.scrape_until(|ledger| {
        let counts = ["applied", "left", "late"].map(|result| counted(ledger, result));
        (counts[0] >= 3.0).then_some(counts)
    });
    assert_eq!(counts.map(|count| count.to_string()), ["3", "1", "0"], "{}", agent.log());
    assert_eq!(agent.complaints(), Vec::<String>::new());
}

#[test]
fn containers_start_whatever_becomes_of_the_agent_and_it_returns() {
    let Some(site) = Site::alone() else { return };
    let flags = ["--nri-socket", "/var/run/nri/nri.sock", "--state-dir", "/run/ephemon-nri"];
    let agent = site.agent(&flags);
    until_taken(&agent);
    site.runner("runner-1");
    assert_eq!(read(&site, "runner-1", "before", LIMITS), LIMITED, "{}", agent.log());

    // It hangs: the runtime's time limit passes once, and it goes on without.
    let pid = Pid::from_raw(agent.pid()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let free = read(&site, "runner-1", "hanging", LIMITS);
    kill_process(pid, Signal::CONT).unwrap();
    assert_ne!(free, LIMITED);
    until_taken(&agent);
    assert_eq!(read(&site, "runner-1", "again", LIMITS), LIMITED, "{}", agent.log());

    // The runtime is upgraded.
    site.node.stop_containerd();
    site.node.start_containerd();
    until_taken(&agent);
    assert_eq!(read(&site, "runner-1", "upgraded", LIMITS), LIMITED, "{}", agent.log());
    // The runner lived on meanwhile, and the runtime lists it to its plugin.
    let listed = || container(&agent, "runner").filter(|it| told_by(it).any(|by| by == "nri"));
    let runner = until(PATIENCE, listed).unwrap_or_else(|| panic!("{}", agent.log()));
    assert_eq!(runner["ended"], false, "{runner}");

    crate::support::process::kill(agent.pid());
    drop(agent);
    assert_eq!(read(&site, "runner-1", "without", LIMITS), free);
}
