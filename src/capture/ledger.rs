//! A pod's accounting: compares its own counters with those of its containers. Pure.
//!
//! `pod = baseline + Σ settled + Σ living`. The remainder was used by containers whose final
//! reading was missed, and is assigned to them.

use ephemon_model::Quality;

use super::additive::Additive;

/// The error ratio is not meaningful below this CPU time: 0.1 s.
const RATIO_FROM_NS: u64 = 100_000_000;

/// One pod's accounting.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    /// What the pod had used before the agent watched it, in containers that were never seen.
    baseline: Option<Additive>,
    /// Σ final readings.
    settled: Additive,
}

/// What a container whose final reading was missed gets in addition to its last sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    /// The values to add.
    pub(crate) figures: Additive,
    /// The quality of the resulting final reading.
    pub(crate) quality: Quality,
}

// === impl Ledger ===

impl Ledger {
    /// For a pod seen from its creation: nothing was used before.
    pub(crate) fn from_birth() -> Self {
        Self { baseline: Some(Additive::default()), settled: Additive::default() }
    }

    /// For a pod that was already running; the first balance sets the baseline.
    pub(crate) fn from_now() -> Self {
        Self::default()
    }

    /// Sets the baseline if there is none yet: what the pod has used, minus the running containers.
    pub(crate) fn open(&mut self, pod: &Additive, living: &Additive) {
        if self.baseline.is_none() {
            let mut known = self.settled.clone();
            known.add(living);
            self.baseline = Some(pod.less(&known));
        }
    }

    /// Adds a final reading.
    pub(crate) fn settle(&mut self, last: &Additive) {
        self.settled.add(last);
    }

    /// Removes a final reading, because the container has a process again.
    pub(crate) fn unsettle(&mut self, last: &Additive) {
        self.settled = self.settled.less(last);
    }

    /// Whether the baseline is set.
    pub(crate) fn is_open(&self) -> bool {
        self.baseline.is_some()
    }

    /// CPU time of the baseline and the final readings, in nanoseconds. `None` without baseline.
    pub(crate) fn known_cpu_ns(&self) -> Option<u64> {
        let baseline = self.baseline.as_ref()?.cpu_ns().unwrap_or(0);
        baseline.checked_add(self.settled.cpu_ns().unwrap_or(0))
    }

    /// What the pod has used that no final reading and no running container accounts for. `None`
    /// without baseline.
    pub(crate) fn residual(&self, pod: &Additive, living: &Additive) -> Option<Additive> {
        let mut known = self.baseline.clone()?;
        known.add(&self.settled);
        known.add(living);
        Some(pod.less(&known))
    }

    /// Divides the remainder among the containers whose final reading was missed, in proportion to
    /// `waits`, the nanoseconds since each one's CPU time was last read.
    pub(crate) fn divide(residual: &Additive, waits: &[u64]) -> Vec<Share> {
        let quality = if waits.len() > 1 { Quality::ResidualShared } else { Quality::Residual };
        let whole: u64 = waits.iter().map(|wait| (*wait).max(1)).sum();
        waits
            .iter()
            .map(|wait| Share { figures: residual.share((*wait).max(1), whole), quality })
            .collect()
    }

    /// (|pod − baseline − Σ| + missed beside it) ÷ (pod − baseline + beside it) of the CPU time.
    pub(crate) fn error_ratio(
        &self,
        pod_ns: u64,
        living_ns: u64,
        beside_ns: u64,
        missed_ns: u64,
    ) -> Option<f64> {
        let baseline = self.baseline.as_ref()?.cpu_ns().unwrap_or(0);
        let used = pod_ns.saturating_sub(baseline);
        let known = self.settled.cpu_ns().unwrap_or(0).saturating_add(living_ns);
        let whole = used.saturating_add(beside_ns);
        let error = used.abs_diff(known).saturating_add(missed_ns);
        (whole >= RATIO_FROM_NS).then(|| error as f64 / whole as f64)
    }
}

#[cfg(test)]
mod tests {
    use ephemon_model::Usage;

    use super::*;

    fn cpu(ns: u64) -> Additive {
        let mut usage = Usage::default();
        usage.cpu.usage_ns = Some(ns);
        Additive::of(&usage)
    }

    #[test]
    fn a_missed_final_is_what_is_left_over() {
        let mut ledger = Ledger::from_birth();
        ledger.settle(&cpu(300));
        let residual = ledger.residual(&cpu(1000), &cpu(200)).unwrap();
        assert_eq!(residual.cpu_ns(), Some(500));
        let shares = Ledger::divide(&residual, &[7]);
        assert_eq!(shares, [Share { figures: cpu(500), quality: Quality::Residual }]);
    }

    #[test]
    fn several_missed_at_once_share_by_the_time_unseen() {
        let shares = Ledger::divide(&cpu(900), &[100, 200]);
        assert_eq!(shares[0], Share { figures: cpu(300), quality: Quality::ResidualShared });
        assert_eq!(shares[1].figures, cpu(600));
    }

    #[test]
    fn what_was_used_before_the_agent_came_is_nobodys() {
        let mut ledger = Ledger::from_now();
        assert_eq!(ledger.residual(&cpu(5000), &cpu(0)), None);
        ledger.open(&cpu(5000), &cpu(1000));
        ledger.open(&cpu(9000), &cpu(0));
        assert_eq!(ledger.residual(&cpu(5600), &cpu(1600)).unwrap().cpu_ns(), Some(0));
    }

    #[test]
    fn a_container_that_came_back_is_counted_once() {
        let mut ledger = Ledger::from_birth();
        ledger.settle(&cpu(100));
        ledger.unsettle(&cpu(100));
        ledger.settle(&cpu(250));
        assert_eq!(ledger.residual(&cpu(250), &cpu(0)).unwrap().cpu_ns(), Some(0));
    }

    #[test]
    fn the_error_ratio_waits_for_enough_to_divide_by() {
        let mut ledger = Ledger::from_birth();
        ledger.settle(&cpu(990_000_000));
        assert_eq!(ledger.error_ratio(1_000_000, 0, 0, 0), None);
        let error = ledger.error_ratio(1_000_000_000, 0, 0, 0).unwrap();
        assert!((error - 0.01).abs() < 1e-9, "{error}");
        assert!(ledger.error_ratio(900_000_000, 0, 0, 0).unwrap() > 0.09);
        // As much again beside the pod, of which a tenth may have been missed.
        let error = ledger.error_ratio(990_000_000, 0, 1_010_000_000, 200_000_000).unwrap();
        assert!((error - 0.1).abs() < 1e-9, "{error}");
    }
}
