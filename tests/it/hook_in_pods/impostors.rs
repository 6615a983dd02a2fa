//! A service of the job that takes the place of the job container's socket, in the pod itself: it
//! renames the socket, listens in its place, passes on what is said, and keeps all of it.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::runner::{container, job};
use super::site::{PATIENCE, Site};
use crate::support::parts::{Part, all_there};
use crate::support::process::until;
use crate::support::real_node_images::import_node;
use crate::support::workflow_images::{BUSYBOX, NODE_RUNNER, RUNNERS_NODE};

const TOLD: &str = "Another container of the pod has replaced it";

/// What the service runs: waits for `go`, takes the socket, says so by `taken`.
const RELAY: &str = "
const fs = require('node:fs'), net = require('node:net'), run = '/ephemon/run/';
const [socket, moved] = [run + 'job.sock', run + 'job.moved'];
function pass(hook) {
    const init = net.connect(moved);
    for (const [from, to] of [[hook, init], [init, hook]]) {
        from.on('data', bytes => fs.appendFileSync(run + 'said', bytes));
        from.on('error', () => to.destroy());
        from.pipe(to);
    }
}
function wait() {
    if (!fs.existsSync(run + 'go')) return setTimeout(wait, 20);
    fs.renameSync(socket, moved);
    net.createServer(pass).listen(socket, () => {
        fs.chmodSync(socket, 0o666);
        fs.writeFileSync(run + 'taken', '');
    });
}
wait();
";

/// Whether a file holds these bytes anywhere.
fn shows(file: &Path, text: &str) -> bool {
    fs::read(file).unwrap().windows(text.len()).any(|part| part == text.as_bytes())
}

#[test]
fn a_service_that_relays_the_jobs_socket_is_told_and_neither_shown_nor_runs_anything() {
    if !all_there(&[Part::Program("node")]) {
        return;
    }
    let Some(site) = Site::start() else { return };
    import_node(&site.node);
    let runner = site.runner("runner-1");
    let run = runner.directory.volume("ephemon").join("run");
    fs::write(run.join("relay.js"), RELAY).unwrap();
    let service = container(
        NODE_RUNNER,
        &json!({
            "entryPoint": RUNNERS_NODE, "entryPointArgs": ["/ephemon/run/relay.js"],
            "createOptions": "--user root",
        }),
    );
    let mut asked = job(BUSYBOX, "");
    asked["environmentVariables"]["DEPLOY_KEY"] = json!("of-the-job-alone");
    let state = runner.prepare(&asked, &[service]);
    fs::write(run.join("go"), "").unwrap();
    until(PATIENCE, || run.join("taken").exists().then_some(())).expect("the service takes it");

    let mut step = runner.script_args("echo ran > ran");
    step["environmentVariables"]["INPUT_TOKEN"] = json!("of-the-step-alone");
    let called = runner.call("run_script_step", &step, &state);
    assert!(called.code != 0 && called.says(TOLD), "{called:?}");
    let errors = called.stdout.lines().filter(|line| line.starts_with("::error::"));
    assert_eq!(errors.count(), 1, "{called:?}");
    let said = run.join("said");
    assert!(said.exists(), "the hook came by the service");
    let token = state["token"].as_str().unwrap();
    for secret in ["of-the-job-alone", "of-the-step-alone", "echo ran", token] {
        assert!(!shows(&said, secret), "{secret}");
    }
    assert_eq!(runner.read("r/r/ran"), "", "the step was run");

    // With its socket back the job goes on as if nothing had been.
    fs::rename(run.join("job.moved"), run.join("job.sock")).unwrap();
    assert_eq!(runner.call("run_script_step", &step, &state).code, 0);
    assert_eq!(runner.read("r/r/ran"), "ran\n");
    let cleaned = runner.call("cleanup_job", &json!({}), &state);
    assert_eq!((cleaned.code, cleaned.says(TOLD)), (0, false), "{cleaned:?}");
}
