//! Protobuf in the body of a POST over HTTP/1.1: to one collector, with the headers of its
//! configuration and no others.

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

/// The most that is read of an answer, in bytes.
const LARGEST_ANSWER: usize = 64 << 10;

/// The way to a collector's HTTP port.
pub struct HttpClient {
    client: Client<Connector, Full<Bytes>>,
    endpoint: Uri,
    headers: HeaderMap,
    gzip: bool,
}

// === impl HttpClient ===

/// Without the endpoint's query, which may hold a key.
impl std::fmt::Debug for HttpClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let authority = self.endpoint.authority().map_or("", |authority| authority.as_str());
        write!(formatter, "HttpClient({authority}{})", self.endpoint.path())
    }
}

impl HttpClient {
    /// Connects when there is something to send; certificates are read now.
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
        // A tunnel was asked for with them; what a proxy passes on names them each time.
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

    /// Sends one request, compressed where the configuration says so. Of an answer whose body is too
    /// long or breaks off, status and headers are returned. Sets no limit of time.
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

/// Writing to memory cannot fail; were it to, nothing would be sent rather than half.
fn compress(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    written.unwrap_or_default().into()
}
