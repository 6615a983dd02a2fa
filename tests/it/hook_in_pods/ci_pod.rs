//! A pod as a CI system makes one, on a real node: what its containers run is a test's, and what the
//! agent shows of them says when they may go on.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use ephemon_demo::kubelet::paths;
use serde_json::{Value, json};

use super::site::{PATIENCE, Site};
use crate::support::agent::Agent;
use crate::support::exposition::Ledger;
use crate::support::process::until;
use crate::support::real_node::NODE;
use crate::support::workflow_images::BUSYBOX;

/// The volume through which a test tells a pod's scripts to go on, and where each container has it.
const TURNS: &str = "turns";

/// The part of a script that waits for [`CiPod::tell`].
pub(super) fn turn(word: &str) -> String {
    format!("until [ -e /{TURNS}/{word} ]; do sleep 0.1; done")
}

/// The part of a script that says so to the other scripts of the pod, and to the test.
pub(super) fn say(word: &str) -> String {
    format!(": > /{TURNS}/{word}")
}

/// The pod, once the API has it.
pub(super) struct CiPod<'a> {
    site: &'a Site,
    pub(super) name: String,
}

/// What an agent has shown of containers so far.
pub(super) struct Shown<'a> {
    agent: &'a Agent,
    ledger: Ledger,
}

// === impl CiPod ===

impl<'a> CiPod<'a> {
    /// Creates the manifest's pod in the site's namespace. A container without a script ends at once.
    pub(super) fn create(site: &'a Site, manifest: &str, scripts: &[(&str, &str)]) -> Self {
        let mut pod: Value = serde_saphyr::from_str(manifest).unwrap();
        let metadata = pod["metadata"].as_object_mut().unwrap();
        metadata.insert("namespace".into(), json!(site.namespace()));
        metadata.remove("uid");
        // Objects that are not there: the garbage collector would take the pod for an orphan.
        metadata.remove("ownerReferences");
        let name = metadata["name"].as_str().unwrap().to_owned();
        let spec = pod["spec"].as_object_mut().unwrap();
        spec.insert("nodeName".into(), json!(NODE));
        spec.insert("terminationGracePeriodSeconds".into(), json!(1));
        spec.insert("volumes".into(), json!([{"name": TURNS, "emptyDir": {}}]));
        for list in ["initContainers", "containers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten()
            {
                let of = |(known, _): &&(&str, &str)| container["name"] == *known;
                let script = scripts.iter().find(of).map_or("true", |(_, script)| *script);
                container["image"] = json!(BUSYBOX);
                container["command"] = json!(["sh", "-c", script]);
                container["volumeMounts"] =
                    json!([{"name": TURNS, "mountPath": format!("/{TURNS}")}]);
                let container = container.as_object_mut().unwrap();
                container.remove("args");
                container.remove("stdin");
                container.remove("tty");
            }
        }
        site.api().create(&pod);
        Self { site, name }
    }

    /// Lets the scripts go on that wait for this [`turn`]. A container of the pod runs.
    pub(super) fn tell(&self, word: &str) {
        let pod = self.site.pod(&self.name);
        let uid = pod["metadata"]["uid"].as_str().unwrap();
        std::fs::write(self.volume(uid).join(word), "").unwrap();
    }

    /// Waits until a script has said so by [`say`].
    pub(super) fn until_said(&self, word: &str) {
        let pod = self.site.pod(&self.name);
        let uid = pod["metadata"]["uid"].as_str().unwrap();
        let said = self.volume(uid).join(word);
        until(PATIENCE, || said.exists().then_some(())).unwrap_or_else(|| {
            panic!("{word} of {}: {}", self.name, self.status());
        });
    }

    fn volume(&self, uid: &str) -> PathBuf {
        paths::empty_dir(&self.site.node.path("/"), uid, TURNS)
    }

    /// Deletes it.
    pub(super) fn delete(&self) {
        let words = ["delete", "pod", &self.name, "-n", self.site.namespace(), "--wait=false"];
        self.site.kubectl().run(&words);
    }

    /// What the API says of it.
    pub(super) fn status(&self) -> Value {
        self.site.pod(&self.name)["status"].take()
    }
}

// === impl Shown ===

impl<'a> Shown<'a> {
    /// Nothing yet.
    pub(super) fn of(agent: &'a Agent) -> Self {
        Self { agent, ledger: Ledger::default() }
    }

    /// Waits until a container has begun.
    pub(super) fn until_begun(&mut self, pod: &CiPod<'_>, container: &str) {
        self.until_at_least(0.0, "ephemon_container_start_time_seconds", pod, container);
    }

    /// Waits until a container has used so many seconds of CPU time.
    pub(super) fn until_worked(&mut self, seconds: f64, pod: &CiPod<'_>, container: &str) {
        let name = "ephemon_container_cpu_usage_seconds_total";
        self.until_at_least(seconds, name, pod, container);
    }

    /// Waits until a container is over.
    pub(super) fn until_ended(&mut self, pod: &CiPod<'_>, container: &str) {
        self.until_at_least(0.0, "ephemon_container_end_time_seconds", pod, container);
    }

    /// Waits until the kubelet has told how a container ended: of a job that is over no word is waited for
    /// longer than ten seconds. Returns how long after the container's end that was.
    pub(super) fn until_told(&mut self, pod: &CiPod<'_>, container: &str) -> Duration {
        let end = self.until_at_least(0.0, "ephemon_container_end_time_seconds", pod, container);
        self.until_at_least(0.0, "ephemon_container_exit_code", pod, container);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        now.saturating_sub(Duration::from_secs_f64(end))
    }

    /// Waits for such a value; the value.
    fn until_at_least(&mut self, least: f64, name: &str, pod: &CiPod<'_>, container: &str) -> f64 {
        let labels =
            [("namespace", pod.site.namespace()), ("pod", &pod.name), ("container", container)];
        until(PATIENCE, || {
            self.agent.scrape_into(&mut self.ledger);
            self.ledger.sum(name, &labels).filter(|value| *value >= least)
        })
        .unwrap_or_else(|| {
            panic!("{name} of {}/{container}: {}\n{}", pod.name, pod.status(), self.agent.log())
        })
    }
}
