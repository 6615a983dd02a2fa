//! A CRI client on a Unix socket: calls of the runtime service, each with a time limit.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::wire::RUNTIME_SERVICE;
use crate::text::clean;

/// Largest response in bytes, as for the kubelet.
///
/// Source: kubernetes v1.36.2, `staging/src/k8s.io/cri-client/pkg/remote_runtime.go`.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// A connection to a container runtime; established at first use, and again after it broke.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    channel: Channel,
    limit: Duration,
}

/// Why a call failed.
#[derive(Debug, Error)]
pub enum Error {
    /// The socket cannot be used.
    #[error("cannot connect to CRI socket {}: {source}; {}", path.display(), advice(source))]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No answer in time.
    #[error(
        "the runtime at {} does not answer {method} in {} ms; is it stopped or overloaded?",
        path.display(),
        limit.as_millis()
    )]
    Silence {
        /// The socket.
        path: PathBuf,
        /// The call.
        method: &'static str,
        /// The time limit.
        limit: Duration,
    },
    /// The runtime returned an error.
    #[error("the runtime at {} rejects {method}: {:?}, {}", path.display(), status.code(), clean(status.message()))]
    Refusal {
        /// The socket.
        path: PathBuf,
        /// The call.
        method: &'static str,
        /// Its status.
        status: Box<tonic::Status>,
    },
}

// === impl Client ===

impl Client {
    /// A client for the runtime at `socket`; `limit` is the time limit of each call.
    pub fn new(socket: impl Into<PathBuf>, limit: Duration) -> Self {
        let socket = socket.into();
        let path = socket.clone();
        let connector = service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // gRPC needs an authority; a Unix socket has none, and runtimes ignore it.
        let channel =
            Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector);
        Self { socket, channel, limit }
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Calls `method` of the runtime service, such as `ListContainers`.
    pub async fn call<Q, A>(&self, method: &'static str, request: Q) -> Result<A, Error>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        self.call_service(RUNTIME_SERVICE, method, request).await
    }

    /// Calls `method` of `service`, such as `PullImage` of `runtime.v1.ImageService`.
    pub async fn call_service<Q, A>(
        &self,
        service: &'static str,
        method: &'static str,
        request: Q,
    ) -> Result<A, Error>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let call = async {
            let path = PathAndQuery::try_from(format!("/{service}/{method}"))
                .map_err(|error| tonic::Status::invalid_argument(error.to_string()))?;
            let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER);
            grpc.ready().await.map_err(|error| tonic::Status::from_error(Box::new(error)))?;
            let codec = ProstCodec::<Q, A>::default();
            grpc.unary(tonic::Request::new(request), path, codec).await
        };
        let path = || self.socket.clone();
        match tokio::time::timeout(self.limit, call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(match io_error(&status) {
                Some(source) => Error::Connect { path: path(), source },
                None => Error::Refusal { path: path(), method, status: Box::new(status) },
            }),
            Err(_) => Err(Error::Silence { path: path(), method, limit: self.limit }),
        }
    }
}

/// The I/O error that caused a failed connection.
fn io_error(status: &tonic::Status) -> Option<std::io::Error> {
    let mut next = std::error::Error::source(status);
    while let Some(error) = next {
        if let Some(number) =
            error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error)
        {
            return Some(std::io::Error::from_raw_os_error(number));
        }
        next = error.source();
    }
    None
}

fn advice(error: &std::io::Error) -> &'static str {
    use rustix::io::Errno;
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT | Errno::NOTSOCK | Errno::NOTDIR) => {
            "check --cri-socket (containerd: /run/containerd/containerd.sock, CRI-O: \
             /run/crio/crio.sock) and that it is mounted"
        }
        Some(Errno::ACCESS | Errno::PERM) => "run as a user that can use the socket, usually root",
        Some(Errno::CONNREFUSED) => "the runtime is not running",
        _ => "check that the runtime is running",
    }
}
