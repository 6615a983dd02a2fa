//! The hook and the agent on CRI-O with crun: a whole job, exact readings, every line, limits at the
//! creation of containers, the runtime's events, and images that are pulled ahead.

use std::sync::Arc;

use serde_json::json;

use super::cpu::{assert_cpu, ended};
use super::failures::cancel_a_step;
use super::images::play;
use super::installed::complaints;
use super::nri::{
    LATE, OF_LIMITS, container as known, counted_in_time, in_time, sessions, until_taken,
};
use super::runner::{Runner, container, job};
use super::site::{PATIENCE, Site};
use crate::logs::backend::Backend;
use crate::support::agent::Agent;
use crate::support::burn::burn;
use crate::support::collector::Wire;
use crate::support::exposition::Ledger;
use crate::support::process::until;
use crate::support::real_node::registry::REGISTRY;
use crate::support::real_node::{RealNode, Variant};
use crate::support::workflow_images::{BUSYBOX, GLIBC};

const LIMITS: &str = "--memory 48m --cpus 0.5 --pids-limit 64";
const READ: &str = "cd /sys/fs/cgroup; \
    cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us pids/pids.max 2> /dev/null || \
    { cat memory.max; cut -d ' ' -f 1 cpu.max; cat pids.max; }";

/// Waits for a figure of the agent.
fn figure<T>(agent: &Agent, satisfied: impl Fn(&Ledger) -> Option<T>) -> T {
    let scraped = || {
        let mut ledger = Ledger::default();
        agent.scrape_into(&mut ledger);
        satisfied(&ledger)
    };
    until(PATIENCE, scraped).unwrap_or_else(|| panic!("not in the metrics:\n{}", agent.log()))
}

/// Has a container burn for so long, and compares its own counter with what the agent shows; its name.
fn burn_in_time(site: &Site, agent: &Agent, pod: &Runner, seconds: u64) -> String {
    in_time(agent, |attempt| {
        let before = sessions(agent);
        let name = format!("burn-{seconds}-{attempt}");
        let words = ["debug", &pod.name, "-n", site.namespace(), "-c", &name, "--image", BUSYBOX];
        let more = ["--profile=general", "--attach=false", "--quiet", "--", "sh", "-c"];
        let script = burn(seconds);
        site.kubectl().run(&[&words[..], &more[..], &[script.as_str()]].concat());
        assert_eq!(site.end_of(&pod.name, &name).0, 0);
        let own = site.log_of_ended(pod, &name).trim().parse::<f64>().unwrap() / 1e9;
        let (shown, quality) = figure(agent, |ledger| ended(ledger, &name));
        assert_cpu(&name, &quality, own, shown);
        let is_told = || {
            let container = known(agent, &name)?;
            let told = container["sources"].as_array()?;
            ["api", "cri", "nri"].iter().all(|by| told.iter().any(|told| told == by)).then_some(())
        };
        // What happens between two sessions the runtime never tells.
        let settled = || is_told().map(|()| true).or((sessions(agent) > before).then_some(false));
        let is_told = until(PATIENCE, settled);
        is_told.unwrap_or_else(|| panic!("{:?}", known(agent, &name))).then_some(name)
    })
}

/// One node for all of it: it takes longer to come up than a job.
#[test]
fn a_job_is_played_and_watched_on_cri_o_with_crun() {
    let Some(node) = RealNode::start(Variant::CriO) else { return };
    let site = Site::on(Arc::new(node));
    let collector = Backend::start_on(site.node.gateway(), Wire::Http);
    let socket = site.node.socket();
    let flags =
        ["--cri-socket", socket, "--nri-socket", "/var/run/nri/nri.sock", "--pre-pull", "8"];
    let state = ["--state-dir", "/run/ephemon-cri-o"];
    let agent = site.agent_to(&collector.endpoint(), &[&flags[..], &state[..]].concat());
    until_taken(&agent);

    play(&site, &site.runner("runner-1"), BUSYBOX, false);
    play(&site, &site.runner("runner-2"), GLIBC, false);

    // A cancelled step, in a container with limits that the runtime has set.
    let (runner, prepared) = counted_in_time(&agent, (OF_LIMITS, "applied"), |attempt| {
        let runner = site.runner(&format!("runner-3-{attempt}"));
        let prepared = runner.prepare_called(&job(BUSYBOX, LIMITS), &[]);
        assert_eq!(prepared.code, 0, "{prepared:?}");
        (!prepared.stdout.contains("are not in force")).then_some((runner, prepared))
    });
    assert!(!prepared.stdout.contains("::warning::"), "{prepared:?}");
    let state = prepared.json()["state"].clone();
    let limits = runner.script(&state, READ);
    let seen: Vec<&str> = limits.stdout.split_whitespace().collect();
    assert_eq!(seen, ["50331648", "50000", "64"], "{limits:?}");
    cancel_a_step(&runner, &state, "");
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);

    // The kernel's own counters, short and long, and every line.
    let [short, _long] = [1, 5].map(|seconds| burn_in_time(&site, &agent, &runner, seconds));
    let exits = figure(&agent, |ledger| {
        ledger.sum("ephemon_container_exit_code", &[("container", &short)])
    });
    assert!(exits.abs() < f64::EPSILON, "{exits}");
    let network = figure(&agent, |ledger| {
        ledger.sum("ephemon_pod_network_transmit_packets_total", &[("pod", &runner.name)])
    });
    assert!(network > 0.0, "the pod's network is that of its first container");

    // Images that are not on the node: each is asked for before any is given.
    let runner = site.runner("runner-4");
    let group = format!("crio-{:08x}", fastrand::u32(..));
    let image = |name: &str| format!("{REGISTRY}/meet/2/{group}/{name}:1");
    let own = json!({"entryPoint": "sleep", "entryPointArgs": ["1000"]});
    let state = runner.prepare(&job(&image("job"), ""), &[container(&image("service"), &own)]);
    assert_eq!(runner.script(&state, "cat /name").stdout, format!("{group}-job"));
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);

    let lines = || {
        let lines = collector.lines();
        let has = |text: &str| lines.iter().any(|line| line.body == text);
        (has("of the job") && has("ünïcode") && has("tidied")).then_some(())
    };
    until(PATIENCE, lines).unwrap_or_else(|| panic!("{:?}\n{}", collector.lines(), agent.log()));
    let mut complaints = complaints(|| agent.log(), site.namespace());
    complaints.retain(|line| !line.contains(LATE));
    assert_eq!(complaints, Vec::<String>::new());
}
