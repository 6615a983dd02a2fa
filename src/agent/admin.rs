//! The agent's HTTP server: /metrics, /healthz, /readyz, and a word on what is where.
//!
//! A scrape counts as fetched when its last byte was handed to the kernel, see `wire`. No lock is
//! held while a body is written.

mod body;
mod routes;
mod wire;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::readiness::Readiness;
use crate::metrics::Metrics;
use body::Outbox;
use routes::Site;
use wire::Wire;

/// Connections served at once; further ones wait in the kernel's backlog.
const MAX_CONNECTIONS: usize = 128;

/// Time for the head of a request, and for a kept connection to make the next one: longer than
/// the usual scrape intervals, so that a scraper need not connect anew each time.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// Bytes of a request's head, and of an answer that hyper copies before it waits for the client.
const MAX_HEAD: usize = 64 * 1024;

/// Header lines of a request.
const MAX_HEADERS: usize = 64;

/// Time for the open requests once the agent is told to end.
const DRAIN: Duration = Duration::from_secs(5);

/// How often ended containers are reviewed though nobody scrapes.
const SWEEP: Duration = Duration::from_secs(5);

/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

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
    ) -> Result<Self, BindError> {
        let failed = |source| BindError::new(listen, source);
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, metrics, readiness })
    }

    /// The address that is listened on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is ready, then gives open requests a few seconds to end. Sweeps
    /// `metrics` meanwhile.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let site = Site::new(self.metrics.clone(), self.readiness);
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        // from serve --the agent ends--> connections
        let (ending_tx, ending_rx) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut sweeps = interval(SWEEP);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                _ = sweeps.tick() => self.metrics.sweep(),
                Some(_) = connections.join_next() => {}
                (stream, peer, slot) = accept(&self.listener, &slots) => {
                    let (site, ending) = (site.clone(), ending_rx.clone());
                    connections.spawn(async move {
                        converse(stream, peer, site, ending).await;
                        drop(slot);
                    });
                }
            }
        }
        drop(self.listener);
        ending_tx.send_replace(true);
        let drained = timeout(DRAIN, async { while connections.join_next().await.is_some() {} });
        if drained.await.is_err() {
            tracing::warn!(open = connections.len(), "connections cut at the end");
        }
    }
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<tokio::sync::OwnedSemaphorePermit>) {
    // Nobody closes the semaphore; if somebody did, no bound would be better than no answer.
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, slot),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection to its end.
async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    site: Site,
    mut ending: watch::Receiver<bool>,
) {
    let outbox = Outbox::default();
    let wire = TokioIo::new(Wire::new(stream, outbox.clone()));
    let service = service_fn(move |request| {
        let answer = site.answer(&request, peer.ip(), &outbox);
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(wire, service);
    let mut connection = pin!(connection);
    let ended = async move { drop(ending.wait_for(|ending| *ending).await) };
    let outcome = tokio::select! {
        outcome = &mut connection => outcome,
        () = ended => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%peer, %error, "connection ended early");
    }
}

#[cfg(test)]
mod tests;
