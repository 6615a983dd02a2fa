//! What the runtime tells by its events (NRI), with containerd 2 and runc and no other source of exit codes:
//! neither an API server nor a socket that is asked.

use std::time::Duration;

use serde_json::Value;

use crate::support::agent::Agent;
use crate::support::containerd::Containerd;
use crate::support::exposition::Ledger;
use crate::support::kubelet::{Pod, Spec};
use crate::support::node::{Node, PodPlace};
use crate::support::parts::{Part, all_there};
use crate::support::process::{kill, until};
use crate::support::real_node;

const PATIENCE: Duration = Duration::from_mins(2);

/// A container as the agent knows it.
fn known(agent: &Agent, name: &str) -> Option<Value> {
    let state: Value = serde_json::from_str(&agent.get("/debug/state", "*/*").body).unwrap();
    let pods = state["pods"].as_array().unwrap().iter();
    let mut containers = pods.flat_map(|pod| pod["containers"].as_array().unwrap());
    containers.find(|container| container["name"] == name).cloned()
}

fn is_told(container: &Value) -> bool {
    container["sources"].as_array().unwrap().iter().any(|source| source == "nri")
}

/// Waits until the agent shows the code that a container ended with.
fn code_of(agent: &Agent, name: &str) -> f64 {
    let shown = || {
        let mut ledger = Ledger::default();
        agent.scrape_into(&mut ledger);
        ledger.sum("ephemon_container_exit_code", &[("container", name)])
    };
    until(PATIENCE, shown).unwrap_or_else(|| panic!("no code of {name}:\n{}", agent.log()))
}

#[test]
fn starts_ends_and_codes_are_known_by_events_and_a_list_alone() {
    let programs = real_node::folder("containerd", "CONTAINERD");
    let mut parts = vec![Part::WritableCgroups, Part::Built("containerd 2", programs.clone())];
    parts.extend(["runc", "busybox"].map(Part::Program));
    if !all_there(&parts) {
        return;
    }
    let node = Node::new();
    let containerd = Containerd::start_from(&node, Some(programs.join("bin")));
    let cri = containerd.cri();
    let plugins = containerd.plugins_on(&node);
    let agent = Agent::start(&node, &["--nri-socket", &plugins]);
    let pod = Pod::start(&node, &cri, PodPlace::new("ci", "runner-0"));
    let old = pod.run(&cri, &Spec::load("old", "sleep 6000000"));
    until(PATIENCE, || known(&agent, "old").filter(is_told))
        .unwrap_or_else(|| panic!("no event tells of it:\n{}", agent.log()));

    let mut ids = vec![old.id.clone()];
    for code in [0, 3, 7] {
        let name = format!("code-{code}");
        let started = pod.run(&cri, &Spec::new(&name, ["sh", "-c", &format!("exit {code}")]));
        pod.wait(&cri, &started.id);
        assert!((code_of(&agent, &name) - f64::from(code)).abs() < f64::EPSILON, "{name}");
        ids.push(started.id);
    }
    // One whose start fails has no end of its own.
    let missing = pod.run(&cri, &Spec::new("missing", ["/bin/there-is-no-such-file"]));
    assert!(!missing.runs);
    ids.push(missing.id);
    // Its successor is not mistaken for it, and is ended from outside.
    let last = pod.run(&cri, &Spec::load("last", "sleep 6000000"));
    cri.stop_container(&last.id, 0).unwrap();
    assert!((code_of(&agent, "last") - 137.0).abs() < f64::EPSILON);
    ids.push(last.id);
    let mut ledger = Ledger::default();
    agent.scrape_into(&mut ledger);
    assert_eq!(ledger.sum("ephemon_container_exit_code", &[("container", "missing")]), None);
    assert_eq!(ledger.all("ephemon_container_exit_reason_info").count(), 0, "nobody says why");

    // It dies, and another takes its place: what lives goes on, and what ended meanwhile has ended.
    let meanwhile = pod.run(&cri, &Spec::load("meanwhile", "sleep 6000000"));
    until(PATIENCE, || known(&agent, "meanwhile").filter(is_told)).expect("it is known");
    kill(agent.pid());
    drop(agent);
    cri.stop_container(&meanwhile.id, 0).unwrap();
    let agent = Agent::start(&node, &["--nri-socket", &plugins]);
    let old = until(PATIENCE, || known(&agent, "old").filter(is_told)).expect("it is listed");
    assert_eq!(old["ended"], false, "{old}");
    let is_listed = known(&agent, "meanwhile").is_some_and(|it| is_told(&it));
    assert!(!is_listed, "it has ended");
    ids.push(meanwhile.id);
    pod.stop(&cri, &ids);
    agent.stop();
}
