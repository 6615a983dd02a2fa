//! The containers for requests of the runner, as sent to the API server.

mod in_front;
mod options;

use std::collections::BTreeMap;

use ephemon_contract::{Token, env};
use k8s_openapi::api::core::v1::EnvVar;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::volumes;

fn pod(more: &Value) -> PodView {
    let volume = |name: &str| json!({"name": name, "emptyDir": {}});
    let mut volumes: Vec<Value> = volumes::OWN.iter().map(|name| volume(name)).collect();
    volumes.extend(more.as_array().cloned().unwrap_or_default());
    let pod = json!({
        "metadata": {"name": "r-1", "uid": "u"},
        "spec": {"containers": [{"name": "runner"}], "volumes": volumes},
    });
    PodView::of(&serde_json::from_value(pod).unwrap())
}

fn settings() -> Settings {
    Settings::from_env(|name| match name {
        "ACTIONS_RUNNER_POD_NAME" => Some("r-1".to_owned()),
        "GITHUB_REPOSITORY" => Some("o/$(r)".to_owned()),
        _ => None,
    })
}

fn plan_with(role: Role, asked: Value, part: Part) -> Result<Planned, Error> {
    plan_of(&Value::Null, role, asked, part)
}

/// In a pod that also has these volumes.
fn plan_in(volumes: &Value, role: Role, asked: Value) -> Result<Planned, Error> {
    plan_of(volumes, role, asked, Part::default())
}

fn plan_of(volumes: &Value, role: Role, asked: Value, part: Part) -> Result<Planned, Error> {
    plan_by(&settings(), &pod(volumes), role, asked, part)
}

fn plan_by(
    settings: &Settings,
    pod: &PodView,
    role: Role,
    asked: Value,
    part: Part,
) -> Result<Planned, Error> {
    let token = Token::from_random([1; 32]);
    let common = Common { settings, pod, token: &token, uid: 1001, call: "0a1b" };
    let mut names = Names::new(pod.containers.clone());
    let asked: Container = serde_json::from_value(asked).unwrap();
    Planned::new(role, &asked, |_| part, &common, &mut names)
}

fn plan(role: Role, asked: Value) -> Result<Planned, Error> {
    plan_with(role, asked, Part::default())
}

fn env_of(planned: &Planned) -> BTreeMap<String, String> {
    let env = planned.spec.env.iter().flatten();
    env.map(|variable| (variable.name.clone(), variable.value.clone().unwrap())).collect()
}

#[test]
fn the_job_container_is_init_with_the_four_volumes() {
    let job = plan(Role::Job, json!({"image": "node:22", "entryPoint": "ignored"})).unwrap();
    let spec = serde_json::to_value(&job.spec).unwrap();
    assert_eq!(spec["command"], json!(["/ephemon/bin/ephemon-init"]));
    let mounts = json!([
        {"name": "work", "mountPath": "/__w"},
        {"name": "externals", "mountPath": "/__e", "readOnly": true},
        {"name": "github", "mountPath": "/github"},
        {"name": "ephemon", "mountPath": "/ephemon"},
        {"name": "ephemon-bin", "mountPath": "/ephemon/bin", "readOnly": true},
    ]);
    assert_eq!(spec["volumeMounts"], mounts);
    for absent in ["targetContainerName", "ports", "resources", "securityContext", "args"] {
        assert!(spec.get(absent).is_none(), "{absent}: {spec}");
    }
    let env = env_of(&job);
    assert_eq!(env.get(env::CONTAINER).map(String::as_str), Some("job"));
    assert_eq!(env.get(env::ROLE).map(String::as_str), Some("job"));
    assert_eq!(env.get(env::PEER_UID).map(String::as_str), Some("1001"));
    let token = Token::from_random([1; 32]);
    assert_eq!(env.get(env::HOOK_KEY), Some(&token.hook_key().to_string()));
    assert_eq!(env.get(env::CONTAINER_KEY), Some(&token.container_key("job").expose()));
    // Not expanded by Kubernetes.
    assert_eq!(env.get(env::JOB_REPOSITORY).map(String::as_str), Some("o/$$(r)"));
}

#[test]
fn a_service_with_its_own_entrypoint_gets_its_environment_by_a_secret() {
    let service = plan(
        Role::Service,
        json!({"image": "postgres:16", "entryPointArgs": ["-c", "\"a", "b\""],
               "environmentVariables": {"POSTGRES_PASSWORD": "hunter2"}}),
    )
    .unwrap();
    assert!(!service.has_init);
    let spec = serde_json::to_value(&service.spec).unwrap();
    assert!(!spec.to_string().contains("hunter2"));
    assert_eq!(spec["envFrom"], json!([{"secretRef": {"name": "ephemon-u-postgres-0a1b-env"}}]));
    assert_eq!(spec["args"], json!(["-c", "a b"]));
    assert!(spec.get("command").is_none() && spec.get("volumeMounts").is_none());
    assert_eq!(service.names, ["postgres"]);
}

#[test]
fn a_services_given_entrypoint_is_inits_own_child_and_outlives_the_call() {
    let asked = json!({"image": "redis", "entryPoint": "redis-server", "entryPointArgs": ["--port", "7"],
        "environmentVariables": {"P": "hunter2"}, "workingDirectory": "/d"});
    let service = plan(Role::Service, asked).unwrap();
    let spec = serde_json::to_value(&service.spec).unwrap();
    let command = json!(["/ephemon/bin/ephemon-init", "--", "redis-server", "--port", "7"]);
    assert_eq!((&spec["command"], &spec["workingDir"]), (&command, &json!("/d")));
    assert!(service.has_init && service.secret.is_some());
}

#[test]
fn a_service_is_called_first_as_the_workflow_calls_it() {
    let (settings, pod) = (settings(), pod(&json!([])));
    let token = Token::from_random([1; 32]);
    let common = Common { settings: &settings, pod: &pod, token: &token, uid: 1001, call: "c" };
    let mut names = Names::new(["runner".to_owned(), "valkey".to_owned()]);
    let asked = json!({"image": "valkey/valkey:8", "createOptions": "--name cache --name kv"});
    let mut asked: Container = serde_json::from_value(asked).unwrap();
    asked.key = Some("cache".to_owned());
    let service =
        Planned::new(Role::Service, &asked, |_| Part::default(), &common, &mut names).unwrap();
    assert_eq!(service.names, ["cache", "valkey", "kv", "valkey-2"]);
}

#[test]
fn the_hooks_own_container_is_init_in_the_runners_image_and_can_do_little() {
    let (settings, mut pod) = (settings(), pod(&json!([])));
    let token = Token::from_random([1; 32]);
    let network = |pod: &PodView| {
        let common = Common { settings: &settings, pod, token: &token, uid: 1001, call: "c" };
        Planned::network(&common, &mut Names::new(pod.containers.clone()))
    };
    assert!(matches!(network(&pod), Err(Error::NoImage("runner"))));
    pod.runner_image = Some("actions-runner:latest".to_owned());
    let planned = network(&pod).unwrap();
    let spec = serde_json::to_value(&planned.spec).unwrap();
    assert_eq!(spec["command"], json!(["/ephemon/bin/ephemon-init"]));
    assert_eq!(
        (&spec["name"], &spec["imagePullPolicy"]),
        (&json!("network"), &json!("IfNotPresent"))
    );
    let mounts = spec["volumeMounts"].as_array().unwrap();
    let mounts: Vec<&str> = mounts.iter().map(|mount| mount["name"].as_str().unwrap()).collect();
    assert_eq!(mounts, ["ephemon", "ephemon-bin"]);
    let context = &spec["securityContext"];
    assert_eq!(
        (&context["runAsUser"], &context["readOnlyRootFilesystem"]),
        (&json!(0), &json!(true))
    );
    // The admission policy forbids adding any.
    assert!(context["capabilities"].get("add").is_none());
    assert!(!context["capabilities"]["drop"].to_string().contains("NET_BIND_SERVICE"));
    let uid = |uid: u32| {
        let context = planned.restricted(uid).spec.security_context.unwrap();
        (context.run_as_user, context.run_as_non_root)
    };
    assert_eq!((uid(1001), uid(0)), ((Some(1001), Some(true)), (Some(65_534), Some(true))));
    let runner_image = pod.runner_image.take();
    pod = PodView::default();
    pod.runner_image = runner_image;
    assert!(matches!(network(&pod), Err(Error::MissingVolumes(_))));
}

#[test]
fn dollar_signs_of_the_workflow_are_not_kubernetes_references() {
    let words = |role, entry_point: Option<&str>| {
        let asked = json!({"image": "a", "entryPoint": entry_point, "entryPointArgs": ["$(CI)$$"]});
        plan(role, asked).unwrap()
    };
    assert_eq!(words(Role::Service, None).spec.args.unwrap(), ["$$(CI)$$$$"]);
    let command = words(Role::Service, Some("$x")).spec.command.unwrap();
    assert_eq!(command[2..], ["$$x", "$$(CI)$$$$"]);
    // Words sent over the socket are not expanded.
    assert_eq!(words(Role::Step, Some("x")).main.unwrap(), ["x", "$(CI)$$"]);
}

#[test]
fn a_given_entrypoint_is_run_by_init() {
    let asked = json!({"image": "alpine", "entryPoint": "/entry.sh", "entryPointArgs": ["\"a", "b\""],
        "environmentVariables": {"INPUT_TOKEN": "hunter2"}, "workingDirectory": "/github/workspace"});
    let step = plan(Role::Step, asked).unwrap();
    assert_eq!(step.main.as_ref().unwrap(), &["/entry.sh", "a b"]);
    assert!(step.has_init && step.secret.is_none());
    let spec = serde_json::to_value(&step.spec).unwrap();
    assert!(!spec.to_string().contains("hunter2"), "{spec}");
    assert_eq!(spec["name"], "step");
    assert_eq!(step.cwd.as_deref(), Some("/github/workspace"));
}

#[test]
fn limits_are_told_to_the_agent_and_the_operators_are_the_ceiling() {
    let part = Part { limits: "memory=1Gi,cpus=2".parse().unwrap(), ..Part::default() };
    let asked = json!({"image": "a", "createOptions": "--cpus 4 --memory 512m --pids-limit 50"});
    let job = plan_with(Role::Job, asked, part).unwrap();
    let limits = env_of(&job).remove(env::LIMITS).unwrap();
    assert_eq!(limits, "cpus=2000m,memory=536870912,pids=50");
}

#[test]
fn what_cannot_be_had_is_an_error_with_advice() {
    let cases = [
        (json!({"image": null, "dockerfile": "/a/Dockerfile"}), "publish the image"),
        (json!({"image": ""}), "no image"),
        (json!({"image": "a", "createOptions": "--memory 4m"}), "--memory"),
        (json!({"image": "a", "createOptions": "--user node"}), "numeric user ID"),
        (json!({"image": "a", "portMappings": ["x"]}), "port mapping"),
        (json!({"image": "a", "createOptions": "--add-host a:b"}), "--add-host"),
        (json!({"image": "a", "createOptions": "--name 'a b'"}), "double quotes"),
    ];
    for (asked, advice) in cases {
        let error = plan(Role::Step, asked.clone()).unwrap_err().to_string();
        assert!(error.contains(advice), "{asked}: {error}");
    }
}

#[test]
fn a_pod_without_our_volumes_is_told_which_it_lacks() {
    let (settings, pod) = (settings(), PodView::default());
    let token = Token::from_random([1; 32]);
    let common = Common { settings: &settings, pod: &pod, token: &token, uid: 0, call: "0a1b" };
    let asked: Container = serde_json::from_value(json!({"image": "a"})).unwrap();
    let planned =
        Planned::new(Role::Job, &asked, |_| Part::default(), &common, &mut Names::default());
    let error = planned.unwrap_err().to_string();
    assert!(error.contains("work, externals, github, ephemon"), "{error}");
}

#[test]
fn the_operators_template_cannot_replace_our_variables() {
    let variable =
        |name: &str| EnvVar { name: name.into(), value: Some("x".into()), value_from: None };
    let part = Part { env: vec![variable("EPHEMON_LIMITS"), variable("PROXY")], ..Part::default() };
    let env = env_of(&plan_with(Role::Job, json!({"image": "a"}), part).unwrap());
    assert!(!env.contains_key(env::LIMITS) && env.contains_key("PROXY"));
}

#[test]
fn a_named_user_is_left_to_init_and_root_is_a_number() {
    let named = plan(Role::Job, json!({"image": "a", "createOptions": "--user node"})).unwrap();
    assert_eq!((named.user.as_deref(), named.spec.security_context), (Some("node"), None));
    let root = plan(Role::Job, json!({"image": "a", "createOptions": "--user root"})).unwrap();
    assert_eq!(root.spec.security_context.unwrap().run_as_user, Some(0));
    assert_eq!(root.user, None);
}

proptest! {
    #[test]
    fn no_value_of_the_workflow_reaches_the_spec(
        role in prop_oneof![Just(Role::Job), Just(Role::Service), Just(Role::Step)],
        entry_point in proptest::option::of("[a-z/]{1,12}"),
        names in proptest::collection::vec("[A-Z_]{1,10}", 1..5),
    ) {
        const SECRET: &str = "hunter2-is-not-for-all";
        let env: BTreeMap<String, &str> = names.into_iter().map(|name| (name, SECRET)).collect();
        let asked = json!({
            "image": "a", "entryPoint": entry_point, "environmentVariables": env,
            "registry": {"username": "u", "password": SECRET, "serverUrl": "r.io"},
            "createOptions": format!("--env A={SECRET}"),
        });
        let planned = plan(role, asked).unwrap();
        prop_assert!(!serde_json::to_string(&planned.spec).unwrap().contains(SECRET));
        prop_assert!(planned.warnings.iter().all(|warning| !warning.contains(SECRET)));
    }
}

#[test]
fn the_environment_is_laid_as_docker_lays_it_and_the_operators_over_it() {
    let operators =
        EnvVar { name: "BOTH".into(), value: Some("operator".into()), value_from: None };
    for role in [Role::Job, Role::Service, Role::Step] {
        let part = Part { env: vec![operators.clone()], ..Part::default() };
        let asked = json!({
            "image": "a", "createOptions": "-e A=options -e B=options -e CI=options",
            "environmentVariables": {"A": "env", "BOTH": "env", "GITHUB_ACTIONS": "no"},
        });
        let planned = plan_with(role, asked, part).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(planned.env, [pair("A", "env"), pair("B", "options")], "{role:?}");
        let spec = env_of(&planned);
        for (name, value) in [("BOTH", "operator"), ("CI", "true"), ("GITHUB_ACTIONS", "true")] {
            assert_eq!(spec.get(name).map(String::as_str), Some(value), "{role:?} {name}");
        }
    }
    let asked = json!({"image": "a", "environmentVariables": {"CI": "false"}});
    let service = plan(Role::Service, asked).unwrap();
    assert!(!env_of(&service).contains_key("CI"), "the Secret has it");
    assert_eq!(service.env, [("CI".to_owned(), "false".to_owned())]);
}

#[test]
fn one_place_by_two_spellings_is_one_place() {
    for path in ["/ephemon/bin", "/ephemon/bin/", "//ephemon/./x/../bin"] {
        let mount = json!({"name": "work", "mountPath": path});
        let part =
            Part { volume_mounts: vec![serde_json::from_value(mount).unwrap()], ..Part::default() };
        let planned = plan_with(Role::Job, json!({"image": "a"}), part);
        assert!(matches!(planned, Err(Error::MountedTwice(_))), "{path}");
    }
}
