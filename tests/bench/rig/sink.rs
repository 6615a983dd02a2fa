//! A collector that keeps nothing of what it is sent by OTLP over HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message as _;

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
    let request = ExportLogsServiceRequest::decode(bytes.as_slice()).ok()?;
    let scopes = request.resource_logs.iter().flat_map(|logs| &logs.scope_logs);
    Some(scopes.map(|scope| scope.log_records.len()).sum())
}
