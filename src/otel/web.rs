//! Requests to a web API that somebody named on a command line: Prometheus, an agent. TLS and proxies
//! as for a collector.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::config::{self, Headers, Protocol, Target, Tls};
use super::connection::Connector;
use super::{SetupError, USER_AGENT, causes};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// No connection, or it broke.
    #[error("{0}")]
    Connection(String),
    /// It took too long.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The answer is too large.
    #[error("the answer has more than {} MiB", .0 >> 20)]
    TooLarge(usize),
}

/// A client of one server.
pub struct WebClient {
    client: Client<Connector, Full<Bytes>>,
    base: Uri,
    headers: HeaderMap,
    timeout: Duration,
}

/// What is got below the server's URL.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Begins with `/`.
    pub path: &'a str,
    /// What kinds of answers are read.
    pub accept: &'static str,
    /// Most bytes of an answer.
    pub most: usize,
}

// === impl WebClient ===

/// Without headers, which may contain keys.
impl std::fmt::Debug for WebClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "WebClient({})", self.base)
    }
}

impl WebClient {
    /// Reads certificates now; connects for the first request. `certificate`: a file with
    /// certificates to trust instead of the system's. `lookup` gets the names of proxy variables.
    pub fn new(
        base: Uri,
        certificate: Option<PathBuf>,
        authorization: Option<HeaderValue>,
        timeout: Duration,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SetupError> {
        let proxy = config::proxy_of(&base, lookup);
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        headers.extend(authorization.map(|value| (header::AUTHORIZATION, value)));
        // A forwarding proxy gets its credentials with each request.
        let forwards = proxy.as_ref().filter(|_| base.scheme_str() != Some("https"));
        let credentials = forwards.and_then(|proxy| proxy.authorization().cloned());
        headers.extend(credentials.map(|value| (header::PROXY_AUTHORIZATION, value)));
        let connector = Connector::new(&Target {
            protocol: Protocol::HttpProtobuf,
            endpoint: base.clone(),
            headers: Headers::default(),
            timeout,
            gzip: false,
            tls: Tls { certificate, client: None },
            proxy,
        })?;
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, base, headers, timeout })
    }

    /// Sends a GET and reads its answer to the end. Follows no redirection.
    pub async fn get(&self, asked: Asked<'_>) -> Result<(StatusCode, Bytes), WebError> {
        let answer = tokio::time::timeout(self.timeout, self.answer(asked)).await;
        answer.map_err(|_| WebError::Timeout(self.timeout))?
    }

    async fn answer(&self, asked: Asked<'_>) -> Result<(StatusCode, Bytes), WebError> {
        let failed = |error: &dyn std::error::Error| WebError::Connection(causes(error));
        let base = self.base.to_string();
        let url = format!("{}{}", base.trim_end_matches('/'), asked.path);
        let request = Request::get(url).body(Full::new(Bytes::new()));
        let mut request = request.map_err(|error| failed(&error))?;
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        headers.insert(header::ACCEPT, HeaderValue::from_static(asked.accept));
        let answer = match self.client.request(request.clone()).await {
            // A server may close a connection just when a request comes; to send this one again changes
            // nothing (RFC 9110, section 9.2.2).
            Err(error) if is_closed(&error) => self.client.request(request).await,
            answer => answer,
        };
        let answer = answer.map_err(|error| failed(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), asked.most).collect().await;
        let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => WebError::TooLarge(asked.most),
            None => WebError::Connection(causes(&*error)),
        });
        Ok((status, body?.to_bytes()))
    }
}

/// Whether the connection was closed before an answer began.
fn is_closed(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|error| {
        error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message)
    })
}

#[cfg(test)]
mod tests;
