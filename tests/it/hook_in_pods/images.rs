//! A whole job in each kind of image.

use serde_json::json;

use super::runner::{Called, Runner, container, job};
use super::site::Site;
use crate::support::workflow_images::{ALIEN, ALPINE, BARE, BUSYBOX, GLIBC, TOOL};

/// What the hook says where it has not shown all that an action without init wrote: once the container is
/// over it waits five seconds for the end of the kubelet's log.
pub(super) const CUT: &str = "timed out waiting for the end of the log";
/// Most calls of [`whole`].
const CALLS: usize = 5;

/// Calls an action without init, and calls it again where the hook says that it has not shown all of it.
pub(super) fn whole(mut call: impl FnMut() -> Called) -> Called {
    let mut calls = (0..CALLS).map(|_| call());
    let whole = calls.find(|called| !called.stdout.contains(CUT));
    whole.expect("the end of the log comes in time")
}

#[test]
fn a_whole_job_is_played_in_each_image_that_has_a_shell() {
    let Some(site) = Site::start() else { return };
    for (pod, image, is_alpine) in
        [("runner-1", BUSYBOX, false), ("runner-2", ALPINE, true), ("runner-3", GLIBC, false)]
    {
        let runner = site.runner(pod);
        play(&site, &runner, image, is_alpine);
    }
}

/// Service, script steps, container step, cleanup.
pub(super) fn play(site: &Site, runner: &Runner, image: &str, is_alpine: bool) {
    let service = container(
        BUSYBOX,
        &json!({
            "entryPoint": "httpd", "entryPointArgs": ["-f", "-p", "6379", "-h", "/etc"],
            "portMappings": ["6379"],
        }),
    );
    let prepared = runner.prepare_called(&job(image, ""), &[service]);
    assert_eq!(prepared.code, 0, "{image}: {prepared:?}");
    let response = prepared.json();
    assert_eq!(response["isAlpine"], json!(is_alpine), "{image}: {response}");
    assert_eq!(response["context"]["services"][0]["ports"], json!({"6379": "6379"}));
    let state = response["state"].clone();

    runner.write("_temp/_runner_file_commands/set_output", "");
    let script = "echo \"$FROM_JOB\"; pwd; echo ünïcode >&2\n\
        echo made=1 >> \"$GITHUB_OUTPUT\"; echo x > /github/workspace/made";
    let step = runner.script(&state, script);
    assert_eq!((step.code, step.stderr.as_str()), (0, "ünïcode\n"), "{image}: {step:?}");
    assert_eq!(step.stdout, "of the job\n/__w/r/r\n");
    assert_eq!(step.response, "{}");
    assert_eq!(runner.read("_temp/_runner_file_commands/set_output"), "made=1\n");
    assert_eq!(runner.read("r/r/made"), "x\n");

    let failing = runner.script(&state, "printf half; exit 42");
    assert_eq!(failing.code, 42, "{image}: {failing:?}");
    assert!(failing.says("exit code 42"), "{image}: {failing:?}");

    let mut with_path = runner.script_args("greet");
    with_path["prependPath"] = json!(["/__w/r/tools"]);
    runner.make("r/tools/greet", "#!/bin/sh\necho greeted\n");
    let greeted = runner.call("run_script_step", &with_path, &state);
    assert_eq!((greeted.code, greeted.stdout.as_str()), (0, "greeted\n"), "{image}: {greeted:?}");

    let action = container(
        image,
        &json!({
            "entryPoint": "sh", "entryPointArgs": ["-c", "\"echo", "$INPUT_X;", "cat", "made;", "exit", "7\""],
            "environmentVariables": {"INPUT_X": "by hand"}, "workingDirectory": "/github/workspace",
        }),
    );
    let step = runner.call("run_container_step", &action, &state);
    assert_eq!(
        (step.code, step.printed().lines().next()),
        (7, Some("by hand")),
        "{image}: {step:?}"
    );
    assert!(step.stdout.contains("x\n") && step.says("exit code 7"), "{image}: {step:?}");

    let own = container(TOOL, &json!({}));
    let step = whole(|| runner.call("run_container_step", &own, &state));
    assert_eq!(step.code, 3, "{image}: {step:?}");
    for line in ["tool: its own, 3 from the image as 1000 in /srv\n", "to stderr\n"] {
        assert!(step.stdout.contains(line), "{image}: {step:?}");
    }

    let cleaned = runner.call("cleanup_job", &json!({}), &state);
    assert_eq!(cleaned.code, 0, "{image}: {cleaned:?}");
    assert_eq!(site.end_of(&runner.name, "job"), (0, "Completed".to_owned()), "{image}");
    // By SIGTERM, which httpd leaves to the kernel.
    assert_eq!(site.end_of(&runner.name, "busybox"), (143, "Error".to_owned()), "{image}");
}

#[test]
fn an_image_without_a_shell_runs_what_is_in_it() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    let prepared = runner.prepare_called(&job(BARE, ""), &[]);
    assert_eq!(prepared.code, 0, "{prepared:?}");
    assert_eq!(prepared.json()["isAlpine"], json!(false));
    let state = prepared.json()["state"].clone();

    let mut step = runner.script_args("");
    step["entryPoint"] = json!("/app/busybox");
    step["entryPointArgs"] = json!(["printf", "%s|", "\"a", "b\"", "c"]);
    let split = runner.call("run_script_step", &step, &state);
    assert_eq!((split.code, split.stdout.as_str()), (0, "a b|c|"), "{split:?}");

    let no_shell = runner.script(&state, "echo never");
    assert_eq!(no_shell.code, 127, "{no_shell:?}");
    assert!(no_shell.says("sh: command not found"), "{no_shell:?}");

    let words = |entry_point: &str| {
        let args =
            json!({"entryPoint": entry_point, "entryPointArgs": ["sh", "-c", "\"exit", "9\""]});
        container(BARE, &args)
    };
    let action = runner.call("run_container_step", &words("/app/busybox"), &state);
    assert_eq!(action.code, 9, "{action:?}");
    // The image's own entrypoint is the same program.
    let own = runner.call("run_container_step", &words(""), &state);
    assert_eq!(own.code, 9, "{own:?}");
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
}

#[test]
fn an_image_for_another_processor_is_said_to_be_one() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    // Init is for this one, whatever the image is.
    let state = runner.prepare(&job(ALIEN, ""), &[]);
    let step = runner.script(&state, "echo never");
    assert_eq!(step.code, 126, "{step:?}");
    assert!(step.says("Exec format error"), "{step:?}");
    let own = container(ALIEN, &json!({}));
    let own = whole(|| runner.call("run_container_step", &own, &state));
    // The runtime's own process is in the container by then and ends as its command: no StartError.
    assert_eq!(own.code, 1, "{own:?}");
    assert!(own.stdout.contains("exec /bin/tool: exec format error\n"), "{own:?}");
}
