//! One attempt to bring a request to where it goes, and what came of it.

mod answer;
mod grpc;
mod http;
mod lines;
mod reason;
mod tls;

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;

use super::Signal;
use super::config::{Protocol, Target};
pub use answer::Answer;
use grpc::Grpc;
use http::Http;
use lines::Lines;
use reason::Censor;
pub use tls::Error as ConnectError;

/// Where the requests of one signal go.
#[derive(Debug)]
pub struct Destination {
    pub(super) signal: Signal,
    way: Way,
    shown: String,
}

#[derive(Debug)]
enum Way {
    Grpc(Box<Grpc>),
    Http(Box<Http>),
    Lines(Lines),
}

// === impl Destination ===

impl Destination {
    /// A collector. Reads the certificates; connects when there is something to send. Needs a
    /// runtime.
    pub fn connect(signal: Signal, target: &Target) -> Result<Self, ConnectError> {
        let way = match target.protocol {
            Protocol::Grpc => Way::Grpc(Box::new(Grpc::new(signal, target)?)),
            Protocol::HttpProtobuf => Way::Http(Box::new(Http::new(target)?)),
        };
        Ok(Self { signal, way, shown: target.shown() })
    }

    /// Standard output, as lines of JSON.
    pub fn stdout(signal: Signal) -> Self {
        Self::writer(signal, Box::new(std::io::stdout()))
    }

    /// Whatever can be written to, as lines of JSON: one request a line, as the OTLP File Exporter
    /// writes them.
    pub fn writer(signal: Signal, writer: Box<dyn Write + Send>) -> Self {
        Self { signal, way: Way::Lines(Lines::new(signal, writer)), shown: "the writer".into() }
    }

    /// Where to, fit for a log.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Sends one request, once.
    pub(super) async fn attempt(&mut self, body: &Bytes) -> Answer {
        match &mut self.way {
            Way::Grpc(grpc) => grpc.attempt(body).await,
            Way::Http(http) => http.attempt(body).await,
            Way::Lines(lines) => lines.attempt(body).await,
        }
    }
}

/// What is said of an attempt that took too long.
fn too_slow(timeout: Duration) -> Answer {
    let reason = format!("no answer within {} ms", timeout.as_millis());
    Answer::Retry { after: None, reason }
}

/// The error with its causes: what is on top says only that it did not work.
fn causes(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    // Deep enough for every chain there is, and an end all the same.
    for _ in 0..8 {
        let Some(error) = cause else { break };
        let words = error.to_string();
        if !said.contains(&words) {
            said.push_str(": ");
            said.push_str(&words);
        }
        cause = error.source();
    }
    said
}
