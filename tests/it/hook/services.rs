//! Services: their environment, health, ports, logs; and containers that run without an init.

use std::fs;

use serde_json::{Value, json};

use super::rig::Rig;
use super::{again_if, gave_up_the_log};
use crate::support::ports;

fn job_with(service: &Value) -> Value {
    json!({"container": {"image": "init", "workingDirectory": "/__w/r/r"}, "services": [service]})
}

#[tokio::test]
async fn a_service_by_its_own_entrypoint_has_its_environment_from_a_secret() {
    let Some(rig) = Rig::start().await else { return };
    let service = json!({
        "image": "postgres:16", "entryPointArgs": ["echo", "it", "is", "$PW;", "exec", "sleep", "1000"],
        "environmentVariables": {"PW": "hunter2-of-the-service"},
    });
    let prepared = rig.call("prepare_job", &job_with(&service), &Value::Null).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    let secrets = rig.api.store().secrets().names();
    let [secret] = &secrets[..] else { panic!("{secrets:?}") };
    let uid = rig.pod_object()["metadata"]["uid"].as_str().unwrap().to_owned();
    let begin = format!("ephemon-{uid}-postgres-");
    assert!(secret.starts_with(&begin) && secret.ends_with("-env"), "{secret}");
    let spec = rig.spec();
    assert!(spec.contains(secret.as_str()) && !spec.contains("hunter2"), "{spec}");
    let state = prepared.json()["state"].clone();
    rig.until_logged("postgres", "it is hunter2-of-the-service\n").await;
    let cleaned = rig.call("cleanup_job", &json!({}), &state).await;
    assert_eq!(cleaned.code, 0, "{cleaned:?}");
    let (_, log) = cleaned.stdout.split_once("::group::Log of service postgres").unwrap();
    // What a service writes is between two marks: no command to the runner.
    let (_, log) = log.split_once("::stop-commands::").unwrap();
    let (word, log) = log.split_once('\n').unwrap();
    let end = format!("it is hunter2-of-the-service\n::{word}::\n::endgroup::");
    assert!(log.starts_with(&end), "{log}");
    assert!(rig.api.store().secrets().names().is_empty());
}

#[tokio::test]
async fn a_service_becomes_healthy_by_its_own_command_or_the_job_does_not_start() {
    let Some(rig) = Rig::start().await else { return };
    let service = |options: &str| {
        json!({
            "image": "db", "entryPoint": "sh", "createOptions": options,
            "entryPointArgs": ["-c", "\"sleep", "0.5;", "touch", "/tmp/up;", "exec", "sleep", "1000\""],
        })
    };
    let slow = service("--health-cmd \"test -e /tmp/up\" --health-interval 1s --health-retries 60");
    let prepared = rig.call("prepare_job", &job_with(&slow), &Value::Null).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    let pid = rig.first_process("db").await;
    assert!(fs::metadata(format!("/proc/{pid}/root/tmp/up")).is_ok());

    let sick =
        service("--health-cmd \"echo not yet; false\" --health-interval 1s --health-retries 1");
    let refused = rig.call("prepare_job", &job_with(&sick), &Value::Null).await;
    assert_eq!((refused.code, refused.response.as_str()), (1, ""), "{refused:?}");
    assert!(refused.stdout.contains("does not become healthy"), "{refused:?}");
}

#[tokio::test]
async fn a_service_is_waited_for_until_it_listens_and_is_reached_by_its_other_port() {
    let Some(rig) = Rig::start().await else { return };
    let (port, other) = (ports::free(), ports::free());
    let serve = format!("sleep 0.4; exec busybox httpd -f -p {port} -h /tmp");
    let service = json!({
        "image": "web", "entryPointArgs": [serve], "portMappings": [format!("{other}:{port}")],
    });
    let prepared = rig.call("prepare_job", &job_with(&service), &Value::Null).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    let response = prepared.json();
    let ports = &response["context"]["services"][0]["ports"];
    assert_eq!(ports[port.to_string()], json!(other.to_string()));
    // Two at once, one held open while the other is served.
    let held = std::net::TcpStream::connect(("127.0.0.1", other)).unwrap();
    let script = format!("busybox wget -S -O - http://127.0.0.1:{other}/ 2>&1 | grep HTTP/; :");
    let state = response["state"].clone();
    let step = rig.call("run_script_step", &rig.script(&script), &state).await;
    assert!(step.code == 0 && step.stdout.contains("HTTP/1."), "{step:?}");
    drop(held);
}

#[tokio::test]
async fn a_container_step_by_its_own_entrypoint_shows_its_log_as_it_grows() {
    let args = "echo begun $INPUT_KEY; while ! test -e /__w/go; do sleep 0.02; done; seq 1 20000; printf tail; exit 9";
    let step = json!({
        "image": "tool", "entryPointArgs": [args], "workingDirectory": "/github/workspace",
        "environmentVariables": {"INPUT_KEY": "hunter2-input"},
    });
    let step = again_if(gave_up_the_log, async || {
        let rig = Rig::start().await?;
        let state = rig.prepared().await;
        let mut call = rig.begin("run_container_step", &step, &state).await;
        call.read_until("begun hunter2-input\n").await;
        let secrets = rig.api.store().secrets().names();
        let uid = rig.pod_object()["metadata"]["uid"].as_str().unwrap().to_owned();
        let begin = format!("ephemon-{uid}-step-");
        assert!(secrets.len() == 1 && secrets[0].starts_with(&begin), "{secrets:?}");
        fs::write(rig.path("_work/go"), "").unwrap();
        let step = call.finish().await;
        assert_eq!(step.code, 9, "{:.300}", step.stdout);
        assert!(rig.api.store().secrets().names().is_empty());
        assert!(!rig.spec().contains("hunter2"));
        Some(step)
    });
    let Some(step) = step.await else { return };
    let numbers = super::numbers(20_000);
    assert!(step.stdout.contains(&format!("{numbers}tail\n::error::")), "{:.300}", step.stdout);
}

#[tokio::test]
async fn volumes_of_the_workflow_and_the_operators_template_are_there() {
    let Some(mut rig) = Rig::start().await else { return };
    let template = rig.path("template.yaml");
    fs::write(
        &template,
        "spec:\n  containers:\n  - name: $job\n    env:\n    - {name: FROM_TEMPLATE, value: given}\n    resources: {limits: {memory: 64Mi}}\n    volumeMounts:\n    - {name: cache, mountPath: /opt/cache}\n",
    )
    .unwrap();
    rig.set("ACTIONS_RUNNER_CONTAINER_HOOK_TEMPLATE", template.to_str().unwrap());
    let volume = |source: &str, target: &str| {
        json!({
            "userProvidedValue": format!("{source}:{target}"), "sourceVolumePath": source,
            "targetVolumePath": target, "readOnly": false,
        })
    };
    let data = rig.path("_work/r/r/data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("file"), "of the workspace\n").unwrap();
    let args = json!({"container": {
        "image": "init", "workingDirectory": "/__w/r/r",
        "userMountVolumes": [volume("cache", "/var/cache/x"), volume(data.to_str().unwrap(), "/data")],
    }});
    let prepared = rig.call("prepare_job", &args, &Value::Null).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    assert!(prepared.stdout.contains("memory=67108864"), "{prepared:?}");
    let state = prepared.json()["state"].clone();
    let script =
        "echo $FROM_TEMPLATE; cat /data/file; echo kept > /var/cache/x/file; cat /opt/cache/file";
    let step = rig.call("run_script_step", &rig.script(script), &state).await;
    assert_eq!(step.stdout, "given\nof the workspace\nkept\n", "{step:?}");
    for source in ["token", "/etc"] {
        let container = json!({"image": "init", "userMountVolumes": [volume(source, "/x")]});
        let args = json!({"container": container});
        let refused = rig.call("prepare_job", &args, &Value::Null).await;
        assert!(refused.code == 1 && refused.stdout.contains("::error::"), "{source}: {refused:?}");
    }
}

#[tokio::test]
async fn a_job_of_a_user_without_rights_has_all_it_needs() {
    let Some(rig) = Rig::start().await else { return };
    let args = json!({"container": {"image": "init", "createOptions": "--user 1234:1234"}});
    let prepared = rig.call("prepare_job", &args, &Value::Null).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    let state = prepared.json()["state"].clone();
    // As the runner makes it for itself just before the step.
    let output = rig.path("_work/_temp/_runner_file_commands/set_output_1");
    fs::write(&output, "").unwrap();
    let script = "id -u; echo a=1 >> /github/file_commands/set_output_1; touch /github/home/mine";
    fs::create_dir_all(rig.path("_work/_temp/_github_home")).unwrap();
    let step = rig.call("run_script_step", &rig.script(script), &state).await;
    assert_eq!((step.code, step.stdout.as_str()), (0, "1234\n"), "{step:?}");
    assert_eq!(fs::read_to_string(output).unwrap(), "a=1\n");
}
