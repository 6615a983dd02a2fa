//! `CONNECT` requests to a proxy, which open a tunnel through it.
//!
//! With hyper's own client, because hyper-util's `Tunnel` reports neither the status of a refusal
//! nor which server sent it, both of which operators need.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{HOST, PROXY_AUTHORIZATION, USER_AGENT};
use hyper::rt::{Read, Write};
use hyper::upgrade::Upgraded;
use hyper::{Request, StatusCode, Uri};

use super::proxy::Proxy;

/// Most bytes that are read of a proxy's response.
const LARGEST_ANSWER: usize = 16 << 10;

/// Why there is no connection through a proxy. Names the proxy and its variable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The proxy cannot be reached.
    #[error("cannot reach the proxy {proxy} of {variable}: {source}")]
    Unreachable {
        proxy: String,
        variable: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It requires other credentials.
    #[error(
        "the proxy {proxy} of {variable} requires valid credentials (407); set them in the \
         variable: http://user:password@host:port"
    )]
    Credentials { proxy: String, variable: String },
    /// It rejects the request.
    #[error("the proxy {proxy} of {variable} refuses CONNECT to {to}: {status}")]
    Refused { proxy: String, variable: String, to: String, status: StatusCode },
    /// It closes the connection, or does not use HTTP.
    #[error("the proxy {proxy} of {variable} does not answer CONNECT to {to}: {source}")]
    Broken { proxy: String, variable: String, to: String, source: hyper::Error },
    /// The collector's address is not valid in a request.
    #[error("cannot request {to} from the proxy {proxy}: {source}")]
    Address { proxy: String, to: String, source: hyper::http::Error },
}

// === impl Error ===

impl Error {
    pub(crate) fn unreachable(
        proxy: &Proxy,
        source: Box<dyn std::error::Error + Send + Sync>,
    ) -> Self {
        Self::Unreachable { proxy: proxy.shown(), variable: proxy.variable().to_owned(), source }
    }
}

/// Asks the proxy at the other end for a connection to a collector. Needs a runtime.
pub(crate) async fn open(
    stream: impl Read + Write + Unpin + Send + 'static,
    proxy: &Proxy,
    collector: &Uri,
) -> Result<Upgraded, Error> {
    let to = authority(collector);
    let variable = || proxy.variable().to_owned();
    let broken = |source| Error::Broken {
        proxy: proxy.shown(),
        variable: variable(),
        to: to.clone(),
        source,
    };
    let mut request = Request::connect(&to)
        .header(HOST, &to)
        .header(USER_AGENT, super::USER_AGENT)
        .body(Empty::<Bytes>::new())
        .map_err(|source| Error::Address { proxy: proxy.shown(), to: to.clone(), source })?;
    if let Some(authorization) = proxy.authorization() {
        request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
    }
    let mut builder = http1::Builder::new();
    builder.max_buf_size(LARGEST_ANSWER);
    let (mut requests, connection) = builder.handshake(stream).await.map_err(broken)?;
    // Ends with the tunnel, or when the request is cancelled.
    tokio::spawn(connection.with_upgrades());
    let answer = requests.send_request(request).await.map_err(broken)?;
    match answer.status() {
        status if status.is_success() => hyper::upgrade::on(answer).await.map_err(broken),
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            Err(Error::Credentials { proxy: proxy.shown(), variable: variable() })
        }
        status => Err(Error::Refused { proxy: proxy.shown(), variable: variable(), to, status }),
    }
}

/// Host and port, as `CONNECT` requires.
fn authority(uri: &Uri) -> String {
    let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let port = uri.port_u16().unwrap_or(usual);
    format!("{}:{port}", uri.host().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    /// Sends a request to a proxy with this response, and returns the result together with the
    /// request it got.
    async fn ask(url: &str, answer: Vec<u8>) -> (Result<Upgraded, Error>, DuplexStream, String) {
        let proxy = Proxy::parse("HTTPS_PROXY", url).unwrap();
        let (ours, mut theirs) = duplex(1 << 20);
        let asked = tokio::spawn(async move {
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\n") && theirs.read_buf(&mut read).await.unwrap() > 0 {}
            theirs.write_all(&answer).await.unwrap();
            if answer.is_empty() {
                theirs.shutdown().await.unwrap();
            }
            (theirs, String::from_utf8(read).unwrap())
        });
        let opened = open(TokioIo::new(ours), &proxy, &Uri::from_static("https://c.org/x")).await;
        let (theirs, read) = asked.await.unwrap();
        (opened, theirs, read)
    }

    #[tokio::test]
    async fn a_tunnel_begins_after_the_answer_to_its_last_byte() {
        let answer = b"HTTP/1.1 200 OK\r\nvia: p\r\n\r\nearly".to_vec();
        let (opened, mut theirs, asked) = ask("http://ci:hunter2@p:3128", answer).await;
        assert!(asked.starts_with("CONNECT c.org:443 HTTP/1.1\r\nhost: c.org:443\r\n"), "{asked}");
        assert!(asked.contains("\r\nproxy-authorization: Basic Y2k6aHVudGVyMg==\r\n"), "{asked}");
        let mut tunnel = TokioIo::new(opened.unwrap());
        let mut read = [0; 5];
        tunnel.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"early");
        tunnel.write_all(b"hello").await.unwrap();
        theirs.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"hello");
    }

    #[tokio::test]
    async fn what_goes_wrong_names_the_proxy_and_not_its_password() {
        let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(LARGEST_ANSWER * 2));
        for (answer, said) in [
            ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "requires valid credentials"),
            ("HTTP/1.1 403 Forbidden\r\n\r\n", "refuses CONNECT to c.org:443: 403 Forbidden"),
            ("", "does not answer CONNECT to c.org:443"),
            ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "does not answer CONNECT to c.org:443"),
            (&long, "does not answer CONNECT to c.org:443"),
        ] {
            let (opened, ..) = ask("http://ci:hunter2@p:3128", answer.into()).await;
            let error = super::super::causes(&opened.unwrap_err());
            assert!(error.contains("the proxy http://p:3128 of HTTPS_PROXY"), "{error}");
            assert!(error.contains(said) && !error.contains("hunter2"), "{error}");
        }
    }
}
