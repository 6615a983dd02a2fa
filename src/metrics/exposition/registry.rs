//! The families the `prometheus` crate gathers, in both formats.

use prometheus::proto::{Histogram, Metric, MetricFamily, MetricType};

use super::figure::{Figure, bound};
use super::points::{Points, push_label};
use crate::family::Kind;

/// One gathered family. Summaries and untyped families are passed over: the crate makes none.
pub(super) fn family(points: &mut Points<'_>, family: &MetricFamily) {
    let kind = match family.get_field_type() {
        MetricType::COUNTER => Kind::Counter,
        MetricType::GAUGE => Kind::Gauge,
        MetricType::HISTOGRAM => Kind::Histogram,
        MetricType::SUMMARY | MetricType::UNTYPED => return,
    };
    points.open(family.name(), family.help(), kind);
    for metric in family.get_metric() {
        points.about(&labels(metric));
        match kind {
            Kind::Counter => points.put(Some(Figure::Float(metric.get_counter().get_value()))),
            Kind::Histogram => histogram(points, metric.get_histogram()),
            Kind::Gauge | Kind::Info => {
                points.put(Some(Figure::Float(metric.get_gauge().get_value())));
            }
        }
    }
    points.close();
}

fn histogram(points: &mut Points<'_>, histogram: &Histogram) {
    let format = points.format();
    for bucket in histogram.get_bucket() {
        if bucket.upper_bound().is_finite() {
            let count = Some(Figure::Count(bucket.cumulative_count()));
            let le = bound(bucket.upper_bound(), format);
            points.sample("_bucket", &[("le", &le)], count);
        }
    }
    let count = Some(Figure::Count(histogram.get_sample_count()));
    points.sample("_bucket", &[("le", "+Inf")], count);
    points.sample("_sum", &[], Some(Figure::Float(histogram.get_sample_sum())));
    points.sample("_count", &[], count);
}

fn labels(metric: &Metric) -> String {
    let mut labels = String::new();
    for label in metric.get_label() {
        push_label(&mut labels, label.name(), label.value());
    }
    labels
}
