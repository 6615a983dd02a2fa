//! A containerd of our own: its root, state, socket and images in a directory of the node.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::thread::CapabilitySet;

use super::cri::Cri;
use super::node::Node;
use super::parts::Part;
use super::process::{Running, kill_all_naming, output, until};
use super::{image, parts, pod_network};

/// The handlers of pods.
pub(crate) const RUNC: &str = "runc";
pub(crate) const CRUN: &str = "crun";

/// What one from this machine needs.
pub(crate) const PARTS: [Part; 5] = [
    Part::WritableCgroups,
    Part::Program("containerd"),
    Part::Program("ctr"),
    Part::Program("runc"),
    Part::Program("busybox"),
];

/// crun, as `tests/node` has it called.
const CRUN_SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/node/crun");

/// The running containerd; it, its shims and its mounts go when it is dropped.
#[derive(Debug)]
pub(crate) struct Containerd {
    process: Option<Running>,
    /// Where its programs are first looked for.
    programs: Option<PathBuf>,
    directory: PathBuf,
    snapshotter: &'static str,
}

impl Containerd {
    /// Starts the one on the path, waits for its answer and gives it the images.
    pub(crate) fn start(node: &Node) -> Self {
        Self::start_from(node, None)
    }

    /// The same with the programs of this folder.
    pub(crate) fn start_from(node: &Node, programs: Option<PathBuf>) -> Self {
        let directory = node.scratch().join("containerd");
        fs::create_dir_all(&directory).unwrap();
        let snapshotter = snapshotter(&directory);
        fs::write(directory.join("config.toml"), configuration(&directory, snapshotter)).unwrap();
        pod_network::install(&directory.join("cni"));
        let mut containerd = Self { process: None, programs, directory, snapshotter };
        containerd.begin();
        containerd.import(&image::archive(&containerd.directory));
        containerd
    }

    /// Gives it the images of an archive.
    pub(crate) fn import(&self, archive: &Path) {
        output(
            self.program("ctr")
                .arg("--address")
                .arg(self.socket())
                .args(["-n", "k8s.io", "images", "import", "--snapshotter", self.snapshotter])
                .arg(archive),
        );
    }

    /// Starts it and waits for its answer.
    fn begin(&mut self) {
        let log = self.directory.join("log");
        let log = fs::File::options().create(true).append(true).open(log).unwrap();
        let mut command = self.program("containerd");
        let config = self.directory.join("config.toml");
        command.arg("--config").arg(config).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(Running::start(&mut command));
        let cri = self.cri();
        until(Duration::from_secs(90), || cri.version().ok())
            .unwrap_or_else(|| panic!("containerd does not answer:\n{}", self.log()));
    }

    /// One of its programs, which finds the others of them.
    fn program(&self, name: &str) -> Command {
        let Some(programs) = &self.programs else {
            return Command::new(parts::program(name).unwrap());
        };
        let mut path = programs.clone().into_os_string();
        path.push(":");
        path.push(env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new(programs.join(name));
        command.env("PATH", path);
        command
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("s")
    }

    /// The same as a path of the node: the agent joins it to `--node-root`.
    pub(crate) fn socket_on(&self, node: &Node) -> String {
        linked(node, &self.socket(), "run/containerd.sock")
    }

    /// Where version 2 listens for plugins (NRI), as a path of the node.
    pub(crate) fn plugins_on(&self, node: &Node) -> String {
        linked(node, &self.directory.join("nri"), "run/nri.sock")
    }

    /// A connection to it.
    pub(crate) fn cri(&self) -> Cri {
        Cri::new(&self.socket())
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal_term();
            process.wait(Duration::from_secs(20));
        }
        kill_all_naming(&self.directory);
        unmount_below(&self.directory);
    }
}

fn linked(node: &Node, socket: &Path, name: &str) -> String {
    fs::create_dir_all(node.root().join("run")).unwrap();
    symlink(socket, node.root().join(name)).unwrap();
    format!("/{name}")
}

/// Everything below `directory`. A plugin may take its time: emulation is slow. Without `CAP_SYS_RESOURCE` nobody may lower an OOM score, which
/// containerd must be told.
fn configuration(directory: &Path, snapshotter: &str) -> String {
    let at = directory.display();
    let bounding = rustix::thread::capabilities(None).unwrap().effective;
    let restrict = !bounding.contains(CapabilitySet::SYS_RESOURCE);
    let pause = image::PAUSE;
    format!(
        r#"version = 2
root = "{at}/root"
state = "{at}/state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing"]
[grpc]
address = "{at}/s"
[plugins."io.containerd.nri.v1.nri"]
socket_path = "{at}/nri"
plugin_path = "{at}/plugins"
plugin_config_path = "{at}/plugins"
plugin_registration_timeout = "60s"
plugin_request_timeout = "60s"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = {restrict}
stream_server_address = "127.0.0.1"
stream_server_port = "0"
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{at}/cni/bin"
conf_dir = "{at}/cni/conf"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{snapshotter}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun.options]
BinaryName = "{CRUN_SCRIPT}"
"#
    )
}

/// overlayfs where the kernel mounts one over this directory's file system, else plain copies.
fn snapshotter(directory: &Path) -> &'static str {
    let layers = ["lower", "upper", "work", "merged"].map(|name| directory.join("try").join(name));
    for layer in &layers {
        fs::create_dir_all(layer).unwrap();
    }
    let [lower, upper, work, merged] = layers;
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        upper.display(),
        work.display()
    );
    let mounted = Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o", &options])
        .arg(&merged)
        .status()
        .is_ok_and(|status| status.success());
    if mounted {
        output(Command::new("umount").arg(&merged));
        "overlayfs"
    } else {
        "native"
    }
}

fn unmount_below(directory: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let below = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|target| Path::new(target).starts_with(directory));
    for target in below.collect::<Vec<_>>().into_iter().rev() {
        Command::new("umount").args(["--lazy", target]).status().ok();
    }
}
