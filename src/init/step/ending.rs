//! When a step is over: its main process has ended, its output is complete, and what a signal asked of
//! it had its time. Pure.

use std::time::{Duration, Instant};

/// After the main process has ended, its output is complete if nothing arrived for this long, even
/// if a remaining process holds it open. What the main process wrote is in the pipe and is always
/// read.
const QUIET_TIMEOUT: Duration = Duration::from_millis(200);
/// The same limit if output keeps arriving.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// What decides it.
pub(super) struct Ending {
    /// When SIGKILL follows the signal that the step has got.
    kill_at: Option<Instant>,
    /// Since when nothing was read, although it was possible.
    quiet_since: Instant,
    /// The pipes were read after the process ended, and were empty.
    drained: bool,
}

// === impl Ending ===

impl Ending {
    pub(super) fn new(now: Instant) -> Self {
        Self { kill_at: None, quiet_since: now, drained: false }
    }

    /// Output was read, or could not be.
    pub(super) fn not_quiet(&mut self, now: Instant) {
        self.quiet_since = now;
    }

    /// The pipes were empty after the process had ended.
    pub(super) fn drained(&mut self) {
        self.drained = true;
    }

    /// The step has got a signal, and SIGKILL is to follow. The earliest time counts.
    pub(super) fn kill_after(&mut self, patience: Duration, now: Instant) {
        let at = now + patience;
        self.kill_at = Some(self.kill_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Whether SIGKILL is due, once.
    pub(super) fn kills(&mut self, now: Instant) -> bool {
        self.kill_at.take_if(|at| *at <= now).is_some()
    }

    /// Whether the output is complete that something still holds open, so long after the end of the main
    /// process. `is_blocked`: the hook does not take it.
    pub(super) fn is_complete(&self, ended: Instant, is_blocked: bool, now: Instant) -> bool {
        // The other processes of a cancelled step can write until SIGKILL.
        if self.kill_at.is_some() {
            return false;
        }
        let quiet = now.saturating_duration_since(self.quiet_since.max(ended)) >= QUIET_TIMEOUT;
        let long = now.saturating_duration_since(ended) >= LINGER_TIMEOUT && !is_blocked;
        (quiet && self.drained) || long
    }

    /// How long nothing has to be decided without news. `ended`: when the main process ended, if it has.
    pub(super) fn patience(&self, ended: Option<Instant>, now: Instant) -> Option<Duration> {
        let over =
            ended.map(|at| (self.quiet_since.max(at) + QUIET_TIMEOUT).min(at + LINGER_TIMEOUT));
        let until = self.kill_at.or(over);
        until.map(|until| until.saturating_duration_since(now).max(Duration::from_millis(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn output_that_is_held_open_is_complete_when_it_is_read_and_nothing_follows() {
        let start = Instant::now();
        let mut ending = Ending::new(start);
        let ended = start + 100 * MS;
        assert!(!ending.is_complete(ended, false, ended + QUIET_TIMEOUT), "it was not read");
        ending.drained();
        assert!(!ending.is_complete(ended, false, ended + 199 * MS));
        assert!(ending.is_complete(ended, false, ended + QUIET_TIMEOUT));
        ending.not_quiet(ended + 50 * MS);
        assert!(!ending.is_complete(ended, false, ended + QUIET_TIMEOUT));
        assert_eq!(ending.patience(Some(ended), ended + 50 * MS), Some(QUIET_TIMEOUT));
        assert_eq!(ending.patience(None, start), None, "the end of the process is news");
    }

    #[test]
    fn output_that_goes_on_is_complete_at_last_where_the_hook_takes_it() {
        let ended = Instant::now();
        let mut ending = Ending::new(ended);
        let last = ended + LINGER_TIMEOUT;
        ending.not_quiet(ended + 1999 * MS);
        assert!(!ending.is_complete(ended, false, ended + 1999 * MS));
        assert_eq!(ending.patience(Some(ended), ended + 1995 * MS), Some(5 * MS));
        assert!(ending.is_complete(ended, false, last));
        assert!(!ending.is_complete(ended, true, last));
        assert_eq!(ending.patience(Some(ended), last + MS), Some(MS), "never none at all");
    }

    #[test]
    fn the_earliest_kill_comes_once_and_nothing_is_complete_before_it() {
        let start = Instant::now();
        let mut ending = Ending::new(start);
        ending.drained();
        ending.kill_after(20 * MS, start);
        ending.kill_after(50 * MS, start);
        assert!(!ending.is_complete(start, false, start + LINGER_TIMEOUT));
        assert_eq!(ending.patience(Some(start), start), Some(20 * MS));
        assert!(!ending.kills(start + 19 * MS));
        assert!(ending.kills(start + 20 * MS));
        assert!(!ending.kills(start + 20 * MS));
        assert!(ending.is_complete(start, false, start + LINGER_TIMEOUT));
    }
}
