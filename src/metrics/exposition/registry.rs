//! The families the `prometheus` crate gathers, in every format.

use ephemon_catalogue::{Kind, Value};
use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::writer::Writer;
use crate::label::push_label;

/// One gathered family. Summaries and untyped families are passed over: the crate makes none.
pub(super) fn family(lines: &mut impl Writer, family: &MetricFamily) {
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
                lines.one(Some(value));
            }
            Kind::Histogram => lines.histogram(&metric.get_histogram().into()),
            Kind::Gauge | Kind::UpDownCounter | Kind::Info => {
                let value = Value::Float(metric.get_gauge().get_value());
                lines.one(Some(value));
            }
        }
    }
    lines.close();
}

fn labels(metric: &Metric) -> String {
    let mut labels = String::new();
    for label in metric.get_label() {
        push_label(&mut labels, label.name(), label.value());
    }
    labels
}
