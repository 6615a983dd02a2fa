//! A view as text: Prometheus 0.0.4 or OpenMetrics 1.0. Pure.
//!
//! Sources: prometheus/docs `exposition_formats.md` (text 0.0.4); OpenMetrics 1.0.0. All series of
//! a family stand together, an absent figure is an absent series, and no line has a timestamp:
//! Prometheus marks a series stale at once only if it chose the time itself.

mod lines;
mod registry;
#[cfg(test)]
pub(super) mod strict;
mod value;

use ephemon_catalogue::{Container, Row, agent, container, job, pod};

use self::lines::Lines;
use super::filter::Filter;
use super::format::Format;
use super::view::View;

/// Appends the view's text to `out` and says how many sample lines that was.
pub fn render(view: &View, format: Format, out: &mut String) -> usize {
    let mut lines = Lines::new(out, format, &view.devices, &view.filter);
    for row in container::ROWS {
        let of = view.containers.iter().map(|shown| (shown.labels(), &shown.container));
        family(&mut lines, row, of);
    }
    for row in pod::ROWS {
        family(&mut lines, row, view.pods.iter().map(|shown| (shown.labels(), &*shown.record)));
    }
    for row in job::ROWS {
        family(&mut lines, row, view.jobs.iter().map(|shown| (shown.labels(), &shown.series)));
    }
    family(&mut lines, &agent::BUILD, [("", &view.build)]);
    family(&mut lines, &agent::SETTINGS, [("", &view.settings)]);
    for counted in &view.agent {
        registry::family(&mut lines, counted);
    }
    let lines = lines.count();
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    lines
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

/// One family with all its series; nothing at all where no series has a value, or where it is not to be shown,
/// or the row is for OTLP alone.
fn family<'a, T: 'a>(
    lines: &mut Lines<'_>,
    row: &Row<T>,
    shown: impl IntoIterator<Item = (&'a str, &'a T)>,
) {
    let metric = row.metric;
    let Some(name) = metric.family.filter(|name| lines.shows(name)) else { return };
    lines.open(name, metric.help, metric.kind, metric.labels);
    for (labels, of) in shown {
        lines.about(labels);
        lines.row(row, of);
    }
    lines.close();
}

#[cfg(test)]
mod tests;
