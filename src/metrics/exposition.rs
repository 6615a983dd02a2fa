//! A view as text: Prometheus 0.0.4 or OpenMetrics 1.0. Pure.
//!
//! Sources: prometheus/docs `exposition_formats.md` (text 0.0.4); OpenMetrics 1.0.0. All series of
//! a family stand together, an absent figure is an absent series, and no line has a timestamp:
//! Prometheus marks a series stale at once only if it chose the time itself.

mod figure;
mod points;
mod registry;
#[cfg(test)]
pub(super) mod strict;

pub(super) use figure::Figure;
pub(super) use points::{Points, push_label};

use super::family::{Family, Kind, Row, agent, container, job, pod};
use super::format::Format;
use super::view::{ContainerView, View};

/// Appends the view's text to `out` and says how many sample lines that was.
pub fn render(view: &View, format: Format, out: &mut String) -> usize {
    let mut points = Points::new(out, format, &view.devices);
    for row in container::ROWS {
        let of = view.containers.iter().map(|shown| (shown.labels(), shown));
        family(&mut points, row, of);
    }
    for row in pod::ROWS {
        family(&mut points, row, view.pods.iter().map(|shown| (shown.labels(), shown)));
    }
    for row in job::ROWS {
        family(&mut points, row, view.jobs.iter().map(|shown| (shown.labels(), shown)));
    }
    family(&mut points, &agent::BUILD, [("", &view.build)]);
    let pods = view.pods.iter().map(|shown| (shown.labels(), shown));
    family(&mut points, &agent::ACCOUNTING, pods);
    for counted in &view.agent {
        registry::family(&mut points, counted);
    }
    let lines = points.lines();
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    lines
}

/// How many sample lines this container makes.
pub(super) fn weigh(container: &ContainerView) -> usize {
    let mut points = Points::counting();
    for row in container::ROWS {
        row.write(container, &mut points);
    }
    points.lines()
}

/// One family with all its series; nothing at all where no series has a figure.
fn family<'a, T: 'a>(
    points: &mut Points<'_>,
    row: &Row<T>,
    shown: impl IntoIterator<Item = (&'a str, &'a T)>,
) {
    let Family { name, help, kind, .. } = row.family;
    let kind = match (kind, points.format()) {
        // The text format has no such type.
        (Kind::Info, Format::Text) => Kind::Gauge,
        (kind, _) => kind,
    };
    points.open(name, help, kind);
    for (labels, of) in shown {
        points.about(labels);
        row.write(of, points);
    }
    points.close();
}

#[cfg(test)]
mod tests;
