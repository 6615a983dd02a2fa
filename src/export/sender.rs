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
use super::outbox::{Outbox, Shared};
use super::queue::Queued;
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
    /// The head of the spool, where it has to be sent again.
    stored: Option<Stored>,
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
            stored: None,
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
        match (head, self.shared.front_after()) {
            (None, None) => Next::Nothing,
            (Some(head), Some(after)) if head >= after => Next::Queued,
            (None, Some(_)) => Next::Queued,
            (Some(_), _) => Next::Stored,
        }
    }

    async fn send_queued(&mut self) {
        let Some(mut rest) = self.shared.take_up() else { return };
        match self.deliver(&mut rest).await {
            None => self.shared.settle_front(rest.fate()),
            Some(answer) => {
                self.shared.put_back(rest);
                self.put_off(answer).await;
            }
        }
    }

    async fn send_stored(&mut self) -> Result<(), spool::Error> {
        let Some(store) = self.shared.store.clone() else { return Ok(()) };
        // What was held may have been given up meanwhile.
        let held = self.stored.take().filter(|held| Some(held.sequence) == store.head());
        let stored = match held {
            Some(held) => Some(held),
            None => blocking(store.clone(), Store::read).await?,
        };
        let Some(mut stored) = stored else { return Ok(()) };
        if let Some(answer) = self.deliver(&mut stored.rest).await {
            self.stored = Some(stored);
            self.put_off(answer).await;
            return Ok(());
        }
        let sequence = stored.sequence;
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
        let begun = self.stored.take().filter(|stored| stored.rest.is_begun());
        let put = tokio::task::spawn_blocking(move || {
            // What a collector has of it, or has refused, is not sent to it again.
            if let Some(error) = begun.and_then(|begun| store.replace(&begun).err()) {
                tracing::warn!("{error}: something that was delivered last may be sent again");
            }
            put_away(&shared, &store, left);
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
fn put_away(shared: &Shared, store: &Store, left: Vec<Queued>) {
    let (lost, trouble) = store.keep_all(left);
    if let Some(error) = trouble {
        let (signal, requests) = (shared.signal.as_str(), lost.len());
        tracing::error!("{requests} requests of {signal} are not in the spool and lost: {error}");
    }
    shared.drop_all(lost);
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
