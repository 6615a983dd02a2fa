//! What a format must be able to write, and what a histogram shows in each.

use ephemon_catalogue::{Kind, Label, Points, Read, Row, Value};
use ephemon_jobs::tally::{self, Exemplar};
use ephemon_model::ExponentialBuckets;
use ephemon_self_metrics::Observations;

/// Writes one family after another.
pub(super) trait Writer: Points + Sized {
    /// Whether this family is to be written.
    fn shows(&self, family: &str) -> bool;

    /// Begins a family; `further`: labels that its row yields.
    fn open(&mut self, name: &str, help: &str, kind: Kind, further: &'static [Label]);

    /// The labels that the following samples share, as `push_label` spells them, and when their counters
    /// were 0, in nanoseconds since 1970, if that is known.
    fn about(&mut self, labels: &str, since_ns: Option<u64>);

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
    pub(super) native: &'a ExponentialBuckets,
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
        let tally::Histogram { buckets, sum, exemplars, .. } = histogram;
        Self {
            buckets: cumulative(buckets, bounds, exemplars),
            sum: *sum,
            native: histogram.native(),
        }
    }

    /// All observations.
    pub(super) fn count(&self) -> u64 {
        self.buckets.last().map_or(0, |bucket| bucket.count)
    }
}

impl<'a> From<&'a Observations> for Histogram<'a> {
    /// One of the agent itself.
    fn from(of: &'a Observations) -> Self {
        Self { buckets: cumulative(&of.buckets, of.bounds, &[]), sum: of.sum, native: &of.native }
    }
}

/// Buckets that hold what the lower ones do; the last one's bound is infinite.
fn cumulative<'a>(
    counts: &[u64],
    bounds: &[f64],
    exemplars: &'a [Option<Exemplar>],
) -> Vec<Bucket<'a>> {
    let mut sum = 0_u64;
    let buckets = (0..=bounds.len()).map(|at| {
        sum = sum.saturating_add(counts.get(at).copied().unwrap_or_default());
        Bucket {
            bound: bounds.get(at).copied().unwrap_or(f64::INFINITY),
            count: sum,
            exemplar: exemplars.get(at).and_then(Option::as_ref),
        }
    });
    buckets.collect()
}
