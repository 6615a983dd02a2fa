//! What is left of one payload on its way, and what has become of the rest.

use ephemon_self_metrics::Reason;

use super::payload::{Fate, Payload};

/// A payload, whole at first; later the parts of it that no collector has and that are not given up.
#[derive(Debug, Clone)]
pub(super) struct Undelivered {
    /// The next one last: together no larger than the payload.
    pub(super) pieces: Vec<Payload>,
    /// The collector has something of it.
    pub(super) is_taken: bool,
    /// Why something of it was given up, and counted.
    pub(super) lost: Option<Reason>,
    /// Attempts that were denied for want of credentials.
    pub(super) denials: u32,
}

// === impl Undelivered ===

impl Undelivered {
    pub(super) fn new(payload: Payload) -> Self {
        Self { pieces: vec![payload], is_taken: false, lost: None, denials: 0 }
    }

    /// Whether something of it is delivered or given up.
    pub(super) fn is_begun(&self) -> bool {
        self.is_taken || self.lost.is_some() || self.pieces.len() > 1
    }

    /// How many items are left.
    pub(super) fn items(&self) -> u64 {
        self.pieces.iter().fold(0, |sum, piece| sum.saturating_add(piece.items))
    }

    /// Its fate when nothing is left.
    pub(super) fn fate(&self) -> Fate {
        match self.lost {
            None => Fate::Acknowledged,
            Some(_) if self.is_taken => Fate::Partly,
            Some(reason) => Fate::Dropped(reason),
        }
    }

    /// Its fate when what is left is in the spool.
    pub(super) fn fate_in_spool(&self) -> Fate {
        if self.lost.is_some() { Fate::Partly } else { Fate::Spooled }
    }

    /// Something of it is given up for this reason.
    pub(super) fn lose(&mut self, reason: Reason) {
        self.lost.get_or_insert(reason);
    }
}
