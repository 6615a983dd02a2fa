//! The runner's pod, as actions-runner-controller creates it from a scale set whose template has
//! the hook's volumes. Pure.

use serde_json::{Value, json};

/// Memory of the runner and all its jobs.
const MEMORY: &str = "1Gi";

/// A pod with the hook.
pub(crate) fn pod(name: &str) -> Value {
    let volume = |name: &str| json!({"name": name, "emptyDir": {}});
    let mount = |name: &str, path: &str| json!({"name": name, "mountPath": path});
    let programs = json!({"name": "ephemon-bin", "mountPath": "/ephemon/bin", "readOnly": true});
    let variable = |name: &str, value: &str| json!({"name": name, "value": value});
    let volumes =
        ["work", "externals", "github", "ephemon", "ephemon-bin", super::DIAG].map(volume);
    let pipe = format!("{}/{}", super::DIAG_PATH, super::PIPE);
    let listens = "say 1 Listening for Jobs + repeat";
    let command = ["ephemon-workload"].into_iter().chain(listens.split(' ')).chain([&*pipe]);
    let command: Vec<&str> = command.collect();
    let image = "localhost/actions-runner:latest";
    json!({
        "metadata": {
            "name": name,
            "labels": {
                "actions-ephemeral-runner": "True",
                "actions.github.com/organization": "octo-org",
                "actions.github.com/scale-set-name": "linux-x64",
                "actions.github.com/scale-set-namespace": "default",
                "app.kubernetes.io/component": "runner",
                "app.kubernetes.io/part-of": "gha-runner-scale-set",
            },
        },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 2,
            "resources": {"limits": {"memory": MEMORY}},
            "volumes": volumes,
            "initContainers": [{
                "name": super::INIT,
                "image": "localhost/ephemon:latest",
                "imagePullPolicy": "Never",
                "command": ["ephemon", "install", "/ephemon"],
                "volumeMounts": [mount("ephemon", "/ephemon"), mount("ephemon-bin", "/ephemon/bin")],
            }],
            "containers": [{
                "name": super::CONTAINER,
                "image": image,
                "imagePullPolicy": "Never",
                "command": command,
                "env": [
                    variable("ACTIONS_RUNNER_CONTAINER_HOOKS", "/ephemon/bin/hook.sh"),
                    variable("ACTIONS_RUNNER_POD_NAME", name),
                    variable("ACTIONS_RUNNER_REQUIRE_JOB_CONTAINER", "true"),
                ],
                "volumeMounts": [
                    mount("work", super::WORK),
                    mount("externals", "/home/runner/externals"),
                    mount("github", "/github"),
                    mount("ephemon", "/ephemon"),
                    mount(super::DIAG, super::DIAG_PATH),
                    programs,
                ],
            }],
        },
    })
}
