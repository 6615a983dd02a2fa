//! Where requests go in: a queue in memory with a bound in bytes, and the way to the spool.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use ephemon_base::lock;
use ephemon_otel::Signal;
use ephemon_self_metrics::{Reason, SelfMetrics};
use tokio::sync::{Notify, oneshot, watch};

use super::payload::{Fate, PAYLOAD_BYTES_MAX, Payload, Receipt};
use super::store::{KeepError, Store};

/// Where requests of one signal go in. Cheap to clone, and usable from any thread.
#[derive(Debug, Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
}

/// What the outbox and the sender have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) signal: Signal,
    pub(super) self_metrics: SelfMetrics,
    pub(super) store: Option<Store>,
    /// Wakes the sender: there is something to do.
    pub(super) wake: Notify,
    /// Whether nothing is taken any more and the sender is to come to an end.
    pub(super) closing: watch::Sender<bool>,
    pub(super) failing: AtomicBool,
    /// The most that `queue` may hold, in bytes of bodies.
    bound: usize,
    queue: Mutex<Queue>,
}

/// What waits in memory. What is being sent stays in front until its fate is known.
#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<Queued>,
    bytes: usize,
    closed: bool,
}

#[derive(Debug)]
pub(super) struct Queued {
    pub(super) payload: Payload,
    /// Records of the spool with a smaller sequence came before this.
    pub(super) after: u64,
    fate_tx: oneshot::Sender<Fate>,
}

// === impl Outbox ===

impl Outbox {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// An outbox that nobody empties, for who reads logs and has none to send.
    pub fn nowhere(signal: Signal, self_metrics: SelfMetrics) -> Self {
        Self::new(Arc::new(Shared::new(signal, None, 0, self_metrics)))
    }

    /// Puts a payload into the queue. When the queue is full, or the sender is coming to its end,
    /// the payload comes back.
    pub fn offer(&self, payload: Payload) -> Result<Receipt, Payload> {
        let shared = &self.shared;
        if payload.body.len() > PAYLOAD_BYTES_MAX {
            shared.self_metrics.dropped_by(
                crate::counted(shared.signal),
                Reason::TooLarge,
                payload.items,
            );
            return Ok(Receipt::settled(Fate::Dropped(Reason::TooLarge)));
        }
        let mut queue = shared.lock();
        let bytes = queue.bytes.saturating_add(payload.body.len());
        // One that is larger than the bound alone would otherwise never be sent.
        if queue.closed || (bytes > shared.bound && !queue.entries.is_empty()) {
            return Err(payload);
        }
        let after = shared.store.as_ref().map_or(0, Store::next_sequence);
        let (fate_tx, receipt) = Receipt::new();
        queue.bytes = bytes;
        queue.entries.push_back(Queued { payload, after, fate_tx });
        drop(queue);
        shared.wake.notify_one();
        Ok(receipt)
    }

    /// Puts a payload into the spool: it is on the disk when this returns. Waits for the disk, so
    /// call it from where that is no harm. Works after the sender's end, too: the next one sends it.
    ///
    /// Queue and spool are emptied in the order of arrival as long as the process lives. What its
    /// end moves from the queue into the spool stands there behind what was kept before.
    pub fn keep(&self, payload: &Payload) -> Result<(), KeepError> {
        let store = self.shared.store.as_ref().ok_or(KeepError::NoSpool)?;
        store.keep(payload)?;
        self.shared.wake.notify_one();
        Ok(())
    }

    /// By way of the spool where there is one, so that it outlives the process, else by the queue.
    /// Where neither takes it, it is dropped and counted. Waits for the disk. Whether it was taken.
    pub fn post(&self, payload: Payload) -> bool {
        self.has_spool() && self.keep(&payload).is_ok() || self.offer_or_drop(payload)
    }

    /// As [`Outbox::offer`], for whoever does not ask what becomes of it: one that comes back is
    /// dropped and counted. Whether it was taken.
    pub fn offer_or_drop(&self, payload: Payload) -> bool {
        let shared = &self.shared;
        match self.offer(payload) {
            Ok(_) => true,
            Err(payload) => {
                shared.self_metrics.dropped_by(
                    crate::counted(shared.signal),
                    Reason::Cap,
                    payload.items,
                );
                false
            }
        }
    }

    /// Whether [`Outbox::keep`] has where to put things.
    pub fn has_spool(&self) -> bool {
        self.shared.store.is_some()
    }

    /// Whether the last attempt to send failed and is being repeated.
    pub fn is_failing(&self) -> bool {
        self.shared.failing.load(Ordering::Relaxed)
    }

    /// How full the queue is, from 0 to 1, with what is being sent.
    pub fn pressure(&self) -> f64 {
        let bytes = self.shared.lock().bytes;
        (bytes as f64 / self.shared.bound.max(1) as f64).min(1.0)
    }
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(
        signal: Signal,
        store: Option<Store>,
        bound: usize,
        self_metrics: SelfMetrics,
    ) -> Self {
        Self {
            signal,
            self_metrics,
            store,
            wake: Notify::new(),
            closing: watch::Sender::new(false),
            failing: AtomicBool::new(false),
            bound,
            queue: Mutex::default(),
        }
    }

    /// What stands in front: the payload, and what of the spool comes before it.
    pub(super) fn front(&self) -> Option<(Payload, u64)> {
        let queue = self.lock();
        queue.entries.front().map(|queued| (queued.payload.clone(), queued.after))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().entries.is_empty()
    }

    /// Takes away what stood in front: this became of it.
    pub(super) fn settle_front(&self, fate: Fate) {
        let mut queue = self.lock();
        let Some(queued) = queue.entries.pop_front() else { return };
        queue.bytes = queue.bytes.saturating_sub(queued.payload.body.len());
        drop(queue);
        queued.settle(fate);
    }

    /// Takes nothing any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.closing.send_replace(true);
        self.wake.notify_one();
    }

    /// Takes away all that waits.
    pub(super) fn take_all(&self) -> Vec<Queued> {
        let mut queue = self.lock();
        queue.closed = true;
        queue.bytes = 0;
        queue.entries.drain(..).collect()
    }

    /// Says goodbye to payloads that nobody will send.
    pub(super) fn drop_all(&self, all: Vec<Queued>) {
        for queued in all {
            let items = queued.payload.items;
            self.self_metrics.dropped_by(crate::counted(self.signal), Reason::Shutdown, items);
            queued.settle(Fate::Dropped(Reason::Shutdown));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }
}

// === impl Queued ===

impl Queued {
    pub(super) fn settle(self, fate: Fate) {
        // An error means that the giver does not care.
        self.fate_tx.send(fate).ok();
    }
}
