//! Who a job's processes are, and what they may write to.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use serde_json::{Value, json};

use super::runner::{Called, Runner, container, job, prepared_in_time};
use super::site::{PATIENCE, Site};
use crate::support::process::until;
use crate::support::workflow_images::{BUSYBOX, TOOL};

/// Says who it is and writes where every step must be able to, whoever it is.
const SCRIPT: &str = "id -u; echo made=1 >> \"$GITHUB_OUTPUT\"; echo x > \"$HOME/mine\"";

#[test]
fn a_job_can_be_anybody_and_every_user_can_write_the_runners_files() {
    let Some(site) = Site::start() else { return };
    for (pod, image, options, uid) in [
        ("root", BUSYBOX, "", 0),
        ("by-number", BUSYBOX, "--user 1000", 1000),
        ("number-and-group", BUSYBOX, "--user 4242:4242", 4242),
        ("by-name", BUSYBOX, "--user node", 1000),
        ("of-the-image", TOOL, "", 1000),
        ("root-against-the-image", TOOL, "--user root", 0),
    ] {
        let runner = site.runner(pod);
        let state = runner.prepare(&job(image, options), &[]);
        works(&runner, &state, uid);
        assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
        assert_eq!(site.end_of(pod, "job").0, 0, "{pod}");
    }
}

/// A step, and a container action in an image whose user is another one.
fn works(runner: &Runner, state: &Value, uid: u32) {
    let pod = &runner.name;
    // The runner's own files, mode 0644.
    runner.write("_temp/_runner_file_commands/set_output", "");
    let step = runner.script(state, SCRIPT);
    assert_eq!((step.code, step.stdout), (0, format!("{uid}\n")), "{pod}: {}", step.stderr);
    let mut action = container(TOOL, &json!({"entryPoint": "sh"}));
    action["entryPointArgs"] = json!(["-c", "\"id", "-u;", "sh", "/github/workspace/write\""]);
    action["environmentVariables"] = json!({"GITHUB_OUTPUT": "/github/file_commands/set_output"});
    action["workingDirectory"] = json!("/github/workspace");
    runner.write("r/r/write", "echo more=1 >> $GITHUB_OUTPUT; touch by-the-action");
    let step = runner.call("run_container_step", &action, state);
    assert_eq!((step.code, step.printed().as_str()), (0, "1000\n"), "{pod}: {step:?}");
    let written = runner.read("_temp/_runner_file_commands/set_output");
    assert_eq!(written, "made=1\nmore=1\n", "{pod}");
    assert!(runner.work("r/r/by-the-action").exists(), "{pod}");
}

/// What the runner has of its own, a job that is root puts in the place of everything that the hook
/// opens at the next call.
#[test]
fn links_of_a_job_open_nothing_of_the_runners() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    let secret = runner.directory.volume("ephemon").join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("file"), "").unwrap();
    for (path, mode) in [(secret.clone(), 0o700), (secret.join("file"), 0o600)] {
        chown(&path, Some(1001), Some(1001)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let state = runner.prepare(&job(BUSYBOX, ""), &[]);
    let attack = "cd /__w; for d in r/r _tool _temp/_github_home; do
        rm -rf $d; ln -s /ephemon/secret $d; done
        ln -s /ephemon/secret/file _temp/_runner_file_commands/set_env_1
        mknod -m 600 _temp/_runner_file_commands/set_env_2 p";
    let step = runner.script(&state, attack);
    assert_eq!(step.code, 0, "{step:?}");
    let mut args = runner.script_args("true");
    args["workingDirectory"] = json!("/__w");
    let step = runner.call("run_script_step", &args, &state);
    assert_eq!(step.code, 0, "{step:?}");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&secret), mode(&secret.join("file"))), (0o700, 0o600));
}

#[test]
fn the_operators_template_decides_who_a_job_is() {
    let Some(site) = Site::start() else { return };
    let mut runner = site.runner("runner-1");
    let template = json!({"spec": {"containers": [{
        "name": "$job", "securityContext": {"runAsUser": 1000, "readOnlyRootFilesystem": true},
        "env": [{"name": "OF_THE_OPERATOR", "value": "yes"}],
    }]}});
    fs::write(runner.directory.volume("ephemon").join("template.yaml"), template.to_string())
        .unwrap();
    runner.env.push(("EPHEMON_HOOK_TEMPLATE".to_owned(), "/ephemon/template.yaml".to_owned()));
    let state = runner.prepare(&job(BUSYBOX, "--user root"), &[]);
    let step =
        runner.script(&state, "id -u; echo $OF_THE_OPERATOR; touch /tmp/x || echo read only");
    assert_eq!((step.code, step.stdout.as_str()), (0, "1000\nyes\nread only\n"), "{step:?}");
}

#[test]
fn a_read_only_root_file_system_leaves_the_shared_volumes_to_write_to() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    let service = container(
        BUSYBOX,
        &json!({
            "entryPoint": "httpd", "entryPointArgs": ["-f", "-p", "80", "-h", "/etc"],
            "portMappings": ["80"], "createOptions": "--name web --read-only",
        }),
    );
    let state = runner.prepare(&job(BUSYBOX, "--read-only"), &[service]);
    let script = format!(
        "{SCRIPT}; touch /x 2>/dev/null || echo read only; wget -qO- http://web/os-release"
    );
    let step = runner.script(&state, &script);
    assert_eq!((step.code, step.stdout.as_str()), (0, "0\nread only\nID=small\n"), "{step:?}");
    assert_eq!(runner.read("_temp/_github_home/mine"), "x\n");
}

#[test]
fn a_job_that_is_not_root_finds_its_services_by_name_all_the_same() {
    let Some(site) = Site::start() else { return };
    let over = json!({
        "entryPoint": "httpd", "entryPointArgs": ["-f", "-p", "80", "-h", "/etc"],
        "portMappings": ["80"],
    });
    let (runner, called) = prepared_in_time(Called::has_slow_service, |number| {
        let runner = site.runner(&format!("runner-{number}"));
        let services = [container(BUSYBOX, &over)];
        let called = runner.prepare_called(&job(BUSYBOX, "--user 1000"), &services);
        (runner, called)
    });
    assert_eq!(called.warnings(), [""; 0], "{called:?}");
    let state = called.json()["state"].clone();
    let step = runner.script(&state, "wget -qO- http://busybox/os-release");
    assert_eq!((step.code, step.stdout.as_str()), (0, "ID=small\n"), "{step:?}");
}

#[test]
fn a_user_that_the_image_does_not_know_is_said_to_be_unknown() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    let state = runner.prepare(&job(BUSYBOX, "--user nobody-here"), &[]);
    let step = runner.script(&state, "echo never");
    assert_ne!(step.code, 0, "{step:?}");
    assert!(step.says("the image has no user \"nobody-here\""), "{step:?}");
}

#[test]
fn privileges_are_given_where_the_operator_allows_it() {
    let Some(site) = Site::start() else { return };
    let mut runner = site.runner("runner-1");
    let link = "ip link set lo mtu 1400 2> /dev/null && echo may || echo may not";
    let mount = "mount -t tmpfs none /mnt 2> /dev/null && echo may || echo may not";
    for options in ["--privileged", "--cap-add NET_ADMIN"] {
        let called = runner.prepare_called(&job(BUSYBOX, options), &[]);
        assert_eq!(called.code, 0, "{called:?}");
        assert!(called.stdout.contains("EPHEMON_ALLOW_PRIVILEGED"), "{called:?}");
        let state = called.json()["state"].clone();
        let step = runner.script(&state, &format!("{link}; {mount}"));
        assert_eq!((step.code, step.stdout.as_str()), (0, "may not\nmay not\n"), "{step:?}");
        assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
    }
    runner.env.push(("EPHEMON_ALLOW_PRIVILEGED".to_owned(), "true".to_owned()));
    // The policy forbids it whatever the hook is told; where the namespace is none of the guarded
    // ones, it is the operator's word that counts.
    let refused = runner.prepare_called(&job(BUSYBOX, "--privileged"), &[]);
    assert!(refused.code == 1 && refused.says("a policy of the cluster denies it"), "{refused:?}");
    site.unguard();
    let allowed = || {
        let called = runner.prepare_called(&job(BUSYBOX, "--privileged"), &[]);
        (called.code == 0).then(|| called.json()["state"].clone())
    };
    let state = until(PATIENCE, allowed).expect("the policy holds no more");
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
    for (options, expected) in [
        ("", "may not\nmay not\n"),
        ("--cap-add NET_ADMIN", "may\nmay not\n"),
        ("--privileged", "may\nmay\n"),
        ("--cap-drop ALL --cap-drop CHOWN", "may not\nmay not\n"),
    ] {
        let state = runner.prepare(&job(BUSYBOX, options), &[]);
        let step = runner.script(&state, &format!("mkdir -p /mnt; {link}; {mount}"));
        assert_eq!((step.code, step.stdout.as_str()), (0, expected), "{options}: {step:?}");
        assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
    }
}
