//! Phases, steps and containers as bars over time, as SVG. Pure.

use std::fmt::Write as _;

use ephemon_base::visible::one_line;
use ephemon_client::Job;
use ephemon_markdown::figures::duration;

use super::axis::{Axis, COLUMNS};
use super::figures::moment;
use super::part::{Part, parts};
use super::record::Record;
use super::text::{html, name};

/// Room for names at the left.
pub(crate) const LEFT: usize = 210;
/// All of a picture's width.
pub(crate) const WIDTH: usize = LEFT + COLUMNS + 30;
/// Of a row.
const ROW: usize = 22;
/// Most bars; the tables have all.
const MOST_BARS: usize = 200;
/// Most characters of a name at the left.
const MOST_LABEL_CHARS: usize = 30;

/// The picture.
pub(crate) fn timeline(record: &Record, axis: Axis) -> String {
    let job = &record.job;
    let bars: Vec<Part<'_>> = parts(job).take(MOST_BARS).collect();
    let height = bars.len() * ROW + 26;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Timeline of {} phases, {} \
         steps and {} containers; the tables below have the same\">\n",
        job.phases.len(),
        job.steps.len(),
        job.containers.len()
    );
    marks(&mut svg, axis, height - 22);
    for (number, part) in bars.iter().enumerate() {
        bar(&mut svg, axis, part, job, number * ROW);
    }
    for at in kills(record) {
        kill(&mut svg, axis, at, height - 22);
    }
    svg.push_str("</svg>\n");
    svg
}

/// When the kernel's count of kills was seen to rise.
pub(crate) fn kills(record: &Record) -> impl Iterator<Item = u64> {
    let containers = record.samples.containers.iter().take(64);
    containers.flat_map(|one| one.oom_kills_unix_ms.iter().take(16).copied())
}

/// A mark over the whole height.
pub(crate) fn kill(svg: &mut String, axis: Axis, at: u64, height: usize) {
    let x = LEFT as f64 + axis.x(at);
    writeln!(
        svg,
        "<g class=\"kill\"><title>OOM kill at {}</title><line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" \
         y2=\"{height}\"/><circle cx=\"{x:.1}\" cy=\"4\" r=\"4\"/></g>",
        moment(at)
    )
    .ok();
}

/// Lines and times below.
pub(crate) fn marks(svg: &mut String, axis: Axis, height: usize) {
    for at in axis.marks() {
        let (x, y) = (LEFT as f64 + axis.x(at), height + 16);
        let said = duration(axis.since(at)).replace(".00", "").replace(".0", "");
        writeln!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{height}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{said}</text>"
        )
        .ok();
    }
}

fn bar(svg: &mut String, axis: Axis, part: &Part<'_>, job: &Job, y: usize) {
    let start = part.span.start_unix_ms;
    let end = part.span.end_unix_ms.unwrap_or(axis.end_ms);
    let took = duration(end.saturating_sub(start));
    let middle = y + 15;
    write!(
        svg,
        "<g class=\"bar {} {}\"><title>{}: {}, {took}</title>\
         <text class=\"name\" x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>",
        part.kind,
        part.class(job),
        html(&name(part.title)),
        html(&part.outcome(job)),
        LEFT - 8,
        html(&one_line(part.title, MOST_LABEL_CHARS)),
    )
    .ok();
    piece(svg, axis, "body", start, end, y);
    // Before its cgroup a container waits, for its image among other things.
    if let Some(created) = part.created_unix_ms.filter(|created| *created > start) {
        piece(svg, axis, "wait", start, created.min(end), y);
    }
    if let Some(pull) = part.pull {
        piece(svg, axis, "pull", pull.start_unix_ms, pull.end_unix_ms, y);
    }
    svg.push_str("</g>\n");
}

fn piece(svg: &mut String, axis: Axis, class: &str, from: u64, to: u64, y: usize) {
    let (from, to) = (axis.x(from), axis.x(to));
    write!(
        svg,
        "<rect class=\"{class}\" x=\"{:.1}\" y=\"{}\" width=\"{:.1}\" height=\"14\" rx=\"2\"/>",
        LEFT as f64 + from,
        y + 4,
        (to - from).max(1.5)
    )
    .ok();
}
