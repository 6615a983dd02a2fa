//! A pod's readings: its own counters against those of its containers. Pure.
//!
//! `pod = baseline + Σ settled + Σ living`. Whatever is left over was used by containers whose
//! final reading was missed, and is given to them.

use ephemon_model::Quality;

use super::additive::Additive;

/// A ratio of errors means nothing below this much CPU time: 0.1 s.
const RATIO_FROM_NS: u64 = 100_000_000;

/// One pod's readings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    /// What the pod had used before the agent watched it, by containers it never saw.
    baseline: Option<Additive>,
    /// Σ finals.
    settled: Additive,
}

/// What one of those whose final reading was missed gets on top of its last sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    /// Figures to add.
    pub(crate) figures: Additive,
    /// The quality its final then has.
    pub(crate) quality: Quality,
}

// === impl Ledger ===

impl Ledger {
    /// Readings of a pod seen from its birth: nothing was used before.
    pub(crate) fn from_birth() -> Self {
        Self { baseline: Some(Additive::default()), settled: Additive::default() }
    }

    /// Readings of a pod found running; the first balance sets the baseline.
    pub(crate) fn from_now() -> Self {
        Self::default()
    }

    /// Sets the baseline if there is none yet: what the pod used that none of those alive did.
    pub(crate) fn open(&mut self, pod: &Additive, living: &Additive) {
        if self.baseline.is_none() {
            let mut known = self.settled.clone();
            known.add(living);
            self.baseline = Some(pod.less(&known));
        }
    }

    /// Enters a final.
    pub(crate) fn settle(&mut self, last: &Additive) {
        self.settled.add(last);
    }

    /// Takes a final back: the container turned out to be alive.
    pub(crate) fn unsettle(&mut self, last: &Additive) {
        self.settled = self.settled.less(last);
    }

    /// Whether the baseline is set.
    pub(crate) fn is_open(&self) -> bool {
        self.baseline.is_some()
    }

    /// CPU time that is accounted for beside the living: baseline and finals, in nanoseconds.
    /// `None` before the readings are open.
    pub(crate) fn known_cpu_ns(&self) -> Option<u64> {
        let baseline = self.baseline.as_ref()?.cpu_ns().unwrap_or(0);
        baseline.checked_add(self.settled.cpu_ns().unwrap_or(0))
    }

    /// What the pod used that no final and no living container accounts for. `None` before the
    /// readings are open.
    pub(crate) fn residual(&self, pod: &Additive, living: &Additive) -> Option<Additive> {
        let mut known = self.baseline.clone()?;
        known.add(&self.settled);
        known.add(living);
        Some(pod.less(&known))
    }

    /// Divides what is left over among those whose final was missed; `waits` are the nanoseconds
    /// since each one's last sample, by which several share.
    pub(crate) fn divide(residual: &Additive, waits: &[u64]) -> Vec<Share> {
        let quality = if waits.len() > 1 { Quality::ResidualShared } else { Quality::Residual };
        let whole: u64 = waits.iter().map(|wait| (*wait).max(1)).sum();
        waits
            .iter()
            .map(|wait| Share { figures: residual.share((*wait).max(1), whole), quality })
            .collect()
    }

    /// |pod − baseline − Σ| ÷ (pod − baseline) of CPU time, in either direction.
    pub(crate) fn error_ratio(&self, pod_ns: u64, living_ns: u64) -> Option<f64> {
        let baseline = self.baseline.as_ref()?.cpu_ns().unwrap_or(0);
        let used = pod_ns.saturating_sub(baseline);
        let known = self.settled.cpu_ns().unwrap_or(0).saturating_add(living_ns);
        (used >= RATIO_FROM_NS).then(|| used.abs_diff(known) as f64 / used as f64)
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
        assert_eq!(ledger.error_ratio(1_000_000, 0), None);
        let error = ledger.error_ratio(1_000_000_000, 0).unwrap();
        assert!((error - 0.01).abs() < 1e-9, "{error}");
        assert!(ledger.error_ratio(900_000_000, 0).unwrap() > 0.09);
    }
}
