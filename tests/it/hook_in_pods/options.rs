//! Options that the container itself carries out: by its init, by a volume of the pod.

use serde_json::json;

use super::runner::{container, job};
use super::site::Site;
use crate::support::workflow_images::BUSYBOX;

#[test]
fn init_carries_out_what_a_container_without_privileges_can() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    let options = "--ulimit nofile=100:200 --ulimit core=0 --tmpfs /made/here:size=1m --init \
                   --shm-size 64m --add-host=host.docker.internal:host-gateway --device /dev/fuse";
    let service = container(
        BUSYBOX,
        &json!({
            "entryPoint": "sh", "portMappings": ["80"],
            "entryPointArgs": ["-c", "\"id -u > /srv/who; ulimit -n >> /srv/who; exec httpd -f -p 80 -h /srv\""],
            "createOptions": "--name web --ulimit nofile=77",
        }),
    );
    let called = runner.prepare_called(&job(BUSYBOX, options), &[service]);
    assert_eq!(called.code, 0, "{called:?}");
    for warning in ["--tmpfs /made/here", "--device"] {
        assert_eq!(called.stdout.matches(warning).count(), 1, "{warning}: {called:?}");
    }
    assert!(!called.stdout.contains("--ulimit"), "{called:?}");
    let state = called.json()["state"].clone();
    let script = "ulimit -Sn; ulimit -Hn; ulimit -c; stat -c %a /made/here; wget -qO- http://web/who; \
                  wget -qO- http://host.docker.internal/who";
    let step = runner.script(&state, script);
    assert_eq!(step.stdout, "100\n200\n0\n1777\n0\n77\n0\n77\n", "{step:?}");
}

#[test]
fn shared_memory_is_as_large_as_the_pods_volume_where_more_is_asked_for() {
    let Some(site) = Site::start() else { return };
    let runner = site.runner("runner-1");
    let called = runner.prepare_called(&job(BUSYBOX, "--shm-size 1g"), &[]);
    assert!(called.code == 0 && !called.stdout.contains("ephemon-shm"), "{called:?}");
    let state = called.json()["state"].clone();
    // More than the 64 MiB that every pod has.
    let step = runner.script(&state, "df -k /dev/shm | awk 'END { print ($2 > 65536) }'");
    assert_eq!(step.stdout, "1\n", "{step:?}");
}
