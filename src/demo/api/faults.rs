//! How the stand-in misbehaves on demand.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// What is wrong with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Every request is taken and none is answered; open streams fall silent.
    Hang,
    /// Every request is answered with this HTTP status (500, 429, 503, …).
    Refuse(u16),
    /// Every list and watch from a given version is answered with HTTP 410.
    Gone,
}

/// Something done to all watches that are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strike {
    /// Cut without an end of the body.
    Cut,
    /// An `ERROR` event with status 410, then the end.
    Expire,
}

/// The switchboard. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Faults(Arc<Board>);

#[derive(Debug)]
struct Board {
    fault: watch::Sender<Fault>,
    /// Counts strikes; the kind of the last one.
    strikes: watch::Sender<u64>,
    last: Mutex<Strike>,
}

// === impl Faults ===

impl Default for Faults {
    fn default() -> Self {
        Self(Arc::new(Board {
            fault: watch::Sender::new(Fault::None),
            strikes: watch::Sender::new(0),
            last: Mutex::new(Strike::Cut),
        }))
    }
}

impl Faults {
    /// From now on every request meets this fault.
    pub fn set(&self, fault: Fault) {
        self.0.fault.send_replace(fault);
    }

    /// Cuts every open watch, as a lost connection does.
    pub fn drop_watches(&self) {
        self.strike(Strike::Cut);
    }

    /// Ends every open watch with an `ERROR` event of status 410, as after a compaction.
    pub fn expire_watches(&self) {
        self.strike(Strike::Expire);
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Fault> {
        self.0.fault.subscribe()
    }

    pub(super) fn strikes(&self) -> watch::Receiver<u64> {
        self.0.strikes.subscribe()
    }

    pub(super) fn last_strike(&self) -> Strike {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn strike(&self, strike: Strike) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = strike;
        self.0.strikes.send_modify(|count| *count = count.wrapping_add(1));
    }
}
