//! `EPHEMON_NRI=true` on a node whose agent does not answer: images' own entrypoints run as ever.

use std::fs;

use serde_json::{Value, json};

use super::rig::Rig;

/// A pod whose hook asks.
async fn asking() -> Option<Rig> {
    let mut rig = Rig::start().await?;
    rig.set("EPHEMON_NRI", "true");
    Some(rig)
}

/// The environment of a container in the spec.
fn env_of(rig: &Rig, container: &str, name: &str) -> String {
    let pod = rig.pod_object();
    let mut all = pod["spec"]["ephemeralContainers"].as_array().unwrap().iter();
    let spec = all.find(|spec| spec["name"] == container).unwrap();
    let mut env = spec["env"].as_array().unwrap().iter();
    env.find(|variable| variable["name"] == name).unwrap()["value"].as_str().unwrap().to_owned()
}

/// A key that the image's own program prints is masked before its log is shown.
fn assert_hidden(shown: &str, key: &str) {
    let (before, _) = shown.split_once(key).expect("the runner is told");
    let mask = format!("::add-mask::{key}\n");
    assert!(before.ends_with("::add-mask::") && shown.contains(&mask), "{shown}");
}

#[tokio::test]
async fn the_key_of_a_container_without_init_is_hidden() {
    let Some(rig) = asking().await else { return };
    let service = json!({"image": "db", "entryPointArgs": ["env; exec sleep 1000"]});
    let args = json!({"container": {"image": "init"}, "services": [service]});
    let prepared = rig.call("prepare_job", &args, &Value::Null).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    let state = prepared.json()["state"].clone();
    let step = json!({"image": "tool", "entryPointArgs": ["env"]});
    let step = rig.call("run_container_step", &step, &state).await;
    let key = env_of(&rig, "step", "EPHEMON_CONTAINER_KEY");
    assert_hidden(&step.stdout, &key);
    assert!(step.stdout.contains(&format!("EPHEMON_CONTAINER_KEY={key}\n")), "{step:?}");
    // In hexadecimal digits.
    let shared = fs::read_to_string(rig.path("ephemon/masks/_hook.jsonl")).unwrap();
    let digits = key.bytes().map(|byte| format!("{byte:02x}"));
    let key = digits.collect::<Vec<_>>().concat();
    assert!(shared.contains(&key), "{shared}");
    let cleaned = rig.call("cleanup_job", &json!({}), &state).await;
    assert_hidden(&cleaned.stdout, &env_of(&rig, "db", "EPHEMON_CONTAINER_KEY"));
}

/// As on a busy node, where the hook comes too late to meet it: its journal is all that is left of it.
#[tokio::test]
async fn of_a_service_that_was_over_before_its_init_was_met_only_its_end_is_told() {
    let Some(rig) = asking().await else { return };
    fs::write(rig.path("ephemon/journal/db.jsonl"), "\n").unwrap();
    let script = "sleep 1.5; exit 5";
    let options = "--health-cmd false --ulimit nofile=7:7";
    let service = json!({"image": "db", "entryPointArgs": [script], "createOptions": options});
    let args = json!({"container": {"image": "init"}, "services": [service]});
    let prepared = rig.call("prepare_job", &args, &Value::Null).await;
    let says = |text| prepared.stdout.contains(text);
    assert!(prepared.code == 1 && says("ended with exit code 5"), "{prepared:?}");
    assert!(!says("has not put ephemon-init in front"), "{prepared:?}");
    assert!(!says("is not run") && !says("option --ulimit of db"), "{prepared:?}");
    assert_hidden(&prepared.stdout, &env_of(&rig, "db", "EPHEMON_CONTAINER_KEY"));
}

#[tokio::test]
async fn an_action_that_exits_at_once_names_the_options_that_were_ignored() {
    let Some(rig) = asking().await else { return };
    let state = rig.prepared().await;
    let step = json!({"image": "tool", "entryPointArgs": ["exit 3"], "createOptions": "--ulimit nofile=7:7"});
    let step = rig.call("run_container_step", &step, &state).await;
    assert!(step.code == 3 && step.stdout.contains("option --ulimit of tool"), "{step:?}");
}

#[tokio::test]
async fn an_action_whose_init_cannot_be_started_runs_without_it() {
    let Some(rig) = asking().await else { return };
    let state = rig.prepared().await;
    let options = "--ulimit nofile=7:7";
    let step = json!({"image": "foreign", "entryPointArgs": ["echo ran; exit 3"], "createOptions": options});
    let step = rig.call("run_container_step", &step, &state).await;
    assert!(step.code == 3 && step.stdout.contains("ran\n"), "{step:?}");
    assert_eq!(
        step.stdout.matches("::notice::ephemon-init does not run in").count(),
        1,
        "{step:?}"
    );
    assert!(step.stdout.contains("option --ulimit of foreign"), "{step:?}");
    assert_eq!(rig.pod.ended().len(), 2, "{:?}", rig.pod.ended());
    assert!(rig.api.store().secrets().names().is_empty());
}

/// Without an agent it cannot be init's fault.
#[tokio::test]
async fn an_entrypoint_that_cannot_be_started_is_started_once() {
    let Some(rig) = asking().await else { return };
    let state = rig.prepared().await;
    let step = json!({"image": "broken", "entryPointArgs": ["x"]});
    let step = rig.call("run_container_step", &step, &state).await;
    assert_eq!(step.code, 128, "{step:?}");
    assert!(!step.stdout.contains("ephemon-init does not run in"), "{step:?}");
    assert_eq!(rig.pod.ended().len(), 1, "{:?}", rig.pod.ended());
}

#[tokio::test]
async fn services_whose_init_cannot_be_started_run_without_it() {
    let Some(rig) = asking().await else { return };
    let service = |code: i32| {
        let script =
            format!("echo $KEY {code}; trap 'exit {code}' TERM; while :; do sleep 0.02; done");
        let env = json!({"KEY": "hunter2-of-the-service"});
        json!({"image": "foreign", "entryPointArgs": [script], "environmentVariables": env, "createOptions": "--ulimit nofile=7:7"})
    };
    let services = [service(4), service(5)];
    let args = json!({"container": {"image": "init"}, "services": services});
    let prepared = rig.call("prepare_job", &args, &Value::Null).await;
    assert_eq!(prepared.code, 0, "{prepared:?}");
    assert_eq!(prepared.stdout.matches("::notice::ephemon-init does not run in").count(), 2);
    assert_eq!(prepared.stdout.matches("option --ulimit of foreign").count(), 2, "{prepared:?}");
    let response = prepared.json();
    let mut shown: Vec<&str> = Vec::new();
    for at in 0..2 {
        let id = response["context"]["services"][at]["id"].as_str().unwrap();
        assert_eq!(response["state"]["services"][at]["container"], id);
        assert!(rig.pod.pid(id).is_some(), "{id} runs");
        shown.push(id);
    }
    assert_ne!(shown[0], shown[1]);
    for (service, code) in shown.iter().zip([4, 5]) {
        rig.until_logged(service, &format!("hunter2-of-the-service {code}\n")).await;
    }
    let cleaned = rig.call("cleanup_job", &json!({}), &response["state"]).await;
    for code in [4, 5] {
        assert!(
            cleaned.stdout.contains(&format!("hunter2-of-the-service {code}\n")),
            "{cleaned:?}"
        );
    }
    assert!(!cleaned.stdout.contains("ended before the job did"), "{cleaned:?}");
    assert!(rig.api.store().secrets().names().is_empty());
}
