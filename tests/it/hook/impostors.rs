//! Another container of the pod in the place of an init's socket, against the real hook.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use ephemon_contract::{Frames, MAX_REQUEST_BYTES, Reply};
use serde_json::{Value, json};

use super::rig::{Called, Rig};
use crate::support::relay::{Relay, listen};

const TOLD: &str = "Another container of the pod has replaced it";

/// All that a hook said to whoever listened in an init's place.
#[derive(Debug, Clone, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl Heard {
    fn shows(&self, text: &str) -> bool {
        self.0.lock().unwrap().windows(text.len()).any(|part| part == text.as_bytes())
    }
}

/// Answers the first frame with these bytes, and keeps all that is said.
fn answered(heard: &Heard, answer: Vec<u8>) -> impl Fn(UnixStream) + Send + Sync + 'static {
    let heard = heard.clone();
    move |mut stream| {
        let (mut frames, mut buffer) = (Frames::new(MAX_REQUEST_BYTES), [0; 4096]);
        let mut answered = false;
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            heard.0.lock().unwrap().extend_from_slice(&buffer[..count]);
            frames.feed(&buffer[..count]);
            if !answered && frames.next_frame().unwrap().is_some() {
                stream.write_all(&answer).ok();
                answered = true;
            }
        }
    }
}

/// An init's answer by one that does not have the container's key.
fn posing() -> Vec<u8> {
    // The base point of the curve is anybody's public key.
    let mut key = [0; 32];
    key[0] = 9;
    let mut answer = Reply::Key(key).encode().unwrap();
    answer.extend_from_slice(&32_u32.to_le_bytes());
    answer.extend_from_slice(&[7; 32]);
    answer
}

fn assert_told(called: &Called) {
    assert_ne!(called.code, 0, "{called:?}");
    let errors = called.stdout.lines().filter(|line| line.starts_with("::error::"));
    let told: Vec<&str> = errors.collect();
    assert!(matches!(told[..], [one] if one.contains(TOLD)), "{called:?}");
}

#[tokio::test]
async fn a_relayed_socket_is_told_and_nothing_of_the_job_is_said_there() {
    let Some(rig) = Rig::start().await else { return };
    let state = rig.prepared().await;
    let socket = rig.path("ephemon/run/job.sock");
    let relay = Relay::take(&socket);
    let step = rig.script("echo ran > /__w/ran");
    assert_told(&rig.call("run_script_step", &step, &state).await);
    let said = relay.said();
    assert!(!said.by_hook.is_empty(), "the hook came by it");
    for secret in ["hunter2-secret", "from the step", state["token"].as_str().unwrap()] {
        assert!(!said.shows(secret), "{secret} in {said:?}");
    }
    let cleaned = rig.call("cleanup_job", &json!({}), &state).await;
    assert!(cleaned.stdout.contains(TOLD), "{cleaned:?}");
    assert!(!rig.path("_work/ran").exists());
    relay.give_back(&socket);
    let called = rig.call("run_script_step", &step, &state).await;
    assert_eq!(called.code, 0, "{called:?}");
    assert!(rig.path("_work/ran").exists());
}

#[tokio::test]
async fn one_that_poses_as_init_is_told_and_hears_nothing_of_the_job() {
    let Some(rig) = Rig::start().await else { return };
    let state = rig.prepared().await;
    let socket = rig.path("ephemon/run/job.sock");
    let welcome = b"\x03\0\0\0\x01\0\0".to_vec();
    for answer in [posing(), welcome, b"HTTP/1.1 200 OK\r\n\r\n".to_vec()] {
        let heard = Heard::default();
        fs::remove_file(&socket).unwrap();
        listen(&socket, answered(&heard, answer));
        assert_told(&rig.call("run_script_step", &rig.script("true"), &state).await);
        assert!(!heard.0.lock().unwrap().is_empty(), "the hook came by it");
        for secret in ["hunter2-secret", "from the step", state["token"].as_str().unwrap()] {
            assert!(!heard.shows(secret), "{secret} in {heard:?}");
        }
    }
}

/// A service that runs before the job's container is asked for.
#[tokio::test]
async fn a_socket_that_is_taken_before_its_container_starts_is_told() {
    let Some(rig) = Rig::start().await else { return };
    let heard = Heard::default();
    listen(&rig.path("ephemon/run/job.sock"), answered(&heard, posing()));
    let env = json!({"DEPLOY_KEY": "of-the-job-alone"});
    let container = json!({"image": "init", "environmentVariables": env});
    let args = json!({"container": container, "services": []});
    assert_told(&rig.call("prepare_job", &args, &Value::Null).await);
    assert!(!heard.0.lock().unwrap().is_empty(), "the hook came by it");
    assert!(!heard.shows("of-the-job-alone"), "{heard:?}");
}

/// An action whose image's own entrypoint runs without init, because the node's agent does not answer.
#[tokio::test]
async fn whoever_listens_where_no_init_is_does_not_end_the_action() {
    let Some(mut rig) = Rig::start().await else { return };
    rig.set("EPHEMON_NRI", "true");
    let state = rig.prepared().await;
    for (name, answer) in [("step", posing()), ("step-2", b"HTTP/1.1 200 OK\r\n\r\n".to_vec())] {
        let heard = Heard::default();
        listen(&rig.path(&format!("ephemon/run/{name}.sock")), answered(&heard, answer));
        let env = json!({"DEPLOY_KEY": "of-the-step-alone"});
        let script = "sleep 1; echo of the step; exit 5";
        let step =
            json!({"image": "tool", "entryPointArgs": [script], "environmentVariables": env});
        let step = rig.call("run_container_step", &step, &state).await;
        assert!(step.code == 5 && step.stdout.contains("of the step\n"), "{step:?}");
        assert_eq!(step.stdout.matches(TOLD).count(), 1, "{step:?}");
        assert!(!heard.shows("of-the-step-alone"), "{heard:?}");
    }
}
