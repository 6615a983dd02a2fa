//! A bare exporter: one page for whoever scrapes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread;

/// Serves a page until the process ends.
pub(crate) fn serve(kind: &'static str, page: Vec<u8>) -> SocketAddr {
    serve_with(move |_| (kind, page.clone()))
}

/// Serves what is made for each request, given its head: the content type and the page.
pub(crate) fn serve_with(
    mut answer: impl FnMut(&str) -> (&'static str, Vec<u8>) + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 4096];
            let Ok(length) = stream.read(&mut request) else { continue };
            let (kind, page) = answer(&String::from_utf8_lossy(&request[..length]));
            let head = format!("HTTP/1.0 200 OK\r\nContent-Type: {kind}\r\n\r\n");
            let sent = stream.write_all(head.as_bytes()).and(stream.write_all(&page));
            drop(sent);
        }
    });
    address
}
