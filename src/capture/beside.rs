//! What nested containers beside a pod's cgroup have used, which is not in the pod's own counter. Pure.

/// The CPU time of a pod's nested containers beside its cgroup. What it reports never decreases as long
/// as the pod's cgroup exists: it is a counter.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Beside {
    /// There was one.
    pub(crate) is_used: bool,
    /// There was one that nobody reads.
    pub(crate) is_unknown: bool,
    /// Σ CPU time of those that are over, nanoseconds: final readings, and the last readings of those
    /// that ended while the pod was not captured.
    settled_ns: u64,
    /// Σ CPU time of the others, nanoseconds, when it was last read.
    living_ns: u64,
    /// CPU time of the engine's own processes that watch them, nanoseconds.
    monitors_ns: u64,
    /// CPU time that may have been missed at ends, nanoseconds: an estimate.
    missed_ns: u64,
    /// CPU time when the pod's accounting began, nanoseconds.
    baseline_ns: u64,
}

// === impl Beside ===

impl Beside {
    /// CPU time of all of them and of their monitors, nanoseconds.
    pub(crate) fn cpu_ns(self) -> u64 {
        self.settled_ns.saturating_add(self.living_ns).saturating_add(self.monitors_ns)
    }

    /// The same since the pod's accounting began.
    pub(crate) fn since_opened_ns(self) -> u64 {
        self.cpu_ns().saturating_sub(self.baseline_ns)
    }

    /// CPU time that may have been missed since then, nanoseconds.
    pub(crate) fn missed_ns(self) -> u64 {
        self.missed_ns
    }

    /// Those that are not over were read.
    pub(crate) fn read(&mut self, living_ns: u64) {
        self.living_ns = living_ns;
    }

    /// The processes that watch them have used so much more, nanoseconds.
    pub(crate) fn monitors_used(&mut self, cpu_ns: u64) {
        self.is_used = true;
        self.monitors_ns = self.monitors_ns.saturating_add(cpu_ns);
    }

    /// One is over that has used so much. The sum stays what it is until the others are read.
    pub(crate) fn settle(&mut self, cpu_ns: u64) {
        self.settled_ns = self.settled_ns.saturating_add(cpu_ns);
        self.living_ns = self.living_ns.saturating_sub(cpu_ns);
    }

    /// One that was over has a process again.
    pub(crate) fn unsettle(&mut self, cpu_ns: u64) {
        let cpu_ns = cpu_ns.min(self.settled_ns);
        self.settled_ns -= cpu_ns;
        self.living_ns = self.living_ns.saturating_add(cpu_ns);
    }

    /// The end of one was missed, and with it about so much.
    pub(crate) fn miss(&mut self, estimate_ns: u64) {
        self.missed_ns = self.missed_ns.saturating_add(estimate_ns);
    }

    /// The pod's accounting begins again, as its ledger does: what was used or missed until now is no
    /// part of its error. The counter goes on.
    pub(crate) fn begin_again(&mut self) {
        self.baseline_ns = self.cpu_ns();
        self.missed_ns = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_goes_on_where_the_accounting_begins_again() {
        let mut beside = Beside::default();
        beside.read(100);
        beside.settle(60);
        beside.miss(7);
        assert_eq!((beside.cpu_ns(), beside.since_opened_ns(), beside.missed_ns()), (100, 100, 7));
        beside.begin_again();
        assert_eq!((beside.cpu_ns(), beside.since_opened_ns(), beside.missed_ns()), (100, 0, 0));
        beside.read(90);
        assert_eq!((beside.cpu_ns(), beside.since_opened_ns()), (150, 50));
    }

    #[test]
    fn an_end_makes_the_counter_no_smaller_before_the_others_are_read() {
        let mut beside = Beside::default();
        beside.read(100);
        // More than was known of it.
        beside.settle(120);
        assert_eq!(beside.cpu_ns(), 120);
        beside.unsettle(120);
        assert_eq!(beside.cpu_ns(), 120);
    }
}
