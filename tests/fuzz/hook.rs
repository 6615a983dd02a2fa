//! The runner's requests to the hook, and Docker's options in them.

use std::collections::HashSet;
use std::path::Path;
use std::sync::LazyLock;

use ephemon_hook::dry_run;
use k8s_openapi::api::core::v1::{EphemeralContainer, Pod};
use serde_json::json;

/// Stands in the environment and must stand in no message.
const SECRET: &str = "hunter2-is-the-secret";
/// Of the kubelet's: a name of a container.
const LONGEST_NAME: usize = 63;

static RUNNER: LazyLock<Pod> = LazyLock::new(|| {
    let mounts = json!([
        {"name": "work", "mountPath": "/home/runner/_work"},
        {"name": "ephemon", "mountPath": "/ephemon/shared"},
        {"name": "ephemon-bin", "mountPath": "/ephemon/bin", "readOnly": true},
    ]);
    let container = json!({"name": "runner", "image": "runner", "volumeMounts": mounts});
    let volumes = json!([
        {"name": "work", "emptyDir": {}}, {"name": "ephemon", "emptyDir": {}},
        {"name": "ephemon-bin", "emptyDir": {}},
    ]);
    let metadata = json!({"name": "runner-1", "namespace": "ci", "uid": "0e269fa4-f505-4963-9096-958063077203"});
    let pod =
        json!({"metadata": metadata, "spec": {"containers": [container], "volumes": volumes}});
    serde_json::from_value(pod).expect("a pod")
});

/// A request where `data` begins with a brace; otherwise options of a job's container, and after a
/// newline a volume, a port and a line of arguments.
pub(super) fn request(data: &[u8]) {
    if data.first() == Some(&b'{') {
        planned(data);
        return;
    }
    let Ok(text) = str::from_utf8(data) else { return };
    let mut words = text.split('\n');
    let mut next = || words.next().unwrap_or_default();
    let (options, volume, port, argument) = (next(), next(), next(), next());
    let asked = json!({
        "image": "busybox", "createOptions": options, "portMappings": [port],
        "entryPoint": "sh", "entryPointArgs": ["-c", argument],
        "environmentVariables": {"TOKEN": SECRET},
        "userMountVolumes": [{"userProvidedValue": volume}],
    });
    for (command, args) in [
        ("prepare_job", json!({"container": asked, "services": [asked]})),
        ("run_container_step", asked.clone()),
    ] {
        let request = json!({"command": command, "args": args, "state": null});
        planned(request.to_string().as_bytes());
    }
}

fn planned(request: &[u8]) {
    let variable = |name: &str| match name {
        "ACTIONS_RUNNER_POD_NAME" => Some("runner-1".to_owned()),
        "GITHUB_WORKSPACE" => Some("/home/runner/_work/r/r".to_owned()),
        "RUNNER_TEMP" => Some("/home/runner/_work/_temp".to_owned()),
        _ => None,
    };
    // No file of the runner's container is there.
    match dry_run(request, &RUNNER, variable, Path::new("/proc/self/fdinfo")) {
        Ok(plan) => {
            let mut names = HashSet::new();
            for container in &plan.containers {
                confined(container);
                assert!(names.insert(&container.name), "{} twice", container.name);
            }
            hidden(&plan.warnings.join("\n"));
        }
        Err(error) => hidden(&error.to_string()),
    }
}

/// What no request can ask for.
fn confined(container: &EphemeralContainer) {
    let name = &container.name;
    let label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    assert!(name.len() <= LONGEST_NAME && name.bytes().all(label), "{name:?}");
    for mount in container.volume_mounts.iter().flatten() {
        let programs = mount.name == "ephemon-bin";
        assert!(!programs || mount.read_only == Some(true), "{mount:?}");
        let upwards =
            mount.sub_path.as_deref().unwrap_or_default().split('/').any(|part| part == "..");
        assert!(!upwards, "{mount:?}");
    }
}

/// A message shows no value of the environment, unless it was asked for by other means.
fn hidden(message: &str) {
    assert!(!message.contains(SECRET), "{message}");
}
