//! The embedded node: its root directory, its cgroups, its API server and its kubelet.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::broadcast;

use super::api::{ApiServer, PatchKind, Refusal, Store, store};
use super::cgroups::{self, Cgroups, Choice, leftover};
use super::kubelet::{Kubelet, NodeEvent, Settings, Truth};
use super::view::MountMode;

/// Prefix of the root directory's name, before the process id.
const PREFIX: &str = "ephemon-node-";

/// How to set up a node.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// The `ephemon-demo` program, which also contains the helpers; `ephemon` is in the same
    /// directory.
    pub binary: PathBuf,
    /// Which cgroups to use.
    pub cgroups: Choice,
    /// The node's name.
    pub name: String,
    /// Where the root directory is created; by default in the system's temporary directory.
    pub parent: Option<PathBuf>,
    /// Number of changes that the API server keeps for watches.
    pub history: usize,
    /// Shortest and longest time from the end of a container's last process to the removal of its
    /// cgroup.
    pub linger: (Duration, Duration),
    /// Interval of the kubelet's relist.
    pub relist: Duration,
    /// Time from the end of a deleted pod's last container to the removal of its logs.
    pub log_removal: Duration,
    /// How long it takes to pull an image that is not on the node.
    pub pull: Duration,
    /// How containers get their volumes; by default the best way that works.
    pub mount_mode: Option<MountMode>,
}

/// A node that runs until it is shut down.
///
/// If dropped without [`Node::shutdown`], its shims end the containers, and its empty cgroups are
/// removed at the next start.
#[derive(Debug)]
pub struct Node {
    api: ApiServer,
    kubelet: Kubelet,
    cgroups: Arc<Cgroups>,
    root: TempDir,
    name: String,
    mount_mode: MountMode,
}

/// Why a node cannot be set up, or a request was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither cgroups nor a scratch tree can be created.
    #[error("cannot create cgroups for containers: {0}")]
    Cgroups(#[from] cgroups::Error),
    /// The root directory or the API server cannot be created.
    #[error("cannot set up the node's {what}: {source}")]
    Setup {
        /// `root directory`, `API server`.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The API server refused a request.
    #[error("the API server refused: {}", .0.message)]
    Refused(Refusal),
}

// === impl NodeOptions ===

impl NodeOptions {
    /// The defaults of a real node, run by this program.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            cgroups: Choice::Auto,
            name: "demo-node".to_owned(),
            parent: None,
            history: store::HISTORY_LIMIT,
            linger: (Duration::from_millis(35), Duration::from_millis(60)),
            relist: Duration::from_secs(1),
            log_removal: Duration::from_millis(1600),
            pull: Duration::from_millis(300),
            mount_mode: None,
        }
    }
}

// === impl Node ===

impl Node {
    /// Sets up a node and starts it.
    pub async fn start(options: NodeOptions) -> Result<Self, Error> {
        let setup = |what| move |source| Error::Setup { what, source };
        let parent = options.parent.clone().unwrap_or_else(std::env::temp_dir);
        sweep(&parent);
        let root = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{}-", std::process::id()))
            .tempdir_in(&parent)
            .map_err(setup("root directory"))?;
        let path = root.path();
        let cgroups = Cgroups::open(options.cgroups, &path.join("scratch"), &options.binary)?;
        let cgroups = Arc::new(cgroups);
        furnish(path, cgroups.mount()).map_err(setup("root directory"))?;
        let store = Store::new(&options.name, options.history);
        let api = ApiServer::start(store.clone()).await.map_err(setup("API server"))?;
        api.protect();
        api.write_kubeconfig(&path.join("kubeconfig")).map_err(setup("API server"))?;
        let settings = Settings {
            binary: options.binary,
            root: path.to_owned(),
            node: options.name.clone(),
            linger: options.linger.0..=options.linger.1,
            relist: options.relist,
            log_removal: options.log_removal,
            pull: options.pull,
        };
        let mount_mode = match options.mount_mode {
            Some(mount_mode) => mount_mode,
            None => MountMode::detect(&settings.binary, &path.join("run/see")),
        };
        let kubelet = Kubelet::start(settings, store, Arc::clone(&cgroups), mount_mode);
        api.attach(kubelet.runtime());
        Ok(Self { api, kubelet, cgroups, root, name: options.name, mount_mode })
    }

    /// One line about the cgroups in use.
    pub fn describe(&self) -> String {
        self.cgroups.describe()
    }

    /// How containers get their volumes.
    pub fn mount_mode(&self) -> MountMode {
        self.mount_mode
    }

    /// The cgroups in use.
    pub fn cgroups(&self) -> &Cgroups {
        &self.cgroups
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The API server, for its failures and its store.
    pub fn api(&mut self) -> &mut ApiServer {
        &mut self.api
    }

    /// A kubeconfig for the API server.
    pub fn kubeconfig(&self) -> PathBuf {
        self.root.path().join("kubeconfig")
    }

    /// The node's root directory: the agent's `--node-root`.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The kubepods cgroup relative to the hierarchy's root: the agent's `--kubepods`.
    pub fn kubepods(&self) -> String {
        self.cgroups.kubepods()
    }

    /// Receives events from now on.
    pub fn node_events(&self) -> broadcast::Receiver<NodeEvent> {
        self.kubelet.node_events()
    }

    /// Creates a pod in namespace `default`, or the one in its metadata.
    pub fn create_pod(&self, pod: Value) -> Result<Arc<Value>, Error> {
        let namespace = pod.pointer("/metadata/namespace").and_then(Value::as_str);
        let namespace = namespace.unwrap_or("default").to_owned();
        self.api.store().create(&namespace, pod).map_err(Error::Refused)
    }

    /// Adds ephemeral containers to a pod, as one strategic merge patch.
    pub fn add_ephemeral(
        &self,
        namespace: &str,
        pod: &str,
        containers: &[Value],
    ) -> Result<Arc<Value>, Error> {
        let key = (namespace.to_owned(), pod.to_owned());
        let patch = json!({"spec": {"ephemeralContainers": containers}});
        let store = self.api.store();
        store.patch_ephemeral(&key, PatchKind::Strategic, &patch).map_err(Error::Refused)
    }

    /// A process of this machine that stands for `command` run in a container.
    pub fn exec(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        command: &[String],
    ) -> io::Result<std::process::Command> {
        let key = (namespace.to_owned(), pod.to_owned());
        self.kubelet.runtime().exec(&key, container, command)
    }

    /// What the API server holds.
    pub fn store(&self) -> &Store {
        self.api.store()
    }

    /// A pod as the API server returns it.
    pub fn pod(&self, namespace: &str, pod: &str) -> Result<Arc<Value>, Error> {
        let key = (namespace.to_owned(), pod.to_owned());
        self.api.store().get(&key).map_err(Error::Refused)
    }

    /// Deletes a pod, with its own grace period or this one, in seconds.
    pub fn delete_pod(&self, namespace: &str, pod: &str, grace: Option<u64>) -> Result<(), Error> {
        let key = (namespace.to_owned(), pod.to_owned());
        self.api.store().delete(&key, grace).map(drop).map_err(Error::Refused)
    }

    /// Records of the containers that have ended, oldest first.
    pub fn truth(&self) -> Vec<Truth> {
        self.kubelet.truths()
    }

    /// Ends every container and removes everything that the node created.
    pub async fn shutdown(self) {
        let Self { kubelet, cgroups, root, .. } = self;
        kubelet.stop().await;
        // Both block. If they fail nothing more can be done; the next start cleans up.
        drop(
            tokio::task::spawn_blocking(move || {
                drop(cgroups);
                drop(root);
            })
            .await,
        );
    }
}

/// Creates the directories of a node in its root.
fn furnish(root: &Path, cgroup_mount: &Path) -> io::Result<()> {
    for directory in ["var/log/pods", "var/log/containers", "run/containers", "run/see", "sys/fs"] {
        fs::create_dir_all(root.join(directory))?;
    }
    symlink(cgroup_mount, root.join("sys/fs/cgroup"))?;
    symlink("/proc", root.join("proc"))
}

/// Removes root directories of nodes whose process has ended.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let dead = |name: &str| leftover::is_dead(PREFIX, name);
        if entry.file_name().to_str().is_some_and(dead) {
            // Those of another user cannot be removed, and need not be.
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}
