//! Readiness: named conditions, each held by the part that must meet it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use ephemon_base::lock;

/// The conditions that are not met yet. The agent is ready when there are none. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<Vec<(u64, &'static str)>>>);

/// One condition; it counts as met when [`Condition::met`] is called or it is dropped.
#[must_use = "dropping a condition marks it as met"]
pub struct Condition {
    readiness: Readiness,
    key: u64,
}

// === impl Readiness ===

impl Readiness {
    /// Adds a condition; `/readyz` lists `what` until it is met.
    pub fn condition(&self, what: &'static str) -> Condition {
        let mut missing = self.lock();
        let key = missing.last().map_or(0, |(key, _)| key + 1);
        missing.push((key, what));
        Condition { readiness: self.clone(), key }
    }

    /// The conditions that are not met, in the order in which they were added.
    pub fn missing(&self) -> Vec<&'static str> {
        self.lock().iter().map(|(_, what)| *what).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, &'static str)>> {
        lock(&self.0)
    }
}

// === impl Condition ===

impl Condition {
    /// Marks the condition as met.
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
