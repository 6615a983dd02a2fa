//! CPU and memory over time, with limits, throttling and kills, as SVG. Pure.

use std::fmt::Write as _;

use ephemon_client::ContainerSamples;
use ephemon_markdown::figures::bytes;

use super::axis::{Axis, COLUMNS};
use super::figures::cores;
use super::record::Record;
use super::text::{html, name};
use super::timeline::{LEFT, WIDTH, kill, kills, marks};

/// Of a picture, without the times below.
const HEIGHT: usize = 150;
/// Most curves.
const MOST_CURVES: usize = 32;
/// A limit further above all curves than this is said and not drawn.
const FAR: f64 = 4.0;
/// Thousandths of throttled time from which a band is drawn.
const THROTTLED: u64 = 50;

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    Cpu,
    Memory,
}

/// One value for each column; `None` where there is no sample.
type Columns = Vec<Option<u64>>;

// === impl Figure ===

impl Figure {
    fn shown(self, value: u64) -> String {
        match self {
            Self::Cpu => cores(value),
            Self::Memory => bytes(value),
        }
    }

    fn columns(self, one: &ContainerSamples, axis: Axis) -> Columns {
        let usage = &one.usage;
        let values: Vec<Option<u64>> = match self {
            Self::Cpu => usage.cpu_millicores.clone(),
            Self::Memory => {
                let kib = usage.memory_kibibytes.iter();
                kib.map(|value| value.map(|kib| kib.saturating_mul(1024))).collect()
            }
        };
        columns(one.base_unix_ms, &usage.from, &usage.to, &values, axis)
    }

    fn limit(self, one: &ContainerSamples) -> Option<u64> {
        match self {
            Self::Cpu => one.cpu_limit_millicores,
            Self::Memory => one.memory_limit_bytes,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Cpu => "CPU in use over time, CPUs",
            Self::Memory => "Memory over time, without inactive file pages",
        }
    }
}

/// The picture and its legend; nothing without samples.
pub(crate) fn curves(record: &Record, axis: Axis, figure: Figure) -> String {
    let containers = record.samples.containers.iter().take(MOST_CURVES);
    let drawn: Vec<(&ContainerSamples, Columns)> =
        containers.map(|one| (one, figure.columns(one, axis))).collect();
    let highest = drawn.iter().flat_map(|(_, columns)| columns.iter().flatten()).max();
    let Some(highest) = highest.copied() else { return String::new() };
    let limits = drawn.iter().filter_map(|(one, _)| figure.limit(one));
    let near = limits.filter(|limit| *limit as f64 <= highest as f64 * FAR).max();
    let top = highest.max(near.unwrap_or_default()).max(1) as f64 * 1.05;
    let y = |value: u64| HEIGHT as f64 * (1.0 - value as f64 / top);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{}; at most {}\">\n",
        HEIGHT + 22,
        figure.label(),
        figure.shown(highest)
    );
    if figure == Figure::Cpu {
        for (one, _) in &drawn {
            bands(&mut svg, one, axis);
        }
    }
    marks(&mut svg, axis, HEIGHT);
    for part in [0.0, 0.5, 1.0] {
        let value = to_whole(top / 1.05 * part);
        let y = y(value);
        writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT + COLUMNS,
            LEFT - 8,
            y + 4.0,
            figure.shown(value)
        )
        .ok();
    }
    for (number, (one, columns)) in drawn.iter().enumerate() {
        let colour = number % 8;
        writeln!(svg, "<path class=\"curve s{colour}\" d=\"{}\"/>", path(columns, y)).ok();
        if let Some(limit) = figure.limit(one).filter(|limit| *limit as f64 <= top) {
            let y = y(limit);
            writeln!(
                svg,
                "<line class=\"limit s{colour}\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\">\
                 <title>limit of {}: {}</title></line>",
                LEFT + COLUMNS,
                html(&name(&one.name)),
                figure.shown(limit)
            )
            .ok();
        }
    }
    for at in kills(record) {
        kill(&mut svg, axis, at, HEIGHT);
    }
    svg.push_str("</svg>\n<ul class=\"legend\">");
    for (number, (one, columns)) in drawn.iter().enumerate() {
        let highest = columns.iter().flatten().max().copied().unwrap_or_default();
        let limit = figure.limit(one).map(|limit| format!(", limit {}", figure.shown(limit)));
        let kills = match one.oom_kills_unix_ms.len() {
            0 => String::new(),
            count => format!(", <b>{count} OOM kill(s)</b>"),
        };
        write!(
            svg,
            "<li><span class=\"swatch s{}\"></span>{} <span class=\"quiet\">at most {}{}{kills}</span></li>",
            number % 8,
            html(&name(&one.name)),
            figure.shown(highest),
            limit.unwrap_or_default()
        )
        .ok();
    }
    svg.push_str("</ul>\n");
    svg
}

/// The highest value of each column.
fn columns(base: u64, from: &[u64], to: &[u64], values: &[Option<u64>], axis: Axis) -> Columns {
    let mut columns = vec![None; COLUMNS];
    for ((from, to), value) in from.iter().zip(to).zip(values) {
        let (Some(value), true) = (value, from < to) else { continue };
        let at = |offset: &u64| axis.x(base.saturating_add(*offset));
        let (first, last) = (to_column(at(from).floor()), to_column(at(to).ceil()));
        for column in columns.iter_mut().take(last.max(first + 1)).skip(first) {
            *column = Some(column.map_or(*value, |known: u64| known.max(*value)));
        }
    }
    columns
}

fn to_column(x: f64) -> usize {
    usize::try_from(to_whole(x)).unwrap_or_default().min(COLUMNS)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "never below 0, and bounded to what both types hold"
)]
fn to_whole(value: f64) -> u64 {
    value.clamp(0.0, 9e15) as u64
}

/// Level from column to column, with gaps where there is no sample.
fn path(columns: &Columns, y: impl Fn(u64) -> f64) -> String {
    let mut path = String::new();
    let mut last: Option<u64> = None;
    for (column, value) in columns.iter().enumerate() {
        let x = LEFT + column;
        match (last, value) {
            (None, Some(value)) => write!(path, "M{x} {:.1}", y(*value)).ok(),
            (Some(known), Some(value)) if known != *value => {
                write!(path, "H{x}V{:.1}", y(*value)).ok()
            }
            (Some(_), None) => write!(path, "H{x}").ok(),
            _ => None,
        };
        last = *value;
    }
    if last.is_some() {
        write!(path, "H{}", LEFT + COLUMNS).ok();
    }
    path
}

/// Where a quota held a container up.
fn bands(svg: &mut String, one: &ContainerSamples, axis: Axis) {
    let activity = &one.activity;
    let throttled =
        columns(one.base_unix_ms, &activity.from, &activity.to, &activity.throttled_permille, axis);
    let is_band = |value: &Option<u64>| value.is_some_and(|permille| permille >= THROTTLED);
    let mut begin = None;
    for (column, value) in throttled.iter().chain([&None]).enumerate() {
        match (begin, is_band(value)) {
            (None, true) => begin = Some(column),
            (Some(first), false) => {
                writeln!(
                    svg,
                    "<rect class=\"throttled\" x=\"{}\" y=\"0\" width=\"{}\" height=\"{HEIGHT}\">\
                     <title>{} was throttled by its CPU limit</title></rect>",
                    LEFT + first,
                    column - first,
                    html(&name(&one.name))
                )
                .ok();
                begin = None;
            }
            _ => {}
        }
    }
}
