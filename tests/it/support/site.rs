//! A node made of plain files, whose containers write their logs as containerd does: for the agent
//! the kubelet's directories are all there is of a log.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use ephemon_demo::kubelet::paths;
use tempfile::TempDir;

use super::agent::Agent;
use super::programs;

/// The namespace of all pods.
const NAMESPACE: &str = "ci";
/// Where the agent keeps its state, below the node's root.
const STATE: &str = "var/lib/ephemon";

/// The node; its files go when it does.
pub(crate) struct Site {
    directory: TempDir,
}

/// One pod of it.
pub(crate) struct Pod {
    root: PathBuf,
    pub(crate) uid: String,
    pub(crate) name: String,
}

/// One container, and the end of its log that is written to.
pub(crate) struct Container {
    /// The runtime's id.
    pub(crate) id: String,
    cgroup: PathBuf,
    directory: PathBuf,
    log: File,
    second: u32,
}

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
    pub(crate) fn pod(&self, number: u32) -> Pod {
        let uid = format!("0e269fa4-f505-4963-9096-{number:012x}");
        self.pod_of(&format!("runner-{number}"), &uid)
    }

    /// A pod of this name and UID.
    pub(crate) fn pod_of(&self, name: &str, uid: &str) -> Pod {
        let (name, uid) = (name.to_owned(), uid.to_owned());
        let pod = Pod { root: self.root().to_owned(), name, uid };
        fs::create_dir_all(pod.logs()).unwrap();
        fs::create_dir_all(pod.cgroup()).unwrap();
        pod
    }

    /// Starts the agent here, without an API server, exporting to this endpoint by this protocol,
    /// with these flags and variables.
    pub(crate) fn agent_to(
        &self,
        (endpoint, protocol): (&str, &str),
        flags: &[&str],
        more: &[(&str, &str)],
    ) -> Agent {
        let mut command = Command::new(programs::ephemon());
        command
            .args(["agent", "--no-api", "--node-name", "it"])
            .args(flags)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .envs(more.iter().copied());
        Agent::launch(&mut command, self.root(), "kubepods")
    }

    /// The same, with no more room for its state than this: a file system of its own, which ends
    /// with it.
    pub(crate) fn agent_with_small_state(
        &self,
        (endpoint, protocol): (&str, &str),
        size: &str,
    ) -> Agent {
        let state = self.root().join(STATE);
        fs::create_dir_all(&state).unwrap();
        let script = "mount -t tmpfs -o size=$1 none \"$2\" && shift 2 && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh", size]).arg(state);
        command.arg(programs::ephemon()).args(["agent", "--no-api", "--node-name", "it"]);
        command
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol);
        Agent::launch(&mut command, self.root(), "kubepods")
    }

    /// The state directory as that agent sees it.
    pub(crate) fn state_of(&self, agent: &Agent) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", agent.pid()));
        root.join(self.root().strip_prefix("/").unwrap()).join(STATE)
    }
}

impl Pod {
    fn logs(&self) -> PathBuf {
        paths::pod_logs(&self.root, (NAMESPACE, &self.name), &self.uid)
    }

    /// The log of a container.
    pub(crate) fn log(&self, container: &str) -> PathBuf {
        self.logs().join(container).join("0.log")
    }

    fn cgroup(&self) -> PathBuf {
        self.root.join(format!("sys/fs/cgroup/kubepods/burstable/pod{}", self.uid))
    }

    /// Starts a container: its log first, then its cgroup, then the link with its id.
    pub(crate) fn start(&self, name: &str) -> Container {
        let directory = self.logs().join(name);
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("0.log");
        // A link of another runtime is by the node's own paths.
        let file = fs::read_link(&path)
            .map_or_else(|_| path.clone(), |to| self.root.join(to.strip_prefix("/").unwrap()));
        let log = OpenOptions::new().create(true).append(true).open(file).unwrap();
        let digest =
            name.bytes().fold(self.uid.len() as u64, |sum, byte| sum * 31 + u64::from(byte));
        let pod = self.uid.get(24..).unwrap_or_default();
        let id = format!("{digest:032x}{pod:0>32}");
        let cgroup = self.cgroup().join(&id);
        // With all its files at once, as the kernel makes it.
        let made = self.root.join(&id);
        fs::create_dir_all(&made).unwrap();
        for (file, text) in [
            ("cpu.stat", "usage_usec 1500000\n"),
            ("cgroup.events", "populated 1\nfrozen 0\n"),
            ("memory.current", "4194304\n"),
            ("memory.peak", "4194304\n"),
            ("memory.events", "oom 0\noom_kill 0\n"),
        ] {
            fs::write(made.join(file), text).unwrap();
        }
        // The file system's own time is of the last tick, which may be before what asked for it.
        File::open(&made).unwrap().set_modified(SystemTime::now()).unwrap();
        fs::rename(&made, &cgroup).unwrap();
        symlink(&path, paths::log_link(&self.root, (NAMESPACE, &self.name), name, &id)).unwrap();
        Container { id, cgroup, directory, log, second: 0 }
    }

    /// Another writer to a container's log, who may outlive it.
    pub(crate) fn again(&self, name: &str) -> Container {
        let directory = self.logs().join(name);
        let log = OpenOptions::new().append(true).open(directory.join("0.log")).unwrap();
        let cgroup = self.cgroup().join("none");
        Container { id: String::new(), cgroup, directory, log, second: 100 }
    }

    /// The kubelet's end of a pod: every log at once.
    pub(crate) fn delete(&self) {
        fs::remove_dir_all(self.logs()).unwrap();
        fs::remove_dir_all(self.cgroup()).unwrap();
    }
}

impl Container {
    /// A whole line of standard output.
    pub(crate) fn say(&mut self, line: &str) {
        self.record("stdout F", line.as_bytes());
    }

    /// The same, now: other lines have times of their own.
    pub(crate) fn say_now(&mut self, line: &str) {
        self.stamped(jiff::Timestamp::now(), "stdout F", line.as_bytes());
    }

    /// A record with this stream and tag.
    pub(crate) fn record(&mut self, stream_and_tag: &str, text: &[u8]) {
        self.second += 1;
        let at = 1_795_000_000 + i64::from(self.second);
        self.stamped(jiff::Timestamp::from_second(at).unwrap(), stream_and_tag, text);
    }

    /// A whole line of standard output, with this second for its time.
    pub(crate) fn say_at(&mut self, second: i64, line: &str) {
        let at = jiff::Timestamp::from_second(1_795_000_000 + second).unwrap();
        self.stamped(at, "stdout F", line.as_bytes());
    }

    /// The same, with this time, nanoseconds since 1970.
    pub(crate) fn say_at_ns(&mut self, ns: u64, line: &str) {
        let at = jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap();
        self.stamped(at, "stdout F", line.as_bytes());
    }

    fn stamped(&mut self, stamp: jiff::Timestamp, stream_and_tag: &str, text: &[u8]) {
        let mut record = format!("{stamp} {stream_and_tag} ").into_bytes();
        record.extend_from_slice(text);
        record.push(b'\n');
        self.log.write_all(&record).unwrap();
    }

    /// What a file of its cgroup says from now on.
    pub(crate) fn count(&self, file: &str, text: &str) {
        fs::write(self.cgroup.join(file), text).unwrap();
    }

    /// Rotation as the kubelet does it: rename, then the runtime opens the file anew.
    pub(crate) fn rotate(&mut self, suffix: &str) {
        let path = self.directory.join("0.log");
        fs::rename(&path, self.directory.join(format!("0.log.{suffix}"))).unwrap();
        self.log = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    }

    /// Its last process is gone, and the runtime removes its cgroup.
    pub(crate) fn end(self) {
        self.count("cgroup.events", "populated 0\nfrozen 0\n");
        fs::remove_dir_all(&self.cgroup).unwrap();
    }
}
