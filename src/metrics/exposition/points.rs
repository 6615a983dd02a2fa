//! Writes the lines of one family after another into one text.

use std::borrow::Cow;

use ephemon_jobs::tally::{Exemplar, Histogram};

use super::figure::{Figure, bound};
use crate::devices::DeviceNames;
use crate::family::{Kind, Unit};
use crate::format::Format;

/// Bytes of a label's value that are shown. Names of the API have at most 253; an image or a reason
/// may be as long as whoever wrote the pod likes.
const MAX_LABEL_VALUE: usize = 1024;

/// Where the lines go.
enum Sink<'a> {
    Text {
        out: &'a mut String,
        devices: &'a DeviceNames,
    },
    /// Lines are only counted.
    Nowhere,
}

/// The family being written, and the series' labels so far.
pub(crate) struct Points<'a> {
    sink: Sink<'a>,
    format: Format,
    name: String,
    labels: String,
    lines: usize,
    /// Where the family's header begins, and lines before it.
    opened: (usize, usize),
}

/// Appends `name="value"`, with a comma if it is not the first.
pub(crate) fn push_label(labels: &mut String, name: &str, value: &str) {
    if !labels.is_empty() {
        labels.push(',');
    }
    labels.push_str(name);
    labels.push_str("=\"");
    push_escaped(labels, clip(value), true);
    labels.push('"');
}

// === impl Points ===

impl<'a> Points<'a> {
    pub(super) fn new(out: &'a mut String, format: Format, devices: &'a DeviceNames) -> Self {
        Self::over(Sink::Text { out, devices }, format)
    }

    /// Counts lines and writes none.
    pub(super) fn counting() -> Self {
        Self::over(Sink::Nowhere, Format::Text)
    }

    fn over(sink: Sink<'a>, format: Format) -> Self {
        Self { sink, format, name: String::new(), labels: String::new(), lines: 0, opened: (0, 0) }
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    pub(super) fn lines(&self) -> usize {
        self.lines
    }

    /// Begins a family.
    pub(super) fn open(&mut self, name: &str, help: &str, kind: Kind) {
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
        self.opened = (out.len(), self.lines);
        header(out, "HELP", stem);
        push_escaped(out, help, self.format == Format::OpenMetrics);
        out.push('\n');
        header(out, "TYPE", stem);
        out.push_str(kind.as_str());
        out.push('\n');
        if self.format == Format::OpenMetrics
            && let Some(unit) = Unit::of(stem)
        {
            header(out, "UNIT", stem);
            out.push_str(unit.as_str());
            out.push('\n');
        }
    }

    /// Ends the family; one without a series leaves no trace.
    pub(super) fn close(&mut self) {
        let (start, lines) = self.opened;
        if let Sink::Text { out, .. } = &mut self.sink
            && lines == self.lines
        {
            out.truncate(start);
        }
    }

    /// The labels that the following samples share, as [`push_label`] spells them.
    pub(super) fn about(&mut self, labels: &str) {
        self.labels.clear();
        self.labels.push_str(labels);
    }

    /// A sample with the shared labels only; an absent figure is no sample.
    pub(crate) fn put(&mut self, figure: Option<Figure>) {
        self.put_with(&[], figure);
    }

    /// A sample with further labels.
    pub(crate) fn put_with(&mut self, further: &[(&str, &str)], figure: Option<Figure>) {
        self.sample("", further, figure);
    }

    /// A sample of a histogram: its names end in `_bucket`, `_sum`, `_count`.
    pub(super) fn sample(
        &mut self,
        suffix: &str,
        further: &[(&str, &str)],
        figure: Option<Figure>,
    ) {
        self.line(suffix, further, figure, None);
    }

    /// A whole histogram; in OpenMetrics each bucket with its exemplar.
    pub(crate) fn histogram(&mut self, histogram: &Histogram, bounds: &[f64]) {
        let mut count = 0_u64;
        // An earlier agent may have had other bounds, and one without observations has no buckets.
        for at in 0..=bounds.len() {
            let observed = histogram.buckets.get(at).copied().unwrap_or_default();
            count = count.saturating_add(observed);
            let le = bounds.get(at).map_or_else(|| "+Inf".to_owned(), |le| bound(*le, self.format));
            let exemplar = histogram.exemplars.get(at).and_then(Option::as_ref);
            let exemplar = exemplar.filter(|_| self.format == Format::OpenMetrics);
            self.line("_bucket", &[("le", &le)], Some(Figure::Count(count)), exemplar);
        }
        self.sample("_sum", &[], Some(Figure::Float(histogram.sum)));
        self.sample("_count", &[], Some(Figure::Count(count)));
    }

    fn line(
        &mut self,
        suffix: &str,
        further: &[(&str, &str)],
        figure: Option<Figure>,
        exemplar: Option<&Exemplar>,
    ) {
        let Some(figure) = figure else {
            return;
        };
        self.lines += 1;
        let Sink::Text { out, .. } = &mut self.sink else {
            return;
        };
        out.push_str(&self.name);
        out.push_str(suffix);
        if !self.labels.is_empty() || !further.is_empty() {
            out.push('{');
            out.push_str(&self.labels);
            let mut first = self.labels.is_empty();
            for (name, value) in further {
                if !first {
                    out.push(',');
                }
                first = false;
                out.push_str(name);
                out.push_str("=\"");
                push_escaped(out, clip(value), true);
                out.push('"');
            }
            out.push('}');
        }
        out.push(' ');
        figure.push(out);
        if let Some(Exemplar { trace_id, span_id, value, at_ns }) = exemplar {
            out.push_str(" # {trace_id=\"");
            push_escaped(out, clip(trace_id), true);
            out.push_str("\",span_id=\"");
            push_escaped(out, clip(span_id), true);
            out.push_str("\"} ");
            Figure::Float(*value).push(out);
            out.push(' ');
            Figure::Nanos(*at_ns).push(out);
        }
        out.push('\n');
    }

    /// The value of the `device` label.
    pub(crate) fn device(&self, major: u32, minor: u32) -> Cow<'a, str> {
        match &self.sink {
            Sink::Text { devices, .. } => {
                let devices: &'a DeviceNames = devices;
                devices.label(major, minor)
            }
            Sink::Nowhere => Cow::Borrowed(""),
        }
    }
}

fn header(out: &mut String, word: &str, name: &str) {
    out.push_str("# ");
    out.push_str(word);
    out.push(' ');
    out.push_str(name);
    out.push(' ');
}

/// Backslash and newline everywhere, the quote in label values and in OpenMetrics' help.
fn push_escaped(out: &mut String, text: &str, quotes: bool) {
    let special = |byte: &u8| matches!(byte, b'\\' | b'\n') || (quotes && *byte == b'"');
    if !text.as_bytes().iter().any(special) {
        out.push_str(text);
        return;
    }
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            _ => out.push(letter),
        }
    }
}

/// The longest beginning that is short enough and ends between letters.
fn clip(value: &str) -> &str {
    if value.len() <= MAX_LABEL_VALUE {
        return value;
    }
    value.get(..value.floor_char_boundary(MAX_LABEL_VALUE)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_value_is_cut_between_letters() {
        let long = "é".repeat(MAX_LABEL_VALUE);
        let cut = clip(&long);
        assert!(cut.len() <= MAX_LABEL_VALUE && cut.len() > MAX_LABEL_VALUE - 2);
        assert!(long.starts_with(cut));
    }

    #[test]
    fn quotes_are_left_alone_in_the_text_formats_help() {
        let mut out = String::new();
        push_escaped(&mut out, "a \"b\" \\ c\nd", false);
        assert_eq!(out, "a \"b\" \\\\ c\\nd");
    }
}
