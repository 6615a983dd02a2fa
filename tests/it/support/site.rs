//! A node made of plain files, whose containers write their logs as containerd does: for the agent
//! the kubelet's directories are all there is of a log.

pub(crate) mod container;
pub(crate) mod journal;
mod pod;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::agent::Agent;
use super::programs;
pub(crate) use container::Container;
pub(crate) use pod::Pod;

/// Where the agent keeps its state, below the node's root.
const STATE: &str = "var/lib/ephemon";
/// The flags of an agent without an API server.
const ALONE: [&str; 4] = ["agent", "--no-api", "--node-name", "it"];

/// The time limit of one attempt to send. A collector on a busy machine may answer later than after the ten
/// seconds of the default, and what it has taken would come again.
pub(crate) const OTLP_TIMEOUT: (&str, &str) = ("OTEL_EXPORTER_OTLP_TIMEOUT", "60000");

/// The node; its files go when it does.
pub(crate) struct Site {
    directory: TempDir,
}

// === impl Site ===

impl Site {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("ephemon-it-").tempdir().unwrap();
        for below in
            ["sys/fs/cgroup/kubepods/burstable", "var/log/pods", "var/log/containers", "proc"]
        {
            fs::create_dir_all(directory.path().join(below)).unwrap();
        }
        let controllers = directory.path().join("sys/fs/cgroup/cgroup.controllers");
        fs::write(controllers, "cpu memory\n").unwrap();
        Self { directory }
    }

    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    /// A pod, known by its number.
    pub(crate) fn pod(&self, number: usize) -> Pod {
        let uid = format!("0e269fa4-f505-4963-9096-{number:012x}");
        self.pod_of(&format!("runner-{number}"), &uid)
    }

    /// The same with the volume in which hook and init keep journals.
    pub(crate) fn runner(&self, number: usize) -> Pod {
        self.pod(number).with_journals()
    }

    /// A pod of this name and UID.
    pub(crate) fn pod_of(&self, name: &str, uid: &str) -> Pod {
        Pod::create(self.root(), name, uid)
    }

    /// Starts the agent here, without an API server, with these flags and variables.
    pub(crate) fn agent(&self, flags: &[&str], variables: &[(&str, &str)]) -> Agent {
        let mut command = Command::new(programs::ephemon());
        command.args(ALONE).args(flags).envs(variables.iter().copied());
        Agent::launch(&mut command, self.root(), "kubepods")
    }

    /// The same, exporting to this endpoint by this protocol.
    pub(crate) fn agent_to(
        &self,
        collector: (&str, &str),
        flags: &[&str],
        more: &[(&str, &str)],
    ) -> Agent {
        self.agent(flags, &[&exported(collector)[..], more].concat())
    }

    /// The same, with no more room for its state than this: a file system of its own, which ends
    /// with it.
    pub(crate) fn agent_with_small_state(&self, collector: (&str, &str), size: &str) -> Agent {
        let state = self.root().join(STATE);
        fs::create_dir_all(&state).unwrap();
        let script = "mount -t tmpfs -o size=$1 none \"$2\" && shift 2 && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh", size]).arg(state);
        command.arg(programs::ephemon()).args(ALONE).envs(exported(collector));
        Agent::launch(&mut command, self.root(), "kubepods")
    }

    /// The state directory as that agent sees it.
    pub(crate) fn state_of(&self, agent: &Agent) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", agent.pid()));
        root.join(self.root().strip_prefix("/").unwrap()).join(STATE)
    }
}

/// The variables that name a collector and its protocol, and say how long it has for an answer.
fn exported<'a>((endpoint, protocol): (&'a str, &'a str)) -> [(&'static str, &'a str); 3] {
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        OTLP_TIMEOUT,
    ]
}
