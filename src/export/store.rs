//! The spool of a signal as several threads use it, with its losses counted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use bytes::Bytes;
use ephemon_base::lock;
use ephemon_otel::Signal;
use ephemon_self_metrics::{Reason, SelfMetrics};

use super::payload::{PAYLOAD_BYTES_MAX, Payload};
use super::queue::Queued;
use super::spool::{self, Spool};
use super::undelivered::Undelivered;

/// Why a payload could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// There is no directory to keep it in.
    #[error("there is no spool to keep it in: give the agent a --state-dir it can write to")]
    NoSpool,
    /// It does not fit.
    #[error("a request of {bytes} bytes is larger than the {cap} that the spool takes")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The most that one may have.
        cap: u64,
    },
    /// The directory could not be written.
    #[error(transparent)]
    Spool(#[from] spool::Error),
}

/// A payload out of the spool, or what is left of it.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) sequence: u64,
    pub(super) rest: Undelivered,
}

/// Stands for no sequence.
const NONE: u64 = u64::MAX;

/// A shared spool. Methods wait for the disk, but for [`Store::next_sequence`] and [`Store::head`].
#[derive(Debug, Clone)]
pub(super) struct Store {
    spool: Arc<Mutex<Spool>>,
    marks: Arc<Marks>,
    signal: Signal,
    self_metrics: SelfMetrics,
}

/// What can be known of the spool without waiting for whoever waits for the disk.
#[derive(Debug)]
struct Marks {
    next: AtomicU64,
    /// Or [`NONE`].
    head: AtomicU64,
    /// The disk did not take what was appended last.
    unsynced: AtomicBool,
}

// === impl Store ===

impl Store {
    pub(super) fn new(spool: Spool, signal: Signal, self_metrics: SelfMetrics) -> Self {
        let marks = Marks {
            next: AtomicU64::new(0),
            head: AtomicU64::new(NONE),
            unsynced: AtomicBool::new(false),
        };
        let (spool, marks) = (Arc::new(Mutex::new(spool)), Arc::new(marks));
        let store = Self { spool, marks, signal, self_metrics };
        store.count(&mut store.lock());
        store
    }

    /// Everything in the spool with a smaller sequence came before now.
    pub(super) fn next_sequence(&self) -> u64 {
        self.marks.next.load(Ordering::Acquire)
    }

    /// The sequence of the oldest record that is not acknowledged.
    pub(super) fn head(&self) -> Option<u64> {
        let head = self.marks.head.load(Ordering::Acquire);
        (head != NONE).then_some(head)
    }

    /// Appends a payload; durable when this returns. Where the disk fails only then, it is in the spool
    /// all the same: whoever gave it must not give it elsewhere, too.
    pub(super) fn keep(&self, payload: &Payload) -> Result<(), KeepError> {
        self.append(payload)?;
        let synced = self.sync();
        let is_news =
            self.marks.unsynced.swap(synced.is_err(), Ordering::Relaxed) != synced.is_err();
        if is_news && let Err(error) = synced {
            let signal = self.signal.as_str();
            tracing::error!(signal, "the spool may not outlive a failure of the node: {error}");
        }
        Ok(())
    }

    /// Appends a payload, durable once [`Store::sync`] has returned.
    fn append(&self, payload: &Payload) -> Result<(), KeepError> {
        let mut spool = self.lock();
        let bytes = payload.body.len() as u64;
        let cap = spool.largest().min(PAYLOAD_BYTES_MAX as u64);
        if bytes > cap {
            return Err(KeepError::TooLarge { bytes, cap });
        }
        let (kind, now) = (kind(self.signal), SystemTime::now());
        let appended = spool.append(kind, payload.items, &payload.body, now);
        self.count(&mut spool);
        appended?;
        Ok(())
    }

    /// Keeps what it can, and says so to their givers. Returns the rest, and what is wrong.
    pub(super) fn keep_all(&self, all: Vec<Queued>) -> (Vec<Queued>, Option<KeepError>) {
        let (mut kept, mut left) = (Vec::new(), Vec::new());
        let mut trouble = None;
        for queued in all {
            match self.append_rest(&queued.rest) {
                Ok(()) => kept.push(queued),
                Err(error) => {
                    trouble = Some(error);
                    left.push(queued);
                }
            }
        }
        if let Err(error) = self.sync() {
            // What was appended is in the spool: given back, it would be sent twice.
            trouble = Some(error.into());
        }
        for queued in kept {
            let fate = queued.rest.fate_in_spool();
            queued.settle(fate);
        }
        (left, trouble)
    }

    fn append_rest(&self, rest: &Undelivered) -> Result<(), KeepError> {
        rest.pieces.iter().rev().try_for_each(|piece| self.append(piece))
    }

    /// Keeps what is left of a record in its place, at the end.
    pub(super) fn replace(&self, stored: &Stored) -> Result<(), KeepError> {
        self.append_rest(&stored.rest)?;
        self.sync()?;
        Ok(self.acknowledge(stored.sequence)?)
    }

    /// Waits until everything appended is on the disk.
    pub(super) fn sync(&self) -> Result<(), spool::Error> {
        self.lock().sync()
    }

    /// The oldest record that is not acknowledged.
    pub(super) fn read(&self) -> Result<Option<Stored>, spool::Error> {
        let mut spool = self.lock();
        let read = loop {
            match spool.read(SystemTime::now()) {
                Ok(Some(record)) if record.kind == kind(self.signal) => {
                    let payload = Payload { body: Bytes::from(record.body), items: record.items };
                    let rest = Undelivered::new(payload);
                    break Ok(Some(Stored { sequence: record.sequence, rest }));
                }
                // Another signal's: someone has moved directories about.
                Ok(Some(record)) => {
                    let (signal, reason) = (crate::counted(self.signal), Reason::SpoolCorrupt);
                    self.self_metrics.dropped_by(signal, reason, record.items);
                    if let Err(error) = spool.acknowledge(record.sequence) {
                        break Err(error);
                    }
                }
                Ok(None) => break Ok(None),
                Err(error) => break Err(error),
            }
        };
        self.count(&mut spool);
        read
    }

    /// The record is delivered or given up.
    pub(super) fn acknowledge(&self, sequence: u64) -> Result<(), spool::Error> {
        let mut spool = self.lock();
        let acknowledged = spool.acknowledge(sequence);
        self.count(&mut spool);
        acknowledged
    }

    /// Writes down what is known, before the process ends.
    pub(super) fn flush(&self) -> Result<(), spool::Error> {
        self.lock().flush()
    }

    /// Makes known what was done to the spool.
    fn count(&self, spool: &mut Spool) {
        self.marks.next.store(spool.next_sequence(), Ordering::Release);
        self.marks.head.store(spool.head().unwrap_or(NONE), Ordering::Release);
        let signal = self.signal.as_str();
        for loss in spool.take_losses() {
            self.self_metrics.dropped_by(crate::counted(self.signal), loss.reason, loss.items);
            tracing::warn!(
                signal,
                reason = loss.reason.as_str(),
                items = loss.items,
                bytes = loss.bytes,
                "the spool gave up what it held"
            );
        }
        self.self_metrics.spooled(crate::counted(self.signal), spool.waiting_bytes());
    }

    fn lock(&self) -> MutexGuard<'_, Spool> {
        lock(&self.spool)
    }
}

/// How a record in the spool says what it is.
fn kind(signal: Signal) -> u8 {
    match signal {
        Signal::Logs => 1,
        Signal::Traces => 2,
        Signal::Metrics => 3,
    }
}
