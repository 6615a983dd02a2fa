//! Readiness: named conditions, each held by whoever is to meet it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use ephemon_base::lock;

/// What is still missing. Ready when nothing is. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<Vec<(u64, &'static str)>>>);

/// One condition, missing until it is met or dropped.
#[must_use = "a condition that is dropped is met"]
pub struct Condition {
    readiness: Readiness,
    key: u64,
}

// === impl Readiness ===

impl Readiness {
    /// Adds a condition; `what` is what `/readyz` lists while it is missing.
    pub fn condition(&self, what: &'static str) -> Condition {
        let mut missing = self.lock();
        let key = missing.last().map_or(0, |(key, _)| key + 1);
        missing.push((key, what));
        Condition { readiness: self.clone(), key }
    }

    /// What is missing, in the order it was added.
    pub fn missing(&self) -> Vec<&'static str> {
        self.lock().iter().map(|(_, what)| *what).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, &'static str)>> {
        lock(&self.0)
    }
}

// === impl Condition ===

impl Condition {
    /// The condition is met.
    pub fn met(self) {
        drop(self);
    }
}

impl Drop for Condition {
    fn drop(&mut self) {
        self.readiness.lock().retain(|(key, _)| *key != self.key);
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.key).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_condition_is_met_or_dropped() {
        let readiness = Readiness::default();
        let (list, scan) = (readiness.condition("pod list"), readiness.condition("scan"));
        assert_eq!(readiness.missing(), ["pod list", "scan"]);
        list.met();
        assert_eq!(readiness.missing(), ["scan"]);
        drop(scan);
        assert_eq!(readiness.missing(), [""; 0]);
    }

    #[test]
    fn two_conditions_of_one_name_are_two() {
        let readiness = Readiness::default();
        let (first, second) = (readiness.condition("scan"), readiness.condition("scan"));
        first.met();
        let third = readiness.condition("list");
        assert_eq!(readiness.missing(), ["scan", "list"]);
        second.met();
        third.met();
        assert_eq!(readiness.missing().len(), 0);
    }
}
