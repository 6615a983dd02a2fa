//! Protobuf in the body of a POST over HTTP/1.1 to one collector, with exactly the configured
//! headers.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::config::Target;
use super::connection::Connector;
use super::{SetupError, USER_AGENT, causes};

/// Most bytes that are read of a response.
const LARGEST_ANSWER: usize = 64 << 10;

/// A client for a collector's HTTP port.
pub struct HttpClient {
    client: Client<Connector, Full<Bytes>>,
    endpoint: Uri,
    headers: HeaderMap,
    gzip: bool,
}

// === impl HttpClient ===

/// Without the endpoint's query, which may contain a key.
impl std::fmt::Debug for HttpClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let authority = self.endpoint.authority().map_or("", |authority| authority.as_str());
        write!(formatter, "HttpClient({authority}{})", self.endpoint.path())
    }
}

impl HttpClient {
    /// Reads certificates now; connects for the first request.
    pub fn new(target: &Target) -> Result<Self, SetupError> {
        let connector = Connector::new(target)?;
        let mut headers: HeaderMap =
            target.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
        if target.gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let is_secure = target.endpoint.scheme_str() == Some("https");
        // For a tunnel they were sent with `CONNECT`; a forwarding proxy gets them with each
        // request.
        let proxy = target.proxy.as_ref().filter(|_| !is_secure);
        if let Some(authorization) = proxy.and_then(|proxy| proxy.authorization()) {
            headers.insert(header::PROXY_AUTHORIZATION, authorization.clone());
        }
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            endpoint: target.endpoint.clone(),
            headers,
            gzip: target.gzip,
        })
    }

    /// Sends one request, compressed if configured. If the body of the response is too long or
    /// incomplete, only status and headers are returned. Sets no time limit.
    pub async fn post(&self, body: Bytes) -> Result<Response<Bytes>, String> {
        let body = if self.gzip { compress(&body) } else { body };
        let mut request = Request::post(self.endpoint.clone())
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        *request.headers_mut() = self.headers.clone();
        let answer = self.client.request(request).await.map_err(|error| causes(&error))?;
        let (parts, body) = answer.into_parts();
        let read = Limited::new(body, LARGEST_ANSWER).collect().await;
        let body = read.map(Collected::to_bytes).unwrap_or_default();
        Ok(Response::from_parts(parts, body))
    }
}

/// Writing to memory cannot fail; if it did, an empty body would be sent rather than a partial one.
fn compress(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    written.unwrap_or_default().into()
}
