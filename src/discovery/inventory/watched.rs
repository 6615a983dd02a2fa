//! Whether a pod is selected: what the API server's list says, and what applies while it is
//! unavailable. Pure.

use std::time::{Duration, Instant};

use super::Verdict;

/// How long verdicts stay open while the API server is unavailable; after that values are reported
/// without names.
pub const API_TIMEOUT: Duration = Duration::from_secs(30);

/// Shortest time for which a deleted pod stays selected, because the last values of its containers
/// arrive after the API server's event.
pub const DELETED_RETENTION: Duration = Duration::from_mins(1);

/// How long a pod may be on the node before it appears in the agent's watch: the kubelet has its
/// own watch, which may be faster.
pub const UNLISTED_TIMEOUT: Duration = Duration::from_secs(5);

/// The state of the connection to the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ApiState {
    /// There is none (`--no-api`).
    None,
    /// The first list is not complete yet.
    Connecting {
        /// Since when it is awaited.
        since: Instant,
    },
    /// The list is complete and kept up to date.
    Live,
    /// The list was complete once, but no events arrive.
    Failing {
        /// Since when.
        since: Instant,
    },
}

/// A pod's state in the API server's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not in the list so far.
    Unlisted {
        /// When it was first seen on the node.
        since: Instant,
    },
    /// It was not in the list when it should have been.
    Unwanted,
    /// In the list.
    Listed,
    /// Was in the list.
    Deleted {
        /// When it was removed.
        at: Instant,
    },
}

/// The verdict, and the next standing. `held`: containers of the pod are still held.
pub(super) fn judge(line: ApiState, standing: Standing, held: bool, now: Instant) -> Verdict {
    let past =
        |since: Instant, patience: Duration| now.saturating_duration_since(since) >= patience;
    match (line, standing) {
        (ApiState::None, _) | (_, Standing::Listed) => Verdict::Wanted,
        (_, Standing::Deleted { at }) if held || !past(at, DELETED_RETENTION) => Verdict::Wanted,
        (_, Standing::Deleted { .. } | Standing::Unwanted) => Verdict::Unwanted,
        (
            ApiState::Connecting { since } | ApiState::Failing { since },
            Standing::Unlisted { .. },
        ) => {
            if past(since, API_TIMEOUT) {
                Verdict::Nameless
            } else {
                Verdict::Open
            }
        }
        (ApiState::Live, Standing::Unlisted { since }) => {
            if past(since, UNLISTED_TIMEOUT) {
                Verdict::Unwanted
            } else {
                Verdict::Open
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_and_standing_has_its_verdict() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let opening = ApiState::Connecting { since: start };
        let failing = ApiState::Failing { since: start };
        let stranger = Standing::Unlisted { since: start };
        let deleted = Standing::Deleted { at: start };
        for (line, standing, held, second, expected) in [
            (ApiState::None, stranger, false, 0, Verdict::Wanted),
            (opening, stranger, false, 29, Verdict::Open),
            (opening, stranger, false, 30, Verdict::Nameless),
            (ApiState::Live, Standing::Listed, false, 0, Verdict::Wanted),
            (ApiState::Live, stranger, true, 4, Verdict::Open),
            (ApiState::Live, stranger, true, 5, Verdict::Unwanted),
            (ApiState::Live, Standing::Unwanted, true, 0, Verdict::Unwanted),
            (failing, Standing::Unwanted, true, 99, Verdict::Unwanted),
            (failing, Standing::Listed, false, 99, Verdict::Wanted),
            (failing, stranger, false, 29, Verdict::Open),
            (failing, stranger, false, 30, Verdict::Nameless),
            (ApiState::Live, deleted, false, 59, Verdict::Wanted),
            (ApiState::Live, deleted, false, 60, Verdict::Unwanted),
            (ApiState::Live, deleted, true, 600, Verdict::Wanted),
        ] {
            assert_eq!(
                judge(line, standing, held, at(second)),
                expected,
                "{line:?} {standing:?} held={held} second={second}"
            );
        }
    }
}
