//! How long a job waits for images that are not on the node, with and without the agent's `--pre-pull`:
//! one job container, three services and two container actions, each with an image of its own, in a
//! registry that takes two seconds for each of an image's two files.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::runner::{Runner, container, job};
use crate::site::Site;
use crate::support::real_node::registry::{REGISTRY, SLOWNESS};

/// Jobs of each kind.
const JOBS: usize = 3;
const SERVICES: usize = 3;
const ACTIONS: usize = 2;
const SOCKET: &str = "/run/containerd/containerd.sock";

pub(crate) fn measure() {
    let Some(site) = Site::start() else { return };
    println!(
        "1 job container, {SERVICES} services, {ACTIONS} actions; the registry takes {} s for each of two files",
        SLOWNESS.as_secs()
    );
    for number in 0..JOBS {
        measured(&site, "without", number);
    }
    let flags = ["--cri-socket", SOCKET, "--pre-pull", "8", "--state-dir", "/run/ephemon-pulls"];
    let agent = site.agent(&flags);
    for number in 0..JOBS {
        measured(&site, "with", number);
    }
    agent.stop();
}

fn measured(site: &Site, kind: &str, number: usize) {
    let name = format!("{kind}-{number}");
    let image = |part: &str| format!("{REGISTRY}/slow/{name}-{part}:1");
    let mut runner: Runner = site.runner(&name);
    let actions: Vec<String> = (0..ACTIONS).map(|of| image(&format!("action-{of}"))).collect();
    runner.expect(1, &actions.iter().map(String::as_str).collect::<Vec<_>>(), "echo");
    let service = |number| {
        let own = json!({"entryPoint": "sleep", "entryPointArgs": ["1000"]});
        container(&image(&format!("service-{number}")), &own)
    };
    let services: Vec<Value> = (0..SERVICES).map(service).collect();
    let began = Instant::now();
    let state = runner.prepare(&job(&image("job"), ""), &services);
    let prepared = began.elapsed();
    let own = json!({"entryPoint": "echo", "entryPointArgs": ["on"]});
    let step = |action: &String| {
        let began = Instant::now();
        let called = runner.call("run_container_step", &container(action, &own), &state);
        assert_eq!((called.code, called.stdout.lines().last()), (0, Some("on")), "{called:?}");
        s(began.elapsed())
    };
    let steps: Vec<String> = actions.iter().map(step).collect();
    println!(
        "{kind} --pre-pull: prepare_job {} s, the actions {} s",
        s(prepared),
        steps.join(" and ")
    );
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
}

fn s(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64())
}
