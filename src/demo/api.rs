//! The embedded API server: pods over HTTP on the loopback address, with the responses that were
//! recorded from a real API server.
//!
//! `store` owns the pods and `secrets` the Secrets; `watch`, `log` and `exec` are the streams;
//! `routes` dispatches requests, `access` authorises them, and `faults` injects failures. There is
//! no TLS, because it listens on the loopback address only.

pub mod containers;
pub mod events;
mod faults;
pub(crate) mod object;
pub mod store;

mod access;
mod dump;
mod exec;
mod log;
mod parameters;
mod patch;
mod query;
mod routes;
mod runtime;
mod secrets;
mod selector;
mod status;
mod validate;
mod watch;

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

pub use access::{Access, Asked};
pub use events::Events;
pub use faults::{Answer, Fault, Faults, Rule};
pub use patch::PatchKind;
pub use runtime::Runtime;
pub use secrets::Secrets;
pub use selector::{FieldSelector, InvalidSelector, LabelSelector};
pub use status::{FieldError, Refusal};
pub use store::Store;

/// Pause after a failed `accept` (no descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Longest wait for a port that was listened on a moment ago.
const BIND_TIMEOUT: Duration = Duration::from_mins(1);

/// A running API server. Dropping it ends every connection.
#[derive(Debug)]
pub struct ApiServer {
    parts: Parts,
    address: SocketAddr,
    serving: Option<Serving>,
}

/// The state that all requests share. Cheap to clone.
#[derive(Debug, Clone)]
struct Parts {
    store: Store,
    faults: Faults,
    access: Access,
    runtime: runtime::Attached,
    /// The token that requests must have; none until one is set.
    token: Arc<OnceLock<String>>,
}

/// Aborts the accept loop when dropped, and with it every connection.
#[derive(Debug)]
struct Serving(JoinHandle<()>);

// === impl ApiServer ===

impl ApiServer {
    /// Listens on a free port of the loopback address.
    pub async fn start(store: Store) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let parts = Parts {
            store,
            faults: Faults::default(),
            access: Access::default(),
            runtime: runtime::Attached::default(),
            token: Arc::default(),
        };
        let serving = Some(serve(listener, parts.clone()));
        Ok(Self { parts, address, serving })
    }

    /// From now on every request must have a token, which the kubeconfig contains: a client that
    /// can `exec` has the rights of the containers' user.
    pub fn protect(&self) {
        let token: String = (0..40).map(|_| fastrand::alphanumeric()).collect();
        // A second call changes nothing.
        self.parts.token.get_or_init(|| token);
    }

    /// From now on `log` and `exec` use this kubelet.
    pub fn attach(&self, runtime: Arc<dyn Runtime>) {
        self.parts.runtime.set(runtime);
    }

    /// Which requests are allowed.
    pub fn access(&self) -> &Access {
        &self.parts.access
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The pods.
    pub fn store(&self) -> &Store {
        &self.parts.store
    }

    /// Injects failures: wrong, late or missing responses.
    pub fn faults(&self) -> &Faults {
        &self.parts.faults
    }

    /// Stops listening and closes every connection. The pods are kept.
    pub fn stop(&mut self) {
        self.serving = None;
    }

    /// Listens again on the same port after [`Self::stop`].
    pub async fn restart(&mut self) -> io::Result<()> {
        if self.serving.is_none() {
            let listener = bind_again(self.address).await?;
            self.serving = Some(serve(listener, self.parts.clone()));
        }
        Ok(())
    }

    /// Writes a kubeconfig for this server.
    pub fn write_kubeconfig(&self, path: &Path) -> io::Result<()> {
        let user = match self.parts.token.get() {
            Some(token) => json!({"token": token}),
            None => json!({}),
        };
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "demo",
            "clusters": [{"name": "demo", "cluster": {"server": self.url()}}],
            "users": [{"name": "demo", "user": user}],
            "contexts": [{"name": "demo", "context": {"cluster": "demo", "user": "demo", "namespace": "default"}}],
        });
        // JSON is YAML.
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(format!("{config:#}\n").as_bytes())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The aborted loop releases the port when its task is dropped, shortly after the abort; and a process that
/// is being started has this one's sockets until its program runs (`FD_CLOEXEC`, fcntl(2)).
async fn bind_again(address: SocketAddr) -> io::Result<TcpListener> {
    let began = Instant::now();
    loop {
        match TcpListener::bind(address).await {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && began.elapsed() < BIND_TIMEOUT => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            other => return other,
        }
    }
}

fn serve(listener: TcpListener, parts: Parts) -> Serving {
    Serving(tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let parts = parts.clone();
            connections.spawn(async move {
                let service = service_fn(move |request| routes::answer(request, parts.clone()));
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // A client that disconnects is not an error.
                drop(connection.with_upgrades().await);
            });
        }
    }))
}
