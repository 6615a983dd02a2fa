//! Steps that run at the same time: several calls of the hook in one pod.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::images::whole;
use super::runner::{Called, container, job};
use super::site::Site;
use crate::support::workflow_images::{ALPINE, BUSYBOX, TOOL};

const SCRIPTS: usize = 4;
/// Actions with an entrypoint of the workflow, and those with their image's own.
const ACTIONS: [&str; 3] = [BUSYBOX, BUSYBOX, ALPINE];
const TOOLS: usize = 2;

#[test]
fn script_steps_and_container_actions_run_at_the_same_time_and_apart() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    let state = runner.prepare(&job(BUSYBOX, ""), &[]);
    // Nobody goes on before all are there: none waits for another's end.
    let all = SCRIPTS + ACTIONS.len();
    let meet = |number: usize| {
        format!(
            "mkdir -p /github/workspace/here; touch /github/workspace/here/{number}; \
             until [ $(ls /github/workspace/here | wc -l) = {all} ]; do sleep 0.05; done; \
             echo {number} $OWN"
        )
    };
    let mut calls = Vec::new();
    for number in 0..SCRIPTS {
        let mut args = runner.script_args(&meet(number));
        args["environmentVariables"]["OWN"] = json!(format!("own-{number}"));
        calls.push(runner.begin("run_script_step", &args, &state));
    }
    for (number, image) in (SCRIPTS..).zip(ACTIONS) {
        let script = format!("\"{}\"", meet(number).replace('"', "'"));
        let action = json!({
            "entryPoint": "sh", "entryPointArgs": ["-c", script],
            "environmentVariables": {"OWN": format!("own-{number}")},
        });
        calls.push(runner.begin("run_container_step", &container(image, &action), &state));
    }
    // Their environment goes through a Secret each.
    let tool = |number: usize| {
        let action = json!({
            "entryPointArgs": [number.to_string(), "as given"],
            "environmentVariables": {"TOOL": format!("tool-{number}")},
        });
        runner.begin("run_container_step", &container(TOOL, &action), &state)
    };
    calls.extend((0..TOOLS).map(tool));
    let mut called: Vec<Called> = calls.into_iter().map(super::runner::Calling::finish).collect();
    let mut again = 0;
    for (number, called) in called.split_off(all).into_iter().enumerate() {
        let mut called = Some(called);
        let tool = whole(|| {
            called.take().unwrap_or_else(|| {
                again += 1;
                tool(number).finish()
            })
        });
        assert_eq!(tool.code, i32::try_from(number).unwrap(), "{tool:?}");
        let line = format!("tool: tool-{number}, {number} as given as 1000 in /srv\n");
        assert!(tool.stdout.contains(&line), "{tool:?}");
    }
    for (number, step) in called.iter().enumerate() {
        // A lost race for a name is a line for those who debug.
        let printed = step.printed();
        let lines = printed.lines().filter(|line| !line.starts_with("::debug::"));
        let said = (step.code, lines.collect::<Vec<_>>());
        assert_eq!(said, (0, vec![format!("{number} own-{number}").as_str()]), "{step:?}");
    }

    // Each action has a container and a journal of its own; nothing of them is left.
    let pod = site.pod("runner-1");
    let names = pod["spec"]["ephemeralContainers"].as_array().unwrap().iter();
    let names: BTreeSet<&str> = names.filter_map(|added| added["name"].as_str()).collect();
    assert_eq!(names.len(), 1 + ACTIONS.len() + TOOLS + again, "{names:?}");
    let journals = fs::read_dir(runner.directory.volume("ephemon").join("journal")).unwrap();
    let journals: BTreeSet<String> =
        journals.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let own = names.iter().filter(|name| journals.iter().any(|file| file.starts_with(**name)));
    assert!(own.count() > ACTIONS.len(), "{names:?} {journals:?}");
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
    assert_eq!(site.secrets(), Vec::<String>::new());
    assert_ne!(pod["status"], Value::Null);
}
