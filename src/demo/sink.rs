//! The demo's own collector: accepts OTLP over HTTP with protobuf, and keeps what the report needs.
//!
//! It decodes the requests itself on purpose: the check must not share code with what it checks.

mod seen;

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ephemon_base::lock;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

#[cfg(test)]
pub(super) use seen::samples;
pub(super) use seen::{Node, Seen, Who, hex};

/// Largest request: collectors accept 64 MiB, the default limit of gRPC is 4 MiB.
const MAX_REQUEST: usize = 16 * 1024 * 1024;
/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The content type of OTLP over HTTP.
const PROTOBUF: &str = "application/x-protobuf";

/// The listening collector; it stops when dropped.
#[derive(Debug)]
pub(super) struct Sink {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

// === impl Sink ===

impl Sink {
    /// Listens on a free port of this machine. `secret`: text that no record may contain.
    pub(super) async fn start(secret: &'static str) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Mutex::new(Seen::new(secret)));
        let task = tokio::spawn(serve(listener, Arc::clone(&seen)));
        Ok(Self { address, seen, task })
    }

    /// The value of `OTEL_EXPORTER_OTLP_ENDPOINT` for this collector.
    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What has arrived so far.
    pub(super) fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&lock(&self.seen))
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, seen: Arc<Mutex<Seen>>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let seen = Arc::clone(&seen);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&seen)));
            // A client that disconnects is not an error.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<Seen>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let status = match Limited::new(request.into_body(), MAX_REQUEST).collect().await {
        Ok(body) => take(&path, &body.to_bytes(), &seen),
        Err(_) => StatusCode::PAYLOAD_TOO_LARGE,
    };
    // A response without fields: everything was accepted.
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    if let Ok(kind) = PROTOBUF.parse() {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    Ok(response)
}

fn take(path: &str, body: &[u8], seen: &Mutex<Seen>) -> StatusCode {
    let seen = || lock(seen);
    match path {
        "/v1/logs" => match ExportLogsServiceRequest::decode(body) {
            Ok(request) => seen().logs(request.resource_logs),
            Err(_) => return StatusCode::BAD_REQUEST,
        },
        "/v1/traces" => match ExportTraceServiceRequest::decode(body) {
            Ok(request) => seen().spans(request.resource_spans),
            Err(_) => return StatusCode::BAD_REQUEST,
        },
        _ => return StatusCode::NOT_FOUND,
    }
    StatusCode::OK
}
