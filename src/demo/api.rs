//! The API stand-in: pods over HTTP on the loopback, as the recorded API server answers.
//!
//! `store` owns the objects, `watch` the streams, `routes` what a request means, `faults` how it
//! misbehaves on demand. TLS and authentication are left out: it listens on the loopback only.

pub mod faults;
pub(in crate::demo) mod object;
pub mod store;

mod dump;
mod patch;
mod query;
mod routes;
mod selector;
mod status;
mod validate;
mod watch;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

pub use faults::{Fault, Faults};
pub use selector::{FieldSelector, InvalidSelector, LabelSelector};
pub use status::{FieldError, Refusal};
pub use store::{PatchKind, Store};

/// Pause after a failed `accept` (no descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running API stand-in. Dropping it ends every connection.
#[derive(Debug)]
pub struct ApiServer {
    store: Store,
    faults: Faults,
    address: SocketAddr,
    serving: Option<Serving>,
}

/// Aborts the accept loop when dropped, and with it every connection.
#[derive(Debug)]
struct Serving(JoinHandle<()>);

// === impl ApiServer ===

impl ApiServer {
    /// Listens on a free port of the loopback.
    pub async fn start(store: Store) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let faults = Faults::default();
        let serving = Some(serve(listener, store.clone(), faults.clone()));
        Ok(Self { store, faults, address, serving })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The pods, for whoever runs them.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Makes the server answer wrongly, late or not at all.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Stops listening and cuts every connection. The pods stay.
    pub fn stop(&mut self) {
        self.serving = None;
    }

    /// Listens again on the same port after [`Self::stop`].
    pub async fn restart(&mut self) -> io::Result<()> {
        if self.serving.is_none() {
            let listener = bind_again(self.address).await?;
            let serving = serve(listener, self.store.clone(), self.faults.clone());
            self.serving = Some(serving);
        }
        Ok(())
    }

    /// Writes a kubeconfig that leads here.
    pub fn write_kubeconfig(&self, path: &Path) -> io::Result<()> {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "demo",
            "clusters": [{"name": "demo", "cluster": {"server": self.url()}}],
            "users": [{"name": "demo", "user": {}}],
            "contexts": [{"name": "demo", "context": {"cluster": "demo", "user": "demo", "namespace": "default"}}],
        });
        // JSON is YAML.
        std::fs::write(path, format!("{config:#}\n"))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The aborted loop lets go of the port when its task is dropped, a moment after the abort.
async fn bind_again(address: SocketAddr) -> io::Result<TcpListener> {
    let mut tries = 0_u32;
    loop {
        match TcpListener::bind(address).await {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && tries < 100 => {
                tries = tries.saturating_add(1);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            other => return other,
        }
    }
}

fn serve(listener: TcpListener, store: Store, faults: Faults) -> Serving {
    Serving(tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (store, faults) = (store.clone(), faults.clone());
            connections.spawn(async move {
                let service = service_fn(move |request| {
                    routes::answer(request, store.clone(), faults.clone())
                });
                // A client that goes away is no event for a server.
                drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
            });
        }
    }))
}
