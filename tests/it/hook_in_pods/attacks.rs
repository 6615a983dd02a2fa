//! What a hostile job can do to the agent: pods of nobody's hook, which it takes for jobs like any other.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use ephemon_demo::kubelet::paths;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use super::site::{PATIENCE, Site};
use crate::support::full_journal::{JOURNALS, full_journal};
use crate::support::process::{output, until};
use crate::support::real_node::NODE;
use crate::support::workflow_images::BUSYBOX;

/// Peers that connect and say nothing.
const PEERS: usize = 1000;
/// Pods with full journals.
pub(super) const FLOODS: usize = 5;
/// Containers that come and go in one pod.
pub(super) const BRIEF: usize = 40;

/// A hostile pod.
pub(super) struct Hostile<'a> {
    site: &'a Site,
    name: String,
    /// Its volume, as the node has it.
    volume: PathBuf,
}

// === impl Hostile ===

impl<'a> Hostile<'a> {
    /// The pod runs, and its volume is there.
    pub(super) fn start(site: &'a Site, name: &str) -> Self {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": site.namespace(),
                "labels": {"actions-ephemeral-runner": "True"},
            },
            "spec": {
                "nodeName": NODE, "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": false,
                "volumes": [{"name": "ephemon", "emptyDir": {}}],
                "containers": [{
                    "name": "runner", "image": BUSYBOX, "command": ["sleep", "100000"],
                    "volumeMounts": [{"name": "ephemon", "mountPath": "/ephemon"}],
                    "resources": {"limits": {"memory": "256Mi", "cpu": "500m"}, "requests": {"memory": "16Mi", "cpu": "10m"}},
                }],
            },
        });
        site.api().create(&pod);
        site.until_status(name, "runner", |status| status.pointer("/state/running").map(drop));
        let uid = site.pod(name)["metadata"]["uid"].as_str().unwrap().to_owned();
        let volume = paths::empty_dir(&site.node.path("/"), &uid, "ephemon");
        for directory in ["journal", "masks", "run"] {
            fs::create_dir_all(volume.join(directory)).unwrap();
        }
        Self { site, name: name.to_owned(), volume }
    }

    /// Adds ephemeral containers in one request: name, script, variables.
    fn add(&self, containers: &[(String, String, Value)]) {
        let added = containers.iter().map(|(name, script, env)| {
            json!({
                "name": name, "image": BUSYBOX, "command": ["sh", "-c", script], "env": env,
                "terminationMessagePolicy": "File", "imagePullPolicy": "IfNotPresent",
            })
        });
        let added: Value = added.collect();
        let (space, name) = (self.site.namespace(), &self.name);
        let uri = format!("/api/v1/namespaces/{space}/pods/{name}/ephemeralcontainers");
        let words = ["replace", "--raw", &uri, "-f", "-"];
        // The kubelet may change the pod at the same time.
        let added = || {
            let mut pod = self.site.pod(&self.name);
            pod["spec"]["ephemeralContainers"] = added.clone();
            let done = self.site.kubectl().try_with(&words, &pod.to_string());
            let conflict = String::from_utf8_lossy(&done.stderr).contains("modified");
            assert!(done.status.success() || conflict, "{done:?}");
            done.status.success().then_some(())
        };
        until(PATIENCE, added).expect("the API takes them");
    }

    fn journal(&self, name: &str) -> PathBuf {
        self.volume.join("journal").join(name)
    }
}

/// Journals up to every bound, times of the future, and no files in files' places.
pub(super) fn flood_journals(pod: &Hostile<'_>) {
    let full = full_journal(u64::MAX / 2);
    for number in 0..JOURNALS {
        fs::write(pod.journal(&format!("c{number}.jsonl")), &full).unwrap();
    }
    for directory in ["journal", "masks"] {
        let directory = pod.volume.join(directory);
        symlink("/etc/shadow", directory.join("link.jsonl")).unwrap();
        symlink("link.jsonl", directory.join("again.jsonl")).unwrap();
        fs::create_dir(directory.join("directory.jsonl")).unwrap();
        let pipe = directory.join("pipe.jsonl");
        output(Command::new("mkfifo").arg(&pipe));
        in_the_future(&directory);
    }
}

fn in_the_future(path: &Path) {
    let year = Duration::from_hours(24 * 365);
    File::open(path).unwrap().set_modified(SystemTime::now() + year).unwrap();
}

/// What pods print: masks of every size, lines that never end, floods, names in masses, and a
/// process that is called like the runtime.
pub(super) fn flood_logs(masks: &Hostile<'_>, lines: &Hostile<'_>, names: &Hostile<'_>) {
    let one = |name: &str, script: &str| (name.to_owned(), script.to_owned(), json!([]));
    let fill = |bytes: usize, with: char| format!("head -c {bytes} /dev/zero | tr '\\0' {with}");
    masks.add(&[
        one(
            "huge",
            &format!(
                "while :; do printf ::add-mask::; {}; echo; sleep 1; done",
                fill(256 * 1024, 'y')
            ),
        ),
        one(
            "short",
            "awk 'BEGIN { for (i = 0; i < 65000; i++) printf \"::add-mask::%03x\\n\", i % 4096 }'; \
             while :; do echo to be withheld; sleep 0.1; done",
        ),
    ]);
    let endless = format!("while :; do {}; sleep 0.2; done", fill(64 * 1024, 'x'));
    let flood = "awk 'BEGIN { for (i = 0; i < 30000; i++) print \"flood\", i }'; sleep 100000";
    let runtime = "cp /bin/busybox /tmp/runc; while :; do /tmp/runc sleep 1; done";
    let limits = json!([{"name": "EPHEMON_LIMITS", "value": "memory=64Mi"}]);
    lines.add(&[
        one("endless-1", &endless),
        one("endless-2", &endless),
        one("endless-3", &endless),
        one("flood", flood),
        ("runtime".to_owned(), runtime.to_owned(), limits),
    ]);
    let brief = (0..BRIEF).map(|number| {
        let long = format!("{number}-{}", "n".repeat(2000));
        let env = json!([
            {"name": "GITHUB_REPOSITORY", "value": format!("o/{long}")},
            {"name": "GITHUB_JOB", "value": long}, {"name": "GITHUB_WORKFLOW", "value": long},
            {"name": "GITHUB_RUN_ID", "value": number.to_string()},
        ]);
        (format!("brief-{number}"), "echo here and gone".to_owned(), env)
    });
    names.add(&brief.collect::<Vec<_>>());
}

/// Keeps the agent's port full of peers that say nothing, until told to stop.
pub(super) fn crowd(address: SocketAddr, stop: &AtomicBool) {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let mut peers: Vec<TcpStream> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        // The server may hang up; others take their places.
        peers.retain(|peer| {
            peer.set_nonblocking(true).unwrap();
            let gone = peer.peek(&mut [0]).is_ok_and(|count| count == 0);
            !gone
        });
        while peers.len() < PEERS && !stop.load(Ordering::Relaxed) {
            match TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
                Ok(peer) => peers.push(peer),
                Err(_) => break,
            }
        }
        thread::sleep(Duration::from_millis(100));
    }
}
