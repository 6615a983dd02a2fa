//! Volumes of a workflow's containers, and what they find mounted.

use serde_json::{Value, json};

use super::runner::{container, job};
use super::site::Site;
use crate::support::parts::alone;
use crate::support::workflow_images::BUSYBOX;

fn volume(source: &str, target: &str, read_only: bool) -> Value {
    json!({
        "userProvidedValue": format!("{source}:{target}"), "sourceVolumePath": source,
        "targetVolumePath": target, "readOnly": read_only,
    })
}

#[test]
fn volumes_of_the_pod_and_directories_of_the_workspace_are_where_they_are_asked_for() {
    let _alone = alone();
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    runner.make("r/r/data/given", "of the workspace\n");
    let mut asked = job(BUSYBOX, "");
    asked["userMountVolumes"] = json!([
        volume("cache", "/var/cache", false),
        volume("/home/runner/_work/r/r/data", "/data", false),
    ]);
    let state = runner.prepare(&asked, &[]);
    let step =
        runner.script(&state, "cat /data/given; echo kept > /var/cache/x; touch /__e/x || echo no");
    assert_eq!((step.code, step.stdout.as_str()), (0, "of the workspace\nno\n"), "{step:?}");

    let action = container(
        BUSYBOX,
        &json!({
            "entryPoint": "sh", "userMountVolumes": [volume("cache", "/c", true)],
            "entryPointArgs": ["-c", "'cat", "/c/x;", "touch", "/c/y", "||", "echo", "read", "only'"],
        }),
    );
    let step = runner.call("run_container_step", &action, &state);
    assert_eq!((step.code, step.stdout.as_str()), (0, "kept\nread only\n"), "{step:?}");

    asked["userMountVolumes"] = json!([volume("/etc", "/host", true)]);
    let refused = runner.prepare_called(&asked, &[]);
    assert!(refused.code == 1 && refused.says("a path of the node"), "{refused:?}");
}
