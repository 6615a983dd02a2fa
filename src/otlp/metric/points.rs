//! Points under way, gathered into metrics.

use ephemon_jobs::tally;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, Sum, exemplar,
};

use super::instrument::{Instrument, Kind};

/// What points are about.
pub(super) trait Subject {
    /// Since when sums count, nanoseconds since 1970.
    fn start_ns(&self) -> u64;
    /// When the figures were read.
    fn at_ns(&self) -> u64;
    /// Attributes of each of its points.
    fn attributes(&self) -> Vec<KeyValue> {
        Vec::new()
    }
}

/// A point's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Figure {
    /// A count or a number of bytes.
    Count(u64),
    /// Thousandths, sent as whole ones.
    Millis(u64),
    /// Microseconds, sent as seconds.
    Micros(u64),
    /// Nanoseconds, sent as seconds.
    Nanos(u64),
}

/// Metrics of one resource under way.
#[derive(Debug, Default)]
pub(super) struct Points {
    start_ns: u64,
    at_ns: u64,
    common: Vec<KeyValue>,
    numbers: Vec<NumberDataPoint>,
    histograms: Vec<HistogramDataPoint>,
    metrics: Vec<Metric>,
    count: usize,
}

// === impl Points ===

impl Points {
    /// The points to come are about this.
    pub(super) fn of(&mut self, subject: &impl Subject) {
        self.start_ns = subject.start_ns();
        self.at_ns = subject.at_ns();
        self.common = subject.attributes();
    }

    /// One point, where there is a figure.
    pub(super) fn put(&mut self, figure: Option<Figure>) {
        self.put_with(&[], figure);
    }

    /// One point with attributes of its own.
    pub(super) fn put_with(&mut self, attributes: &[(&str, &str)], figure: Option<Figure>) {
        self.put_all(attributes.iter().map(|(key, value)| text(key, value)), figure);
    }

    /// The same, of any kind of attributes.
    pub(super) fn put_all(
        &mut self,
        attributes: impl IntoIterator<Item = KeyValue>,
        figure: Option<Figure>,
    ) {
        let Some(figure) = figure else { return };
        let mut all = self.common.clone();
        all.extend(attributes);
        self.numbers.push(NumberDataPoint {
            attributes: all,
            start_time_unix_nano: self.start_ns,
            time_unix_nano: self.at_ns,
            value: Some(figure.number()),
            ..NumberDataPoint::default()
        });
    }

    /// A histogram as it is, with those exemplars that it did not have `before`. None of one that has
    /// never seen anything.
    pub(super) fn histogram(
        &mut self,
        now: &tally::Histogram,
        before: Option<&tally::Histogram>,
        bounds: &[f64],
    ) {
        if now.count() == 0 {
            return;
        }
        // An earlier agent may have had other bounds.
        let mut buckets = now.buckets.clone();
        buckets.resize(bounds.len() + 1, 0);
        let known = |place: usize| before.and_then(|before| before.exemplars.get(place)?.as_ref());
        let new = now.exemplars.iter().enumerate().filter_map(|(place, exemplar)| {
            let exemplar = exemplar.as_ref()?;
            (known(place) != Some(exemplar)).then(|| of_tally(exemplar)).flatten()
        });
        self.histograms.push(HistogramDataPoint {
            attributes: self.common.clone(),
            start_time_unix_nano: self.start_ns,
            time_unix_nano: self.at_ns,
            count: buckets.iter().sum(),
            sum: Some(now.sum),
            bucket_counts: buckets,
            explicit_bounds: bounds.to_vec(),
            exemplars: new.collect(),
            ..HistogramDataPoint::default()
        });
    }

    /// What came since the last call are the points of this metric.
    pub(super) fn close(&mut self, instrument: &Instrument) {
        let mut data_points = std::mem::take(&mut self.numbers);
        let histograms = std::mem::take(&mut self.histograms);
        let points = data_points.len() + histograms.len();
        if points == 0 {
            return;
        }
        self.count += points;
        let aggregation_temporality = AggregationTemporality::Cumulative.into();
        let sum = |data_points, is_monotonic| {
            Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic })
        };
        let data = match instrument.kind {
            Kind::Counter => sum(data_points, true),
            Kind::UpDownCounter => sum(data_points, false),
            Kind::Gauge => {
                // What was measured now has no beginning.
                for point in &mut data_points {
                    point.start_time_unix_nano = 0;
                }
                Data::Gauge(Gauge { data_points })
            }
            Kind::Histogram => {
                Data::Histogram(Histogram { data_points: histograms, aggregation_temporality })
            }
        };
        self.metrics.push(Metric {
            name: instrument.name.to_owned(),
            description: instrument.description.to_owned(),
            unit: instrument.unit.to_owned(),
            data: Some(data),
            ..Metric::default()
        });
    }

    /// The metrics, and how many points they have.
    pub(super) fn into_metrics(self) -> (Vec<Metric>, usize) {
        (self.metrics, self.count)
    }
}

// === impl Figure ===

impl Figure {
    fn number(self) -> Number {
        match self {
            Self::Count(count) => Number::AsInt(i64::try_from(count).unwrap_or(i64::MAX)),
            Self::Millis(millis) => Number::AsDouble(millis as f64 / 1e3),
            Self::Micros(micros) => Number::AsDouble(micros as f64 / 1e6),
            Self::Nanos(nanos) => Number::AsDouble(nanos as f64 / 1e9),
        }
    }
}

/// An attribute.
pub(super) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

/// An attribute that is a number.
pub(super) fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// None of one whose ids are none.
fn of_tally(exemplar: &tally::Exemplar) -> Option<Exemplar> {
    Some(Exemplar {
        time_unix_nano: exemplar.at_ns,
        trace_id: bytes(&exemplar.trace_id, 16)?,
        span_id: bytes(&exemplar.span_id, 8)?,
        value: Some(exemplar::Value::AsDouble(exemplar.value)),
        ..Exemplar::default()
    })
}

/// So many bytes from hexadecimal digits.
fn bytes(hex: &str, count: usize) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = hex.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() == 2 * count)?;
    let pair = |pair: &[u32]| pair.iter().fold(0, |byte, digit| byte * 16 + digit);
    digits.chunks(2).map(|two| u8::try_from(pair(two)).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_from_whole_hexadecimal_only() {
        assert_eq!(bytes("00ff7f", 3), Some(vec![0, 255, 127]));
        for wrong in ["", "00ff", "00ff7f00", "00fg7f", "0ff7f"] {
            assert_eq!(bytes(wrong, 3), None, "{wrong}");
        }
    }
}
