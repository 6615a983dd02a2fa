//! The agent's own families, in every format: those that the `prometheus` crate gathers, and histograms.

use ephemon_catalogue::{Kind, Value};
use ephemon_self_metrics::Observations;
use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::writer::Writer;
use crate::label::push_label;

/// All of them, by name, as both are ordered.
pub(super) fn families(
    lines: &mut impl Writer,
    gathered: &[MetricFamily],
    histograms: &[Observations],
) {
    let mut histograms = histograms.iter().peekable();
    for one in gathered {
        while let Some(before) = histograms.next_if(|histogram| histogram.name < one.name()) {
            histogram(lines, before);
        }
        family(lines, one);
    }
    histograms.for_each(|rest| histogram(lines, rest));
}

fn histogram(lines: &mut impl Writer, of: &Observations) {
    if !lines.shows(of.name) {
        return;
    }
    lines.open(of.name, of.help, Kind::Histogram, &[]);
    lines.about("", None);
    lines.histogram(&of.into());
    lines.close();
}

/// One gathered family. Others than counters and gauges are passed over: the registry has none.
fn family(lines: &mut impl Writer, family: &MetricFamily) {
    let kind = match family.get_field_type() {
        MetricType::COUNTER => Kind::Counter,
        MetricType::GAUGE => Kind::Gauge,
        MetricType::HISTOGRAM | MetricType::SUMMARY | MetricType::UNTYPED => return,
    };
    if !lines.shows(family.name()) {
        return;
    }
    lines.open(family.name(), family.help(), kind, &[]);
    for metric in family.get_metric() {
        lines.about(&labels(metric), None);
        let value = match kind {
            Kind::Counter => metric.get_counter().get_value(),
            _ => metric.get_gauge().get_value(),
        };
        lines.one(Some(Value::Float(value)));
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
