//! The families the `prometheus` crate gathers, in both formats.

use ephemon_catalogue::{Kind, Value};
use prometheus::proto::{Histogram, Metric, MetricFamily, MetricType};

use super::lines::Lines;
use super::value::bound;
use crate::label::push_label;

/// One gathered family. Summaries and untyped families are passed over: the crate makes none.
pub(super) fn family(lines: &mut Lines<'_>, family: &MetricFamily) {
    let kind = match family.get_field_type() {
        MetricType::COUNTER => Kind::Counter,
        MetricType::GAUGE => Kind::Gauge,
        MetricType::HISTOGRAM => Kind::Histogram,
        MetricType::SUMMARY | MetricType::UNTYPED => return,
    };
    if !lines.shows(family.name()) {
        return;
    }
    lines.open(family.name(), family.help(), kind, &[]);
    for metric in family.get_metric() {
        lines.about(&labels(metric));
        match kind {
            Kind::Counter => {
                let value = Value::Float(metric.get_counter().get_value());
                lines.sample("", None, Some(value));
            }
            Kind::Histogram => histogram(lines, metric.get_histogram()),
            Kind::Gauge | Kind::UpDownCounter | Kind::Info => {
                let value = Value::Float(metric.get_gauge().get_value());
                lines.sample("", None, Some(value));
            }
        }
    }
    lines.close();
}

fn histogram(lines: &mut Lines<'_>, histogram: &Histogram) {
    let format = lines.format();
    for bucket in histogram.get_bucket() {
        if bucket.upper_bound().is_finite() {
            let count = Some(Value::Count(bucket.cumulative_count()));
            let le = bound(bucket.upper_bound(), format);
            lines.sample("_bucket", Some(&le), count);
        }
    }
    let count = Some(Value::Count(histogram.get_sample_count()));
    lines.sample("_bucket", Some("+Inf"), count);
    lines.sample("_sum", None, Some(Value::Float(histogram.get_sample_sum())));
    lines.sample("_count", None, count);
}

fn labels(metric: &Metric) -> String {
    let mut labels = String::new();
    for label in metric.get_label() {
        push_label(&mut labels, label.name(), label.value());
    }
    labels
}
