//! JavaScript: the runner's own Node.js starts the hook by `hook.js`, and runs actions in the job's
//! container, with its files copied into the pod and from the runner's image.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use super::runner::{Runner, job};
use super::site::{PATIENCE, Site};
use crate::support::parts::{Part, all_there};
use crate::support::process::until;
use crate::support::real_node_images::import_node;
use crate::support::workflow_images::{GLIBC, NODE_RUNNER, RUNNERS_NODE};

/// Prints what it got, and writes an output as actions do.
const ACTION: &str = "const fs = require('node:fs');\n\
    console.log(JSON.stringify([process.env['INPUT_NODE-VERSION'], process.env['A.B'], process.argv[2] ?? '']));\n\
    fs.appendFileSync(process.env.GITHUB_OUTPUT, 'version=' + process.version + '\\n');\n\
    process.exitCode = 6;\n";

#[test]
fn the_runners_node_starts_the_hook_and_runs_actions() {
    if !all_there(&[Part::Program("node")]) {
        return;
    }
    let Some(site) = Site::start() else { return };
    import_node(&site.node);
    for (name, values) in [
        ("copied", &["values.yaml"][..]),
        ("mounted", &["values.yaml", "values-image-volumes.yaml"]),
    ] {
        let resources = json!({"requests": {"cpu": "10m"}});
        let mut runner = site.runner_by(name, &resources, values, NODE_RUNNER);
        runner.program = vec![RUNNERS_NODE.to_owned(), "/ephemon/bin/hook.js".to_owned()];
        runner.env.retain(|(name, _)| name != "PATH");
        // As after a step that wrote into GITHUB_PATH.
        runner.env.push(("PATH".to_owned(), "/home/runner/_work/r/r/first:/bin".to_owned()));
        play(&site, &runner);
        complete(&mut runner);
    }
}

/// The runner's job completed hook, when the containers have been stopped.
fn complete(runner: &mut Runner) {
    let summary = "_temp/_runner_file_commands/step_summary";
    runner.write(summary, "");
    runner.program = vec![RUNNERS_NODE.to_owned(), "/ephemon/bin/summary.js".to_owned()];
    let path = format!("/home/runner/_work/{summary}");
    runner.env.push(("GITHUB_STEP_SUMMARY".to_owned(), path));
    let called = runner.call("", &json!({}), &json!({}));
    assert_eq!((called.code, called.stdout.as_str()), (0, ""), "{called:?}");
    let text = runner.read(summary);
    for part in ["  › prepare_job :done, ", "  › cleanup_job :done, ", "  › job :", " :crit, "]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(
        text.contains("| failure, exit code 6 | ") && text.contains("| cancelled | "),
        "{text}"
    );
}

fn play(site: &Site, runner: &Runner) {
    let name = &runner.name;
    for program in ["bash", "node", "env", "ephemon-hook"] {
        runner.make(
            &format!("r/r/first/{program}"),
            "#!/bin/sh\ntouch /home/runner/_work/r/r/taken\n",
        );
    }
    runner.write("r/r/package.json", "{\"type\": \"module\", \"imports\": {}}");
    let state = runner.prepare(&job(GLIBC, ""), &[]);

    runner.make("_actions/o/a/v1/index.js", ACTION);
    runner.write("_temp/_runner_file_commands/set_output", "");
    let mut action = runner.script_args("");
    action["entryPoint"] = json!("/__e/node20/bin/node");
    action["entryPointArgs"] = json!(["/__w/_actions/o/a/v1/index.js"]);
    action["environmentVariables"]["INPUT_NODE-VERSION"] = json!("22 \"$HOME\"\n'x'");
    action["environmentVariables"]["A.B"] = json!("");
    let step = runner.call("run_script_step", &action, &state);
    let printed = "[\"22 \\\"$HOME\\\"\\n'x'\",\"\",\"\"]\n";
    assert_eq!(
        (step.code, step.stdout.lines().next()),
        (6, Some(printed.trim_end())),
        "{name}: {step:?}"
    );
    assert!(step.says("exit code 6"), "{name}: {step:?}");
    assert!(
        runner.read("_temp/_runner_file_commands/set_output").starts_with("version=v"),
        "{name}"
    );

    let script = "trap 'echo tidied; exit 5' INT; echo on > begun; while :; do :; done";
    let step = runner.begin("run_script_step", &runner.script_args(script), &state);
    until(PATIENCE, || (!runner.read("r/r/begun").is_empty()).then_some(()))
        .expect("the step begins");
    step.signal(Signal::INT);
    let called = step.finish();
    assert_eq!(
        (called.code, called.stdout.lines().next()),
        (5, Some("tidied")),
        "{name}: {called:?}"
    );

    let cleaned = runner.call("cleanup_job", &json!({}), &state);
    assert_eq!(cleaned.code, 0, "{name}: {cleaned:?}");
    assert_eq!(site.end_of(name, "job").0, 0);
    assert!(!fs::exists(runner.work("r/r/taken")).unwrap(), "{name}: a job's program was started");
}
