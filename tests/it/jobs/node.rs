//! A node of plain files: pods with their cgroups, the directories of their logs, their journals.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use ephemon_base::clock::now_ns;
use ephemon_contract::{CgroupDelta, End, Phase, ProcessUsage, Record, StepKind};
use ephemon_demo::kubelet::paths;
use tempfile::TempDir;

use super::sink::Sink;
use crate::support::agent::Agent;
use crate::support::programs;

/// The namespace of all pods.
const NAMESPACE: &str = "ci";
/// What the kernel counts for each container, seconds of CPU time.
pub(super) const CPU_SECONDS: f64 = 1.5;

/// The node; its files go when it does.
pub(super) struct Node(TempDir);

/// One pod of it.
pub(super) struct Pod {
    root: PathBuf,
    uid: String,
    name: String,
}

// === impl Node ===

impl Node {
    pub(super) fn new() -> Self {
        let node = Self(tempfile::Builder::new().prefix("ephemon-it-").tempdir().unwrap());
        for below in ["sys/fs/cgroup/kubepods/burstable", "var/log/pods", "var/log/containers"] {
            fs::create_dir_all(node.root().join(below)).unwrap();
        }
        fs::write(node.root().join("sys/fs/cgroup/cgroup.controllers"), "cpu memory\n").unwrap();
        node
    }

    pub(super) fn root(&self) -> &Path {
        self.0.path()
    }

    /// A pod, known by its number.
    pub(super) fn pod(&self, number: usize) -> Pod {
        let uid = format!("0e269fa4-f505-4963-9096-{number:012x}");
        let pod = Pod { root: self.root().to_owned(), name: format!("runner-{number}"), uid };
        for directory in [pod.logs(), pod.cgroup(), pod.journal()] {
            fs::create_dir_all(directory).unwrap();
        }
        pod
    }

    /// Starts the agent, sending the logs of all containers, too.
    pub(super) fn agent_with_logs(&self, sink: &Sink, flags: &[&str]) -> Agent {
        let mut command = Self::command(sink, &["--log-containers", "all"]);
        command.args(flags);
        command.env("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", sink.logs());
        Agent::launch(&mut command, self.root(), "kubepods")
    }

    /// Starts the agent, without an API server, sending traces to the sink.
    pub(super) fn agent(&self, sink: &Sink) -> Agent {
        self.agent_with(sink, &[])
    }

    /// The same, with flags.
    pub(super) fn agent_with(&self, sink: &Sink, flags: &[&str]) -> Agent {
        Agent::launch(&mut Self::command(sink, flags), self.root(), "kubepods")
    }

    fn command(sink: &Sink, flags: &[&str]) -> Command {
        let mut command = Command::new(programs::ephemon());
        command
            .args(["agent", "--no-api", "--node-name", "it"])
            .args(flags)
            .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", sink.endpoint())
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        command
    }

    /// What the agent keeps of the pod's job for the case that it is killed.
    pub(super) fn kept(&self, pod: &Pod) -> String {
        let path = self.root().join("var/lib/ephemon/jobs").join(format!("{}.jsonl", pod.uid));
        fs::read_to_string(path).unwrap_or_default()
    }
}

// === impl Pod ===

impl Pod {
    fn logs(&self) -> PathBuf {
        paths::pod_logs(&self.root, (NAMESPACE, &self.name), &self.uid)
    }

    fn cgroup(&self) -> PathBuf {
        self.root.join(format!("sys/fs/cgroup/kubepods/burstable/pod{}", self.uid))
    }

    fn volumes(&self) -> PathBuf {
        paths::pod(&self.root, &self.uid)
    }

    fn journal(&self) -> PathBuf {
        paths::empty_dir(&self.root, &self.uid, "ephemon").join("journal")
    }

    fn id(&self, container: &str) -> String {
        let name = container.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        format!("{name:0<40}{}", self.uid.split_at(12).1.replace('-', "0"))
    }

    /// A container is created, as the kubelet and the runtime make one: its log, its cgroup with all
    /// its files at once, the link with its id.
    pub(super) fn start(&self, container: &str) {
        let directory = self.logs().join(container);
        fs::create_dir_all(&directory).unwrap();
        let id = self.id(container);
        let made = self.root.join(&id);
        fs::create_dir(&made).unwrap();
        fs::write(made.join("cpu.stat"), "usage_usec 1500000\n").unwrap();
        fs::write(made.join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
        let link = paths::log_link(&self.root, (NAMESPACE, &self.name), container, &id);
        symlink(directory.join("0.log"), link).unwrap();
        fs::rename(&made, self.cgroup().join(&id)).unwrap();
    }

    /// Its last process is gone, and the runtime removes its cgroup.
    pub(super) fn end(&self, container: &str) {
        let cgroup = self.cgroup().join(self.id(container));
        fs::write(cgroup.join("cgroup.events"), "populated 0\nfrozen 0\n").unwrap();
        fs::remove_dir_all(&cgroup).unwrap();
    }

    /// The kubelet's end of a pod.
    pub(super) fn delete(&self) {
        for directory in [self.cgroup(), self.logs(), self.volumes()] {
            fs::remove_dir_all(directory).unwrap();
        }
    }

    /// Bytes at the end of a container's log.
    pub(super) fn log(&self, container: &str, bytes: &[u8]) {
        let directory = self.logs().join(container);
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("0.log");
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(bytes).unwrap();
    }

    /// Bytes at the end of a journal.
    pub(super) fn write(&self, file: &str, bytes: &[u8]) {
        let path = self.journal().join(format!("{file}.jsonl"));
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(bytes).unwrap();
    }

    pub(super) fn record(&self, file: &str, record: &Record) {
        self.write(file, &record.to_line().unwrap());
    }

    /// Init's word that it runs.
    pub(super) fn init_started(&self, container: &str) {
        let (at_ns, name) = (now_ns(), container.to_owned());
        let started = Record::ContainerStarted { at_ns, container: name, pid: 1, uid: 0 };
        self.record(container, &started);
    }

    /// Init's last word.
    pub(super) fn init_ended(&self, container: &str, exit_code: u8) {
        let ended = Record::ContainerEnded { at_ns: now_ns(), exit_code, dropped: 0 };
        self.record(container, &ended);
    }

    pub(super) fn launched(&self, container: &str) {
        let (container, image) = (container.to_owned(), "image".to_owned());
        let at_ns = now_ns();
        self.record(
            "_hook",
            &Record::HookLaunched { at_ns, container, image, running_at_ns: None },
        );
    }

    pub(super) fn step_started(&self, container: &str, step: u64, name: &str, kind: StepKind) {
        let started = Record::StepStarted {
            at_ns: now_ns(),
            step,
            name: name.to_owned(),
            kind,
            id: Some(name.to_owned()),
            called_ns: None,
            pid: 7,
        };
        self.record(container, &started);
    }

    pub(super) fn step_ended(&self, container: &str, step: u64, code: u8) {
        let ended = Record::StepEnded {
            at_ns: now_ns(),
            step,
            duration_ns: 0,
            end: End::Code(code),
            cancelled: false,
            process: ProcessUsage::default(),
            cgroup: CgroupDelta { cpu_ns: Some(1_000_000), ..CgroupDelta::default() },
        };
        self.record(container, &ended);
    }

    /// The hook's word on a call that began then and ended now.
    pub(super) fn called(&self, phase: Phase, name: Option<&str>, since_ns: u64, code: u8) {
        self.record("_hook", &call(phase, name, since_ns, code));
    }
}

/// A call of the hook that began then and ended now.
pub(super) fn call(phase: Phase, name: Option<&str>, since_ns: u64, code: u8) -> Record {
    Record::HookPhase {
        at_ns: since_ns,
        phase,
        duration_ns: now_ns() - since_ns,
        success: code == 0,
        container: None,
        name: name.map(str::to_owned),
        display_name: None,
        traceparent: None,
        exit_code: Some(code),
    }
}
