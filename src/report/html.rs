//! The report as one HTML file: no script, nothing from elsewhere. Pure.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use super::axis::Axis;
use super::curves::{Figure, curves};
use super::figures::{clock, moment};
use super::part::class;
use super::part::outcome;
use super::record::Record;
use super::tables::{Table, containers, facts, missing, steps};
use super::text::{address, html as escaped, line, name};
use super::timeline::timeline;

const STYLE: &str = include_str!("style.css");
const LEGEND: &str = "<ul class=\"legend\">\
    <li><span class=\"swatch step\"></span>step</li>\
    <li><span class=\"swatch phase\"></span>hook</li>\
    <li><span class=\"swatch container\"></span>container</li>\
    <li><span class=\"swatch wait\"></span>waiting</li>\
    <li><span class=\"swatch pull\"></span>pull of its image</li>\
    <li><span class=\"swatch bad\"></span>failed; line: OOM kill</li></ul>\n";

/// A cell with more characters may be broken into lines.
const LONG_CHARS: usize = 16;

/// The file.
pub fn html(record: &Record) -> String {
    let axis = Axis::of(&record.job);
    let job = &record.job;
    let title = escaped(&name(&job.summary.name));
    let ending = &job.summary.ending;
    // Of a page whose markup somebody broke out of, nothing would run or be loaded all the same.
    let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}: {}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1><bdi>{title}</bdi> <span class=\"badge {}\">{}</span></h1>\n",
        escaped(&name(&ending.result)),
        class(&ending.result),
        escaped(&outcome(ending)),
    );
    page.push_str("<dl>");
    for (what, value) in facts(record) {
        write!(page, "<div><dt>{what}</dt><dd>{}</dd></div>", escaped(&value)).ok();
    }
    page.push_str("</dl>\n");
    links(&mut page, record);
    for said in missing(record) {
        writeln!(page, "<p class=\"quiet\">{said}</p>").ok();
    }
    write!(page, "<h2>Timeline</h2>\n<figure>{}{LEGEND}", timeline(record, axis)).ok();
    for (heading, figure) in [("CPU", Figure::Cpu), ("Memory", Figure::Memory)] {
        let picture = curves(record, axis, figure);
        if !picture.is_empty() {
            write!(page, "<h3>{heading}</h3>\n{picture}").ok();
        }
    }
    page.push_str("</figure>\n");
    for all in [steps(record, axis), containers(record, axis)] {
        table(&mut page, &all);
    }
    log(&mut page, record);
    writeln!(
        page,
        "<footer class=\"quiet\">Written by ephemon at {}, as the agent on the node saw it. Dashed \
         lines are limits; shaded, a CPU limit throttled the container.</footer>\n</main>\n</body>\n</html>",
        moment(job.now_unix_ms)
    )
    .ok();
    page
}

fn links(page: &mut String, record: &Record) {
    let known = record.job.links.iter().take(8).filter_map(|link| {
        let words = match link.rel.as_str() {
            "run" => "The run",
            "trace" => "The trace",
            "logs" => "The logs",
            _ => return None,
        };
        Some((words, address(&link.href)?))
    });
    let known: Vec<String> = known
        .map(|(words, href)| {
            format!("<a href=\"{}\" rel=\"noreferrer noopener\">{words}</a>", escaped(href))
        })
        .collect();
    if !known.is_empty() {
        writeln!(page, "<p class=\"links\">{}</p>", known.join(" · ")).ok();
    }
}

fn table(page: &mut String, table: &Table) {
    if table.rows.is_empty() {
        return;
    }
    write!(page, "<h2>{}</h2>\n<div class=\"wide\"><table><thead><tr>", table.title).ok();
    for head in &table.heads {
        write!(page, "<th scope=\"col\">{head}</th>").ok();
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        page.push_str("<tr>");
        for (number, (class, text)) in row.iter().enumerate() {
            let class = class.or((text.chars().count() > LONG_CHARS).then_some("long"));
            let text = escaped(text);
            match (number, class) {
                (0, _) => write!(page, "<th scope=\"row\">{text}</th>").ok(),
                (_, Some(class)) => write!(page, "<td class=\"{class}\">{text}</td>").ok(),
                (_, None) => write!(page, "<td>{text}</td>").ok(),
            };
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div>\n");
}

fn log(page: &mut String, record: &Record) {
    page.push_str("<h2>Last log lines</h2>\n");
    if record.log.lines.is_empty() {
        let reason = record.log.reason.as_deref().map_or("There are none.".to_owned(), name);
        writeln!(page, "<p class=\"quiet\">{}</p>", escaped(&reason)).ok();
        return;
    }
    page.push_str("<div class=\"log\">\n");
    for one in &record.log.lines {
        let severity = match one.severity.as_deref() {
            Some("error") => "bad",
            Some("warning") => "warn",
            Some("debug") => "grey",
            _ => "plain",
        };
        let cut = match one.cut_bytes {
            0 => String::new(),
            cut => format!(" <i>[{cut} more bytes]</i>"),
        };
        writeln!(
            page,
            "<div><time>{}</time> <span class=\"from\">{}</span> <span class=\"{severity}\">{}{cut}</span></div>",
            clock(one.at_unix_ms),
            escaped(&name(&one.container)),
            escaped(&line(&one.text))
        )
        .ok();
    }
    page.push_str("</div>\n");
}
