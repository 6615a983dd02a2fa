//! A job's trace as a tree for people: one line per span, with the phases of a container at the end
//! of its line. Pure.

use std::fmt;

use super::{CPU, Job, MEMORY, result};
use crate::sink::Node;

/// Longest name that is aligned; longer ones push their line to the right.
const MAX_NAME: usize = 48;

/// A span on its line.
struct Line<'a> {
    /// The lines that connect it with its parent, and its name.
    name: String,
    node: &'a Node,
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repository, run_id, run_attempt, trace_id, spans, tree, .. } = self;
        writeln!(
            f,
            "Trace {trace_id}: {repository}, run {run_id}, attempt {run_attempt}, {spans} spans\n"
        )?;
        let mut lines = vec![Line { name: tree.name.clone(), node: tree }];
        hang(tree, "", &mut lines);
        let widths = lines.iter().map(|line| line.name.chars().count());
        let width = widths.max().unwrap_or(0).min(MAX_NAME);
        writeln!(
            f,
            "{:<width$} {:>10} {:>10} {:>10} {:>10}  RESULT",
            "SPAN", "FROM", "TOOK", "CPU", "PEAK"
        )?;
        for Line { name, node } in lines {
            let from = node.start_ns.saturating_sub(tree.start_ns) as f64 / 1e9;
            let took = node.seconds();
            let cpu = node.figure(CPU).map_or("-".to_owned(), |cpu| format!("{cpu:.3} s"));
            let peak = node.figure(MEMORY);
            let peak = peak.map_or("-".to_owned(), |peak| format!("{:.1} MB", peak / 1e6));
            let result = result(node);
            let stages: String =
                node.children.iter().filter(|one| is_stage(one)).map(stage).collect();
            writeln!(
                f,
                "{name:<width$} {from:>8.3} s {took:>8.3} s {cpu:>10} {peak:>10}  {result}{stages}"
            )?;
        }
        Ok(())
    }
}

/// Lists everything below a span. `before`: the prefix of its children's lines.
fn hang<'a>(node: &'a Node, before: &str, lines: &mut Vec<Line<'a>>) {
    let mut children = node.children.iter().filter(|one| !is_stage(one)).peekable();
    while let Some(child) = children.next() {
        let (joint, below) =
            if children.peek().is_some() { ("├ ", "│ ") } else { ("└ ", "  ") };
        lines.push(Line { name: format!("{before}{joint}{}", child.name), node: child });
        hang(child, &format!("{before}{below}"), lines);
    }
}

/// Wait, create, run: phases of a container, which have no result of their own.
fn is_stage(node: &Node) -> bool {
    node.children.is_empty() && result(node).is_empty()
}

fn stage(node: &Node) -> String {
    format!(", {} {:.3} s", node.name, node.seconds())
}
