//! Says what is wrong with a collector: each kind of trouble at most once a minute.

use std::time::Duration;

use tokio::time::Instant;

/// Between two sentences of a kind.
const INTERVAL: Duration = Duration::from_mins(1);

/// What kinds of trouble there are. One does not silence another: a collector that cannot be reached
/// may later drop what it is sent, which is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sent again later.
    Retried,
    /// The same, for want of valid credentials.
    Denied,
    /// Dropped.
    Refused,
    /// Dropped: too large in itself.
    TooLarge,
    /// Taken, but not whole.
    Partial,
    /// The spool cannot be read or written.
    Spool,
}

/// When something of each kind was last said, and what was left out since.
#[derive(Debug, Default)]
pub(super) struct Complaint([Said; 6]);

#[derive(Debug, Default)]
struct Said {
    last: Option<Instant>,
    silent: u64,
}

// === impl Complaint ===

impl Complaint {
    /// Says it, unless something of its kind was said less than a minute ago.
    pub(super) fn say(&mut self, kind: Kind, sentence: &str) {
        let Some(said) = self.0.get_mut(kind as usize) else { return };
        if said.is_due(Instant::now()) {
            match std::mem::take(&mut said.silent) {
                0 => tracing::warn!("{sentence}"),
                more => tracing::warn!("{sentence} ({more} more like this in between)"),
            }
        }
    }
}

// === impl Said ===

impl Said {
    fn is_due(&mut self, now: Instant) -> bool {
        let due = self.last.is_none_or(|last| now.duration_since(last) >= INTERVAL);
        if due {
            self.last = Some(now);
        } else {
            self.silent = self.silent.saturating_add(1);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sentence_a_minute_is_said_and_the_others_are_counted() {
        let mut said = Said::default();
        let start = Instant::now();
        assert!(said.is_due(start));
        assert!(!said.is_due(start + INTERVAL / 2));
        assert!(!said.is_due(start + INTERVAL - Duration::from_nanos(1)));
        assert_eq!(said.silent, 2);
        assert!(said.is_due(start + INTERVAL));
    }

    #[test]
    fn every_kind_has_a_minute_of_its_own() {
        let mut complaint = Complaint::default();
        complaint.say(Kind::Retried, "not now");
        complaint.say(Kind::Retried, "not now");
        complaint.say(Kind::Spool, "the spool");
        complaint.say(Kind::Refused, "never");
        let silent = |kind: Kind| complaint.0[kind as usize].silent;
        assert_eq!([Kind::Retried, Kind::Refused, Kind::Spool].map(silent), [1, 0, 0]);
        assert!(complaint.0[Kind::Denied as usize].last.is_none());
    }
}
