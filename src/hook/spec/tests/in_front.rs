//! Containers for which the node's agent is asked to put init in front of the image's own entrypoint.

use k8s_openapi::api::core::v1::EnvVar;

use super::*;

fn asking(role: Role, asked: Value) -> Planned {
    let settings = Settings { nri: true, ..settings() };
    plan_by(&settings, &pod(&json!([])), role, asked, Part::default()).unwrap()
}

#[test]
fn a_service_asks_by_a_variable_and_has_init_mounted_and_is_else_as_without() {
    let asked = json!({"image": "postgres:16", "entryPointArgs": ["-c", "a"], "workingDirectory": "/d",
        "environmentVariables": {"POSTGRES_PASSWORD": "hunter2"}, "createOptions": "--ulimit nofile=1:2"});
    let plain = plan(Role::Service, asked.clone()).unwrap();
    let service = asking(Role::Service, asked);
    assert!(service.asks_init && !service.has_init);
    let env = env_of(&service);
    assert_eq!(env.get(env::INIT).map(String::as_str), Some(r#"["--ulimit","nofile=1:2"]"#));
    let token = Token::from_random([1; 32]);
    assert_eq!(env.get(env::HOOK_KEY), Some(&token.hook_key().to_string()));
    assert_eq!(env.get(env::CONTAINER_KEY), Some(&token.container_key("postgres").expose()));
    let mounts = json!([
        {"name": "ephemon", "mountPath": "/ephemon"},
        {"name": "ephemon-bin", "mountPath": "/ephemon/bin", "readOnly": true},
    ]);
    assert_eq!(serde_json::to_value(&service.spec.volume_mounts).unwrap(), mounts);
    // Without an agent it is what it is without the question.
    let mut rest = service.without_init(service.name().to_owned()).spec;
    rest.volume_mounts = None;
    assert_eq!(rest, plain.spec);
    assert!(service.warnings.is_empty() && service.warnings_without_init == plain.warnings);
    assert_eq!(plain.warnings.len(), 1);
}

#[test]
fn a_service_that_is_added_again_tells_of_the_same_images() {
    let mut service = asking(Role::Service, json!({"image": "postgres:16"}));
    let variable = EnvVar {
        name: env::ACTION_IMAGES.to_owned(),
        value: Some("a:1 b:1".to_owned()),
        value_from: None,
    };
    service.spec.env.get_or_insert_default().push(variable);
    let again = env_of(&service.without_init("postgres-2".to_owned()));
    assert_eq!(again.get(env::ACTION_IMAGES).map(String::as_str), Some("a:1 b:1"));
    assert!(!again.contains_key(env::INIT));
}

#[test]
fn a_step_asks_and_no_word_of_the_workflow_is_expanded() {
    let asked = json!({"image": "a", "createOptions": "--tmpfs /run:x=$(CI)"});
    let step = asking(Role::Step, asked);
    assert_eq!(env_of(&step)[env::INIT], r#"["--tmpfs","/run:x=$$(CI)"]"#);
    let mounts: Vec<String> =
        step.spec.volume_mounts.into_iter().flatten().map(|mount| mount.name).collect();
    assert_eq!(mounts, ["work", "github", "ephemon", "ephemon-bin"]);
}

#[test]
fn nothing_asks_that_knows_its_command_or_stands_by_or_does_not_want_init() {
    let own = json!({"image": "a"});
    let is_asking = |role, asked: &Value| asking(role, asked.clone()).asks_init;
    assert!(is_asking(Role::Service, &own) && is_asking(Role::Step, &own));
    assert!(!is_asking(Role::Job, &own) && !is_asking(Role::Standby, &own));
    for not in [
        json!({"image": "a", "entryPoint": "sh"}),
        json!({"image": "a", "createOptions": "--entrypoint sh"}),
        json!({"image": "a", "createOptions": "--init=false"}),
    ] {
        assert!(!is_asking(Role::Service, &not) && !is_asking(Role::Step, &not), "{not}");
    }
    assert!(!plan(Role::Service, own.clone()).unwrap().asks_init, "off by default");
    let settings = Settings { nri: true, ..settings() };
    let bare = PodView::default();
    let service = plan_by(&settings, &bare, Role::Service, own, Part::default()).unwrap();
    assert!(!service.asks_init, "the pod has not the volumes");
}

#[test]
fn no_variable_that_init_reads_is_the_workflows_to_set() {
    let inits = [
        env::CONTAINER,
        env::ROLE,
        env::HOOK_KEY,
        env::CONTAINER_KEY,
        env::PEER_UID,
        env::VOLUME,
        env::INIT,
    ];
    let theirs: serde_json::Map<String, Value> =
        inits.iter().map(|name| ((*name).to_owned(), json!("theirs"))).collect();
    let asked = json!({"image": "a", "environmentVariables": theirs});
    for role in [Role::Service, Role::Step] {
        let planned = asking(role, asked.clone());
        let env = env_of(&planned);
        for name in inits {
            // Before those of the Secret and of the image.
            assert!(env.get(name).is_some_and(|value| value != "theirs"), "{name}: {env:?}");
        }
        assert_eq!(env[env::VOLUME], "/ephemon");
    }
}
