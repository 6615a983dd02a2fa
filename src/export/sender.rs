//! The task of one signal: takes requests out of queue and spool in the order of their arrival, and
//! stays with each until its fate is known.

mod backoff;
mod complaint;
mod delivery;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use ephemon_self_metrics::SelfMetrics;

use super::destination::Destination;
use super::outbox::{Outbox, Queued, Shared};
use super::payload::Fate;
use super::spool::{self, Spool};
use super::store::{Store, Stored};
use backoff::Backoff;
use complaint::{Complaint, Kind};

/// The bound of the queue in memory, in bytes: a few requests of the usual size. One that is larger is
/// taken where there is no other.
pub const QUEUE_BYTES: usize = 2 << 20;
/// How long the end waits for a collector.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// A spool that cannot be read is tried again at this interval.
const SPOOL_RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// How much is held, and for how long at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The bound of the queue in memory, in bytes of encoded requests, with what is being sent.
    pub queue_bytes: usize,
    /// For how long the end tries to deliver what is in memory.
    pub drain: Duration,
}

/// Sends what one outbox is given.
#[derive(Debug)]
pub struct Sender {
    shared: Arc<Shared>,
    destination: Destination,
    drain: Duration,
    backoff: Backoff,
    complaint: Complaint,
}

/// What comes next.
enum Next {
    /// The front of the queue.
    Queued,
    /// The head of the spool.
    Stored,
    Nothing,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self { queue_bytes: QUEUE_BYTES, drain: DRAIN_TIMEOUT }
    }
}

// === impl Sender ===

impl Sender {
    /// An outbox, and the sender that empties it once it runs.
    pub fn new(
        destination: Destination,
        spool: Option<Spool>,
        options: Options,
        self_metrics: SelfMetrics,
    ) -> (Outbox, Self) {
        let signal = destination.signal;
        self_metrics.will_export(crate::counted(signal));
        let store = spool.map(|spool| Store::new(spool, signal, self_metrics.clone()));
        let shared = Arc::new(Shared::new(signal, store, options.queue_bytes, self_metrics));
        let sender = Self {
            shared: Arc::clone(&shared),
            destination,
            drain: options.drain,
            backoff: Backoff::default(),
            complaint: Complaint::default(),
        };
        (Outbox::new(shared), sender)
    }

    /// Sends until told to stop, and then what is in memory for as long as the options say. What is
    /// left is in the spool when this returns; without one it is dropped and counted.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let shared = Arc::clone(&self.shared);
        let drain = self.drain;
        let deadline = async {
            stop.await;
            shared.close();
            tokio::time::sleep(drain).await;
        };
        tokio::select! {
            () = self.work() => {}
            () = deadline => {}
        }
        self.put_away().await;
    }

    /// Delivers one after the other. Ends when told to close and nothing in memory is left, or
    /// nothing in there can be delivered while the spool would take it.
    async fn work(&mut self) {
        let mut closing = self.shared.closing.subscribe();
        loop {
            let closed = *closing.borrow_and_update();
            if closed && (self.shared.is_empty() || (self.is_failing() && self.has_store())) {
                return;
            }
            match self.next() {
                Next::Queued => self.send_queued().await,
                Next::Stored => {
                    if let Err(error) = self.send_stored().await {
                        self.complaint
                            .say(Kind::Spool, &format!("{error}: what is in the spool waits"));
                        tokio::select! {
                            () = tokio::time::sleep(SPOOL_RETRY_INTERVAL) => {}
                            _ = closing.changed() => {}
                        }
                    }
                }
                Next::Nothing => self.shared.wake.notified().await,
            }
        }
    }

    /// Whatever came first. The spool's head came before the queue's front if the queue's front
    /// says that records with such a sequence did.
    fn next(&self) -> Next {
        let head = self.shared.store.as_ref().and_then(Store::head);
        match (head, self.shared.front()) {
            (None, None) => Next::Nothing,
            (Some(head), Some((_, after))) if head >= after => Next::Queued,
            (None, Some(_)) => Next::Queued,
            (Some(_), _) => Next::Stored,
        }
    }

    async fn send_queued(&mut self) {
        let Some((payload, _)) = self.shared.front() else { return };
        if let Some(fate) = self.deliver(payload).await {
            self.shared.settle_front(fate);
        }
    }

    async fn send_stored(&mut self) -> Result<(), spool::Error> {
        let Some(store) = self.shared.store.clone() else { return Ok(()) };
        let read = blocking(store.clone(), Store::read).await?;
        let Some(Stored { sequence, payload }) = read else { return Ok(()) };
        if self.deliver(payload).await.is_none() {
            return Ok(());
        }
        // A cursor that cannot be written now is written later: what waits goes out all the same.
        if let Err(error) = blocking(store, move |store| store.acknowledge(sequence)).await {
            self.complaint
                .say(Kind::Spool, &format!("{error}: a restart would send some requests again"));
        }
        Ok(())
    }

    /// What is left in memory goes into the spool, or nowhere.
    async fn put_away(&mut self) {
        let left = self.shared.take_all();
        let Some(store) = self.shared.store.clone() else {
            return self.shared.drop_all(left);
        };
        let shared = Arc::clone(&self.shared);
        let put = tokio::task::spawn_blocking(move || {
            let kept = put_away(&shared, &store, left);
            for queued in kept {
                queued.settle(Fate::Spooled);
            }
            if let Err(error) = store.flush() {
                tracing::warn!("{error}: what was delivered last may be sent again");
            }
        });
        // An error means that the runtime is gone, or a panic, which was said.
        drop(put.await);
    }

    fn has_store(&self) -> bool {
        self.shared.store.is_some()
    }
}

/// Nobody waits for a fate that will not come.
impl Drop for Sender {
    fn drop(&mut self) {
        let left = self.shared.take_all();
        self.shared.drop_all(left);
    }
}

/// Puts what it can into the spool, and says goodbye to the rest.
fn put_away(shared: &Shared, store: &Store, left: Vec<Queued>) -> Vec<Queued> {
    let (mut kept, mut lost) = (Vec::new(), Vec::new());
    let mut trouble = None;
    for queued in left {
        match store.append(&queued.payload) {
            Ok(()) => kept.push(queued),
            Err(error) => {
                trouble = Some(error);
                lost.push(queued);
            }
        }
    }
    if let Err(error) = store.sync() {
        trouble = Some(error.into());
        lost.append(&mut kept);
    }
    if let Some(error) = trouble {
        let (signal, requests) = (shared.signal.as_str(), lost.len());
        tracing::error!("{requests} requests of {signal} are not in the spool and lost: {error}");
    }
    shared.drop_all(lost);
    kept
}

/// Does what waits for the disk where that holds nobody up.
async fn blocking<Done: Send + 'static>(
    store: Store,
    act: impl FnOnce(&Store) -> Result<Done, spool::Error> + Send + 'static,
) -> Result<Done, spool::Error> {
    match tokio::task::spawn_blocking(move || act(&store)).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is going down: so are we.
        Err(_) => std::future::pending().await,
    }
}
