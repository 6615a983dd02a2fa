//! When all pods are checked, and when a pod that is not known does not exist. Pure.

/// How long after the agent became ready all pods of the node are assumed to be known, in
/// nanoseconds. Readiness does not wait for log directories, which may be the only source for a
/// pod.
const LOOKED_ROUND_NS: u64 = 5_000_000_000;
/// Longest time between checks of all pods, in nanoseconds, even if nothing has changed.
const WHOLE_LOOK_NS: u64 = 30_000_000_000;

/// The checks of all pods.
#[derive(Default)]
pub(super) struct Rounds {
    /// Since when the agent is ready.
    ready_ns: Option<u64>,
    /// When all pods were last checked.
    last_ns: u64,
    /// Whether all pods of the node were known then.
    had_all: bool,
}

// === impl Rounds ===

impl Rounds {
    /// Whether a pod that is not known does not exist. `is_ready`: the agent is ready now.
    pub(super) fn knows_all(&mut self, is_ready: bool, now_ns: u64) -> bool {
        if !is_ready {
            return false;
        }
        let since = *self.ready_ns.get_or_insert(now_ns);
        now_ns.saturating_sub(since) >= LOOKED_ROUND_NS
    }

    /// Whether all pods are to be checked, although only some have changed.
    pub(super) fn is_due(&self, knows_all: bool, now_ns: u64) -> bool {
        // If the clock was set back, the check is due as well.
        let is_late = now_ns.saturating_sub(self.last_ns) >= WHOLE_LOOK_NS || now_ns < self.last_ns;
        is_late || knows_all != self.had_all
    }

    /// All pods are checked now.
    pub(super) fn begin(&mut self, knows_all: bool, now_ns: u64) {
        (self.last_ns, self.had_all) = (now_ns, knows_all);
    }

    /// Whether all pods of the node were known at the last check.
    pub(super) fn had_all(&self) -> bool {
        self.had_all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn all_pods_are_known_some_seconds_after_the_agent_is_ready() {
        let mut rounds = Rounds::default();
        assert!(!rounds.knows_all(false, 100 * SECOND));
        assert!(!rounds.knows_all(true, 100 * SECOND));
        assert!(!rounds.knows_all(true, 100 * SECOND + LOOKED_ROUND_NS - 1));
        assert!(rounds.knows_all(true, 100 * SECOND + LOOKED_ROUND_NS));
        assert!(!rounds.knows_all(false, 200 * SECOND), "a source is gone");
    }

    #[test]
    fn all_pods_are_checked_at_intervals_when_all_are_known_and_when_the_clock_goes_back() {
        let mut rounds = Rounds::default();
        rounds.begin(false, 100 * SECOND);
        assert!(!rounds.is_due(false, 100 * SECOND + WHOLE_LOOK_NS - 1));
        assert!(rounds.is_due(false, 100 * SECOND + WHOLE_LOOK_NS));
        assert!(rounds.is_due(false, 99 * SECOND));
        assert!(rounds.is_due(true, 100 * SECOND) && !rounds.had_all());
        rounds.begin(true, 100 * SECOND);
        assert!(!rounds.is_due(true, 100 * SECOND) && rounds.had_all());
    }
}
