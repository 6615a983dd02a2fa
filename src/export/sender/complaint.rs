//! Says what is wrong with a collector, at most once a minute.

use std::time::Duration;

use tokio::time::Instant;

/// Between two sentences.
const EVERY: Duration = Duration::from_mins(1);

/// When something was last said, and what was left out since.
#[derive(Debug, Default)]
pub(super) struct Complaint {
    said: Option<Instant>,
    silent: u64,
}

// === impl Complaint ===

impl Complaint {
    /// Says it, unless something was said less than a minute ago.
    pub(super) fn say(&mut self, sentence: &str) {
        if self.is_due(Instant::now()) {
            match std::mem::take(&mut self.silent) {
                0 => tracing::warn!("{sentence}"),
                more => tracing::warn!("{sentence} ({more} more like this in between)"),
            }
        }
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let due = self.said.is_none_or(|said| now.duration_since(said) >= EVERY);
        if due {
            self.said = Some(now);
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
        let mut complaint = Complaint::default();
        let start = Instant::now();
        assert!(complaint.is_due(start));
        assert!(!complaint.is_due(start + EVERY / 2));
        assert!(!complaint.is_due(start + EVERY - Duration::from_nanos(1)));
        assert_eq!(complaint.silent, 2);
        assert!(complaint.is_due(start + EVERY));
    }
}
