//! One attempt to bring a request to where it goes, and what came of it.

mod answer;
mod collector;
mod grpc;
mod http;
mod lines;
mod reason;

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use ephemon_otel::Signal;
use ephemon_otel::config::Target;

pub use answer::Answer;
use collector::Collector;
use lines::Lines;
use reason::Censor;

/// Where the requests of one signal go.
#[derive(Debug)]
pub struct Destination {
    pub(super) signal: Signal,
    way: Way,
    shown: String,
}

#[derive(Debug)]
enum Way {
    Collector(Box<Collector>),
    Lines(Lines),
}

// === impl Destination ===

impl Destination {
    /// A collector. Connects when there is something to send, and reads certificates again when their
    /// files change. Needs a runtime.
    pub fn collector(signal: Signal, target: &Target) -> Self {
        let way = Way::Collector(Box::new(Collector::new(signal, target.clone())));
        Self { signal, way, shown: target.shown() }
    }

    /// Why nothing can be sent as things are: a file of certificates, say. What is sent waits.
    pub fn trouble(&self) -> Option<&str> {
        match &self.way {
            Way::Collector(collector) => collector.trouble(),
            Way::Lines(_) => None,
        }
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

    /// Sends a request with nothing in it, once: why the destination does not take requests.
    pub async fn check(&mut self) -> Result<(), String> {
        if let Some(trouble) = self.trouble() {
            return Err(trouble.to_owned());
        }
        match self.attempt(&Bytes::new()).await {
            Answer::Accepted { .. } => Ok(()),
            Answer::Retry { reason, .. }
            | Answer::Denied { reason }
            | Answer::TooLarge { reason }
            | Answer::Refused { reason } => Err(reason),
        }
    }

    /// Where to, fit for a log.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Sends one request, once.
    pub(super) async fn attempt(&mut self, body: &Bytes) -> Answer {
        match &mut self.way {
            Way::Collector(collector) => collector.attempt(body).await,
            Way::Lines(lines) => lines.attempt(body).await,
        }
    }
}

/// What is said of an attempt that took too long.
fn too_slow(timeout: Duration) -> Answer {
    let reason = format!("no answer within {} ms", timeout.as_millis());
    Answer::Retry { after: None, reason }
}
