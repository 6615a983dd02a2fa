//! The report as Markdown: a timeline in the language that GitHub draws, and tables. Pure.

use std::fmt::Write as _;

use ephemon_client::Job;
use ephemon_markdown::{Bar, Gantt, MAX_SUMMARY_BYTES, escaped, last_within, table};

use super::axis::Axis;
use super::part::{Part, outcome};
use super::record::Record;
use super::tables::{Table, containers, facts, missing, steps};
use super::text::{address, line, name};

/// Most log lines: a summary is read by people.
const MOST_LINES: usize = 50;
/// Most bytes up to which rows are added.
const MOST_BYTES_OF_ROWS: usize = 600 << 10;
/// Most bytes of all.
const MOST_BYTES: usize = MAX_SUMMARY_BYTES - (24 << 10);

/// The text.
pub fn markdown(record: &Record) -> String {
    let axis = Axis::of(&record.job);
    let job = &record.job;
    let said = outcome(&job.summary.ending);
    let mut text = format!("## {}: {}\n\n", escaped(&name(&job.summary.name)), escaped(&said));
    let facts: Vec<String> = facts(record)
        .iter()
        .map(|(what, value)| format!("**{what}:** {}", escaped(value)))
        .collect();
    writeln!(text, "{}\n", facts.join(" · ")).ok();
    for link in job.links.iter().take(8) {
        if let Some(href) = address(&link.href) {
            // What is in angle brackets may have all but those, lines and spaces.
            let href = href.replace('<', "%3C").replace('>', "%3E").replace(' ', "%20");
            writeln!(text, "- [{}](<{href}>)", escaped(&name(&link.rel))).ok();
        }
    }
    writeln!(text, "\n{}", gantt(record, axis).trim_end()).ok();
    for Table { title, heads, rows } in [steps(record, axis), containers(record, axis)] {
        let rows = rows.iter().map(|row| row.iter().map(|(_, cell)| cell.as_str()));
        table(&mut text, title, &heads, rows, MOST_BYTES_OF_ROWS);
    }
    for said in missing(record) {
        writeln!(text, "\n{said}").ok();
    }
    log(&mut text, record);
    text
}

/// The last lines for which there is room.
fn log(text: &mut String, record: &Record) {
    // A fence is as long as a run in a line may be, and there are two.
    let room = MOST_BYTES.saturating_sub(text.len() + (32 << 10));
    let lines = record.log.lines.iter().rev().take(MOST_LINES).map(|it| line(&it.text));
    let lines = last_within(lines, room);
    if lines.is_empty() {
        return;
    }
    let earlier = match record.log.lines.len() - lines.len() {
        0 => String::new(),
        earlier => format!(", {earlier} earlier ones left out"),
    };
    // Longer than any run of the same marks in a line.
    let longest = lines.iter().map(|line| longest_run(line)).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    let lines = lines.join("\n");
    writeln!(text, "\n<details><summary>Last log lines{earlier}</summary>\n\n{fence}text\n{lines}\n{fence}\n\n</details>").ok();
}

fn gantt(record: &Record, axis: Axis) -> String {
    fn bars<'a, P: 'a>(parts: &'a [P], job: &Job) -> Vec<Bar<'a>>
    where
        Part<'a>: From<&'a P>,
    {
        let bar = |part: Part<'a>| Bar {
            name: part.title,
            start_unix_ms: part.span.start_unix_ms,
            end_unix_ms: part.span.end_unix_ms,
            state: part.state(job),
        };
        parts.iter().map(Part::from).map(bar).collect()
    }
    let job = &record.job;
    let sections = [
        ("Hook", bars(&job.phases, job)),
        ("Steps", bars(&job.steps, job)),
        ("Containers", bars(&job.containers, job)),
    ];
    let (start_unix_ms, end_unix_ms) = (axis.start_ms, axis.end_ms);
    Gantt { start_unix_ms, end_unix_ms, sections: &sections }.markdown()
}

fn longest_run(line: &str) -> usize {
    line.split(|letter| letter != '`').map(str::len).max().unwrap_or_default()
}

#[cfg(test)]
mod tests;
