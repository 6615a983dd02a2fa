//! A whole job in each kind of image.

use serde_json::json;

use super::runner::{Runner, container, job};
use super::site::Site;
use crate::support::parts::alone;
use crate::support::workflow_images::{ALPINE, BUSYBOX, GLIBC, TOOL};

#[test]
fn a_whole_job_is_played_in_each_image_that_has_a_shell() {
    let _alone = alone();
    let Some(site) = Site::start() else { return };
    for (pod, image, is_alpine) in
        [("runner-1", BUSYBOX, false), ("runner-2", ALPINE, true), ("runner-3", GLIBC, false)]
    {
        let runner = site.runner(pod);
        play(&site, &runner, image, is_alpine);
    }
}

/// Service, script steps, container step, cleanup.
fn play(site: &Site, runner: &Runner, image: &str, is_alpine: bool) {
    let service = container(
        BUSYBOX,
        &json!({
            "entryPoint": "nc", "entryPointArgs": ["-l", "-k", "-p", "6379", "-e", "echo", "pong"],
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
    assert_eq!((step.code, step.stdout.lines().next()), (7, Some("by hand")), "{image}: {step:?}");
    assert!(step.stdout.contains("x\n") && step.says("exit code 7"), "{image}: {step:?}");

    let own = container(TOOL, &json!({}));
    let step = runner.call("run_container_step", &own, &state);
    assert_eq!(step.code, 3, "{image}: {step:?}");
    assert_eq!(
        site.log_of(runner, "step-2"),
        "tool: its own, 3 from the image as 1000 in /srv\nto stderr\n"
    );

    let cleaned = runner.call("cleanup_job", &json!({}), &state);
    assert_eq!(cleaned.code, 0, "{image}: {cleaned:?}");
    for over in ["job", "busybox"] {
        assert_eq!(site.end_of(&runner.name, over), (0, "Completed".to_owned()), "{image}");
    }
}
