//! A real Kubernetes node: etcd, API server, controllers, scheduler, runtime and kubelet in
//! namespaces of their own, brought up by `tests/node/up`. Nothing of it outlives this process:
//! the node ends when its standard input does.

pub(crate) mod api;
pub(crate) mod definitions;
mod kubectl;
pub(crate) mod registry;
pub(crate) mod turns;
pub(crate) mod variant;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use ephemon_base::lock;

pub(crate) use api::Api;
pub(crate) use kubectl::Kubectl;
pub(crate) use variant::{Variant, folder};

use super::cri::Cri;
use super::process::{Running, kill, output, until};
use super::{image, parts};

/// The scripts of the node, in this package.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/node");
/// The node's name in the API.
pub(crate) const NODE: &str = "node1";
/// Longest wait for a part of the node.
const PATIENCE: Duration = Duration::from_mins(2);

/// A running node.
#[derive(Debug)]
pub(crate) struct RealNode {
    folder: PathBuf,
    variant: Variant,
    /// This machine's id of the node's process 1.
    first: i32,
    /// The node as this machine reaches it.
    address: String,
    /// The runtime, once it was started again.
    restarted: Mutex<Option<Running>>,
    /// The node ends when this does.
    input: Option<ChildStdin>,
    up: Child,
}

// === impl RealNode ===

impl RealNode {
    /// The node that all scenarios of this process share; none where the machine lacks a part,
    /// which it says.
    pub(crate) fn shared() -> Option<Arc<Self>> {
        static NODE: OnceLock<Option<Arc<RealNode>>> = OnceLock::new();
        NODE.get_or_init(|| Self::start(Variant::shared()).map(Arc::new)).clone()
    }

    /// A node of its own.
    ///
    /// # Panics
    /// If its parts are there and it does not come up, with the last lines of what failed.
    pub(crate) fn start(variant: Variant) -> Option<Self> {
        if !parts::all_there(&variant.parts()) {
            return None;
        }
        let folder = fresh_folder(variant);
        let errors = File::create(folder.join("up.log")).unwrap();
        let mut up = Command::new(Path::new(SCRIPTS).join("up"))
            .arg(&folder)
            .envs(variant.environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap();
        let input = up.stdin.take().unwrap();
        let mut line = String::new();
        BufReader::new(up.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut words = line.split_whitespace().skip(1);
        let (Some(first), Some(address)) = (words.next(), words.next()) else {
            let log = fs::read_to_string(folder.join("up.log")).unwrap_or_default();
            panic!("the node did not come up:\n{log}");
        };
        let (first, address) = (first.parse().unwrap(), address.to_owned());
        let node = Self {
            folder,
            variant,
            first,
            address,
            restarted: Mutex::default(),
            input: Some(input),
            up,
        };
        registry::serve_beside(node.first);
        let images = node.folder.join("images");
        fs::create_dir(&images).unwrap();
        node.import(&image::archive(&images));
        Some(node)
    }

    /// The node's address, which this machine reaches.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// This machine's address, which the node reaches.
    pub(crate) fn gateway(&self) -> IpAddr {
        let own: Ipv4Addr = self.address.parse().unwrap();
        // The two of a network of four.
        Ipv4Addr::from_bits(own.to_bits() - 1).into()
    }

    /// The node's process 1, by this machine's number.
    pub(crate) fn first(&self) -> i32 {
        self.first
    }

    /// A file of its own root, as this machine sees it.
    pub(crate) fn path(&self, absolute: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.first)).join(absolute.trim_start_matches('/'))
    }

    /// Everything of the node: its logs are in `log/`.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its client with every right.
    pub(crate) fn kubectl(&self) -> Kubectl {
        Kubectl::new(&Variant::kubectl(), &self.folder.join("admin.kubeconfig"))
    }

    /// Its API with every right, for what is asked many times.
    pub(crate) fn api(&self) -> Api {
        Api::new(&self.folder.join("admin.kubeconfig"))
    }

    /// A program in all of the node's namespaces.
    pub(crate) fn inside(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.first.to_string(), "--all", "--"]).arg(program);
        command
    }

    /// The runtime's own client.
    pub(crate) fn ctr(&self) -> PathBuf {
        self.variant.program("ctr")
    }

    /// Gives the runtime the images of an archive. CRI-O has those of the storage that podman writes.
    pub(crate) fn import(&self, archive: &Path) {
        if self.variant == Variant::CriO {
            let storage = self.folder.join("crio/storage.conf");
            let mut podman = self.inside(self.variant.program("podman"));
            output(
                podman.env("CONTAINERS_STORAGE_CONF", storage).args(["load", "-i"]).arg(archive),
            );
            return;
        }
        output(self.inside(self.ctr()).args(["-n", "k8s.io", "images", "import"]).arg(archive));
    }

    /// The runtime class that runners have, unless it is the runtime's own.
    pub(crate) fn runtime_class(&self) -> Option<&'static str> {
        (self.variant == Variant::Gvisor).then_some("gvisor")
    }

    /// Where the runtime answers to CRI, in the node.
    pub(crate) fn socket(&self) -> &'static str {
        self.variant.socket()
    }

    /// A connection to the runtime.
    pub(crate) fn cri(&self) -> Cri {
        Cri::new(&self.path(self.socket()))
    }

    /// This machine's number of a process that the node knows by this one.
    pub(crate) fn host_pid(&self, pid: i32) -> Option<i32> {
        let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let nodes = namespace(self.first);
        let all = fs::read_dir("/proc").ok()?.flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).find(|host| {
            let status = fs::read_to_string(format!("/proc/{host}/status")).unwrap_or_default();
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            let mut numbers = numbers.unwrap_or_default().split_whitespace().skip(1);
            numbers.next() == Some(pid.to_string().as_str())
                && (namespace(*host) == nodes || self.is_above(*host))
        })
    }

    /// Whether a process descends from the node's first.
    fn is_above(&self, mut pid: i32) -> bool {
        while pid > 1 && pid != self.first {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
            pid = parent.and_then(|parent| parent.trim().parse().ok()).unwrap_or(0);
        }
        pid == self.first
    }

    /// Ends the runtime as an upgrade does: shims and containers go on.
    pub(crate) fn stop_containerd(&self) {
        let restarted = lock(&self.restarted).take();
        if let Some(mut runtime) = restarted {
            runtime.terminate(PATIENCE);
            return;
        }
        let pid = fs::read_to_string(self.folder.join("containerd.pid")).unwrap();
        let pid = self.host_pid(pid.trim().parse().unwrap()).expect("containerd runs");
        super::process::terminate(pid);
        let gone = || (!is_alive(pid)).then_some(());
        until(PATIENCE, gone).unwrap_or_else(|| {
            kill(pid);
            panic!("containerd did not end after SIGTERM")
        });
    }

    /// Starts the runtime again after [`Self::stop_containerd`] and waits for its answer.
    pub(crate) fn start_containerd(&self) {
        let log =
            File::options().append(true).open(self.folder.join("log/containerd.log")).unwrap();
        let path = std::env::join_paths(self.variant.path()).unwrap();
        let running = Running::start_inside(
            self.inside(self.variant.program("containerd"))
                .arg("--config")
                .arg(self.folder.join("containerd.toml"))
                .env("PATH", path)
                .stdout(log.try_clone().unwrap())
                .stderr(log),
        );
        *lock(&self.restarted) = Some(running);
        let cri = self.cri();
        until(PATIENCE, || cri.version().ok()).expect("containerd answers again");
    }

    /// The end of a part's log, for a failure's message.
    pub(crate) fn log(&self, part: &str) -> String {
        let text = fs::read(self.folder.join(format!("log/{part}.log"))).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for RealNode {
    fn drop(&mut self) {
        drop(self.input.take());
        self.up.wait().ok();
    }
}

/// Whether a process is there and not a zombie.
fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

/// An empty folder below the target directory. Those of tests that are over are removed, so that
/// the logs of the last ones stay.
fn fresh_folder(variant: Variant) -> PathBuf {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("real-node");
    fs::create_dir_all(&all).unwrap();
    for entry in fs::read_dir(&all).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.rsplit('-').next().and_then(|pid| pid.parse::<i32>().ok());
        if owner.is_none_or(|pid| !is_alive(pid)) {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
    let process = std::process::id();
    let mut names = (1..).map(|number| match number {
        1 => format!("{}-{process}", variant.name()),
        _ => format!("{}-{number}-{process}", variant.name()),
    });
    loop {
        let folder = all.join(names.next().unwrap());
        match fs::create_dir(&folder) {
            Ok(()) => return folder,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => panic!("{}: {error}", folder.display()),
        }
    }
}
