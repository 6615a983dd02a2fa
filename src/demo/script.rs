//! What the demo plays: two runner pods beside the one with the hook, one pod that is none of the agent's business, and
//! ephemeral containers of every kind that jobs are made of. Pure.

use std::time::Duration;

use serde_json::{Value, json};

use super::runner;

/// One patch: ephemeral containers that are added to a pod together.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    /// When, after the pods run.
    pub(super) at: Duration,
    pub(super) pod: String,
    pub(super) containers: Vec<Value>,
    /// How many of them come to an end.
    pub(super) ends: usize,
}

/// Names of the pods of one round.
#[derive(Debug, Clone)]
pub(super) struct Cast {
    /// The runner that plays the workflow through the hook.
    pub(super) hook: String,
    pub(super) build: String,
    pub(super) test: String,
    /// Not labelled as a runner.
    pub(super) web: String,
}

/// Kubernetes makes random names of these: no vowels, no words by chance.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Memory of the pod in which nothing goes wrong.
const AMPLE: &str = "1Gi";
/// Memory of the pod with the hungry container.
const TIGHT: &str = "96Mi";

// === impl Cast ===

impl Cast {
    /// Names as actions-runner-controller gives them; fresh ones each round.
    pub(super) fn new() -> Self {
        let letters = |count: usize| -> String {
            (0..count)
                .map(|_| fastrand::choice(LETTERS).map_or('x', |letter| char::from(*letter)))
                .collect()
        };
        let runner = || format!("linux-x64-7h2kq-runner-{}", letters(5));
        Self { hook: runner(), build: runner(), test: runner(), web: format!("web-{}", letters(5)) }
    }

    /// The pods to make.
    pub(super) fn pods(&self) -> Vec<Value> {
        vec![
            runner::pod(&self.hook),
            runner(&self.build, AMPLE),
            runner(&self.test, TIGHT),
            web(&self.web),
        ]
    }

    /// The names of the pods that the agent is to show.
    pub(super) fn runners(&self) -> [&str; 3] {
        [&self.hook, &self.build, &self.test]
    }

    /// The names of all pods.
    pub(super) fn names(&self) -> [&str; 4] {
        [&self.hook, &self.build, &self.test, &self.web]
    }

    /// The scenes in their order. `together_at`: milliseconds since 1970 at which several
    /// containers end at once, about eight seconds after the beginning. `enforced`: whether a
    /// kernel kills what eats too much.
    pub(super) fn scenes(&self, together_at: u64, enforced: bool) -> Vec<Scene> {
        let until = together_at.to_string();
        let (build, test) = (self.build.as_str(), self.test.as_str());
        let mut scenes = vec![
            scene(0, build, vec![work("job", "say 5 job + burn 4s 20")]),
            scene(300, build, vec![work("service-redis", "hold 32 12s")]),
            scene(1_000, test, vec![work("step-30ms", "burn 30ms")]),
            scene(2_000, test, (1..=8).map(|n| work(&format!("burst-{n}"), "burn 30ms")).collect()),
            scene(3_000, build, vec![work("step-build", "say 200 compiling + burn 1500ms")]),
            scene(3_200, &self.web, vec![work("debug", "burn 300ms")]),
            scene(
                5_000,
                test,
                (1..=4)
                    .map(|n| work(&format!("together-{n}"), &format!("burn-until {until}")))
                    .collect(),
            ),
            scene(
                6_000,
                build,
                vec![
                    work("step-io", "io 24"),
                    work("step-processes", "processes 40 2s"),
                    work("step-threads", "threads 150 2s"),
                ],
            ),
            scene(10_000, build, vec![work("step-fails", "say 2 sorry + exit 3")]),
            scene(11_000, build, vec![missing_command()]),
            scene(11_500, test, vec![missing_image()]),
            scene(12_000, build, vec![work("step-5s", "burn 5s")]),
            scene(
                14_000,
                test,
                (1..=5).map(|n| work(&format!("step-{n}"), "say 10 line + sleep 100ms")).collect(),
            ),
        ];
        if enforced {
            scenes.push(scene(9_000, test, vec![work("step-hungry", "burn 100ms + eat 512")]));
        }
        scenes.sort_by_key(|scene| scene.at);
        scenes
    }
}

fn scene(at_ms: u64, pod: &str, containers: Vec<Value>) -> Scene {
    let waits = |container: &&Value| {
        let image = container.get("image").and_then(Value::as_str);
        image.is_some_and(|image| image.starts_with("localhost/"))
    };
    Scene {
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
        let cast = Cast::new();
        for enforced in [true, false] {
            let mut names = HashSet::new();
            for scene in cast.scenes(0, enforced) {
                for container in &scene.containers {
                    let name = container["name"].as_str().unwrap().to_owned();
                    assert!(names.insert((scene.pod.clone(), name)));
                }
            }
            let hungry = (cast.test.clone(), "step-hungry".to_owned());
            assert_eq!(names.contains(&hungry), enforced);
        }
    }

    #[test]
    fn only_runners_carry_the_label_the_agent_looks_for() {
        let cast = Cast::new();
        for pod in cast.pods() {
            let name = pod["metadata"]["name"].as_str().unwrap();
            let labelled = pod["metadata"]["labels"]["actions-ephemeral-runner"] == "True";
            assert_eq!(labelled, cast.runners().contains(&name));
        }
    }
}
