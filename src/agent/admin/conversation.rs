//! One connection, from its first byte to its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use ephemon_metrics::Metrics;
use ephemon_self_metrics::Closed;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::body::Outbox;
use super::routes::{Channel, Site};
use super::seats::Seat;
use super::web::{Rules, Tls};
use super::wire::{Patience, Wire};

/// Most bytes of a request's head, and of a response that hyper copies before it waits for the
/// client.
pub(super) const MAX_HEAD: usize = 16 * 1024;

/// Most header lines of a request.
const MAX_HEADERS: usize = 64;

/// First byte of a TLS connection (RFC 8446 §5.1): the type of a handshake record. No HTTP method
/// begins with it.
const HANDSHAKE: u8 = 22;

/// What is needed to serve a connection.
pub(super) struct Conversation {
    pub(super) peer: SocketAddr,
    pub(super) seat: Seat,
    pub(super) site: Site,
    /// When the rules change, the connection ends after its present request, because it was opened
    /// under the old ones.
    pub(super) rules: watch::Receiver<Arc<Rules>>,
    /// True once the agent stops.
    pub(super) ending: watch::Receiver<bool>,
    pub(super) patience: Patience,
}

/// Reports to `metrics`, when dropped, that the connection is closed.
pub(super) struct Farewell {
    pub(super) metrics: Metrics,
    pub(super) connection: u64,
}

// === impl Conversation ===

impl Conversation {
    /// Serves the connection to its end.
    pub(super) async fn hold(mut self, stream: TcpStream) {
        let rules = Arc::clone(&self.rules.borrow_and_update());
        let plain = Channel {
            rules: Arc::clone(&rules),
            encrypted: false,
            verified: false,
            ending: self.ending.clone(),
        };
        let Some(tls) = &rules.tls else {
            return self.talk(stream, plain).await;
        };
        // A probe needs no TLS, and only its request shows that it is one.
        let mut first = [0];
        match timeout(self.patience.first_byte, stream.peek(&mut first)).await {
            Err(_) => self.seat.closed(Closed::Silent),
            Ok(Ok(1)) if first == [HANDSHAKE] => self.encrypt(stream, tls, plain).await,
            Ok(Ok(1)) => self.talk(stream, plain).await,
            Ok(hung_up) => tracing::debug!(peer = %self.peer, ?hung_up, "connection ended early"),
        }
    }

    async fn encrypt(self, stream: TcpStream, tls: &Tls, plain: Channel) {
        let handshake = tls.acceptor().accept_with(stream, Tls::bound);
        match timeout(self.patience.head, handshake).await {
            Err(_) => self.seat.closed(Closed::SlowRequest),
            Ok(Err(error)) => {
                tracing::debug!(peer = %self.peer, %error, "the TLS handshake with a client failed");
            }
            Ok(Ok(stream)) => {
                let verified = stream.get_ref().1.peer_certificates().is_some();
                self.talk(stream, Channel { encrypted: true, verified, ..plain }).await;
            }
        }
    }

    async fn talk<S>(self, stream: S, channel: Channel)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { peer, seat, site, mut rules, mut ending, patience } = self;
        let outbox = Outbox::new(seat);
        let wire = TokioIo::new(Wire::new(stream, outbox.clone(), patience));
        let service = service_fn(|request: Request<Incoming>| {
            let (site, channel, outbox) = (&site, &channel, &outbox);
            async move {
                let answer = site.answer(&request, channel, outbox).await;
                outbox.answers();
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = http1::Builder::new()
            // `Wire` sets the time limits, because it can tell a silent client from one between two
            // requests.
            .header_read_timeout(None)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .serve_connection(wire, service);
        let mut connection = pin!(connection);
        let ended = async {
            tokio::select! {
                _ = ending.wait_for(|ending| *ending) => {}
                _ = rules.changed() => {}
            }
        };
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
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.metrics.hung_up(self.connection);
    }
}
