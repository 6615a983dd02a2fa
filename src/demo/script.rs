//! The script of the demo: two runner pods in addition to the one with the hook, one pod that is
//! not selected, and ephemeral containers of every kind. Pure.

use std::time::Duration;

use serde_json::{Value, json};

use super::runner;

/// One patch, which adds ephemeral containers to a pod together.
#[derive(Debug, Clone)]
pub(super) struct ScriptPatch {
    /// When, after the start of the pods.
    pub(super) at: Duration,
    pub(super) pod: String,
    pub(super) containers: Vec<Value>,
    /// How many of them end.
    pub(super) ends: usize,
}

/// Names of the pods of one round.
#[derive(Debug, Clone)]
pub(super) struct PodNames {
    /// The runner that runs the workflow with the hook.
    pub(super) hook: String,
    pub(super) build: String,
    pub(super) test: String,
    /// Not labelled as a runner.
    pub(super) web: String,
}

/// Letters for random names, as in Kubernetes: no vowels, so that no words occur by chance.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Memory of the pod without memory pressure.
const AMPLE: &str = "1Gi";
/// Memory of the pod with the container that uses too much.
const TIGHT: &str = "96Mi";

// === impl PodNames ===

impl PodNames {
    /// Names as actions-runner-controller assigns them, new ones in each round.
    pub(super) fn new() -> Self {
        let letters = |count: usize| -> String {
            (0..count)
                .map(|_| fastrand::choice(LETTERS).map_or('x', |letter| char::from(*letter)))
                .collect()
        };
        let runner = || format!("linux-x64-7h2kq-runner-{}", letters(5));
        Self { hook: runner(), build: runner(), test: runner(), web: format!("web-{}", letters(5)) }
    }

    /// The pods to create.
    pub(super) fn pods(&self) -> Vec<Value> {
        vec![
            runner::pod(&self.hook),
            runner(&self.build, AMPLE),
            runner(&self.test, TIGHT),
            web(&self.web),
        ]
    }

    /// The names of the pods that the agent must report.
    pub(super) fn runners(&self) -> [&str; 3] {
        [&self.hook, &self.build, &self.test]
    }

    /// The names of all pods.
    pub(super) fn names(&self) -> [&str; 4] {
        [&self.hook, &self.build, &self.test, &self.web]
    }

    /// The patches in their order. `together_at`: milliseconds since 1970 at which several
    /// containers end at once, about eight seconds after the start. `enforced`: whether a kernel
    /// kills a container that uses too much memory.
    pub(super) fn script_patches(&self, together_at: u64, enforced: bool) -> Vec<ScriptPatch> {
        let until = together_at.to_string();
        let (build, test) = (self.build.as_str(), self.test.as_str());
        let mut script_patches = vec![
            script_patch(0, build, vec![work("job", "say 5 job + burn 4s 20")]),
            script_patch(300, build, vec![work("service-redis", "hold 32 12s")]),
            script_patch(1_000, test, vec![work("step-30ms", "burn 30ms")]),
            script_patch(
                2_000,
                test,
                (1..=8).map(|n| work(&format!("burst-{n}"), "burn 30ms")).collect(),
            ),
            script_patch(3_000, build, vec![work("step-build", "say 200 compiling + burn 1500ms")]),
            script_patch(3_200, &self.web, vec![work("debug", "burn 300ms")]),
            script_patch(
                5_000,
                test,
                (1..=4)
                    .map(|n| work(&format!("together-{n}"), &format!("burn-until {until}")))
                    .collect(),
            ),
            script_patch(
                6_000,
                build,
                vec![
                    work("step-io", "io 24"),
                    work("step-processes", "processes 40 2s"),
                    work("step-threads", "threads 150 2s"),
                ],
            ),
            script_patch(10_000, build, vec![work("step-fails", "say 2 sorry + exit 3")]),
            script_patch(11_000, build, vec![missing_command()]),
            script_patch(11_500, test, vec![missing_image()]),
            script_patch(12_000, build, vec![work("step-5s", "burn 5s")]),
            script_patch(
                14_000,
                test,
                (1..=5).map(|n| work(&format!("step-{n}"), "say 10 line + sleep 100ms")).collect(),
            ),
        ];
        if enforced {
            script_patches.push(script_patch(
                9_000,
                test,
                vec![work("step-hungry", "burn 100ms + eat 512")],
            ));
        }
        script_patches.sort_by_key(|script_patch| script_patch.at);
        script_patches
    }
}

fn script_patch(at_ms: u64, pod: &str, containers: Vec<Value>) -> ScriptPatch {
    let waits = |container: &&Value| {
        let image = container.get("image").and_then(Value::as_str);
        image.is_some_and(|image| image.starts_with("localhost/"))
    };
    ScriptPatch {
        at: Duration::from_millis(at_ms),
        pod: pod.to_owned(),
        ends: containers.iter().filter(waits).count(),
        containers,
    }
}

fn work(name: &str, what: &str) -> Value {
    let command: Vec<_> = std::iter::once("ephemon-workload").chain(what.split(' ')).collect();
    json!({
        "name": name,
        "image": "localhost/step:1",
        "imagePullPolicy": "Never",
        "command": command,
        "env": [
            // As the hook's: what has no role in a runner's pod is somebody who looks around there.
            {"name": "EPHEMON_ROLE", "value": "step"},
            {"name": "GITHUB_REPOSITORY", "value": "octo-org/widgets"},
            {"name": "GITHUB_RUN_ID", "value": "7103948211"},
        ],
    })
}

fn missing_command() -> Value {
    json!({
        "name": "step-missing-command",
        "image": "localhost/step:1",
        "imagePullPolicy": "Never",
        "command": ["/does/not/exist"],
    })
}

fn missing_image() -> Value {
    json!({
        "name": "step-missing-image",
        "image": "registry.example/absent:1",
        "imagePullPolicy": "Never",
        "command": ["true"],
    })
}

fn runner(name: &str, memory: &str) -> Value {
    json!({
        "metadata": {
            "name": name,
            "labels": {
                "actions-ephemeral-runner": "True",
                "actions.github.com/scale-set-name": "linux-x64",
                "actions.github.com/scale-set-namespace": "default",
                "app.kubernetes.io/component": "runner",
                "app.kubernetes.io/part-of": "gha-runner-scale-set",
            },
        },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 2,
            "resources": {"limits": {"memory": memory}},
            "containers": [{
                "name": "runner",
                "image": "localhost/actions-runner:latest",
                "imagePullPolicy": "Never",
                "command": ["ephemon-workload", "say", "1", "listening", "+", "serve"],
            }],
        },
    })
}

fn web(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {
            "terminationGracePeriodSeconds": 2,
            "containers": [{
                "name": "web",
                "image": "localhost/web:1",
                "command": ["ephemon-workload", "serve"],
            }],
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_hunger_needs_a_kernel_that_enforces() {
        let pod_names = PodNames::new();
        for enforced in [true, false] {
            let mut names = HashSet::new();
            for script_patch in pod_names.script_patches(0, enforced) {
                for container in &script_patch.containers {
                    let name = container["name"].as_str().unwrap().to_owned();
                    assert!(names.insert((script_patch.pod.clone(), name)));
                }
            }
            let hungry = (pod_names.test.clone(), "step-hungry".to_owned());
            assert_eq!(names.contains(&hungry), enforced);
        }
    }

    #[test]
    fn only_runners_carry_the_label_the_agent_looks_for() {
        let pod_names = PodNames::new();
        for pod in pod_names.pods() {
            let name = pod["metadata"]["name"].as_str().unwrap();
            let labelled = pod["metadata"]["labels"]["actions-ephemeral-runner"] == "True";
            assert_eq!(labelled, pod_names.runners().contains(&name));
        }
    }
}
