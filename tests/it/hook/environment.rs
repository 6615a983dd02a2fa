//! Environment by any name and with any value, to the program that a request names.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use super::rig::{Called, Rig};

/// Of workflows, of the runner, and of nobody.
const NAMES: [&str; 12] = [
    "PLAIN",
    "INPUT_NODE-VERSION",
    "INPUT_GITHUB-TOKEN",
    "A.B",
    "with blank",
    "q'uote",
    "d\"q",
    "$DOLLAR",
    "-x",
    "1ST",
    "über",
    "a\nb",
];

fn values() -> Vec<String> {
    let all: String = (1..128).map(|byte| char::from_u32(byte).unwrap()).collect();
    let texts = [
        "",
        " ",
        "20",
        "a\n\nb\n",
        "it's $HOME `id` $(id) \"x\" \\ $$ $(CI) %{}",
        "ü 😀 \u{80}\u{85}\u{2028}\u{fffd}",
    ];
    texts.map(str::to_owned).into_iter().chain([all, "x".repeat(100_000)]).collect()
}

fn environment(prefix: &str) -> BTreeMap<String, String> {
    let values = values();
    let pairs = NAMES.iter().flat_map(|name| {
        values
            .iter()
            .enumerate()
            .map(move |(n, value)| (format!("{name}{prefix}{n}"), value.clone()))
    });
    // Together less than what one program can be given.
    pairs.filter(|(name, value)| value.len() < 1000 || name.starts_with("PLAIN")).collect()
}

/// What a step's program had, written by itself: `env` prints what it was given.
fn seen(rig: &Rig, called: &Called) -> BTreeMap<String, String> {
    assert_eq!(called.code, 0, "{called:?}");
    let text = fs::read(rig.path("_work/seen")).unwrap();
    text.split(|byte| *byte == 0)
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let text = String::from_utf8(pair.to_vec()).unwrap();
            let (name, value) = text.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

fn assert_all(seen: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) {
    for (name, value) in wanted {
        assert_eq!(seen.get(name), Some(value), "{name:?}");
    }
}

/// Writes what it was given, and no shell is between: the first program of the line is it.
fn dump(env: &BTreeMap<String, String>) -> Value {
    json!({
        "entryPoint": "cp", "entryPointArgs": ["/proc/self/environ", "/__w/seen"],
        "environmentVariables": env, "prependPath": ["/__w/tools"], "workingDirectory": "/__w/r/r",
    })
}

#[tokio::test]
async fn every_name_and_value_reaches_the_program_of_a_step_and_of_an_action() {
    let Some(rig) = Rig::start().await else { return };
    for image in ["init", "foreign"] {
        let (of_job, of_step) = (environment("_J"), environment("_S"));
        let args = json!({"container": {"image": image, "environmentVariables": of_job}});
        let prepared = rig.call("prepare_job", &args, &Value::Null).await;
        assert_eq!(prepared.code, 0, "{prepared:?}");
        let state = prepared.json()["state"].clone();
        let called = rig.call("run_script_step", &dump(&of_step), &state).await;
        let seen_all = seen(&rig, &called);
        assert_all(&seen_all, &of_job);
        assert_all(&seen_all, &of_step);
        assert!(seen_all["PATH"].starts_with("/__w/tools:"), "{}", seen_all["PATH"]);
    }
    let env = environment("_A");
    let action = json!({
        "image": "init", "entryPoint": "cp", "entryPointArgs": ["/proc/self/environ", "/__w/seen"],
        "environmentVariables": env, "workingDirectory": "/github/workspace",
    });
    let state = rig.prepared().await;
    let called = rig.call("run_container_step", &action, &state).await;
    assert_all(&seen(&rig, &called), &env);
}

/// `run:` in an image whose `sh` forgets such names still has them in what is no shell.
#[tokio::test]
async fn a_named_program_is_found_by_the_steps_own_path() {
    let Some(rig) = Rig::start().await else { return };
    let state = rig.prepared().await;
    let tool = rig.path("_work/tools/tool");
    fs::create_dir(rig.path("_work/tools")).unwrap();
    std::os::unix::fs::symlink("/bin/cp", &tool).unwrap();
    let mut step = dump(&environment("_S"));
    step["entryPoint"] = json!("tool");
    let called = rig.call("run_script_step", &step, &state).await;
    assert_all(&seen(&rig, &called), &environment("_S"));
    let missing = json!({"entryPoint": "no-such-tool", "environmentVariables": {}});
    let called = rig.call("run_script_step", &missing, &state).await;
    assert!(
        called.code == 127 && called.stdout.contains("no-such-tool: command not found"),
        "{called:?}"
    );
}

/// As `docker exec` has them: nothing is expanded, and quotes are .NET's.
#[tokio::test]
async fn words_of_a_step_are_not_read_by_a_shell() {
    let Some(rig) = Rig::start().await else { return };
    for image in ["init", "foreign"] {
        let args = json!({"container": {"image": image}});
        let prepared = rig.call("prepare_job", &args, &Value::Null).await;
        let state = prepared.json()["state"].clone();
        let words = ["%s|", "$HOME", "'a", "b'", "\"c", "", "d\"", "*", "`id`", ";", "e\\f"];
        let step = json!({"entryPoint": "printf", "entryPointArgs": words});
        let called = rig.call("run_script_step", &step, &state).await;
        assert_eq!(called.stdout, "$HOME|'a|b'|c  d|*|`id`|;|e\\f|", "{called:?}");
    }
}

/// The rule: what the operator's template says lies over the container's own, and a step's over all.
#[tokio::test]
async fn the_templates_environment_lies_over_the_workflows_for_job_and_services_alike() {
    let Some(mut rig) = Rig::start().await else { return };
    let env = "[{name: BOTH, value: operator}, {name: HOME, value: /operator}, {name: OWN, value: operator}]";
    let template =
        format!("spec: {{containers: [{{name: $job, env: {env}}}, {{name: $db, env: {env}}}]}}");
    fs::write(rig.path("template.yaml"), template).unwrap();
    let path = rig.path("template.yaml").to_str().unwrap().to_owned();
    rig.set("ACTIONS_RUNNER_CONTAINER_HOOK_TEMPLATE", &path);
    let workflow = json!({"BOTH": "workflow", "HOME": "/github/home", "CI": "false", "GITHUB_ACTIONS": "no", "W": "workflow"});
    let script = "\"cp /proc/self/environ /ephemon/of-service; exec sleep 1000\"";
    let service = json!({"image": "db", "entryPoint": "sh", "entryPointArgs": ["-c", script], "environmentVariables": workflow});
    let args = json!({"container": {"image": "init", "environmentVariables": workflow}, "services": [service]});
    let prepared = rig.call("prepare_job", &args, &Value::Null).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    let state = prepared.json()["state"].clone();
    let step = dump(&BTreeMap::from([("OWN".to_owned(), "step".to_owned())]));
    let called = rig.call("run_script_step", &step, &state).await;
    let job = seen(&rig, &called);
    let copied = rig.path("ephemon/of-service");
    super::wait_for(&copied).await;
    fs::rename(copied, rig.path("_work/seen")).unwrap();
    let service = seen(&rig, &called);
    for (seen, own) in [(&job, "step"), (&service, "operator")] {
        for (name, value) in [
            ("BOTH", "operator"),
            ("HOME", "/operator"),
            ("OWN", own),
            ("W", "workflow"),
            ("CI", "false"),
            ("GITHUB_ACTIONS", "true"),
        ] {
            assert_eq!(seen.get(name).map(String::as_str), Some(value), "{name}: {seen:?}");
        }
    }
}
