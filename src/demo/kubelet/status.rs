//! The pod status that a kubelet publishes, from the spec and the state of the runtime. Pure.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use serde_json::{Map, Value, json};

use super::Kind;
use super::container::State;
use super::images::Waiting;
use crate::api::containers::of_kind;
use crate::api::object::{items, qos_class, text, time};

/// The state of one container at the last relist.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    pub(super) id: String,
    pub(super) state: State,
}

/// The input of the status.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) pod: &'a Value,
    pub(super) seen: &'a BTreeMap<String, Seen>,
    /// Containers that wait, with the reason; others that are not in the state are being created.
    pub(super) waiting: &'a BTreeMap<String, Waiting>,
    pub(super) sandbox_ready: bool,
    /// When the kubelet first saw the pod.
    pub(super) start_time: &'a str,
    /// The present time, as the API formats it.
    pub(super) now: &'a str,
    /// All remaining containers of the pod have ended, and none will be restarted.
    pub(super) finished: bool,
}

// === impl View ===

impl View<'_> {
    /// The whole `status` section.
    pub(super) fn status(&self) -> Value {
        let regular = self.statuses(Kind::Regular);
        let ephemeral = self.statuses(Kind::Ephemeral);
        let init = self.statuses(Kind::Init);
        let unready: Vec<_> = regular
            .iter()
            .filter(|status| status.get("ready") != Some(&json!(true)))
            .filter_map(|status| text(status, "/name"))
            .collect();
        let mut status = Map::new();
        let mut set = |key: &str, value: Value| status.insert(key.to_owned(), value);
        set("observedGeneration", self.generation());
        let phase = self.phase(&regular);
        set("phase", json!(phase));
        set("conditions", self.conditions(phase, &unready, &init));
        set("startTime", json!(self.start_time));
        set("qosClass", json!(qos_class(self.pod)));
        set("hostIP", json!("127.0.0.1"));
        set("hostIPs", json!([{"ip": "127.0.0.1"}]));
        if self.sandbox_ready {
            // Containers share the host's network here.
            set("podIP", json!("127.0.0.1"));
            set("podIPs", json!([{"ip": "127.0.0.1"}]));
        }
        set(Kind::Regular.status(), Value::Array(regular));
        if !init.is_empty() {
            set(Kind::Init.status(), Value::Array(init));
        }
        if !ephemeral.is_empty() {
            set(Kind::Ephemeral.status(), Value::Array(ephemeral));
        }
        Value::Object(status)
    }

    fn generation(&self) -> Value {
        let generation = self.pod.pointer("/metadata/generation");
        generation.cloned().unwrap_or(Value::Null)
    }

    fn phase(&self, regular: &[Value]) -> &'static str {
        let has =
            |status: &&Value, state: &str| status.pointer(&format!("/state/{state}")).is_some();
        let failed = |status: &Value| !ended_well(status);
        if self.finished && regular.iter().all(|status| has(&status, "terminated")) {
            return if regular.iter().any(failed) { "Failed" } else { "Succeeded" };
        }
        if regular.iter().any(|status| has(&status, "waiting")) { "Pending" } else { "Running" }
    }

    /// By name, as a kubelet sorts them.
    fn statuses(&self, kind: Kind) -> Vec<Value> {
        let mut all: Vec<_> =
            of_kind(self.pod, kind).map(|container| self.container(container, kind)).collect();
        all.sort_by(|a, b| text(a, "/name").cmp(&text(b, "/name")));
        all
    }

    fn container(&self, spec: &Value, kind: Kind) -> Value {
        let name = text(spec, "/name").unwrap_or_default();
        let image = text(spec, "/image").unwrap_or_default();
        let seen = self.seen.get(name).filter(|seen| seen.state != State::Created);
        let running = matches!(seen, Some(Seen { state: State::Running { .. }, .. }));
        let mut status = Map::new();
        let mut set = |key: &str, value: Value| status.insert(key.to_owned(), value);
        set("name", json!(name));
        set("lastState", json!({}));
        // An init container is ready once it has ended with 0; an ephemeral one never is.
        let ready = match kind {
            Kind::Regular => running,
            Kind::Init => {
                matches!(seen, Some(Seen { state: State::Ended(ended), .. }) if ended.code == 0)
            }
            Kind::Ephemeral | Kind::Sandbox => false,
        };
        set("ready", json!(ready));
        set("restartCount", json!(0));
        set("image", json!(image));
        if kind != Kind::Ephemeral {
            set("started", json!(running));
        }
        if let Some(mounts) = spec.get("volumeMounts") {
            set("volumeMounts", mounts.clone());
        }
        let Some(seen) = seen else {
            let known = self.waiting.get(name);
            let has_init = of_kind(self.pod, Kind::Init).next().is_some();
            let idle = if has_init { "PodInitializing" } else { "ContainerCreating" };
            let mut waiting = json!({"reason": known.map_or(idle, |waiting| waiting.reason)});
            if let Some(message) = known.and_then(|waiting| waiting.message.as_ref())
                && let Some(waiting) = waiting.as_object_mut()
            {
                waiting.insert("message".to_owned(), json!(message));
            }
            set("state", json!({"waiting": waiting}));
            set("imageID", json!(""));
            return Value::Object(status);
        };
        let id = format!("containerd://{}", seen.id);
        set("imageID", json!(image_id(image)));
        set("resources", spec.get("resources").cloned().unwrap_or(json!({})));
        set("state", state(&seen.state, &id));
        set("containerID", json!(id));
        Value::Object(status)
    }

    /// The times of the last change are copied from the previous status.
    fn conditions(&self, phase: &str, unready: &[&str], init: &[Value]) -> Value {
        let ready = unready.is_empty() && !self.finished;
        let initialized = init.iter().all(ended_well) || phase == "Succeeded";
        let kinds = [
            ("PodReadyToStartContainers", self.sandbox_ready && !self.finished),
            ("Initialized", initialized),
            ("Ready", ready),
            ("ContainersReady", ready),
            ("PodScheduled", true),
        ];
        let condition = |(kind, holds): (&str, bool)| {
            let word = if holds { "True" } else { "False" };
            let before = items(self.pod, "/status/conditions")
                .find(|c| text(c, "/type") == Some(kind) && text(c, "/status") == Some(word))
                .and_then(|c| text(c, "/lastTransitionTime"));
            let mut condition = json!({
                "type": kind,
                "status": word,
                "observedGeneration": self.generation(),
                "lastProbeTime": null,
                "lastTransitionTime": before.unwrap_or(self.now),
            });
            let (reason, message) = why(kind, holds, phase, unready, init);
            for (key, value) in [("reason", reason.to_owned()), ("message", message)] {
                if let Some(condition) = condition.as_object_mut()
                    && !value.is_empty()
                {
                    condition.insert(key.to_owned(), json!(value));
                }
            }
            condition
        };
        kinds.into_iter().map(condition).collect()
    }
}

/// Whether a container's status says that it ended with 0.
fn ended_well(status: &Value) -> bool {
    status.pointer("/state/terminated/exitCode") == Some(&json!(0))
}

/// Reason and message of a condition; empty if it has none.
///
/// Source: kubernetes v1.36.3, `pkg/kubelet/status/generate.go`.
fn why(
    kind: &str,
    holds: bool,
    phase: &str,
    unready: &[&str],
    init: &[Value],
) -> (&'static str, String) {
    let named = |why: &str, names: &[&str]| format!("containers with {why}: [{}]", names.join(" "));
    let is_readiness = kind.ends_with("Ready");
    match (phase, holds) {
        ("Succeeded", _) if is_readiness || kind == "Initialized" => {
            ("PodCompleted", String::new())
        }
        ("Failed", false) if is_readiness => ("PodFailed", String::new()),
        (_, false) if is_readiness => ("ContainersNotReady", named("unready status", unready)),
        (_, false) if kind == "Initialized" => {
            let incomplete: Vec<_> = init
                .iter()
                .filter(|status| !ended_well(status))
                .filter_map(|status| text(status, "/name"))
                .collect();
            ("ContainersNotInitialized", named("incomplete status", &incomplete))
        }
        _ => ("", String::new()),
    }
}

fn state(state: &State, id: &str) -> Value {
    match state {
        State::Created => json!({"waiting": {"reason": "ContainerCreating"}}),
        State::Running { since } => json!({"running": {"startedAt": time(*since)}}),
        State::Ended(ended) => {
            let mut terminated = json!({
                "exitCode": ended.code,
                "reason": ended.reason,
                // A container that never ran has the zero time as its start, as recorded.
                "startedAt": time(ended.since.unwrap_or(UNIX_EPOCH)),
                "finishedAt": time(ended.at),
                "containerID": id,
            });
            if let (Some(why), Some(map)) = (&ended.message, terminated.as_object_mut()) {
                map.insert("message".to_owned(), json!(why));
            }
            json!({"terminated": terminated})
        }
    }
}

/// A digest that depends on the image's name only.
fn image_id(image: &str) -> String {
    let seed = image.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut random = fastrand::Rng::with_seed(seed);
    let digits: String = (0..64).map(|_| random.digit(16).to_ascii_lowercase()).collect();
    format!("sha256:{digits}")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::container::Ended;
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 999)
    }

    fn seen(state: State) -> Seen {
        Seen { id: "ab".repeat(32), state }
    }

    fn status(seen: &[(&str, State)], finished: bool) -> Value {
        let pod = json!({
            "metadata": {"generation": 3},
            "spec": {
                "containers": [{"name": "runner", "image": "localhost/runner:1"}],
                "ephemeralContainers": [{"name": "step", "image": "a:1"}, {"name": "job", "image": "a:1"}],
            },
        });
        let seen = seen
            .iter()
            .map(|(name, state)| ((*name).to_owned(), self::seen(state.clone())))
            .collect();
        View {
            pod: &pod,
            seen: &seen,
            waiting: &BTreeMap::from([(
                "step".to_owned(),
                Waiting { reason: "ErrImageNeverPull", message: Some("not present".to_owned()) },
            )]),
            sandbox_ready: true,
            start_time: "2026-11-23T12:19:10Z",
            now: "2026-11-23T12:19:11Z",
            finished,
        }
        .status()
    }

    #[test]
    fn statuses_stand_by_name_with_whole_seconds_and_the_apis_words() {
        let status = status(&[("runner", State::Running { since: at(5) })], false);
        assert_eq!(status["phase"], "Running");
        assert_eq!(
            status["containerStatuses"][0]["state"],
            json!({"running": {"startedAt": "1970-01-01T00:00:05Z"}})
        );
        let ephemeral = &status["ephemeralContainerStatuses"];
        assert_eq!(ephemeral[0]["name"], "job");
        assert_eq!(ephemeral[0]["state"], json!({"waiting": {"reason": "ContainerCreating"}}));
        assert_eq!(ephemeral[1]["state"]["waiting"]["reason"], "ErrImageNeverPull");
    }

    #[test]
    fn the_end_of_an_ephemeral_container_never_changes_the_phase() {
        let ended = |code| {
            State::Ended(Ended {
                since: Some(at(5)),
                at: at(6),
                code,
                reason: "Error",
                message: None,
            })
        };
        let running = State::Running { since: at(5) };
        let one = status(&[("runner", running), ("job", ended(1))], false);
        assert_eq!(
            (one["phase"].as_str(), one["conditions"][2]["status"].as_str()),
            (Some("Running"), Some("True"))
        );
        let all = status(&[("runner", ended(0)), ("job", ended(1))], true);
        assert_eq!(all["phase"], "Succeeded");
        assert_eq!(status(&[("runner", ended(3))], true)["phase"], "Failed");
    }
}
