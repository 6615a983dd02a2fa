//! Writes families in Prometheus' protobuf format: each a `MetricFamily`, with its length before it.

use std::collections::HashMap;

use ephemon_catalogue::{Kind, Label, LabelValue, Points, Unit, Value};
use ephemon_jobs::tally;
use ephemon_model::{ExponentialBuckets, ZERO_THRESHOLD};
use prost::Message as _;

use super::messages::{
    Bucket, BucketSpan, Counter, Exemplar, FamilyHead, Gauge, Histogram, LabelPair, METRIC_KEY,
    Metric, MetricType, Timestamp,
};
use super::value;
use super::writer::{self, Writer};
use crate::devices::DeviceNames;
use crate::filter::Filter;
use crate::label::{clip, pairs};

/// The families written so far.
pub(super) struct Families<'a> {
    out: &'a mut Vec<u8>,
    devices: &'a DeviceNames,
    filter: &'a Filter,
    kind: Kind,
    /// Labels that the family's row yields.
    further: &'static [Label],
    /// Shared labels as fields of a `Metric`, by the text that spells them: each family of an object
    /// has the same.
    known: HashMap<String, Vec<u8>>,
    shared: Vec<u8>,
    /// When the counters and histograms of the shared labels began.
    since: Option<Timestamp>,
    count: usize,
    /// Where the family begins, and metrics before it.
    opened: (usize, usize),
}

// === impl Families ===

impl<'a> Families<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>, devices: &'a DeviceNames, filter: &'a Filter) -> Self {
        Self {
            out,
            devices,
            filter,
            kind: Kind::Gauge,
            further: &[],
            known: HashMap::new(),
            shared: Vec::new(),
            since: None,
            count: 0,
            opened: (0, 0),
        }
    }

    /// Metrics so far.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// A metric with the shared labels and its own. Two messages of one type, one after the other, are
    /// one with the fields of both (protobuf.dev, "Last One Wins").
    fn metric(&mut self, metric: &Metric) {
        self.count += 1;
        self.out.push(METRIC_KEY);
        push_length(self.out, self.shared.len() + metric.encoded_len());
        self.out.extend_from_slice(&self.shared);
        // A vector has room for it always.
        metric.encode(self.out).ok();
    }

    fn single(&mut self, label: Vec<LabelPair>, value: Value) {
        let value = Some(value::float(value));
        let metric = match self.kind {
            Kind::Counter => {
                let counter = Some(Counter { value, created_timestamp: self.since });
                Metric { label, counter, ..Metric::default() }
            }
            _ => Metric { label, gauge: Some(Gauge { value }), ..Metric::default() },
        };
        self.metric(&metric);
    }

    fn text(&self, value: LabelValue<'_>) -> Option<String> {
        match value {
            LabelValue::Text(text) => Some(clip(text).to_owned()),
            LabelValue::Integer(number) => Some(number.to_string()),
            LabelValue::Device { major, minor } => match self.devices.name(major, minor) {
                Some(name) => Some(clip(name).to_owned()),
                None => Some(format!("{major}:{minor}")),
            },
            LabelValue::Absent => None,
        }
    }
}

impl Writer for Families<'_> {
    fn shows(&self, family: &str) -> bool {
        self.filter.shows(family)
    }

    fn open(&mut self, name: &str, help: &str, kind: Kind, further: &'static [Label]) {
        self.further = further;
        self.kind = kind;
        self.opened = (self.out.len(), self.count);
        let kind = match kind {
            Kind::Counter => MetricType::Counter,
            Kind::Histogram => MetricType::Histogram,
            Kind::Gauge | Kind::UpDownCounter | Kind::Info => MetricType::Gauge,
        };
        let stem = name.strip_suffix("_total").unwrap_or(name);
        let head = FamilyHead {
            name: Some(name.to_owned()),
            help: Some(help.to_owned()),
            kind: Some(kind.into()),
            unit: Unit::of(stem).map(|unit| unit.as_str().to_owned()),
        };
        self.out.extend_from_slice(&head.encode_to_vec());
    }

    fn about(&mut self, labels: &str, since_ns: Option<u64>) {
        self.since = since_ns.map(Timestamp::at_ns);
        if !self.known.contains_key(labels) {
            let label = pairs(labels).into_iter().map(|(name, value)| LabelPair::new(name, value));
            let metric = Metric { label: label.collect(), ..Metric::default() };
            self.known.insert(labels.to_owned(), metric.encode_to_vec());
        }
        let encoded = self.known.get(labels).map(Vec::as_slice).unwrap_or_default();
        self.shared.clear();
        self.shared.extend_from_slice(encoded);
    }

    fn one(&mut self, value: Option<Value>) {
        if let Some(value) = value {
            self.single(Vec::new(), value);
        }
    }

    fn histogram(&mut self, histogram: &writer::Histogram<'_>) {
        let buckets = histogram.buckets.iter().map(|bucket| Bucket {
            cumulative_count: Some(bucket.count),
            upper_bound: Some(bucket.bound),
            exemplar: bucket.exemplar.map(Exemplar::from),
        });
        let mut message = Histogram {
            sample_count: Some(histogram.count()),
            sample_sum: Some(histogram.sum),
            bucket: buckets.collect(),
            created_timestamp: self.since,
            ..Histogram::default()
        };
        message.add(histogram.native);
        self.metric(&Metric { histogram: Some(message), ..Metric::default() });
    }

    fn close(&mut self) {
        let (start, count) = self.opened;
        if count == self.count {
            self.out.truncate(start);
            return;
        }
        let mut length = Vec::new();
        push_length(&mut length, self.out.len() - start);
        self.out.splice(start..start, length);
    }
}

impl Points for Families<'_> {
    fn put(&mut self, labels: &[LabelValue<'_>], value: Option<Value>) {
        let Some(value) = value else { return };
        let names = self.further.iter().zip(labels);
        let further =
            names.filter_map(|(name, value)| Some(LabelPair::new(name.label?, self.text(*value)?)));
        let further = further.collect();
        self.single(further, value);
    }

    fn unseen(&mut self, labels: &[LabelValue<'_>]) {
        self.put(labels, Some(Value::Count(0)));
    }
}

/// A base-128 number.
fn push_length(out: &mut Vec<u8>, length: usize) {
    // A vector has room for it always.
    prost::encode_length_delimiter(length, out).ok();
}

// === impl Histogram ===

impl Histogram {
    /// A threshold above 0 is what tells Prometheus that the histogram is a native one too, also with
    /// no observation yet.
    fn add(&mut self, native: &ExponentialBuckets) {
        self.schema = Some(native.schema().into());
        self.zero_threshold = Some(ZERO_THRESHOLD);
        self.zero_count = Some(native.zero());
        let mut before = 0_i64;
        for span in native.spans() {
            self.positive_span.push(BucketSpan {
                offset: Some(span.offset),
                length: Some(u32::try_from(span.counts.len()).unwrap_or(u32::MAX)),
            });
            for count in span.counts {
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                self.positive_delta.push(count - before);
                before = count;
            }
        }
    }
}

// === impl Exemplar ===

impl From<&tally::Exemplar> for Exemplar {
    fn from(exemplar: &tally::Exemplar) -> Self {
        let tally::Exemplar { trace_id, span_id, value, at_ns } = exemplar;
        let label = [("trace_id", trace_id), ("span_id", span_id)];
        Self {
            label: label.map(|(name, value)| LabelPair::new(name, clip(value))).to_vec(),
            value: Some(*value),
            timestamp: Some(Timestamp::at_ns(*at_ns)),
        }
    }
}
