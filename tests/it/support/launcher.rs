//! Containers without a runtime: a cgroup, a process in it, its end, and the cgroup's.
//!
//! For what containerd is too slow to do. The removal is the launcher's own, so it reads the
//! kernel's last figure just before: nobody can know better.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::guest;
use super::node::{Node, PodPlace};

/// What a runtime would have written.
const LINE: &str = "2026-01-01T00:00:00.000000000Z stdout F hello\n";

/// One that ran.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    /// Its pod's namespace.
    pub(crate) namespace: String,
    /// Its pod's name.
    pub(crate) pod: String,
    /// Its name.
    pub(crate) name: String,
    /// Its id.
    pub(crate) id: String,
    /// The cgroup's CPU counter after its last process and before its removal.
    pub(crate) cpu_ns: u64,
}

/// Runs one container through its life: the words for `load`, and how long the cgroup outlives
/// the process (`runc` on a node: 35-60 ms).
pub(crate) fn run(node: &Node, pod: &PodPlace, name: &str, words: &str, linger: Duration) -> Ran {
    let id = format!("{:032x}{:032x}", fastrand::u128(..), fastrand::u128(..));
    let cgroup = format!("{}/{id}", pod.cgroup());
    node.make_log_directory(pod, name);
    fs::write(node.pod_logs(pod).join(name).join("0.log"), LINE).unwrap();
    node.cgroups().make(&cgroup);
    let procs: Vec<String> = node
        .cgroups()
        .directories(&cgroup)
        .map(|directory| directory.join("cgroup.procs").to_string_lossy().into_owned())
        .collect();
    let mut child = Command::new(guest::load())
        .args(["join", &procs.join(",")])
        .args(words.split(' '))
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    node.link_log(pod, name, &id);
    let counter = node.cgroups().cpu(&cgroup);
    let status = child.wait().unwrap();
    thread::sleep(linger);
    let cpu_ns = counter.read_ns().expect("nobody else removes the cgroup");
    node.cgroups().remove(&cgroup);
    assert!(status.success(), "{name}: {status}");
    Ran {
        namespace: pod.namespace.clone(),
        pod: pod.name.clone(),
        name: name.to_owned(),
        id,
        cpu_ns,
    }
}
