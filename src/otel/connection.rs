//! Connections to a collector, with or without TLS, directly or through a proxy. Both protocols use
//! only these connections.

use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use tower::{Service, ServiceExt as _};

use super::config::{Protocol, Target};
use super::proxy::Proxy;
use super::{SetupError, tls, tunnel};

type BoxError = Box<dyn Error + Send + Sync>;
type Connecting<Done> = Pin<Box<dyn Future<Output = Result<Done, BoxError>> + Send>>;

/// Connects to one collector, whatever address is requested: tonic gets an address without TLS,
/// because TLS is handled here.
#[derive(Clone)]
pub(crate) struct Connector {
    collector: Uri,
    secure: HttpsConnector<Route>,
    /// gRPC requires it.
    needs_http2: bool,
}

/// The route to a collector, below TLS.
#[derive(Clone)]
struct Route {
    tcp: HttpConnector,
    via: Option<Arc<Via>>,
}

/// The route through a proxy.
struct Via {
    proxy: Proxy,
    connector: HttpsConnector<HttpConnector>,
    /// Whether it is asked for a tunnel, rather than to forward each request.
    has_tunnel: bool,
}

/// A connection to a collector or to a proxy, below TLS.
pub(crate) struct Stream {
    io: Box<dyn Io>,
    passes_on: bool,
}

trait Io: Read + Write + Send + Unpin {}

impl<Any: Read + Write + Send + Unpin> Io for Any {}

// === impl Connector ===

/// Without the endpoint's query, which may contain a key.
impl fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.collector.authority().map_or("", |authority| authority.as_str());
        write!(formatter, "Connector({authority})")
    }
}

impl Connector {
    pub(crate) fn new(target: &Target) -> Result<Self, SetupError> {
        let is_secure = target.endpoint.scheme_str() == Some("https");
        let needs_http2 = target.protocol == Protocol::Grpc;
        let mut config = tls::client_config(is_secure.then_some(&target.tls))?;
        if needs_http2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        let via = target.proxy.as_ref().map(|proxy| Via::new(proxy, is_secure || needs_http2));
        let route = Route { tcp: tcp(), via: via.transpose()?.map(Arc::new) };
        let secure = HttpsConnector::from((route, config));
        Ok(Self { collector: target.endpoint.clone(), secure, needs_http2 })
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<Stream>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.secure.poll_ready(context)
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connecting = self.secure.call(self.collector.clone());
        let needs_http2 = self.needs_http2;
        Box::pin(async move {
            let stream = connecting.await?;
            let is_secure = matches!(stream, MaybeHttpsStream::Https(_));
            if needs_http2 && is_secure && !stream.connected().is_negotiated_h2() {
                return Err("this port does not offer HTTP/2 over TLS, which gRPC needs".into());
            }
            Ok(stream)
        })
    }
}

// === impl Route ===

impl fmt::Debug for Route {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Route").field(&self.via.as_ref().map(|via| &via.proxy)).finish()
    }
}

impl Service<Uri> for Route {
    type Response = Stream;
    type Error = BoxError;
    type Future = Connecting<Stream>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        if let Some(via) = self.via.clone() {
            return Box::pin(async move { Ok(via.connect(&to).await?) });
        }
        let connecting = self.tcp.call(to);
        Box::pin(async move { Ok(Stream { io: Box::new(connecting.await?), passes_on: false }) })
    }
}

// === impl Via ===

impl Via {
    fn new(proxy: &Proxy, has_tunnel: bool) -> Result<Self, SetupError> {
        // For a proxy with TLS: the system's certificates, independent of the collector's.
        let system = tls::Files::default();
        let is_secure = proxy.uri().scheme_str() == Some("https");
        let config = tls::client_config(is_secure.then_some(&system))?;
        let connector = HttpsConnector::from((tcp(), config));
        Ok(Self { proxy: proxy.clone(), connector, has_tunnel })
    }

    async fn connect(&self, to: &Uri) -> Result<Stream, tunnel::Error> {
        let connecting = self.connector.clone().oneshot(self.proxy.uri().clone());
        let stream =
            connecting.await.map_err(|source| tunnel::Error::unreachable(&self.proxy, source))?;
        if !self.has_tunnel {
            return Ok(Stream { io: Box::new(stream), passes_on: true });
        }
        let opened = tunnel::open(stream, &self.proxy, to).await?;
        Ok(Stream { io: Box::new(opened), passes_on: false })
    }
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp
}

// === impl Stream ===

impl Connection for Stream {
    /// Whether requests contain the whole URL, as a forwarding proxy needs it.
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.passes_on)
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, parts)
    }
}
