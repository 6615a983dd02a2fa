//! The way to one agent: HTTP over TCP, or over a port that the API server forwards.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::Portforwarder;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::error::{Error, shortened};

/// Longest wait for a connection, and for an answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest wait for the reason of a port that is not forwarded.
const REASON_TIMEOUT: Duration = Duration::from_millis(300);
/// The largest answer; an agent's own bound is 1.5 MiB.
const ANSWER_LIMIT: usize = 2 << 20;

/// Where an agent is.
#[derive(Clone)]
pub(crate) enum Way {
    /// At an address: `host:port`.
    Tcp(String),
    /// In a pod.
    Pod { api: Box<Api<Pod>>, name: String, port: u16 },
}

/// Connections to one agent: one that is kept, and one for each stream.
#[derive(Clone)]
pub(crate) struct Connections {
    way: Way,
    kept: Arc<Mutex<Option<Connection>>>,
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Whether it says to be JSON.
    pub is_json: bool,
    /// The body.
    pub body: Bytes,
}

/// A stream that goes on for as long as it is kept.
pub(crate) struct Stream {
    pub(crate) status: StatusCode,
    pub(crate) body: Incoming,
    _connection: Connection,
}

struct Connection {
    /// What requests name as their host. An agent answers to addresses and to `localhost` only: a name
    /// may be another site's.
    host: String,
    sender: SendRequest<Empty<Bytes>>,
    driver: JoinHandle<()>,
    /// With the port that it forwards.
    forwarder: Option<(Portforwarder, u16)>,
}

// === impl Connections ===

impl Connections {
    pub(crate) fn new(way: Way) -> Self {
        Self { way, kept: Arc::default() }
    }

    pub(crate) fn is_of_pod(&self) -> bool {
        matches!(self.way, Way::Pod { .. })
    }

    /// The answer to a path below the agent's root.
    pub(crate) async fn get(&self, path: &str) -> Result<Response, Error> {
        let mut kept = self.kept.lock().await;
        if let Some(mut connection) = kept.take().filter(|one| !one.sender.is_closed()) {
            match within(ANSWER_TIMEOUT, Self::ask(&mut connection, path)).await {
                Ok(answer) => {
                    *kept = Some(connection);
                    return Ok(answer);
                }
                // One that has answered nothing for so long would not do so on another connection.
                Err(Error::Timeout(seconds)) => return Err(Error::Timeout(seconds)),
                Err(_) => {}
            }
        }
        // The agent may have ended a connection that was not used for a while.
        let mut connection = self.connect().await?;
        let answer = within(ANSWER_TIMEOUT, Self::ask(&mut connection, path)).await;
        match answer {
            Ok(answer) => {
                *kept = Some(connection);
                Ok(answer)
            }
            Err(error) => Err(connection.reason().await.unwrap_or(error)),
        }
    }

    /// A stream of events.
    pub(crate) async fn stream(&self, path: &str) -> Result<Stream, Error> {
        let mut connection = self.connect().await?;
        let request = connection.request(path)?;
        let answer = async {
            connection.sender.send_request(request).await.map_err(|error| Error::http(&error))
        };
        let (head, body) = within(ANSWER_TIMEOUT, answer).await?.into_parts();
        Ok(Stream { status: head.status, body, _connection: connection })
    }

    async fn connect(&self) -> Result<Connection, Error> {
        within(CONNECT_TIMEOUT, async {
            match &self.way {
                Way::Tcp(address) => {
                    let stream = TcpStream::connect(address).await.map_err(Error::Connect)?;
                    let host = stream.peer_addr().map_err(Error::Connect)?.to_string();
                    Connection::new(stream, host, None).await
                }
                Way::Pod { api, name, port } => {
                    let forwarder = api.portforward(name, &[*port]).await;
                    let mut forwarder = forwarder.map_err(|error| Error::forward(&error))?;
                    let Some(stream) = forwarder.take_stream(*port) else {
                        return Err(Error::Forward("there is no stream of the port".into()));
                    };
                    // What kubectl port-forward's clients say.
                    let host = format!("localhost:{port}");
                    Connection::new(stream, host, Some((forwarder, *port))).await
                }
            }
        })
        .await
    }

    async fn ask(connection: &mut Connection, path: &str) -> Result<Response, Error> {
        let request = connection.request(path)?;
        let failed = |error: hyper::Error| Error::http(&error);
        connection.sender.ready().await.map_err(failed)?;
        let (head, body) =
            connection.sender.send_request(request).await.map_err(failed)?.into_parts();
        let kind = head.headers.get(hyper::header::CONTENT_TYPE);
        let is_json = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        let body = Limited::new(body, ANSWER_LIMIT).collect().await;
        let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(error) => Error::http(&error),
            Err(_) => Error::TooLarge(ANSWER_LIMIT),
        })?;
        Ok(Response { status: head.status.as_u16(), is_json, body: body.to_bytes() })
    }
}

// === impl Connection ===

impl Connection {
    async fn new<S>(
        stream: S,
        host: String,
        forwarder: Option<(Portforwarder, u16)>,
    ) -> Result<Self, Error>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, driver) = shaken.map_err(|error| Error::http(&error))?;
        // Its failure is the request's, too.
        let driver = tokio::spawn(async move { driver.await.unwrap_or_default() });
        Ok(Self { host, sender, driver, forwarder })
    }

    fn request(&self, path: &str) -> Result<Request<Empty<Bytes>>, Error> {
        let request = Request::get(path).header(HOST, &self.host).header(ACCEPT, "*/*");
        let request =
            request.header(USER_AGENT, concat!("ephemon-client/", env!("CARGO_PKG_VERSION")));
        request.body(Empty::new()).map_err(|error| Error::Http(error.to_string()))
    }

    /// Why the port is not forwarded, where the kubelet says so.
    async fn reason(&mut self) -> Option<Error> {
        let (forwarder, port) = self.forwarder.as_mut()?;
        let reason = timeout(REASON_TIMEOUT, forwarder.take_error(*port)?).await.ok()??;
        Some(Error::Forwarded(shortened(&reason)))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
        if let Some((forwarder, _)) = &self.forwarder {
            forwarder.abort();
        }
    }
}

/// An answer, or that there is none within this time.
pub(crate) async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::Timeout(limit.as_secs())),
    }
}
