//! A forward proxy as people run them: it passes requests with a whole URL on, and opens tunnels for
//! `CONNECT`. Whatever host it is asked for is this machine, and it keeps what it was asked.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::collector::pki::{BEHIND_A_PROXY, Pki};

/// The name that a collector has behind it: nobody but the proxy knows where that is.
pub(crate) const COLLECTOR: &str = BEHIND_A_PROXY;

/// A running proxy; ends when dropped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    serving: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

/// Whom it serves, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manner {
    /// `user:password`.
    pub(crate) wants: Option<&'static str>,
    /// The status with which it refuses everything.
    pub(crate) refuses: Option<&'static str>,
    /// It speaks TLS itself.
    pub(crate) pki: Option<Pki>,
}

// === impl Proxy ===

impl Proxy {
    pub(crate) fn start(manner: Manner) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (stop_tx, stop_rx) = oneshot::channel();
        let heard = Arc::clone(&asked);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(listener, manner, heard) => {}
                    _ = stop_rx => {}
                }
            });
        });
        Self { address, asked, serving: Some((stop_tx, thread)) }
    }

    /// For `HTTP_PROXY` and its like; `user` is `user:password@`, or empty.
    pub(crate) fn url(&self, user: &str) -> String {
        format!("http://{user}{}", self.address)
    }

    /// The first line of each request.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some((stop_tx, thread)) = self.serving.take() {
            drop(stop_tx);
            thread.join().unwrap();
        }
    }
}

async fn accept(listener: TcpListener, manner: Manner, asked: Arc<Mutex<Vec<String>>>) {
    let tls = manner.pki.as_ref().map(|pki| TlsAcceptor::from(Arc::new(pki.public_config())));
    while let Ok((stream, _)) = listener.accept().await {
        let (manner, asked, tls) = (manner.clone(), Arc::clone(&asked), tls.clone());
        tokio::spawn(async move {
            // A client that goes away in the middle is its own affair.
            drop(match tls {
                None => serve(stream, &manner, &asked).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => serve(stream, &manner, &asked).await,
                    Err(error) => Err(error),
                },
            });
        });
    }
}

/// One connection: of one tunnel, or of one request.
async fn serve(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    manner: &Manner,
    asked: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let (head, rest) = head(&mut client).await?;
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let headers: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    asked.lock().unwrap().push(first.to_owned());
    let known = manner.wants.is_none_or(|wants| {
        let said = format!("proxy-authorization: Basic {}", BASE64_STANDARD.encode(wants));
        headers.iter().any(|header| header.eq_ignore_ascii_case(&said))
    });
    let refusal = match (known, manner.refuses) {
        (false, _) => Some("407 Proxy Authentication Required"),
        (true, refuses) => refuses,
    };
    if let Some(status) = refusal {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        return client.write_all(answer.as_bytes()).await;
    }
    let mut parts = first.split(' ');
    let (method, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let place = target.strip_prefix("http://").unwrap_or(target);
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    let port = authority.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(80);
    let mut collector = TcpStream::connect(("127.0.0.1", port)).await?;
    if method == "CONNECT" {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
        collector.write_all(&rest).await?;
    } else {
        assert!(target.starts_with("http://"), "a proxy is told the whole URL: {first}");
        let own = ["proxy-", "connection:"];
        let passed = headers.iter().filter(|header| {
            let header = header.to_ascii_lowercase();
            !own.iter().any(|name| header.starts_with(name))
        });
        let passed: Vec<&str> = passed.copied().collect();
        let passed = passed.join("\r\n");
        let head = format!("{method} /{path} HTTP/1.1\r\nconnection: close\r\n{passed}\r\n\r\n");
        collector.write_all(head.as_bytes()).await?;
        collector.write_all(&rest).await?;
    }
    copy_bidirectional(&mut client, &mut collector).await.map(drop)
}

/// The head of a request without its last line, and what came after it.
async fn head(client: &mut (impl AsyncRead + Unpin)) -> io::Result<(String, Vec<u8>)> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = read.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&read).into_owned(), rest));
        }
        if client.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
