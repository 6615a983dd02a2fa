//! A collector that keeps nothing of what it is sent as OTLP over HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use flate2::read::GzDecoder;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// How requests are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    /// At once, unread.
    AtOnce,
    /// When the log records of the request are counted.
    Counted,
    /// Never.
    Never,
}

/// Ends when dropped.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    records: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

// === impl Sink ===

impl Sink {
    pub(crate) fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let over = Arc::new(AtomicBool::new(false));
        let records = Arc::new(AtomicUsize::new(0));
        let (ended, counted) = (Arc::clone(&over), Arc::clone(&records));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let counted = Arc::clone(&counted);
                thread::spawn(move || serve(stream, answers, &counted));
            }
        });
        Self { address, records, over }
    }

    /// Log records that came in so far, where they are counted.
    pub(crate) fn records(&self) -> usize {
        self.records.load(Ordering::Relaxed)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        TcpStream::connect(self.address).ok();
    }
}

/// Answers requests until the other side closes or sends what is none.
fn serve(stream: TcpStream, answers: Answers, records: &AtomicUsize) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    loop {
        let (length, is_gzip) = head(&mut reader)?;
        let mut body = reader.by_ref().take(length);
        match answers {
            Answers::Counted => {
                records.fetch_add(count(body, is_gzip)?, Ordering::Relaxed);
            }
            Answers::AtOnce | Answers::Never => {
                std::io::copy(&mut body, &mut std::io::sink()).ok()?;
            }
        }
        if answers == Answers::Never {
            thread::sleep(Duration::from_mins(10));
        }
        writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok()?;
    }
}

/// The length of a request's body, and whether it is compressed.
fn head(reader: &mut impl BufRead) -> Option<(u64, bool)> {
    let (mut length, mut is_gzip) = (0, false);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        is_gzip |= line.strip_prefix("content-encoding:").is_some_and(|way| way.trim() == "gzip");
        if line.is_empty() {
            return Some((length, is_gzip));
        }
    }
}

fn count(mut body: impl Read, is_gzip: bool) -> Option<usize> {
    let mut bytes = Vec::new();
    if is_gzip {
        GzDecoder::new(&mut body).read_to_end(&mut bytes).ok()?;
    } else {
        body.read_to_end(&mut bytes).ok()?;
    }
    log_records(&bytes)
}

/// Log records of an `ExportLogsServiceRequest`. They are not taken apart: that would keep the other core
/// busy, which may be the other half of the one that the sender runs on.
fn log_records(request: &[u8]) -> Option<usize> {
    let mut records = 0;
    for resource_logs in fields(request, 1)? {
        for scope_logs in fields(resource_logs, 2)? {
            records += fields(scope_logs, 2)?.len();
        }
    }
    Some(records)
}

/// The fields of a message that have this number and a length; `None` where it is no message.
fn fields(mut message: &[u8], number: u32) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    while !message.is_empty() {
        let (field, kind) = decode_key(&mut message).ok()?;
        if kind != WireType::LengthDelimited {
            skip_field(kind, field, &mut message, DecodeContext::default()).ok()?;
            continue;
        }
        let length = usize::try_from(decode_varint(&mut message).ok()?).ok()?;
        let (value, rest) = message.split_at_checked(length)?;
        message = rest;
        if field == number {
            found.push(value);
        }
    }
    Some(found)
}
