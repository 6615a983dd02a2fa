//! How long to wait before a call is repeated.

use std::time::Duration;

use ephemon_base::Backoff;
use hyper::HeaderMap;
use hyper::header::RETRY_AFTER;

/// The first pause; each later one is twice as long.
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(5);
/// The longest pause that the server can request.
const LONGEST_ASKED: Duration = Duration::from_secs(30);

/// Growing pauses with jitter, so that hooks that failed together do not retry together.
#[derive(Debug)]
pub(crate) struct Pauses(Backoff);

// === impl Pauses ===

impl Default for Pauses {
    fn default() -> Self {
        Self(Backoff::new(FIRST, LONGEST))
    }
}

impl Pauses {
    /// The next pause, at least as long as the server requested.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let own = self.0.next_pause(fastrand::f64());
        match asked {
            // A little more than requested, so that clients do not retry at the same moment.
            Some(asked) => asked.min(LONGEST_ASKED) + own.min(FIRST),
            None => own,
        }
    }
}

/// `Retry-After` in seconds; the API server sends no dates.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_differ() {
        let mut pauses = Pauses::default();
        let all: Vec<Duration> = (0..20).map(|_| pauses.next(None)).collect();
        assert!(all[0] >= FIRST / 2 && all[0] <= FIRST);
        assert!(all.iter().all(|pause| *pause <= LONGEST));
        assert!(all[19] >= LONGEST / 2);
    }

    #[test]
    fn the_server_is_heeded_within_reason() {
        let mut pauses = Pauses::default();
        let asked = Duration::from_secs(2);
        let pause = pauses.next(Some(asked));
        assert!(pause >= asked && pause <= asked + FIRST);
        assert!(pauses.next(Some(Duration::from_hours(24))) <= LONGEST_ASKED + FIRST);
    }
}
