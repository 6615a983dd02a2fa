//! A histogram of the agent: the same observations in classic and in native buckets.

use std::sync::{Arc, Mutex};

use ephemon_base::lock;
use ephemon_model::ExponentialBuckets;

/// A histogram that is counted into. Cheap to clone; every clone counts into the same buckets.
#[derive(Debug, Clone)]
pub(crate) struct Histogram(Arc<Mutex<Observations>>);

/// What a histogram has observed up to one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Observations {
    /// The family's name.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Upper bounds of the classic buckets, ascending; one more bucket has no bound.
    pub bounds: &'static [f64],
    /// Observations in each classic bucket, not cumulative.
    pub buckets: Vec<u64>,
    /// Of all observations.
    pub sum: f64,
    /// The same observations in native buckets.
    pub native: ExponentialBuckets,
}

// === impl Histogram ===

impl Histogram {
    pub(crate) fn new(name: &'static str, help: &'static str, bounds: &'static [f64]) -> Self {
        Self(Arc::new(Mutex::new(Observations::new(name, help, bounds))))
    }

    pub(crate) fn observe(&self, value: f64) {
        lock(&self.0).observe(value);
    }

    pub(crate) fn observations(&self) -> Observations {
        lock(&self.0).clone()
    }
}

// === impl Observations ===

impl Observations {
    /// None yet.
    pub fn new(name: &'static str, help: &'static str, bounds: &'static [f64]) -> Self {
        let buckets = vec![0; bounds.len().saturating_add(1)];
        Self { name, help, bounds, buckets, sum: 0.0, native: ExponentialBuckets::default() }
    }

    /// Counts one. A reader takes a native histogram whose buckets hold less than all observations for
    /// broken, so what is no finite number is in neither.
    pub fn observe(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        let place = self.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get_mut(place) {
            *bucket = bucket.saturating_add(1);
        }
        self.sum += value;
        self.native.observe(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_observation_is_in_one_bucket_of_both_kinds() {
        let histogram = Histogram::new("x_seconds", "Time.", &[1.0, 2.0]);
        for value in [0.0, 1.0, 1.5, 2.0, 7.0, f64::NAN, f64::INFINITY] {
            histogram.clone().observe(value);
        }
        let observations = histogram.observations();
        assert_eq!(observations.buckets, [2, 2, 1], "a bound belongs to its bucket");
        assert_eq!(observations.sum.to_bits(), 11.5_f64.to_bits());
        assert_eq!((observations.native.zero(), observations.native.count()), (1, 5));
    }
}
