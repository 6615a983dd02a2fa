//! Says what is wrong with a collector: each kind of trouble at most once a minute.

use std::time::Duration;

use ephemon_base::warning::Throttle;
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
pub(super) struct Complaint([Throttle; 6]);

// === impl Complaint ===

impl Complaint {
    /// Says it, unless something of its kind was said less than a minute ago.
    pub(super) fn say(&mut self, kind: Kind, sentence: &str) {
        let Some(throttle) = self.0.get_mut(kind as usize) else { return };
        match throttle.admit(INTERVAL, Instant::now().into_std()) {
            None => {}
            Some(0) => tracing::warn!("{sentence}"),
            Some(more) => tracing::warn!("{sentence} ({more} more like this in between)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_minute_of_its_own() {
        let mut complaint = Complaint::default();
        complaint.say(Kind::Retried, "not now");
        complaint.say(Kind::Retried, "not now");
        complaint.say(Kind::Spool, "the spool");
        complaint.say(Kind::Refused, "never");
        let now = Instant::now().into_std() + INTERVAL;
        let silent = [Kind::Retried, Kind::Refused, Kind::Spool, Kind::Denied]
            .map(|kind| complaint.0[kind as usize].admit(INTERVAL, now));
        assert_eq!(silent, [Some(1), Some(0), Some(0), Some(0)]);
    }
}
