//! The report as Markdown: a timeline in the language that GitHub draws, and tables. Pure.

use std::fmt::Write as _;

use super::axis::Axis;
use super::document::{Part, Record};
use super::tables::{Table, containers, facts, missing, outcome, steps};
use super::text::{address, line, markdown as escaped, mermaid, name};

/// Most bars of the timeline: GitHub draws no diagram of any length.
const MOST_BARS: usize = 100;
/// Most rows of a table.
const MOST_ROWS: usize = 200;
/// Most log lines: a summary is read by people.
const MOST_LINES: usize = 50;
/// Most bytes up to which rows are added: a step's summary has at most 1 MiB, or GitHub shows none of it.
const MOST_BYTES_OF_ROWS: usize = 600 << 10;
/// Most bytes of all.
const MOST_BYTES: usize = 1000 << 10;

/// The text.
pub fn markdown(record: &Record) -> String {
    let axis = Axis::of(&record.job);
    let job = &record.job;
    let said = outcome(&job.result, job.fault.as_deref(), job.exit_code);
    let mut text = format!("## {}: {}\n\n", escaped(&name(&job.name)), escaped(&said));
    let facts: Vec<String> = facts(record)
        .iter()
        .map(|(what, value)| format!("**{what}:** {}", escaped(value)))
        .collect();
    writeln!(text, "{}\n", facts.join(" · ")).ok();
    for link in record.job.links.iter().take(8) {
        if let Some(href) = address(&link.href) {
            // What is in angle brackets may have all but those, lines and spaces.
            let href = href.replace('<', "%3C").replace('>', "%3E").replace(' ', "%20");
            writeln!(text, "- [{}](<{href}>)", escaped(&name(&link.rel))).ok();
        }
    }
    gantt(&mut text, record, axis);
    for all in [steps(record, axis), containers(record, axis)] {
        table(&mut text, &all);
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

/// The texts that come first, as many as have so many bytes; then they are turned round.
fn last_within(texts: impl Iterator<Item = String>, mut room: usize) -> Vec<String> {
    let mut taken: Vec<String> = texts
        .map_while(|text| {
            room = room.checked_sub(text.len() + 1)?;
            Some(text)
        })
        .collect();
    taken.reverse();
    taken
}

fn gantt(text: &mut String, record: &Record, axis: Axis) {
    let job = &record.job;
    text.push_str("\n```mermaid\ngantt\n  dateFormat x\n  axisFormat %H:%M:%S\n");
    let mut left = MOST_BARS;
    for (section, parts) in
        [("Hook", &job.phases), ("Steps", &job.steps), ("Containers", &job.containers)]
    {
        if parts.is_empty() || left == 0 {
            continue;
        }
        writeln!(text, "  section {section}").ok();
        for part in parts.iter().take(left) {
            bar(text, part, axis);
        }
        left = left.saturating_sub(parts.len());
    }
    text.push_str("```\n");
    let all = job.phases.len() + job.steps.len() + job.containers.len();
    if all > MOST_BARS {
        writeln!(text, "\n{} bars are left out.", all - MOST_BARS).ok();
    }
}

fn bar(text: &mut String, part: &Part, axis: Axis) {
    let state = match (super::timeline::class(&part.result), part.end_unix_ms) {
        ("bad", _) => "crit, ",
        (_, None) => "active, ",
        _ => "done, ",
    };
    let start = part.start_unix_ms.clamp(axis.start_ms, axis.end_ms);
    let end = part.end_unix_ms.unwrap_or(axis.end_ms).clamp(start, axis.end_ms);
    // A bar of no length is drawn nowhere.
    let end = end.max(start + 1);
    writeln!(text, "  {} :{state}{start}, {end}", mermaid(&name(part.title()))).ok();
}

fn table(text: &mut String, table: &Table) {
    if table.rows.is_empty() {
        return;
    }
    writeln!(text, "\n### {}\n", table.title).ok();
    writeln!(text, "| {} |", table.heads.join(" | ")).ok();
    writeln!(text, "|{}", "---|".repeat(table.heads.len())).ok();
    let written = table.rows.iter().rev().take(MOST_ROWS).map(|row| {
        let cells: Vec<String> = row.iter().map(|(_, cell)| escaped(cell)).collect();
        format!("| {} |", cells.join(" | "))
    });
    let rows = last_within(written, MOST_BYTES_OF_ROWS.saturating_sub(text.len()));
    for row in &rows {
        writeln!(text, "{row}").ok();
    }
    if rows.len() < table.rows.len() {
        writeln!(text, "\n{} earlier rows are left out.", table.rows.len() - rows.len()).ok();
    }
}

fn longest_run(line: &str) -> usize {
    line.split(|letter| letter != '`').map(str::len).max().unwrap_or_default()
}

#[cfg(test)]
mod tests;
