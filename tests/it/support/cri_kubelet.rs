//! A kubelet for the pods of the API stand-in, with containerd as its runtime: it follows the store,
//! starts what a pod's spec names, one container after the other, and publishes what it sees of the
//! runtime once a second.
//!
//! Source of its order and its words: kubernetes v1.36.2, `pkg/kubelet/kuberuntime`,
//! `pkg/kubelet/kubelet_pods.go`.

mod runtime;
mod status;
mod translate;
pub(crate) mod volumes;
mod worker;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ephemon::demo::api::{ApiServer, Runtime, Store};

use super::containerd::Containerd;
use super::node::Node;
use worker::Worker;

/// Between looks at the store.
const LOOK: Duration = Duration::from_millis(5);

/// What all pods of a node share.
#[derive(Debug)]
struct Desk {
    node: Arc<Node>,
    store: Store,
    socket: PathBuf,
    /// The runtime's ids by the pod's namespace and name and the container's name.
    ids: Mutex<BTreeMap<(Key, String), String>>,
    stop: AtomicBool,
}

/// Namespace and name.
type Key = (String, String);

/// The running kubelet. When dropped it ends all pods.
pub(crate) struct CriKubelet {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

// === impl CriKubelet ===

impl CriKubelet {
    /// Follows the API server's pods from now on, and answers it for logs and exec.
    pub(crate) fn start(node: &Arc<Node>, containerd: &Containerd, api: &ApiServer) -> Self {
        let desk = Arc::new(Desk {
            node: Arc::clone(node),
            store: api.store().clone(),
            socket: containerd.socket(),
            ids: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        api.attach(desk.clone());
        let own = Arc::clone(&desk);
        let thread = thread::spawn(move || {
            let mut workers: BTreeMap<_, JoinHandle<()>> = BTreeMap::new();
            while !own.stopped() {
                for pod in own.store.list().0 {
                    workers.entry(pod["metadata"]["uid"].to_string()).or_insert_with(|| {
                        let worker = Worker::new(&own, &pod);
                        thread::spawn(move || worker.run())
                    });
                }
                thread::sleep(LOOK);
            }
            for worker in workers.into_values() {
                drop(worker.join());
            }
        });
        Self { desk, thread: Some(thread) }
    }

    /// What the API server asks.
    pub(crate) fn runtime(&self) -> &dyn Runtime {
        &*self.desk
    }
}

impl Drop for CriKubelet {
    fn drop(&mut self) {
        self.desk.stop.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

// === impl Desk ===

impl Desk {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
