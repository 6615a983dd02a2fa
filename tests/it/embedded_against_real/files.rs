//! What a pod leaves in the node's files: logs, the hosts file, cgroups; and when.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::client::{Client, NAMESPACE, UNTIL_ASKED, status_of, until};
use super::node::Node;
use super::recording::Recording;
use super::words::shortened;

const POD: &str = "files";

/// A long line, one on the other stream, a rest without its end.
const TALK: &str = "x=aaaaaaaaaaaaaaaaaaaa; for i in 1 2 3 4 5 6 7 8 9 10; do x=$x$x; done; \
    echo one; echo; echo two >&2; echo $x; printf rest";

/// The node and the pod that is looked at.
struct Scene<'a, N> {
    node: &'a N,
    client: &'a Client,
    uid: String,
}

pub(super) async fn record(node: &impl Node, client: &Client, out: &mut Recording) {
    let mut pod = client.pod(POD, UNTIL_ASKED);
    let limits = json!({"limits": {"memory": "64Mi", "cpu": "500m"}, "requests": {"cpu": "10m"}});
    pod["spec"]["containers"][0]["resources"] = limits;
    let made = client.create(&pod).await;
    client.until_running(POD, "main").await;
    let uid = made["metadata"]["uid"].as_str().unwrap().to_owned();
    let scene = Scene { node, client, uid };
    scene.hosts(out).await;
    scene.logs(out).await;
    scene.cgroups(out).await;
    scene.classes(out).await;
}

impl<N: Node> Scene<'_, N> {
    /// The hosts file, and what becomes of a line that somebody added.
    async fn hosts(&self, out: &mut Recording) {
        let path = self.node.path(&format!("/var/lib/kubelet/pods/{}/etc-hosts", self.uid));
        let pod = self.client.look(POD).await;
        let address = pod["status"]["podIP"].as_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let line = line.replace(&format!("{address}\t{POD}"), "ADDRESS\tPOD");
            out.note(format!("hosts: line {number}"), line);
        }
        out.note("hosts: mode", mode(&path));
        fs::write(&path, format!("{text}127.0.0.1\tadded\n")).unwrap();
        self.client.add(POD, &json!([self.client.container("stay", UNTIL_ASKED)])).await;
        self.client.until_running(POD, "stay").await;
        let then = fs::read_to_string(&path).unwrap();
        out.note("hosts: as before at the start of a container", then == text);
    }

    async fn logs(&self, out: &mut Recording) {
        self.client.add(POD, &json!([self.client.container("talk", TALK)])).await;
        let status = self.client.until_over(POD, "talk").await;
        let pod = format!("/var/log/pods/{NAMESPACE}_{POD}_{}", self.uid);
        let log = self.node.path(&pod).join("talk/0.log");
        out.note("log file: is there when the status says that it is over", log.exists());
        let text = fs::read_to_string(&log).unwrap();
        for stream in ["stdout", "stderr"] {
            let records = text.lines().filter(|line| line.split(' ').nth(1) == Some(stream));
            for (number, record) in records.enumerate() {
                out.note(format!("log file: {stream} {number}"), shortened(&grammar(record)));
            }
        }
        out.note("log file: records", text.lines().count());
        out.note("log file: mode", mode(&log));
        out.note("log file: mode of its directory", mode(log.parent().unwrap()));
        out.note("log file: mode of the pod's directory", mode(&self.node.path(&pod)));
        let id = status["containerID"].as_str().unwrap().rsplit('/').next().unwrap();
        let link = format!("/var/log/containers/{POD}_{NAMESPACE}_talk-{id}.log");
        let target = fs::read_link(self.node.path(&link)).unwrap();
        out.note("log file: link", self.client.neutral(&target.to_string_lossy()));
        let text = self.client.get(&format!("{}/{POD}/log?container=talk", Client::pods())).await;
        // What is on one stream may be logged before or after what is on the other.
        let text = text.text.replacen("two\n", "", 1);
        let lines: Vec<String> = text.lines().map(shortened).collect();
        out.note("log file: by the API", lines.join(" | "));
    }

    async fn cgroups(&self, out: &mut Recording) {
        let pod = self.client.look(POD).await;
        for controller in ["memory", "cpu", "pids"] {
            let Some(group) = self.group(controller, &self.uid) else {
                out.note(format!("cgroup: {controller}"), "none");
                continue;
            };
            let (base, path) = group;
            let below = path.strip_prefix(&base).unwrap().to_string_lossy().into_owned();
            out.note(format!("cgroup: {controller}"), self.client.neutral(&below));
            // What is over has gone by now; its removal is the runtime's own business.
            let running = ["main", "stay"].map(|name| (id_of(&pod, name), name));
            let members = until("the ended containers' cgroups are gone", async || {
                let members = members(&path, &running);
                (members.len() == 3).then_some(members)
            })
            .await;
            out.note(format!("cgroup: {controller}, below"), members.join(" "));
        }
        let value = |name: &str| {
            let controller = name.split('.').next().unwrap();
            let (_, path) = self.group(controller, &self.uid)?;
            let own = path.join(id_of(&pod, "main"));
            let read = |path: &Path| fs::read_to_string(path.join(name)).ok();
            Some(format!("{} {}", read(&path)?.trim(), read(&own)?.trim()))
        };
        let files = ["memory.limit_in_bytes", "memory.max", "cpu.cfs_quota_us", "cpu.max"];
        for file in files {
            let value = value(file).unwrap_or_else(|| "none".to_owned());
            out.note(format!("cgroup: {file} of pod and container"), value);
        }
    }

    /// Where pods of the other classes stand.
    async fn classes(&self, out: &mut Recording) {
        let limits = json!({"memory": "64Mi", "cpu": "100m"});
        for (name, resources) in
            [("best-effort", json!({})), ("guaranteed", json!({"limits": limits}))]
        {
            let mut pod = self.client.pod(name, UNTIL_ASKED);
            pod["spec"]["containers"][0]["resources"] = resources;
            let made = self.client.create(&pod).await;
            self.client.until_running(name, "main").await;
            let uid = made["metadata"]["uid"].as_str().unwrap();
            let (base, path) = self.group("memory", uid).unwrap();
            let below = path.strip_prefix(&base).unwrap().to_string_lossy().into_owned();
            out.note(format!("cgroup: of a {name} pod"), self.client.neutral(&below));
            out.note(format!("class: of a {name} pod"), &made["status"]["qosClass"]);
        }
    }

    /// The cgroup of all pods and that of one, in a controller's hierarchy.
    fn group(&self, controller: &str, uid: &str) -> Option<(PathBuf, PathBuf)> {
        let mount = self.node.path("/sys/fs/cgroup");
        let own = mount.join(controller);
        let base = if own.is_dir() { own } else { mount }.join(self.node.kubepods());
        let name = format!("pod{uid}");
        let classes = fs::read_dir(&base).ok()?.flatten().map(|entry| entry.path());
        let found = classes.chain([base.clone()]).map(|class| class.join(&name));
        let found = found.filter(|path| path.is_dir()).collect::<Vec<_>>().pop()?;
        Some((base, found))
    }
}

fn id_of(pod: &Value, container: &str) -> String {
    let id = status_of(pod, container).unwrap()["containerID"].as_str().unwrap();
    id.rsplit('/').next().unwrap().to_owned()
}

/// The cgroups below a pod's, by whose they are.
fn members(pod: &Path, known: &[(String, &str)]) -> Vec<String> {
    let below = fs::read_dir(pod).unwrap().flatten().filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = below
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .map(|name| match known.iter().find(|(id, _)| *id == name) {
            Some((_, container)) => (*container).to_owned(),
            None if name.len() == 64 => "sandbox".to_owned(),
            None => name,
        })
        .collect();
    names.sort();
    names
}

/// A record, its time replaced by its form.
fn grammar(record: &str) -> String {
    let (time, rest) = record.split_once(' ').unwrap();
    let digits = time.split_once('.').map_or(0, |(_, rest)| rest.trim_end_matches('Z').len());
    let well = time.parse::<jiff::Timestamp>().is_ok() && time.ends_with('Z') && digits <= 9;
    format!("{} {rest}", if well { "TIME" } else { time })
}

fn mode(path: &Path) -> String {
    format!("{:o}", fs::metadata(path).unwrap().permissions().mode() & 0o7777)
}
