//! Requests that make no sense: one sentence that names the field, and nothing in the pod.

use serde_json::{Value, json};

use super::rig::Rig;

const SECRET: &str = "hunter2-secret";

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn a_bad_field_is_one_sentence_and_leaves_nothing_in_the_pod() {
    let Some(rig) = Rig::start().await else { return };
    let answer = rig.path("_work/_temp/answer.json");
    let of = |command: &str, args: Value| json!({"command": command, "responseFile": answer, "args": args, "state": null});
    let job = |field: &str, value: Value| {
        let mut container = json!({"image": "init", "environmentVariables": {"TOKEN": SECRET}});
        container[field] = value;
        of("prepare_job", json!({"container": container}))
    };
    let service = |field: &str, value: Value| {
        let mut service = json!({"image": "redis", "environmentVariables": {"TOKEN": SECRET}});
        service[field] = value;
        of("prepare_job", json!({"container": {"image": "init"}, "services": [service]}))
    };
    let action = |field: &str, value: Value| {
        let mut action = json!({"image": "init", "environmentVariables": {"TOKEN": SECRET}});
        action[field] = value;
        of("run_container_step", action)
    };
    let secret = || json!(SECRET);
    let cases = [
        (json!({"command": null}), "command"),
        (json!({"command": 7, "args": SECRET}), "command is a number"),
        (of("dance", secret()), "prepare_job, run_script_step"),
        (json!([SECRET]), "the request is an array"),
        (of("prepare_job", json!(null)), "args.container"),
        (of("prepare_job", json!({})), "args.container"),
        (of("prepare_job", secret()), "args is a string, but must be an object"),
        (of("prepare_job", json!({"container": SECRET})), "args.container is a string"),
        (of("prepare_job", json!({"services": {"redis": SECRET}})), "args.services is an object"),
        (of("prepare_job", json!({"services": [null]})), "args.services[0] is null"),
        (job("image", json!(null)), "image"),
        (job("image", json!("")), "image"),
        (job("image", json!([SECRET])), "args.container.image is an array"),
        (job("createOptions", json!(5)), "args.container.createOptions is a number"),
        (job("environmentVariables", secret()), "args.container.environmentVariables is a string"),
        (job("environmentVariables", json!({"A": [SECRET]})), "environmentVariables.A is an array"),
        (job("portMappings", secret()), "args.container.portMappings is a string"),
        (job("portMappings", json!([8080])), "args.container.portMappings[0] is a number"),
        (job("userMountVolumes", json!([SECRET])), "userMountVolumes[0] is a string"),
        (
            job("userMountVolumes", json!([{"readOnly": SECRET}])),
            "userMountVolumes[0].readOnly is a string",
        ),
        (job("registry", secret()), "args.container.registry is a string"),
        (job("workingDirectory", json!(false)), "args.container.workingDirectory is a boolean"),
        (job("dockerfile", json!("/a/Dockerfile")), "Dockerfile"),
        (service("image", json!(null)), "image"),
        (service("entryPointArgs", secret()), "args.services[0].entryPointArgs is a string"),
        (service("entryPoint", json!(["a"])), "args.services[0].entryPoint is an array"),
        (action("image", json!(null)), "image"),
        (action("image", json!({})), "args.image is an object"),
        (action("entryPointArgs", json!([null])), "args.entryPointArgs[0] is null"),
        (action("systemMountVolumes", secret()), "args.systemMountVolumes is a string"),
        (of("run_container_step", json!(null)), "image"),
        (of("run_script_step", json!({"entryPoint": null})), "args.entryPoint"),
        (
            of("run_script_step", json!({"entryPoint": "sh", "prependPath": 5})),
            "args.prependPath is a number",
        ),
        (
            of("run_script_step", json!({"entryPoint": "sh", "environmentVariables": [SECRET]})),
            "args.environmentVariables is an array",
        ),
        (of("run_script_step", json!({"entryPoint": "sh"})), "is not prepared"),
        (
            json!({"command": "run_script_step", "args": {"entryPoint": "sh"}, "state": SECRET}),
            "state is a string",
        ),
        (json!({"command": "cleanup_job", "args": {}, "state": {"token": SECRET}}), "state"),
        (
            json!({"command": "prepare_job", "responseFile": null, "args": {"container": {"image": "init"}}}),
            "responseFile",
        ),
        (
            json!({"command": "prepare_job", "responseFile": [SECRET], "args": {"container": {"image": "init"}}}),
            "responseFile is an array",
        ),
    ];
    for (request, wanted) in cases {
        std::fs::write(&answer, "").unwrap();
        let called = rig.begin_with(&format!("{request}\n"), answer.clone()).await.finish().await;
        let errors: Vec<&str> =
            called.stdout.lines().filter(|line| line.starts_with("::error::")).collect();
        assert!(called.code == 1 && errors.len() == 1, "{request}: {called:?}");
        assert!(errors[0].contains(wanted), "{wanted}: {called:?}");
        assert!(!called.stdout.contains(SECRET) && called.stderr.is_empty(), "{called:?}");
        assert_eq!(called.response, "", "{request}");
        assert!(!rig.spec().contains("ephemeralContainers"), "{request}: {}", rig.spec());
        assert!(rig.api.store().secrets().names().is_empty(), "{request}");
    }
}

#[tokio::test]
async fn input_that_is_no_json_is_said_by_its_place() {
    let Some(rig) = Rig::start().await else { return };
    for input in ["", "\n", "{", "{\"command\": \"prepare_job\", \"args\": {\"a\": hunter2}}"] {
        let called = rig.begin_with(input, rig.path("none")).await.finish().await;
        assert!(called.code == 1 && called.stdout.contains("is not JSON: line "), "{called:?}");
        assert!(!called.stdout.contains("hunter2"), "{called:?}");
    }
}
