//! A job for whose container actions containers stand by, and what its pod, the journal and the hook's own
//! book tell of them.

use std::fs;

use ephemon_contract::{Phase, Record};
use serde_json::{Value, json};

use super::super::rig::{Called, Rig};
use super::super::{again_if, until};

/// A job that uses these images, one step each; `most` may stand by.
pub(super) async fn rig(most: usize, images: &[&str]) -> Option<Rig> {
    let mut rig = Rig::start().await?;
    rig.set("EPHEMON_STANDBY", &most.to_string());
    let step = |image: &&str| json!({"reference": {"name": format!("o/{image}"), "ref": "v1"}});
    let steps: Vec<Value> = images.iter().map(step).collect();
    for image in images {
        let action = rig.path("_work/_actions/o").join(image).join("v1");
        fs::create_dir_all(&action).unwrap();
        let text = format!(
            "name: x\nruns:\n  using: docker\n  image: docker://{image}\n  entrypoint: sh\n"
        );
        fs::write(action.join("action.yml"), text).unwrap();
    }
    fs::create_dir(rig.path("_diag")).unwrap();
    let text = format!(
        "[2026-01-01 00:00:00Z INFO Worker] Job message:\n {:#}\n",
        json!({"steps": steps})
    );
    fs::write(rig.path("_diag/Worker_20260101-000000-utc.log"), text).unwrap();
    Some(rig)
}

/// Such a job, prepared, for whose next steps as many stand by as may.
pub(super) async fn standing_by(most: usize, images: &[&str]) -> Option<(Rig, Value)> {
    standing_by_beside(&[], most, images).await
}

/// The same with services. The hook waits neither for the runner's files nor for the API server for long:
/// of a job that it prepares on a busy machine there may stand by none.
pub(super) async fn standing_by_beside(
    services: &[Value],
    most: usize,
    images: &[&str],
) -> Option<(Rig, Value)> {
    let all = most.min(images.len());
    let is_late = |(rig, _): &(Rig, Value)| waiting(rig) < all;
    let (rig, state) = again_if(is_late, async || {
        let rig = rig(most, images).await?;
        let args = json!({"container": {"image": "init"}, "services": services});
        let prepared = rig.call("prepare_job", &args, &Value::Null).await;
        assert_eq!(prepared.code, 0, "{prepared:?}");
        let as_expected = waiting(&rig) == all || had_no_time(&rig, &prepared);
        assert!(as_expected, "{:?}: {prepared:?}", book(&rig));
        let state = prepared.json()["state"].clone();
        Some((rig, state))
    })
    .await?;
    assert_eq!(waiting(&rig), all, "{:?}", book(&rig));
    Some((rig, state))
}

pub(super) fn action(image: &str, script: &str) -> Value {
    json!({
        "image": image, "entryPoint": "sh", "entryPointArgs": ["-c", format!("\"{script}\"")],
        "environmentVariables": {"INPUT_X": "of the step", "PASSWORD": "hunter2-secret", "CI": "no"},
        "workingDirectory": "/github/workspace",
        "systemMountVolumes": [{
            "sourceVolumePath": "/var/run/docker.sock", "targetVolumePath": "/var/run/docker.sock",
        }],
    })
}

/// The ephemeral containers of the pod, in their order of creation, and their roles.
pub(super) fn containers(rig: &Rig) -> Vec<(String, String)> {
    let pod = rig.pod_object();
    let all = pod["spec"]["ephemeralContainers"].as_array().cloned().unwrap_or_default();
    let mut all: Vec<(String, String)> = all
        .iter()
        .map(|one| {
            let env = one["env"].as_array().unwrap();
            let role = env.iter().find(|one| one["name"] == "EPHEMON_ROLE").unwrap();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (text(&one["name"]), text(&role["value"]))
        })
        .collect();
    all.sort();
    all
}

pub(super) fn names(rig: &Rig) -> Vec<String> {
    containers(rig).into_iter().map(|(name, _)| name).collect()
}

/// The images that the job's container tells of.
pub(super) fn told(rig: &Rig) -> Option<String> {
    let pod = rig.pod_object();
    let all = pod["spec"]["ephemeralContainers"].as_array()?;
    let job = all.iter().find(|one| one["name"] == "job")?;
    let env = job["env"].as_array()?;
    let told = env.iter().find(|one| one["name"] == "EPHEMON_ACTION_IMAGES")?;
    Some(told["value"].as_str()?.to_owned())
}

/// Whether a `prepare_job` gave up what was to stand by: it had not read the runner's files at once, and then
/// may not have in time, or had no answer of the API server.
pub(super) fn had_no_time(rig: &Rig, prepared: &Called) -> bool {
    let too_slow = "no container stands by for actions: the API server is too slow";
    told(rig).is_none() || prepared.stdout.contains(too_slow)
}

/// The containers that calls gave up, most of them because the API server's answer came too late: no step
/// takes them. Only between steps: what a step has taken is among them until it is over.
pub(super) fn given_up(rig: &Rig) -> Vec<String> {
    let book = book(rig).expect("the job has a book");
    let all = book["given"].as_array().unwrap();
    all.iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

/// Waits until init listens in it.
pub(super) async fn until_ready(rig: &Rig, container: &str) {
    let socket = rig.path("ephemon/run").join(format!("{container}.sock"));
    until(|| socket.exists()).await;
}

/// The containers that the calls for steps were about.
pub(super) fn used(rig: &Rig) -> Vec<String> {
    let journal = fs::read_to_string(rig.path("ephemon/journal/_hook.jsonl")).unwrap();
    let records = journal.lines().filter_map(|line| Record::from_line(line.as_bytes()));
    records
        .filter_map(|record| match record {
            Record::HookPhase { phase: Phase::RunContainerStep, container, .. } => container,
            _ => None,
        })
        .collect()
}

/// The hook's own book of what stands by.
fn book(rig: &Rig) -> Option<Value> {
    let text = fs::read(rig.runner_tmp().join(".ephemon-runner-1.standby/book")).ok()?;
    serde_json::from_slice(&text).ok()
}

/// How many containers there are that a step may take.
fn waiting(rig: &Rig) -> usize {
    let book = book(rig).unwrap_or_default();
    let all = book["waiting"].as_array().into_iter().flatten();
    all.filter(|one| one["asked"] == json!(true)).count()
}

/// Waits until a step has taken a container.
pub(super) async fn until_taken(rig: &Rig, container: &str) {
    until(|| book(rig).is_some_and(|book| book["given"] == json!([container]))).await;
}
