//! Buckets whose bounds grow by a constant factor, as Prometheus' native histograms have them. Pure.

use std::collections::BTreeMap;

/// The schema that a histogram begins with: eight buckets for each doubling, a factor of 1.09.
const FINEST_SCHEMA: i8 = 3;
/// The coarsest that Prometheus reads: one bucket for sixteen doublings.
const COARSEST_SCHEMA: i8 = -4;
/// Most buckets of one histogram; with more, each two become one.
const MAX_BUCKETS: usize = 48;
/// Observations up to here are counted as 0: what Prometheus' own client library has.
pub const ZERO_THRESHOLD: f64 = f64::from_bits(0x37F0_0000_0000_0000);

/// Counts of observations, none of them negative, by bucket.
///
/// Bucket `i` of schema `s` holds what is above `2^((i-1)/2^s)` and at most `2^(i/2^s)` (Prometheus'
/// specification of native histograms, "Schema").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExponentialBuckets {
    schema: i8,
    zero: u64,
    buckets: BTreeMap<i32, u64>,
}

/// Neighbouring buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Index of the first one, or how many are left out since the span before.
    pub offset: i32,
    /// Their counts.
    pub counts: Vec<u64>,
}

// === impl ExponentialBuckets ===

impl Default for ExponentialBuckets {
    fn default() -> Self {
        Self { schema: FINEST_SCHEMA, zero: 0, buckets: BTreeMap::new() }
    }
}

impl ExponentialBuckets {
    /// What was counted elsewhere, by [`Self::by_index`]; nothing if no histogram has this schema.
    pub fn counted(schema: i8, zero: u64, by_index: BTreeMap<i32, u64>) -> Option<Self> {
        let mut buckets = (COARSEST_SCHEMA..=FINEST_SCHEMA).contains(&schema).then_some(Self {
            schema,
            zero,
            buckets: by_index,
        })?;
        buckets.bound();
        Some(buckets)
    }

    /// The resolution: `2^schema` buckets for each doubling.
    pub fn schema(&self) -> i8 {
        self.schema
    }

    /// Observations of at most [`ZERO_THRESHOLD`].
    pub fn zero(&self) -> u64 {
        self.zero
    }

    /// The buckets with observations, by index.
    pub fn by_index(&self) -> &BTreeMap<i32, u64> {
        &self.buckets
    }

    /// All observations.
    pub fn count(&self) -> u64 {
        self.buckets.values().fold(self.zero, |sum, count| sum.saturating_add(*count))
    }

    /// The buckets with observations, in runs.
    pub fn spans(&self) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        let mut next = 0;
        for (index, count) in &self.buckets {
            if let Some(span) = spans.last_mut().filter(|_| *index == next) {
                span.counts.push(*count);
            } else {
                let offset = index.saturating_sub(next);
                spans.push(Span { offset, counts: vec![*count] });
            }
            next = index.saturating_add(1);
        }
        spans
    }

    /// Counts one. What is no number, or endless, is in no bucket: the histogram has none then that
    /// could be shown.
    pub fn observe(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        if value <= ZERO_THRESHOLD {
            self.zero = self.zero.saturating_add(1);
            return;
        }
        let count = self.buckets.entry(index(self.schema, value)).or_default();
        *count = count.saturating_add(1);
        self.bound();
    }

    fn bound(&mut self) {
        while self.buckets.len() > MAX_BUCKETS && self.schema > COARSEST_SCHEMA {
            self.coarsen();
        }
    }

    /// Each two buckets become one. For Prometheus that is no reset of the histogram.
    fn coarsen(&mut self) {
        self.schema -= 1;
        let mut coarse = BTreeMap::new();
        for (index, count) in &self.buckets {
            // Buckets 2i-1 and 2i make the new bucket i.
            let sum: &mut u64 =
                coarse.entry(index.div_euclid(2) + index.rem_euclid(2)).or_default();
            *sum = sum.saturating_add(*count);
        }
        self.buckets = coarse;
    }
}

/// The bucket of a value above 0.
#[expect(clippy::cast_possible_truncation, reason = "a logarithm of a float is below 1100")]
fn index(schema: i8, value: f64) -> i32 {
    let scale = f64::from(schema).exp2();
    let guess = (value.log2() * scale).ceil() as i32;
    // A logarithm is rounded: at a bound it can be one bucket off.
    let bound = |index: i32| (f64::from(index) / scale).exp2();
    if value <= bound(guess - 1) {
        guess - 1
    } else if value > bound(guess) {
        guess + 1
    } else {
        guess
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counted(values: &[f64]) -> ExponentialBuckets {
        let mut buckets = ExponentialBuckets::default();
        for value in values {
            buckets.observe(*value);
        }
        buckets
    }

    #[test]
    fn a_bound_belongs_to_the_bucket_below_it() {
        for (value, expected) in [(1.0, 0), (2.0, 8), (0.5, -8), (1.01, 1), (2.01, 9), (4.0, 16)] {
            assert_eq!(index(3, value), expected, "{value}");
        }
    }

    #[test]
    fn what_lies_apart_is_in_runs_of_its_own() {
        let buckets = counted(&[1.0, 1.01, 1.01, 4.0, 0.0]);
        let spans = buckets.spans();
        let expected =
            [Span { offset: 0, counts: vec![1, 2] }, Span { offset: 14, counts: vec![1] }];
        assert_eq!(spans, expected);
        assert_eq!((buckets.zero(), buckets.count()), (1, 5));
    }

    #[test]
    fn too_many_buckets_become_coarser_and_lose_no_observation() {
        let values: Vec<f64> = (-200..200).map(|n| (f64::from(n) / 4.0).exp2()).collect();
        let buckets = counted(&values);
        assert!(buckets.buckets.len() <= MAX_BUCKETS);
        assert_eq!(buckets.count(), 400);
        assert_eq!(buckets.schema(), -2, "100 doublings need buckets of four");
        let mut fresh = ExponentialBuckets { schema: -2, ..ExponentialBuckets::default() };
        for value in &values {
            fresh.observe(*value);
        }
        assert_eq!(buckets, fresh, "merged later or counted so at once");
    }

    #[test]
    fn what_was_counted_elsewhere_goes_on() {
        let mut buckets = counted(&[0.0, 1.0, 3.0]);
        let parts = (buckets.schema(), buckets.zero(), buckets.by_index().clone());
        let mut elsewhere = ExponentialBuckets::counted(parts.0, parts.1, parts.2).unwrap();
        for all in [&mut buckets, &mut elsewhere] {
            all.observe(3.0);
        }
        assert_eq!(buckets, elsewhere);
        for schema in [COARSEST_SCHEMA - 1, FINEST_SCHEMA + 1] {
            assert_eq!(ExponentialBuckets::counted(schema, 0, BTreeMap::new()), None);
        }
        let many = (0..500).map(|index| (index, 1)).collect();
        let bounded = ExponentialBuckets::counted(FINEST_SCHEMA, 0, many).unwrap();
        assert!(bounded.by_index().len() <= MAX_BUCKETS);
        assert_eq!(bounded.count(), 500);
    }

    proptest! {
        #[test]
        fn every_value_lies_within_its_bucket(value in 1e-9..1e15_f64, schema in -4..=3_i8) {
            let index = f64::from(index(schema, value));
            let scale = f64::from(schema).exp2();
            prop_assert!(((index - 1.0) / scale).exp2() < value);
            prop_assert!(value <= (index / scale).exp2());
        }

        #[test]
        fn any_float_can_be_observed(values in prop::collection::vec(any::<f64>(), 0..200)) {
            let buckets = counted(&values);
            prop_assert!(buckets.buckets.len() <= MAX_BUCKETS.max(130));
            let finite = values.iter().filter(|value| value.is_finite()).count();
            prop_assert_eq!(buckets.count(), finite as u64);
        }
    }
}
