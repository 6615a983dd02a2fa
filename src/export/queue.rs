//! What waits in memory, in the order of arrival, with a bound in bytes.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::payload::{Fate, Payload, Receipt};
use super::undelivered::Undelivered;

/// The queue. What is being sent stays in front until its fate is known.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<Queued>,
    bytes: usize,
    is_closed: bool,
    /// The front is being sent at this moment.
    is_sending: bool,
}

/// One payload that waits.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) rest: Undelivered,
    /// Records of the spool with a smaller sequence came before this.
    after: u64,
    /// Size of the whole.
    bytes: usize,
    fate_tx: oneshot::Sender<Fate>,
}

// === impl Queue ===

impl Queue {
    /// Takes a payload, unless the queue would then hold more than `bound` bytes, or is closed: the
    /// payload comes back. One that is larger than the bound alone is taken where there is no other.
    pub(super) fn push(
        &mut self,
        payload: Payload,
        after: u64,
        bound: usize,
    ) -> Result<Receipt, Payload> {
        let size = payload.body.len();
        let bytes = self.bytes.saturating_add(size);
        if self.is_closed || (bytes > bound && !self.entries.is_empty()) {
            return Err(payload);
        }
        let (fate_tx, receipt) = Receipt::new();
        self.bytes = bytes;
        let rest = Undelivered::new(payload);
        self.entries.push_back(Queued { rest, after, bytes: size, fate_tx });
        Ok(receipt)
    }

    /// How many bytes it holds, with what is being sent.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What of the spool comes before its front.
    pub(super) fn front_after(&self) -> Option<u64> {
        self.entries.front().map(|queued| queued.after)
    }

    /// The front is being sent from now on. It stays: an attempt may be broken off.
    pub(super) fn take_up(&mut self) -> Option<Undelivered> {
        let front = self.entries.front()?;
        self.is_sending = true;
        Some(front.rest.clone())
    }

    #[cfg(test)]
    pub(super) fn is_sending(&self) -> bool {
        self.is_sending
    }

    /// This is left of the front after an attempt, and waits for the next one.
    pub(super) fn put_back(&mut self, rest: Undelivered) {
        self.is_sending = false;
        if let Some(front) = self.entries.front_mut() {
            front.rest = rest;
        }
    }

    /// Takes away the front, after an attempt.
    pub(super) fn pop(&mut self) -> Option<Queued> {
        self.is_sending = false;
        let queued = self.entries.pop_front()?;
        self.bytes = self.bytes.saturating_sub(queued.bytes);
        Some(queued)
    }

    /// Takes away all but what is being sent.
    pub(super) fn take_waiting(&mut self) -> Vec<Queued> {
        let waiting: Vec<Queued> = self.entries.drain(usize::from(self.is_sending)..).collect();
        self.bytes = self.entries.iter().map(|queued| queued.bytes).sum();
        waiting
    }

    /// Puts back what [`Queue::take_waiting`] took. A queue that was closed meanwhile gives it back.
    pub(super) fn return_waiting(&mut self, waiting: Vec<Queued>) -> Vec<Queued> {
        if self.is_closed {
            return waiting;
        }
        for queued in waiting.into_iter().rev() {
            self.bytes = self.bytes.saturating_add(queued.bytes);
            self.entries.insert(usize::from(self.is_sending), queued);
        }
        Vec::new()
    }

    /// Takes nothing any more.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Takes nothing any more, and gives away all it has.
    pub(super) fn empty(&mut self) -> Vec<Queued> {
        (self.is_closed, self.is_sending, self.bytes) = (true, false, 0);
        self.entries.drain(..).collect()
    }
}

// === impl Queued ===

impl Queued {
    /// Tells its giver what became of it.
    pub(super) fn settle(self, fate: Fate) {
        // An error means that the giver does not care.
        self.fate_tx.send(fate).ok();
    }
}
