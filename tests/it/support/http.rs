//! One HTTP request at a time, without a client's help, so that the server is tested bare.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What came back.
#[derive(Debug)]
pub(crate) struct Response {
    /// The status code.
    pub(crate) status: u16,
    /// The head's lines, lower-cased.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: String,
}

/// `GET path`, HTTP/1.0: the connection's end is the body's. An error, too, where the server hangs up without
/// a word of HTTP.
pub(crate) fn get(address: SocketAddr, path: &str, accept: &str) -> std::io::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: {accept}\r\nUser-Agent: ephemon-it\r\n\r\n"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok());
    let none = || std::io::Error::other(format!("no HTTP answer from {address}: {head:?}"));
    Ok(Response {
        status: status.ok_or_else(none)?,
        head: head.to_lowercase(),
        body: body.to_owned(),
    })
}
