//! The agent's HTTP server: `/metrics`, `/healthz`, `/readyz`, `/debug/state`, and an index page or
//! the job page with its API.
//!
//! A scrape counts as fetched when its last byte was handed to the kernel, see `wire`. No lock is
//! held while a body is written. `seats` limits connections, `wire` sets their time limits, and
//! `web` decides which requests are allowed.

mod body;
mod conversation;
mod events;
mod places;
mod routes;
mod seats;
mod site_page;
mod web;
mod wire;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use ephemon_metrics::Metrics;
use ephemon_page::Page;
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
use site_page::SitePage;
use web::Web;
pub use web::WebError;
use wire::Patience;

/// Memory of all open connections, in bytes: for each the head of a request, a TLS record in each
/// direction, and its task.
pub(super) const CONNECTIONS_BYTES: usize =
    seats::MAX_CONNECTIONS * (conversation::MAX_HEAD + 2 * 16 * 1024 + 8 * 1024);

/// Memory of all answers of the job page, in bytes.
pub(super) const PAGE_ANSWERS_BYTES: usize = site_page::ANSWERS_BYTES;

/// Time that open requests have to finish after the agent is asked to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How often ended containers are checked for expiry, even without scrapes.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// How often the web configuration's files are checked for changes.
const LIMITS_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Pause after an accept that failed because descriptors or memory ran out.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// Why the server cannot listen on the address.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is in use.
    #[error(
        "another ephemon agent or another program listens on {0}; stop it, or choose another \
         address with --listen"
    )]
    InUse(SocketAddr),
    /// The port is privileged.
    #[error(
        "no permission to listen on {0}: ports below 1024 need CAP_NET_BIND_SERVICE; \
         choose a higher one with --listen"
    )]
    Denied(SocketAddr),
    /// The address is not one of this host's.
    #[error("{0} is not an address of this host or pod; choose another with --listen")]
    NotOurs(SocketAddr),
    /// Any other error.
    #[error("cannot listen on {address}")]
    Other {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
}

/// A server that already listens, and serves once [`Admin::serve`] is called.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
    metrics: Metrics,
    readiness: Readiness,
    self_metrics: SelfMetrics,
    web: Web,
    state: Option<StateReader>,
    page: Option<SitePage>,
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
    /// Listens on an address; with port 0 the kernel chooses a free port.
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
        let (state, page) = (None, None);
        Ok(Self { listener, address, metrics, readiness, self_metrics, web, state, page, patience })
    }

    /// Serves `/debug/state`, and a `/healthz` that fails when capture makes no progress.
    pub(super) fn with_state(self, state: StateReader) -> Self {
        Self { state: Some(state), ..self }
    }

    /// Serves the job page, too.
    #[must_use]
    pub fn with_page(self, page: Page) -> Self {
        Self { page: Some(SitePage::new(page)), ..self }
    }

    /// Applies a web configuration file, and reloads it when it changes.
    pub fn with_web_config(self, file: &Path) -> Result<Self, WebError> {
        Ok(Self { web: Web::open(file)?, ..self })
    }

    /// `http` or `https`, according to the present web configuration.
    pub fn scheme(&self) -> &'static str {
        if self.web.is_encrypted() { "https" } else { "http" }
    }

    /// The address that the server listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is ready, then gives open requests a few seconds to finish.
    /// Meanwhile removes expired containers from `metrics`.
    pub async fn serve(mut self, shutdown: impl Future<Output = ()>) {
        let site = Site::new(self.metrics.clone(), self.readiness, self.state);
        let site = site.with_page(self.page);
        let seats = Seats::new(self.self_metrics);
        // from serve --the agent stops--> connections
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
            tracing::warn!(open = connections.len(), "open connections closed at shutdown");
        }
    }
}

/// Accepts the next connection, and retries after errors.
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
