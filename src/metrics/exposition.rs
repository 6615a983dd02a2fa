//! A view as Prometheus reads it: text 0.0.4, OpenMetrics 1.0, or protobuf. Pure.
//!
//! Sources: prometheus/docs `exposition_formats.md` (text 0.0.4, protobuf); OpenMetrics 1.0.0. All series of
//! a family stand together, an absent figure is an absent series, and no line has a timestamp:
//! Prometheus marks a series stale at once only if it chose the time itself.

mod families;
mod lines;
mod messages;
mod registry;
#[cfg(test)]
pub(super) mod strict;
mod value;
mod writer;

use std::mem;

use ephemon_base::clock::unix_ns;
use ephemon_capture::readings::Record;
use ephemon_catalogue::{Container, Row, agent, container, debug, job, pod};

use self::families::Families;
use self::lines::Lines;
use self::writer::Writer;
use super::filter::Filter;
use super::format::Format;
use super::view::{ContainerView, JobView, View};

/// Appends the view to `out` and says how many samples that was: lines, or metrics in protobuf, where
/// a histogram is one.
pub fn render(view: &View, format: Format, out: &mut Vec<u8>) -> usize {
    if format == Format::Protobuf {
        let mut families = Families::new(out, &view.devices, &view.filter);
        write(view, &mut families);
        return families.count();
    }
    // Only text is ever appended to a text: nothing is lost where `out` is one.
    let mut text = String::from_utf8(mem::take(out)).unwrap_or_default();
    let mut lines = Lines::new(&mut text, format, &view.devices, &view.filter);
    write(view, &mut lines);
    let count = lines.count();
    if format == Format::OpenMetrics {
        text.push_str("# EOF\n");
    }
    *out = text.into_bytes();
    count
}

fn write(view: &View, writer: &mut impl Writer) {
    for row in container::ROWS {
        let since = |shown: &ContainerView| since_ns(&shown.container.record);
        let of =
            view.containers.iter().map(|shown| (shown.labels(), since(shown), &shown.container));
        family(writer, row, of);
    }
    for row in pod::ROWS {
        family(writer, row, view.pods.iter().map(|shown| (shown.labels(), None, &*shown.record)));
    }
    for row in job::ROWS {
        let since = |shown: &JobView| Some(shown.series.counts.since_ns).filter(|since| *since > 0);
        let of = view.jobs.iter().map(|shown| (shown.labels(), since(shown), &shown.series));
        family(writer, row, of);
    }
    for row in debug::ROWS {
        family(
            writer,
            row,
            view.debug.iter().map(|shown| (shown.labels(), None, shown.container())),
        );
    }
    family(writer, &agent::BUILD, [("", None, &view.build)]);
    family(writer, &agent::SETTINGS, [("", None, &view.settings)]);
    registry::families(writer, &view.agent, &view.histograms);
}

/// When a container's counters were 0, nanoseconds since 1970. Prometheus puts a sample of 0 there: with a
/// time behind samples that it has, it would count again all that they show.
fn since_ns(record: &Record) -> Option<u64> {
    record.is_birth_seen.then(|| unix_ns(record.created))
}

/// How many sample lines this container makes in the families that are shown.
pub(super) fn weigh(container: &Container, filter: &Filter) -> usize {
    let mut lines = Lines::counting();
    let shown = |name: &str| filter.shows(name);
    for row in container::ROWS.iter().filter(|row| row.metric.family.is_some_and(shown)) {
        lines.row(row, container);
    }
    lines.count()
}

/// One family with all its series: the labels, when its counters were 0, and what has the values. Nothing at all where no series has a value, or where it is not to be shown,
/// or the row is for OTLP alone.
fn family<'a, T: 'a>(
    lines: &mut impl Writer,
    row: &Row<T>,
    shown: impl IntoIterator<Item = (&'a str, Option<u64>, &'a T)>,
) {
    let metric = row.metric;
    let Some(name) = metric.family.filter(|name| lines.shows(name)) else { return };
    lines.open(name, metric.help, metric.kind, metric.labels);
    for (labels, since_ns, of) in shown {
        lines.about(labels, since_ns);
        lines.row(row, of);
    }
    lines.close();
}

#[cfg(test)]
mod tests;
