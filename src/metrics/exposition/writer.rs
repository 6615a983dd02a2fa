//! What a format must be able to write, and what a histogram shows in each.

use ephemon_catalogue::{Kind, Label, Points, Read, Row, Value};
use ephemon_jobs::tally::{self, Exemplar, ExponentialBuckets};
use prometheus::proto;

/// Writes one family after another.
pub(super) trait Writer: Points + Sized {
    /// Whether this family is to be written.
    fn shows(&self, family: &str) -> bool;

    /// Begins a family; `further`: labels that its row yields.
    fn open(&mut self, name: &str, help: &str, kind: Kind, further: &'static [Label]);

    /// The labels that the following samples share, as `push_label` spells them.
    fn about(&mut self, labels: &str);

    /// A sample with the shared labels only. An absent value is no sample.
    fn one(&mut self, value: Option<Value>);

    /// A histogram with the shared labels only.
    fn histogram(&mut self, histogram: &Histogram<'_>);

    /// Ends the family; one without a series leaves no trace.
    fn close(&mut self);

    /// What `of` has of a row's family.
    fn row<T>(&mut self, row: &Row<T>, of: &T) {
        match row.read {
            Read::One(read) => self.one(read(of)),
            Read::Many(read) => read(of, self),
            Read::Histogram(read, bounds) => self.histogram(&Histogram::new(read(of), bounds)),
        }
    }
}

/// A histogram with cumulative counts.
pub(super) struct Histogram<'a> {
    /// The last one's bound is infinite.
    pub(super) buckets: Vec<Bucket<'a>>,
    /// Of all observations.
    pub(super) sum: f64,
    /// The same observations for a scraper of native histograms.
    pub(super) native: Option<&'a ExponentialBuckets>,
}

/// Observations up to a bound.
pub(super) struct Bucket<'a> {
    pub(super) bound: f64,
    pub(super) count: u64,
    pub(super) exemplar: Option<&'a Exemplar>,
}

// === impl Histogram ===

impl<'a> Histogram<'a> {
    /// A histogram without observations has no buckets: it is shown all the same, for the reason that
    /// `Points::unseen` gives.
    fn new(histogram: &'a tally::Histogram, bounds: &[f64]) -> Self {
        let mut sum = 0_u64;
        let buckets = (0..=bounds.len()).map(|at| {
            let observed = histogram.buckets.get(at).copied().unwrap_or_default();
            sum = sum.saturating_add(observed);
            Bucket {
                bound: bounds.get(at).copied().unwrap_or(f64::INFINITY),
                count: sum,
                exemplar: histogram.exemplars.get(at).and_then(Option::as_ref),
            }
        });
        Self { buckets: buckets.collect(), sum: histogram.sum, native: Some(histogram.native()) }
    }

    /// All observations.
    pub(super) fn count(&self) -> u64 {
        self.buckets.last().map_or(0, |bucket| bucket.count)
    }
}

impl From<&proto::Histogram> for Histogram<'_> {
    /// What the `prometheus` crate counted: it has no native buckets.
    fn from(histogram: &proto::Histogram) -> Self {
        let finite = histogram.get_bucket().iter().filter(|one| one.upper_bound().is_finite());
        let mut buckets: Vec<_> =
            finite.map(|one| Bucket::new(one.upper_bound(), one.cumulative_count())).collect();
        buckets.push(Bucket::new(f64::INFINITY, histogram.get_sample_count()));
        Self { buckets, sum: histogram.get_sample_sum(), native: None }
    }
}

// === impl Bucket ===

impl Bucket<'_> {
    fn new(bound: f64, count: u64) -> Self {
        Self { bound, count, exemplar: None }
    }
}
