//! Where requests go in: a queue in memory with a bound in bytes, and the way to the spool.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use ephemon_base::lock;
use ephemon_otel::Signal;
use ephemon_self_metrics::{Reason, SelfMetrics};
use tokio::sync::{Notify, watch};

use super::payload::{Fate, PAYLOAD_BYTES_MAX, Payload, Receipt};
use super::queue::{Queue, Queued};
use super::store::{KeepError, Store};
use super::undelivered::Undelivered;
use super::waker::Waker;

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
    answered: Waker,
    /// The most that `queue` may hold, in bytes of bodies.
    bound: usize,
    queue: Mutex<Queue>,
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
        let after = shared.store.as_ref().map_or(0, Store::next_sequence);
        let receipt = shared.lock().push(payload, after, shared.bound)?;
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

    /// Calls `wake`, from any thread, each time that what was sent has come to its fate: a receipt says
    /// more, and the queue has room. For who offers from a plain thread, which cannot await receipts.
    pub fn on_answer(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.shared.answered.set(wake);
    }

    /// Moves what waits in the queue into the spool, in its order: it outlives the process when its
    /// receipt says so, and the queue has room again. What is being sent at this moment stays in the
    /// queue, and can be moved when its attempt has failed: nothing is in both, so that nothing is sent
    /// twice. What the spool does not take stays, too. Waits for the disk. Whether there was something to
    /// move.
    ///
    /// # Errors
    /// Where there is no spool, or it could not take all.
    pub fn put_away(&self) -> Result<bool, KeepError> {
        let store = self.shared.store.as_ref().ok_or(KeepError::NoSpool)?;
        let waiting = self.shared.lock().take_waiting();
        if waiting.is_empty() {
            return Ok(false);
        }
        let (left, trouble) = store.keep_all(waiting);
        let lost = self.shared.lock().return_waiting(left);
        self.shared.drop_all(lost);
        self.shared.wake.notify_one();
        trouble.map_or(Ok(true), Err)
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
        let bytes = self.shared.lock().bytes();
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
            answered: Waker::default(),
            bound,
            queue: Mutex::default(),
        }
    }

    /// What of the spool comes before the front of the queue.
    pub(super) fn front_after(&self) -> Option<u64> {
        self.lock().front_after()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// What is to be sent of the front of the queue, for one attempt.
    pub(super) fn take_up(&self) -> Option<Undelivered> {
        self.lock().take_up()
    }

    /// So much is left after the attempt.
    pub(super) fn put_back(&self, rest: Undelivered) {
        self.lock().put_back(rest);
    }

    /// Takes away what stood in front: this became of it.
    pub(super) fn settle_front(&self, fate: Fate) {
        let front = self.lock().pop();
        if let Some(queued) = front {
            queued.settle(fate);
            self.answered.wake();
        }
    }

    /// Whether the front is being sent at this moment.
    #[cfg(test)]
    pub(super) fn is_sending(&self) -> bool {
        self.lock().is_sending()
    }

    /// Takes nothing any more.
    pub(super) fn close(&self) {
        self.lock().close();
        self.closing.send_replace(true);
        self.wake.notify_one();
    }

    /// Takes away all that waits.
    pub(super) fn take_all(&self) -> Vec<Queued> {
        self.lock().empty()
    }

    /// Says goodbye to payloads that nobody will send.
    pub(super) fn drop_all(&self, all: Vec<Queued>) {
        for queued in all {
            let items = queued.rest.items();
            self.self_metrics.dropped_by(crate::counted(self.signal), Reason::Shutdown, items);
            queued.settle(Fate::Dropped(Reason::Shutdown));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }
}
