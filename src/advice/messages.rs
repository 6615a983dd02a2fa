//! The messages of Prometheus' protobuf format, with the fields that are read: the one format in
//! which agents serve buckets that are fine enough.
//!
//! Declared by hand with the field numbers of `io.prometheus.client` (`prometheus/client_model`,
//! `metrics.proto`), as the agent's own writer does.

/// `MetricFamily`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Family {
    #[prost(string, optional, tag = "1")]
    pub(crate) name: Option<String>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) metric: Vec<Metric>,
}

/// `Metric`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Metric {
    #[prost(message, repeated, tag = "1")]
    pub(crate) label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    pub(crate) gauge: Option<Single>,
    #[prost(message, optional, tag = "3")]
    pub(crate) counter: Option<Single>,
    #[prost(message, optional, tag = "7")]
    pub(crate) histogram: Option<Histogram>,
}

/// `LabelPair`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct LabelPair {
    #[prost(string, optional, tag = "1")]
    pub(crate) name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub(crate) value: Option<String>,
}

/// `Gauge` and `Counter`, which are alike.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Single {
    #[prost(double, optional, tag = "1")]
    pub(crate) value: Option<f64>,
}

/// `Histogram`, with native buckets only.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Histogram {
    #[prost(uint64, optional, tag = "1")]
    pub(crate) sample_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    pub(crate) sample_sum: Option<f64>,
    #[prost(sint32, optional, tag = "5")]
    pub(crate) schema: Option<i32>,
    #[prost(uint64, optional, tag = "7")]
    pub(crate) zero_count: Option<u64>,
    #[prost(message, repeated, tag = "12")]
    pub(crate) positive_span: Vec<BucketSpan>,
    /// The first count, then each one's difference to the one before.
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    pub(crate) positive_delta: Vec<i64>,
}

/// `BucketSpan`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct BucketSpan {
    #[prost(sint32, optional, tag = "1")]
    pub(crate) offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    pub(crate) length: Option<u32>,
}

// === impl Metric ===

impl Metric {
    /// The value of a label; empty without it.
    pub(crate) fn label(&self, name: &str) -> &str {
        let pair = self.label.iter().find(|pair| pair.name() == name);
        pair.map_or("", LabelPair::value)
    }

    /// Of a counter or a gauge.
    pub(crate) fn single(&self) -> Option<f64> {
        let value = self.counter.or(self.gauge)?.value?;
        value.is_finite().then_some(value)
    }
}

// === impl Histogram ===

impl Histogram {
    /// The upper bound of each bucket with its count, by the specification of native histograms
    /// ("Schema"): bucket `i` ends at `2^(i/2^schema)`.
    pub(crate) fn buckets(&self) -> Vec<(f64, u64)> {
        let factor = f64::from(self.schema().clamp(-4, 8)).exp2().recip();
        let mut buckets = Vec::new();
        buckets.extend(self.zero_count.filter(|count| *count > 0).map(|count| (0.0, count)));
        let mut deltas = self.positive_delta.iter();
        let (mut index, mut count) = (0_i64, 0_i64);
        for span in &self.positive_span {
            index = index.saturating_add(span.offset().into());
            for _ in 0..span.length() {
                // A length without counts is no reason to go on.
                let Some(delta) = deltas.next() else { return buckets };
                count = count.saturating_add(*delta);
                let bound = (index as f64 * factor).exp2();
                buckets.extend(u64::try_from(count).ok().map(|count| (bound, count)));
                index = index.saturating_add(1);
            }
        }
        buckets
    }
}
