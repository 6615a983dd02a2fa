//! Writes the lines of one family after another into one text.

use std::iter;

use ephemon_catalogue::{Kind, Label, LabelValue, Points, Unit, Value};
use ephemon_jobs::tally::Exemplar;

use super::value::{self, bound};
use super::writer::{Histogram, Writer};
use crate::devices::DeviceNames;
use crate::filter::Filter;
use crate::format::Format;
use crate::label::{clip, push_escaped};

/// Where the lines go.
enum Sink<'a> {
    Text {
        out: &'a mut String,
        devices: &'a DeviceNames,
        filter: &'a Filter,
    },
    /// Lines are only counted.
    Nowhere,
}

/// The family being written, and the series' labels so far.
pub(super) struct Lines<'a> {
    sink: Sink<'a>,
    format: Format,
    name: String,
    /// Labels that the family's row yields.
    further: &'static [Label],
    labels: String,
    /// The last device's label, escaped: several samples of one device follow each other.
    device: Option<((u32, u32), String)>,
    count: usize,
    /// Where the family's header begins, and lines before it.
    opened: (usize, usize),
}

// === impl Lines ===

impl<'a> Lines<'a> {
    pub(super) fn new(
        out: &'a mut String,
        format: Format,
        devices: &'a DeviceNames,
        filter: &'a Filter,
    ) -> Self {
        Self::over(Sink::Text { out, devices, filter }, format)
    }

    /// Counts lines and writes none.
    pub(super) fn counting() -> Self {
        Self::over(Sink::Nowhere, Format::Text)
    }

    fn over(sink: Sink<'a>, format: Format) -> Self {
        Self {
            sink,
            format,
            name: String::new(),
            further: &[],
            labels: String::new(),
            device: None,
            count: 0,
            opened: (0, 0),
        }
    }

    /// Sample lines so far.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// A sample with the shared labels only; one of a histogram has a name that ends in `_bucket`,
    /// `_sum` or `_count`.
    fn sample(&mut self, suffix: &str, value: Value) {
        self.line(suffix, iter::empty(), Some(value), None);
    }

    fn line<'v>(
        &mut self,
        suffix: &str,
        further: impl IntoIterator<Item = (&'v str, LabelValue<'v>)>,
        value: Option<Value>,
        exemplar: Option<&Exemplar>,
    ) {
        let Some(value) = value else {
            return;
        };
        self.count += 1;
        let Sink::Text { out, devices, .. } = &mut self.sink else {
            return;
        };
        out.push_str(&self.name);
        out.push_str(suffix);
        let mut before = '{';
        if !self.labels.is_empty() {
            out.push(before);
            out.push_str(&self.labels);
            before = ',';
        }
        for (name, value) in further {
            if matches!(value, LabelValue::Absent) {
                continue;
            }
            out.push(before);
            before = ',';
            out.push_str(name);
            out.push_str("=\"");
            match value {
                LabelValue::Text(text) => push_escaped(out, clip(text), true),
                LabelValue::Integer(number) => out.push_str(&number.to_string()),
                LabelValue::Device { major, minor } => {
                    out.push_str(device(&mut self.device, devices, (major, minor)));
                }
                LabelValue::Absent => {}
            }
            out.push('"');
        }
        if before == ',' {
            out.push('}');
        }
        out.push(' ');
        value::push(out, value);
        if let Some(Exemplar { trace_id, span_id, value, at_ns }) = exemplar {
            out.push_str(" # {trace_id=\"");
            push_escaped(out, clip(trace_id), true);
            out.push_str("\",span_id=\"");
            push_escaped(out, clip(span_id), true);
            out.push_str("\"} ");
            value::push(out, Value::Float(*value));
            out.push(' ');
            value::push(out, Value::Nanos(*at_ns));
        }
        out.push('\n');
    }
}

impl Writer for Lines<'_> {
    fn shows(&self, family: &str) -> bool {
        match &self.sink {
            Sink::Text { filter, .. } => filter.shows(family),
            Sink::Nowhere => true,
        }
    }

    fn open(&mut self, name: &str, help: &str, kind: Kind, further: &'static [Label]) {
        self.further = further;
        let total = kind == Kind::Counter && self.format == Format::OpenMetrics;
        let stem = match (self.format, kind) {
            (Format::OpenMetrics, Kind::Counter) => name.strip_suffix("_total").unwrap_or(name),
            (Format::OpenMetrics, Kind::Info) => name.strip_suffix("_info").unwrap_or(name),
            _ => name,
        };
        self.name.clear();
        self.name.push_str(if total { stem } else { name });
        if total {
            self.name.push_str("_total");
        }
        let Sink::Text { out, .. } = &mut self.sink else {
            return;
        };
        self.opened = (out.len(), self.count);
        header(out, "HELP", stem);
        push_escaped(out, help, self.format == Format::OpenMetrics);
        out.push('\n');
        header(out, "TYPE", stem);
        out.push_str(match (kind, self.format) {
            // The text format has no such type.
            (Kind::Info, Format::Text) => Kind::Gauge.as_prometheus(),
            (kind, _) => kind.as_prometheus(),
        });
        out.push('\n');
        if self.format == Format::OpenMetrics
            && let Some(unit) = Unit::of(stem)
        {
            header(out, "UNIT", stem);
            out.push_str(unit.as_str());
            out.push('\n');
        }
    }

    fn close(&mut self) {
        let (start, count) = self.opened;
        if let Sink::Text { out, .. } = &mut self.sink
            && count == self.count
        {
            out.truncate(start);
        }
    }

    /// The text formats have no room for when a series began but another series.
    fn about(&mut self, labels: &str, _since_ns: Option<u64>) {
        self.labels.clear();
        self.labels.push_str(labels);
    }

    fn one(&mut self, value: Option<Value>) {
        self.line("", iter::empty(), value, None);
    }

    /// In OpenMetrics each bucket with its exemplar.
    fn histogram(&mut self, histogram: &Histogram<'_>) {
        for bucket in &histogram.buckets {
            let le = bound(bucket.bound, self.format);
            let exemplar = bucket.exemplar.filter(|_| self.format == Format::OpenMetrics);
            let le = iter::once(("le", LabelValue::Text(&le)));
            self.line("_bucket", le, Some(Value::Count(bucket.count)), exemplar);
        }
        self.sample("_sum", Value::Float(histogram.sum));
        self.sample("_count", Value::Count(histogram.count()));
    }
}

impl Points for Lines<'_> {
    fn put(&mut self, labels: &[LabelValue<'_>], value: Option<Value>) {
        let names = self.further.iter().zip(labels);
        let further = names.filter_map(|(name, value)| Some((name.label?, *value)));
        self.line("", further, value, None);
    }

    fn unseen(&mut self, labels: &[LabelValue<'_>]) {
        self.put(labels, Some(Value::Count(0)));
    }
}

/// The value of the `device` label, spelled again where it is not the last one's.
fn device<'d>(
    last: &'d mut Option<((u32, u32), String)>,
    devices: &DeviceNames,
    number: (u32, u32),
) -> &'d str {
    let (known, text) = last.get_or_insert_with(|| (number, String::new()));
    if text.is_empty() || *known != number {
        *known = number;
        text.clear();
        if let Some(name) = devices.name(number.0, number.1) {
            push_escaped(text, clip(name), true);
        } else {
            value::push(text, Value::Count(number.0.into()));
            text.push(':');
            value::push(text, Value::Count(number.1.into()));
        }
    }
    text
}

fn header(out: &mut String, word: &str, name: &str) {
    out.push_str("# ");
    out.push_str(word);
    out.push(' ');
    out.push_str(name);
    out.push(' ');
}
