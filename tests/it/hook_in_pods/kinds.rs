//! What public workflows ask for beyond the plain job: each kind as the runner sends it.

use serde_json::{Value, json};

use super::runner::{Called, container, job};
use super::site::Site;
use crate::support::workflow_images::{BUSYBOX, POSTGRES};

/// The warnings of a call that hold these words.
fn warnings(called: &Called, words: &str) -> usize {
    let is_one = |line: &&str| line.starts_with("::warning::") && line.contains(words);
    called.stdout.lines().filter(is_one).count()
}

#[test]
fn options_without_a_counterpart_are_named_and_the_job_runs() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    let mut asked =
        job(BUSYBOX, "--cap-add=SYS_ADMIN --dns 192.0.2.1 --gpus all --label a=b -e WHO=option");
    asked["environmentVariables"]["WHO"] = json!("env");
    asked["environmentVariables"]["CI"] = json!("false");
    asked["systemMountVolumes"] = json!([{
        "sourceVolumePath": "/opt/hostedtoolcache", "targetVolumePath": "/__t", "readOnly": false,
    }]);
    let service = container(
        BUSYBOX,
        &json!({
            "entryPoint": "sh",
            "entryPointArgs": ["-c", "\"echo $CI > /srv/ci; exec httpd -f -p 80 -h /srv\""],
            "environmentVariables": {"CI": "false"},
            "createOptions": "--cap-add=sys_nice --name db",
            // Nobody listens on the second one.
            "portMappings": ["127.0.0.1:15432:80", "4571/tcp"],
        }),
    );
    let prepared = runner.prepare_called(&asked, &[service]);
    assert_eq!(prepared.code, 0, "{prepared:?}");
    for option in ["--cap-add", "--dns", "--gpus", "--label", "/__t", "4571"] {
        assert!(warnings(&prepared, option) > 0, "{option}: {prepared:?}");
    }
    assert!(
        prepared
            .stdout
            .contains("reached as busybox, db, localhost; ports 15432/tcp (its own: 80)"),
        "{prepared:?}"
    );
    let state = prepared.json()["state"].clone();
    let script = "echo $WHO $CI; touch /__t/mine; \
        for at in localhost:15432 db db:15432 busybox; do wget -qO- http://$at/ci; done";
    let step = runner.script(&state, script);
    assert_eq!(
        (step.code, step.stdout.as_str()),
        (0, "env false\nfalse\nfalse\nfalse\nfalse\n"),
        "{step:?}"
    );

    // Words are split as .NET splits them: no shell, and a single quote is a letter.
    let action = container(
        BUSYBOX,
        &json!({
            "entryPoint": "printf",
            "entryPointArgs": ["[%s]", "\"a 'b  c\"", "c\\d$HOME", "\"x\"\"y\"", "\"\""],
        }),
    );
    let step = runner.call("run_container_step", &action, &state);
    assert_eq!(
        (step.code, step.printed().as_str()),
        (0, "[a 'b  c][c\\d$HOME][x\"y][]"),
        "{step:?}"
    );

    // The runner's own answer file goes with it, and nobody reads that one.
    let step = runner.script(&state, "rm -rf /__w/_temp/*; exit 3");
    assert_eq!(step.code, 3, "{step:?}");
    assert!(step.says("exit code 3"), "{step:?}");
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);
}

#[test]
fn an_image_and_a_command_in_the_options_of_a_service_are_run_with_a_word() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    let options = format!(
        "--name web --entrypoint sh {BUSYBOX} -c \"echo as told > /srv/who; exec httpd -f -p 80 -h /srv\""
    );
    let service = container(BUSYBOX, &json!({"createOptions": options, "portMappings": ["80"]}));
    let prepared = runner.prepare_called(&job(BUSYBOX, ""), &[service]);
    assert_eq!(prepared.code, 0, "{prepared:?}");
    assert!(warnings(&prepared, "command:") > 0, "{prepared:?}");
    let state = prepared.json()["state"].clone();
    assert_eq!(runner.script(&state, "wget -qO- http://web/who").stdout, "as told\n");

    let other = runner.prepare_called(&job(BUSYBOX, "ephemon.test/other:1"), &[]);
    assert!(other.code == 1 && other.says("instead of `image:`"), "{other:?}");
}

#[test]
fn databases_that_want_one_port_get_one_each_or_a_sentence() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    let database = |name: &str, ports: &str| {
        let options = format!("--name {name}");
        container(POSTGRES, &json!({"createOptions": options, "portMappings": [ports]}))
    };
    let two = [database("first", "5432:5432"), database("second", "5433:5432")];
    let prepared = runner.prepare_called(&Value::Null, &two);
    assert_eq!(prepared.code, 0, "{prepared:?}");
    assert!(warnings(&prepared, "5433") > 0, "{prepared:?}");
    let services = &prepared.json()["context"]["services"];
    assert_eq!(
        [&services[0]["ports"], &services[1]["ports"]],
        [&json!({"5432": "5432"}), &json!({"5432": "5433"})]
    );
    let state = prepared.json()["state"].clone();
    let script = "\"for at in first:5432 second:5433 localhost:5432 localhost:5433; do wget -qO- http://$at/port; done\"";
    let action = container(BUSYBOX, &json!({"entryPoint": "sh", "entryPointArgs": ["-c", script]}));
    let step = runner.call("run_container_step", &action, &state);
    assert_eq!((step.code, step.printed().as_str()), (0, "5432\n5433\n5432\n5433\n"), "{step:?}");
    assert_eq!(runner.call("cleanup_job", &json!({}), &state).code, 0);

    // In a job container the ports of both are one network's.
    let refused = site.runner("runner-2").prepare_called(&job(BUSYBOX, ""), &two);
    assert!(refused.code == 1 && refused.says("5432/tcp is used by both"), "{refused:?}");
}
