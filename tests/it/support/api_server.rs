//! The API stand-in on a thread of its own, for scenarios that are no async code.

use std::path::Path;
use std::thread;

use ephemon_demo::api::{ApiServer, Store};
use tokio::sync::oneshot;

/// Runs until it is dropped.
pub(crate) struct Api {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Api {
    /// Serves what the store holds, and writes a kubeconfig that leads there.
    pub(crate) fn serve(store: Store, kubeconfig: &Path) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready_tx, ready) = std::sync::mpsc::channel();
        let kubeconfig = kubeconfig.to_owned();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let api = ApiServer::start(store).await.unwrap();
                api.write_kubeconfig(&kubeconfig).unwrap();
                ready_tx.send(()).unwrap();
                stopped.await.ok();
            });
        });
        ready.recv().unwrap();
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
