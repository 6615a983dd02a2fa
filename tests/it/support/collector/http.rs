//! The collector's HTTP server.

use std::io::Read as _;
use std::sync::Arc;

use flate2::read::GzDecoder;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::pki::Pki;
use super::{Export, Refusal, State};

/// Serves until the future is dropped, and the runtime with it.
pub(super) async fn serve(listener: TcpListener, pki: Option<Pki>, state: Arc<State>) {
    let tls = pki.map(|pki| TlsAcceptor::from(Arc::new(pki.server_config())));
    while let Ok((stream, _)) = listener.accept().await {
        let (state, tls) = (Arc::clone(&state), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => connection(TokioIo::new(stream), state).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        connection(TokioIo::new(stream), state).await;
                    }
                }
            }
        });
    }
}

async fn connection(stream: impl Read + Write + Unpin, state: Arc<State>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&state)));
    drop(http1::Builder::new().serve_connection(stream, service).await);
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let mut body = body.collect().await?.to_bytes();
    assert_eq!(head.method, "POST");
    assert_eq!(head.headers["content-type"], "application/x-protobuf");
    if head.headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip") {
        let mut plain = Vec::new();
        GzDecoder::new(body.as_ref()).read_to_end(&mut plain).unwrap();
        body = plain.into();
    }
    let bytes = body.len();
    let export = match head.uri.path() {
        "/v1/logs" => Export::Logs(ExportLogsServiceRequest::decode(body).unwrap()),
        "/v1/traces" => Export::Traces(ExportTraceServiceRequest::decode(body).unwrap()),
        "/v1/metrics" => Export::Metrics(ExportMetricsServiceRequest::decode(body).unwrap()),
        other => panic!("no such path: {other}"),
    };
    let answer = match state.answer(head.headers, bytes, export).await {
        Ok(rejected_log_records) => {
            let partial = ExportLogsPartialSuccess {
                rejected_log_records,
                error_message: "some were odd".into(),
            };
            let partial_success = (rejected_log_records > 0).then_some(partial);
            // Spans and points are counted in the same field.
            let body = ExportLogsServiceResponse { partial_success }.encode_to_vec();
            Response::builder().body(body)
        }
        Err(Refusal { http, message, after, .. }) => {
            let status = tonic_types::Status { message, ..tonic_types::Status::default() };
            let mut response =
                Response::builder().status(http).header("content-type", "application/x-protobuf");
            if let Some(after) = after {
                response = response.header("retry-after", after.as_secs());
            }
            response.body(status.encode_to_vec())
        }
    };
    Ok(answer.unwrap().map(|body| Full::new(body.into())))
}
