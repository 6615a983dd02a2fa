//! Volumes of a workflow's containers, and what they find mounted.

use serde_json::{Value, json};

use super::runner::{container, job};
use super::site::Site;
use crate::support::workflow_images::BUSYBOX;

fn volume(source: &str, target: &str, read_only: bool) -> Value {
    json!({
        "userProvidedValue": format!("{source}:{target}"), "sourceVolumePath": source,
        "targetVolumePath": target, "readOnly": read_only,
    })
}

#[test]
fn volumes_of_the_pod_and_directories_of_the_workspace_are_where_they_are_asked_for() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    runner.make("r/r/data/given", "of the workspace\n");
    let mut asked = job(BUSYBOX, "");
    asked["userMountVolumes"] = json!([
        volume("cache", "/var/cache", false),
        volume("/home/runner/_work/r/r/data", "/data", false),
    ]);
    let state = runner.prepare(&asked, &[]);
    let step =
        runner.script(&state, "cat /data/given; echo kept > /var/cache/x; touch /__e/x || echo no");
    assert_eq!((step.code, step.stdout.as_str()), (0, "of the workspace\nno\n"), "{step:?}");

    let action = container(
        BUSYBOX,
        &json!({
            "entryPoint": "sh", "userMountVolumes": [volume("cache", "/c", true)],
            "entryPointArgs": ["-c", "\"cat", "/c/x;", "touch", "/c/y", "||", "echo", "read", "only\""],
        }),
    );
    let step = runner.call("run_container_step", &action, &state);
    assert_eq!((step.code, step.printed().as_str()), (0, "kept\nread only\n"), "{step:?}");

    asked["userMountVolumes"] = json!([volume("/etc", "/host", true)]);
    let refused = runner.prepare_called(&asked, &[]);
    assert!(refused.code == 1 && refused.says("paths of the node"), "{refused:?}");
}

/// Docker's ways with a target: parents are made, what is there is hidden, `:ro` holds for root.
#[test]
fn a_target_is_as_docker_makes_it() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    runner.make("r/r/data/given", "given\n");
    let work = |below: &str| format!("/home/runner/_work/r/r{below}");
    let mut asked = job(BUSYBOX, "");
    asked["userMountVolumes"] = json!([
        volume(&work(""), "/go/src/github.com/acme/widgets", false),
        // A directory of the image, with another in it.
        volume(&work("/data"), "/home", false),
        volume(&work("/data"), "/held", true),
        volume(&work("/missing/source"), "/made", false),
        volume(&work("/data"), "/__w/r/r/other", false),
        volume(&work(""), "/github/workspace", false),
        volume("cache", "/__w/r/r/below", false),
        volume("/dev/shm", "/dev/shm", false),
        volume("nobodys", "/of-its-own", false),
        volume("/var/run/docker.sock", "/var/run/docker.sock", false),
        {"userProvidedValue": "/anonymous/one", "targetVolumePath": "/anonymous/one"},
    ]);
    asked["systemMountVolumes"] =
        json!([{"sourceVolumePath": "/opt/hostedtoolcache", "targetVolumePath": "/__t"}]);
    let called = runner.prepare_called(&asked, &[]);
    assert_eq!(called.code, 0, "{called:?}");
    for words in ["no Docker daemon", "no volume \"nobodys\"", "tool cache /opt/hostedtoolcache"] {
        assert!(called.stdout.contains(words), "{words}: {called:?}");
    }
    let state = called.json()["state"].clone();
    let script = "cat /go/src/github.com/acme/widgets/data/given /home/given /held/given other/given
        touch /held/x 2> /dev/null || echo held
        for d in /made /of-its-own /anonymous/one /github/workspace below /__t; do echo x > $d/x; done
        cat missing/source/x /__w/_tool/x";
    let step = runner.script(&state, script);
    let expected = "given\n".repeat(4) + "held\nx\nx\n";
    assert_eq!((step.code, step.stdout), (0, expected), "{}", step.stderr);
    // The runner sees the link in its workspace by its own paths.
    assert_eq!(std::fs::read_link(runner.work("r/r/other")).unwrap().to_str(), Some("data"));
    assert!(!runner.work("r/r/data/x").exists() && runner.work("r/r/x").exists());
}

#[test]
fn a_service_with_an_entrypoint_finds_the_workspace_before_it_starts() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    runner.make("r/r/data/given", "given\n");
    let over = json!({
        "entryPoint": "sh", "entryPointArgs": ["-c", "\"cp", "/src/given", "/src/copy;", "sleep", "1000\""],
        "userMountVolumes": [volume("/home/runner/_work/r/r/data", "/src", false)],
    });
    let state = runner.prepare(&job(BUSYBOX, ""), &[container(BUSYBOX, &over)]);
    let step = runner.script(&state, "until grep given data/copy 2> /dev/null; do sleep 0.1; done");
    assert_eq!((step.code, step.stdout.as_str()), (0, "given\n"), "{step:?}");

    let own = json!({"userMountVolumes": [volume("/home/runner/_work/r/r/data", "/src", false)]});
    let refused = runner.prepare_called(&job(BUSYBOX, ""), &[container(BUSYBOX, &own)]);
    assert!(
        refused.code == 1 && refused.says("set an entrypoint for the service or the step"),
        "{refused:?}"
    );
}

/// What git itself makes of the variables is git's; that they are there, after those of the step, is
/// the hook's.
#[test]
fn a_container_action_may_use_git_in_the_workspace() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    let state = runner.prepare(&job(BUSYBOX, ""), &[]);
    let action = container(
        BUSYBOX,
        &json!({
            "entryPoint": "env",
            "environmentVariables": {
                "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "a.b", "GIT_CONFIG_VALUE_0": "c",
            },
        }),
    );
    let step = runner.call("run_container_step", &action, &state);
    assert_eq!(step.code, 0, "{step:?}");
    for line in [
        "GIT_CONFIG_COUNT=2",
        "GIT_CONFIG_KEY_0=a.b",
        "GIT_CONFIG_KEY_1=safe.directory",
        "GIT_CONFIG_VALUE_1=/__w/r/r",
    ] {
        assert!(step.stdout.lines().any(|printed| printed == line), "{line}: {step:?}");
    }
}
