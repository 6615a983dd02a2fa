//! Protobuf in the body of a POST over HTTP/1.1.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::{Answer, Censor, ConnectError, causes, tls, too_slow};
use crate::config::Target;

/// The most that is read of an answer, in bytes.
const LARGEST_ANSWER: usize = 64 << 10;

/// The way to a collector's HTTP port.
#[derive(Debug)]
pub(super) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoint: Uri,
    headers: HeaderMap,
    timeout: Duration,
    gzip: bool,
    censor: Censor,
}

// === impl Http ===

impl Http {
    pub(super) fn new(target: &Target) -> Result<Self, ConnectError> {
        let is_secure = target.endpoint.scheme_str() == Some("https");
        let config = tls::for_http(is_secure.then_some(&target.tls))?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let mut headers: HeaderMap =
            target.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let agent = HeaderValue::from_static(concat!("ephemon/", env!("CARGO_PKG_VERSION")));
        headers.entry(header::USER_AGENT).or_insert(agent);
        if target.gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            endpoint: target.endpoint.clone(),
            headers,
            timeout: target.timeout,
            gzip: target.gzip,
            censor: Censor::of_target(target),
        })
    }

    pub(super) async fn attempt(&mut self, body: &Bytes) -> Answer {
        let body = if self.gzip { compress(body) } else { body.clone() };
        match tokio::time::timeout(self.timeout, self.post(body)).await {
            Err(_) => too_slow(self.timeout),
            Ok(Ok(answer)) => answer,
            Ok(Err(reason)) => Answer::Retry { after: None, reason: self.censor.clean(&reason) },
        }
    }

    async fn post(&self, body: Bytes) -> Result<Answer, String> {
        let mut request = Request::post(self.endpoint.clone())
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        *request.headers_mut() = self.headers.clone();
        let answer = self.client.request(request).await.map_err(|error| causes(&error))?;
        let (parts, body) = answer.into_parts();
        // The status decides; of a body that is too long or breaks off nothing is used.
        let read = Limited::new(body, LARGEST_ANSWER).collect().await;
        let body = read.map(Collected::to_bytes).unwrap_or_default();
        let now = jiff::Timestamp::now();
        Ok(Answer::of_http(parts.status, &parts.headers, &body, now, &self.censor))
    }
}

/// Writing to memory cannot fail; were it to, nothing would be sent rather than half.
fn compress(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    written.unwrap_or_default().into()
}
