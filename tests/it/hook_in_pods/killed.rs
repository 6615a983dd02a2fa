//! A hook that is killed, as the runner kills one that takes too long, leaves nothing running.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::runner::{container, job};
use super::site::{PATIENCE, Site};
use crate::support::process::until;
use crate::support::real_node::registry::{self, REGISTRY};
use crate::support::workflow_images::{BUSYBOX, TOOL};

/// An image that the registry does not give before this is dropped. Meanwhile the kubelet pulls no other.
struct Held(String);

// === impl Held ===

impl Held {
    /// One that nobody else has asked for.
    fn new() -> Self {
        Self(format!("killed-{:08x}", fastrand::u32(..)))
    }

    /// As a job asks for it.
    fn image(&self) -> String {
        format!("{REGISTRY}/meet/2/{}/job:1", self.0)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        registry::ask(&self.0, "other");
    }
}

#[test]
fn a_prepare_that_is_killed_before_its_containers_start_leaves_none_of_them() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    // Without its image the job's container starts after the cleanup, however slow or fast the machine is.
    let held = Held::new();
    let service = container(TOOL, &json!({"environmentVariables": {"TOOL": "of the service"}}));
    let args = json!({"container": job(&held.image(), ""), "services": [service]});
    let prepare = runner.begin("prepare_job", &args, &Value::Null);
    until(PATIENCE, || {
        let added = &site.pod("runner-1")["spec"]["ephemeralContainers"];
        (!added.is_null()).then_some(())
    })
    .expect("the containers are added");
    prepare.signal(Signal::KILL);
    assert_eq!(prepare.finish().code, 137);

    // The runner has no state of it.
    let cleaned = runner.call("cleanup_job", &json!({}), &Value::Null);
    assert_eq!(cleaned.code, 0, "{cleaned:?}");
    assert_eq!(site.secrets(), Vec::<String>::new());
    drop(held);
    let ended = site.end_of("runner-1", "job").0;
    assert_eq!(ended, 125, "it has run: {}", site.log_of_ended(&runner, "job"));
}

#[test]
fn a_container_step_ends_with_the_hook_that_is_killed() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    let state = runner.prepare(&job(BUSYBOX, ""), &[]);
    let script = "\"echo on > /github/workspace/begun; exec sleep 1000\"";
    let action = container(BUSYBOX, &json!({"entryPoint": "sh", "entryPointArgs": ["-c", script]}));
    let step = runner.begin("run_container_step", &action, &state);
    until(PATIENCE, || (!runner.read("r/r/begun").is_empty()).then_some(())).expect("it runs");
    step.signal(Signal::KILL);
    assert_eq!(step.finish().code, 137);
    assert_ne!(site.end_of("runner-1", "step").0, 0);
    // The job goes on.
    assert_eq!(runner.script(&state, "echo on").stdout, "on\n");
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
}
