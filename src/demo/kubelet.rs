//! The embedded kubelet: runs this node's pods as real processes in the node's cgroups, with the
//! start, status, log and deletion behaviour of kubelet 1.36 with containerd.
//!
//! Not implemented: restarts of regular containers, probes, volumes other than `emptyDir`.

mod container;
mod images;
mod logs;
mod order;
pub mod paths;
mod quantity;
mod runtime;
mod spec;
mod status;
pub(crate) mod volumes;
mod worker;

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use ephemon_base::lock;
use tokio::sync::{broadcast, watch};
use tokio::task::{JoinHandle, JoinSet};

pub use super::api::containers::Kind;
use super::api::object::text;
use super::api::{Runtime, Store};
use super::cgroups::Cgroups;
pub use super::shim::Account;
use super::view::MountMode;
use worker::Worker;

/// Most records of ended containers; the oldest are dropped first.
const TRUTHS_LIMIT: usize = 20_000;
/// Most events queued for a slow receiver; the oldest are dropped first.
const NODE_EVENTS_LIMIT: usize = 1_024;

/// How the kubelet runs its pods.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The `ephemon-demo` program, which also contains the helpers; `ephemon` is in the same
    /// directory.
    pub binary: PathBuf,
    /// The node's root directory.
    pub root: PathBuf,
    /// The node's name; pods bound to other nodes are ignored.
    pub node: String,
    /// Time from the end of a container's last process to the removal of its cgroup: 35-60 ms with
    /// runc (measured on a Kubernetes 1.36.2 node).
    pub linger: RangeInclusive<Duration>,
    /// How often the runtime is read for the published status (PLEG relist).
    pub relist: Duration,
    /// Time from the end of a deleted pod's last container to the removal of its logs.
    pub log_removal: Duration,
    /// How long it takes to pull an image below `localhost/far/`, at its first use.
    pub pull: Duration,
}

/// What a container used, as measured by the embedded node.
#[derive(Debug, Clone)]
pub struct Truth {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's UID.
    pub pod_uid: String,
    /// The container's name; `POD` for the sandbox.
    pub container: String,
    /// Its type in the spec.
    pub kind: Kind,
    /// The runtime's id, 64 hexadecimal digits.
    pub id: String,
    /// When its command started; `None` if it could not be run.
    pub started_at: Option<SystemTime>,
    /// When its last process ended.
    pub ended_at: SystemTime,
    /// Exit code; 128 plus the signal number if a signal killed it.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`.
    pub reason: &'static str,
    /// What it used.
    pub account: Account,
}

/// An event that is shown to people.
#[derive(Debug, Clone)]
pub enum NodeEvent {
    /// A container's command has started.
    Started {
        /// Pod name.
        pod: String,
        /// Container name.
        container: String,
        /// When.
        at: SystemTime,
    },
    /// A container waits and will continue to wait.
    Waiting {
        /// Pod name.
        pod: String,
        /// Container name.
        container: String,
        /// `ErrImageNeverPull`.
        reason: &'static str,
    },
    /// A container has ended and its cgroup was removed.
    Ended(Box<Truth>),
    /// A pod was removed.
    Gone {
        /// Pod name.
        pod: String,
    },
}

/// A running kubelet.
#[derive(Debug)]
pub struct Kubelet {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// The state that all workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    settings: Settings,
    store: Store,
    cgroups: Arc<Cgroups>,
    mount_mode: MountMode,
    running: runtime::Running,
    images: images::Images,
    truths: Mutex<VecDeque<Truth>>,
    node_events: broadcast::Sender<NodeEvent>,
}

// === impl Kubelet ===

impl Kubelet {
    /// Starts to run the pods in the store that are bound to this node.
    pub fn start(
        settings: Settings,
        store: Store,
        cgroups: Arc<Cgroups>,
        mount_mode: MountMode,
    ) -> Self {
        let shared = Arc::new(Shared {
            mount_mode,
            running: runtime::Running::default(),
            images: images::Images::default(),
            settings,
            store,
            cgroups,
            truths: Mutex::default(),
            node_events: broadcast::Sender::new(NODE_EVENTS_LIMIT),
        });
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(run(Arc::clone(&shared), stopped));
        Self { shared, stop, task }
    }

    /// Receives events from now on.
    pub fn node_events(&self) -> broadcast::Receiver<NodeEvent> {
        self.shared.node_events.subscribe()
    }

    /// The API server's access to the containers.
    pub fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::clone(&self.shared) as Arc<dyn Runtime>
    }

    /// Records of the containers that have ended, oldest first.
    pub fn truths(&self) -> Vec<Truth> {
        self.shared.lock().iter().cloned().collect()
    }

    /// Kills every container at once and waits until all are removed.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // The loop ends by itself; a panic in it has been reported where it happened.
        drop(self.task.await);
    }
}

// === impl Shared ===

impl Shared {
    fn ended(&self, truth: Truth) {
        let mut truths = self.lock();
        if truths.len() >= TRUTHS_LIMIT {
            truths.pop_front();
        }
        truths.push_back(truth.clone());
        drop(truths);
        self.tell(NodeEvent::Ended(Box::new(truth)));
    }

    /// There may be no receiver.
    fn tell(&self, node_event: NodeEvent) {
        drop(self.node_events.send(node_event));
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Truth>> {
        lock(&self.truths)
    }
}

async fn run(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut changes = shared.store.changes();
    let mut workers = JoinSet::new();
    let mut known: BTreeMap<String, tokio::task::AbortHandle> = BTreeMap::new();
    while !*stopped.borrow_and_update() {
        changes.mark_unchanged();
        known.retain(|_, worker| !worker.is_finished());
        while workers.try_join_next().is_some() {}
        for pod in shared.store.list().0 {
            let uid = text(&pod, "/metadata/uid").unwrap_or_default();
            let ours = text(&pod, "/spec/nodeName") == Some(&shared.settings.node);
            if ours && !known.contains_key(uid) {
                let worker = Worker::new(Arc::clone(&shared), &pod, stopped.clone());
                known.insert(uid.to_owned(), workers.spawn(worker.run()));
            }
        }
        tokio::select! {
            heard = changes.changed() => if heard.is_err() { break },
            heard = stopped.changed() => if heard.is_err() { break },
        }
    }
    while workers.join_next().await.is_some() {}
}
