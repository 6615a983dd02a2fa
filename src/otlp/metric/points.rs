//! Points under way, gathered into metrics.

use ephemon_catalogue::{
    Instrument, InstrumentRows, Kind, LabelValue, Metric as RowMetric, Points, Read, Row, Value,
};
use ephemon_jobs::tally;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, Sum, exemplar,
};

/// What points are about.
pub(super) trait Subject {
    /// What rows of the catalogue read.
    type Read: 'static;

    /// Their source.
    fn read(&self) -> &Self::Read;
    /// The same as it was last sent: exemplars from then are not sent again.
    fn before(&self) -> Option<&Self::Read> {
        None
    }
    /// Since when sums count, nanoseconds since 1970.
    fn start_ns(&self) -> u64;
    /// When the figures were read.
    fn at_ns(&self) -> u64;
    /// Attributes of each of its points.
    fn attributes(&self) -> Vec<KeyValue> {
        Vec::new()
    }
}

/// Metrics of one resource under way.
#[derive(Debug, Default)]
pub(super) struct DataPoints {
    start_ns: u64,
    at_ns: u64,
    common: Vec<KeyValue>,
    /// The row whose points come.
    row: Option<RowMetric>,
    numbers: Vec<NumberDataPoint>,
    histograms: Vec<HistogramDataPoint>,
    metrics: Vec<Metric>,
    count: usize,
}

// === impl DataPoints ===

impl DataPoints {
    /// What all of these have of this instrument.
    pub(super) fn add<S: Subject>(&mut self, rows: &InstrumentRows<S::Read>, all: &[S]) {
        for subject in all {
            self.start_ns = subject.start_ns();
            self.at_ns = subject.at_ns();
            self.common = subject.attributes();
            for row in &rows.rows {
                self.row(row, subject);
            }
        }
        self.close(&rows.instrument);
    }

    fn row<S: Subject>(&mut self, row: &Row<S::Read>, subject: &S) {
        self.row = Some(row.metric);
        match row.read {
            Read::One(read) => self.put(&[], read(subject.read())),
            Read::Many(read) => read(subject.read(), self),
            Read::Histogram(read, bounds) => {
                self.histogram(read(subject.read()), subject.before().map(read), bounds);
            }
        }
    }

    /// A histogram as it is, with those exemplars that it did not have `before`. None of one that has
    /// never seen anything.
    fn histogram(
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
    fn close(&mut self, instrument: &Instrument) {
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
            // No row of OTLP is an info.
            Kind::Gauge | Kind::Info => {
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

impl Points for DataPoints {
    fn put(&mut self, labels: &[LabelValue<'_>], value: Option<Value>) {
        let Some(value) = value else { return };
        let mut attributes = self.common.clone();
        if let Some(RowMetric { labels: names, part, .. }) = self.row {
            let own = names.iter().zip(labels);
            attributes.extend(own.filter_map(|(name, value)| attribute(name.attribute?, *value)));
            attributes.extend(part.map(|part| text(part.attribute, part.value)));
        }
        self.numbers.push(NumberDataPoint {
            attributes,
            start_time_unix_nano: self.start_ns,
            time_unix_nano: self.at_ns,
            value: Some(number(value)),
            ..NumberDataPoint::default()
        });
    }

    fn unseen(&mut self, _: &[LabelValue<'_>]) {}
}

fn number(value: Value) -> Number {
    match value {
        Value::Count(count) => Number::AsInt(i64::try_from(count).unwrap_or(i64::MAX)),
        Value::Code(code) => Number::AsInt(code.into()),
        Value::Millis(millis) => Number::AsDouble(millis as f64 / 1e3),
        Value::Micros(micros) => Number::AsDouble(micros as f64 / 1e6),
        Value::Nanos(nanos) => Number::AsDouble(nanos as f64 / 1e9),
        Value::Float(float) => Number::AsDouble(float),
    }
}

/// None of an absent label.
fn attribute(key: &str, value: LabelValue<'_>) -> Option<KeyValue> {
    match value {
        LabelValue::Text(value) => Some(text(key, value)),
        LabelValue::Integer(value) => Some(key_value(key, Any::IntValue(value))),
        LabelValue::Device { major, minor } => Some(text(key, &format!("{major}:{minor}"))),
        LabelValue::Absent => None,
    }
}

/// An attribute that is a text.
pub(super) fn text(key: &str, value: &str) -> KeyValue {
    key_value(key, Any::StringValue(value.to_owned()))
}

fn key_value(key: &str, value: Any) -> KeyValue {
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
