//! The agent's HTTP server: /metrics, /healthz, /readyz, /debug/state, and an index of them.
//!
//! A scrape counts as fetched when its last byte was handed to the kernel, see `wire`. No lock is
//! held while a body is written. `seats` has a place for every newcomer, `wire` waits for nobody
//! for long, and `web` knows who may ask.

mod body;
mod conversation;
mod routes;
mod seats;
mod web;
mod wire;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use ephemon_metrics::Metrics;
use ephemon_self_metrics::SelfMetrics;
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::readiness::Readiness;
use super::state::StateReader;
use conversation::{Conversation, Farewell};
use routes::Site;
use seats::Seats;
use web::Web;
pub use web::WebError;
use wire::Patience;

/// Memory of all open connections: a request's head, a TLS record each way, and the task of each.
pub(super) const CONNECTIONS_BYTES: usize =
    seats::MAX_CONNECTIONS * (conversation::MAX_HEAD + 2 * 16 * 1024 + 8 * 1024);

/// Time for the open requests once the agent is told to end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How often ended containers are reviewed though nobody scrapes.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// How often the web configuration's files are looked at.
const LIMITS_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// The address could not be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else listens there.
    #[error(
        "another ephemon agent or another program listens on {0}; \
         end it, or choose another address with --listen"
    )]
    InUse(SocketAddr),
    /// A privileged port.
    #[error(
        "no permission to listen on {0}: ports below 1024 need CAP_NET_BIND_SERVICE; \
         choose a higher one with --listen"
    )]
    Denied(SocketAddr),
    /// None of this host's addresses.
    #[error("{0} is no address of this host or pod; choose one that is with --listen")]
    NotOurs(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {address}")]
    Other {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// A server that listens already and serves when told to.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
    metrics: Metrics,
    readiness: Readiness,
    self_metrics: SelfMetrics,
    web: Web,
    state: Option<StateReader>,
    patience: Patience,
}

// === impl BindError ===

impl BindError {
    fn new(address: SocketAddr, source: io::Error) -> Self {
        match Errno::from_io_error(&source) {
            Some(Errno::ADDRINUSE) => Self::InUse(address),
            Some(Errno::ACCESS | Errno::PERM) => Self::Denied(address),
            Some(Errno::ADDRNOTAVAIL) => Self::NotOurs(address),
            _ => Self::Other { address, source },
        }
    }
}

// === impl Admin ===

impl Admin {
    /// Listens on an address; port 0 takes any that is free.
    pub async fn bind(
        listen: SocketAddr,
        metrics: Metrics,
        readiness: Readiness,
        self_metrics: SelfMetrics,
    ) -> Result<Self, BindError> {
        let failed = |source| BindError::new(listen, source);
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (web, patience) = (Web::default(), Patience::default());
        Ok(Self { listener, address, metrics, readiness, self_metrics, web, state: None, patience })
    }

    /// Serves `/debug/state`, and a `/healthz` that fails when capture makes no progress.
    pub(super) fn with_state(self, state: StateReader) -> Self {
        Self { state: Some(state), ..self }
    }

    /// Asks of clients what a web configuration file asks for, and reads it again when it changes.
    pub fn with_web_config(self, file: &Path) -> Result<Self, WebError> {
        Ok(Self { web: Web::open(file)?, ..self })
    }

    /// `http` or `https`, as it is now.
    pub fn scheme(&self) -> &'static str {
        if self.web.is_encrypted() { "https" } else { "http" }
    }

    /// The address that is listened on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is ready, then gives open requests a few seconds to end. Sweeps
    /// `metrics` meanwhile.
    pub async fn serve(mut self, shutdown: impl Future<Output = ()>) {
        let site = Site::new(self.metrics.clone(), self.readiness, self.state);
        let seats = Seats::new(self.self_metrics);
        // from serve --the agent ends--> connections
        let (ending_tx, ending_rx) = watch::channel(false);
        let mut connections = JoinSet::new();
        let [mut sweeps, mut looks] = [SWEEP_INTERVAL, LIMITS_LOOK_INTERVAL].map(interval);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                _ = sweeps.tick() => self.metrics.sweep(),
                _ = looks.tick() => self.web.look(),
                Some(_) = connections.join_next() => {}
                (stream, peer) = accept(&self.listener) => {
                    let seat = seats.take(peer.ip());
                    let conversation = Conversation {
                        peer,
                        seat: seat.clone(),
                        site: site.clone(),
                        rules: self.web.rules(),
                        ending: ending_rx.clone(),
                        patience: self.patience,
                    };
                    let connection = seat.number();
                    let farewell = Farewell { metrics: self.metrics.clone(), connection };
                    seat.served_by(connections.spawn(async move {
                        conversation.hold(stream).await;
                        drop(farewell);
                    }));
                }
            }
        }
        drop(self.listener);
        ending_tx.send_replace(true);
        let drained =
            timeout(DRAIN_TIMEOUT, async { while connections.join_next().await.is_some() {} });
        if drained.await.is_err() {
            tracing::warn!(open = connections.len(), "connections cut at the end");
        }
    }
}

/// The next connection.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(connection) => return connection,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_RETRY_INTERVAL).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
