//! One encoded request, and what its giver learns of its fate.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use ephemon_self_metrics::Reason;
use tokio::sync::oneshot;

/// Largest request that is taken, in bytes: one with the longest line, twice where its original is
/// wanted, is smaller. Collectors commonly take 4 MiB over gRPC and 20 MiB over HTTP; what is larger
/// than a collector takes is split.
pub const PAYLOAD_BYTES_MAX: usize = 4 << 20;

/// One encoded `ExportLogsServiceRequest`, `ExportTraceServiceRequest` or
/// `ExportMetricsServiceRequest`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The request, as protobuf.
    pub body: Bytes,
    /// How many log records, spans or points are in it, for the counts of what is lost.
    pub items: u64,
}

/// What became of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The collector has it.
    Acknowledged,
    /// The collector has as much of it as it would take. The rest is gone, and counted.
    Partly,
    /// It lies in the spool and outlives the process.
    Spooled,
    /// It is gone, and counted.
    Dropped(Reason),
}

/// The fate of an offered payload, once it is known: awaited, or looked at without a runtime.
#[derive(Debug)]
pub struct Receipt {
    fate_rx: oneshot::Receiver<Fate>,
    known: Option<Fate>,
}

// === impl Payload ===

impl Payload {
    /// Encodes a request that holds this many items.
    pub fn of(request: &impl prost::Message, items: u64) -> Self {
        Self { body: request.encode_to_vec().into(), items }
    }
}

// === impl Receipt ===

impl Receipt {
    /// The end to settle, and the receipt.
    pub(super) fn new() -> (oneshot::Sender<Fate>, Self) {
        let (fate_tx, fate_rx) = oneshot::channel();
        (fate_tx, Self { fate_rx, known: None })
    }

    /// A receipt whose fate is known at once.
    pub fn settled(fate: Fate) -> Self {
        let (_, fate_rx) = oneshot::channel();
        Self { fate_rx, known: Some(fate) }
    }

    /// The fate, if it is known by now. Once known it stays the same.
    pub fn try_fate(&mut self) -> Option<Fate> {
        if self.known.is_none() {
            self.known = match self.fate_rx.try_recv() {
                Ok(fate) => Some(fate),
                Err(oneshot::error::TryRecvError::Empty) => None,
                Err(oneshot::error::TryRecvError::Closed) => Some(Fate::Dropped(Reason::Shutdown)),
            };
        }
        self.known
    }
}

impl Future for Receipt {
    type Output = Fate;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Fate> {
        if let Some(fate) = self.known {
            return Poll::Ready(fate);
        }
        let polled = Pin::new(&mut self.fate_rx).poll(context);
        polled.map(|settled| {
            // A sender that is gone without a word has dropped what it held.
            let fate = settled.unwrap_or(Fate::Dropped(Reason::Shutdown));
            self.known = Some(fate);
            fate
        })
    }
}
