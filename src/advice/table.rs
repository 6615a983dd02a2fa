//! The advice as a table for a terminal. Pure.

use std::fmt::Write as _;

use super::advice::{Advice, Row, Source};
use super::amount::{Resources, cpu_quantity, memory_quantity};
use super::shown::{self, cores, memory, or_dash};
use super::spread::Spread;
use super::usage::Usage;

/// A table, then the values of each scale set.
pub fn table(advice: &Advice) -> String {
    let rows: Vec<Vec<String>> = advice.rows.iter().map(|row| cells(row, advice)).collect();
    let heads: Vec<String> = heads(advice).into_iter().map(str::to_owned).collect();
    let all = || std::iter::once(&heads).chain(&rows);
    let width = |column: usize| {
        all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..heads.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in all() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            write!(line, "{cell:<width$}  ").ok();
        }
        writeln!(text, "{}", line.trim_end()).ok();
    }
    for note in notes(advice) {
        writeln!(text, "\n{note}").ok();
    }
    for set in &advice.scale_sets {
        write!(text, "\n{}", set.values).ok();
    }
    text
}

/// The heads of columns.
pub(crate) fn heads(advice: &Advice) -> Vec<&'static str> {
    let mut heads = vec![
        "REPOSITORY",
        "WORKFLOW",
        "JOB",
        "JOBS",
        "CPU P50/P95/MAX",
        "MEMORY P50/P95/MAX",
        "REQUEST",
        "LIMIT",
        "CORE-HOURS UNUSED",
        "GIB-HOURS UNUSED",
    ];
    heads.extend(advice.price.map(|_| "COSTS"));
    heads.extend(["OOM", "REQUEST THEN", "LIMIT THEN"]);
    heads
}

/// One row's cells, names made visible.
pub(crate) fn cells(row: &Row, advice: &Advice) -> Vec<String> {
    let (usage, verdict) = (&row.usage, &row.verdict);
    let cpu = usage.cpu_cores.map(|it| [it.p50, it.p95, it.max].map(cores).join("/"));
    let mean = || or_dash(usage.cpu_mean_cores, |mean| format!("mean {}", cores(mean)));
    let bytes = |it: Spread| [it.p50, it.p95, it.max].map(memory).join("/");
    let of_one = usage.container_memory_bytes.map(|it| format!("> {}", bytes(it)));
    let memory = usage.memory_bytes.map(bytes).or(of_one);
    let hours = |waste: Option<f64>| or_dash(waste, |hours| format!("{hours:.1}"));
    let kills = usage.oom_kills.filter(|kills| *kills > 0).map(|kills| format!(" ({kills})"));
    let kills = kills.unwrap_or_default();
    let mut cells = vec![
        shown::name(&row.kind.repository),
        shown::name(&row.kind.workflow),
        shown::name(&row.kind.job),
        usage.jobs.to_string(),
        cpu.unwrap_or_else(mean),
        memory.unwrap_or_else(|| "-".to_owned()),
        pair(Some(usage.request)),
        pair(Some(usage.limit)),
        hours(verdict.waste_core_hours),
        hours(verdict.waste_gib_hours),
    ];
    cells.extend(advice.price.map(|_| or_dash(row.money, |money| format!("{:.2}", money.waste))));
    let then = |resources: Option<Resources>| match resources {
        None if usage.jobs < advice.rule.min_jobs => "too few jobs".to_owned(),
        resources => pair(resources),
    };
    cells.extend([
        format!("{}{kills}", verdict.risk.as_str()),
        then(verdict.request),
        then(verdict.limit),
    ]);
    cells
}

/// What there is to say beside the table.
pub(crate) fn notes(advice: &Advice) -> Vec<String> {
    let mut notes = Vec::new();
    if advice.rows.is_empty() {
        notes.push("No job that is over was found.".to_owned());
    }
    let few = advice.rows.iter().filter(|row| row.usage.jobs < advice.rule.min_jobs).count();
    if few > 0 {
        let least = advice.rule.min_jobs;
        notes.push(format!(
            "Of {few} kind(s) there are fewer than {least} jobs: too few for advice."
        ));
    }
    let of = |is_so: fn(&Usage) -> bool| advice.rows.iter().filter(|row| is_so(&row.usage)).count();
    let untimed = of(|usage| usage.cpu_jobs < usage.jobs);
    if untimed > 0 && advice.source == Source::Prometheus {
        notes.push(format!(
            "Of {untimed} kind(s) CPU is not known of all jobs: steps ran in the runner's own container, \
             whose time has its wait for the job in it, or CPU time is not in Prometheus."
        ));
    }
    let quotas = of(|usage| usage.limit.cpu_cores.is_some() && usage.throttled.is_none());
    if quotas > 0 {
        notes.push(format!(
            "Of {quotas} kind(s) with a CPU limit nobody knows whether it throttled: that of a pod, \
             under which ephemeral containers run, is not counted."
        ));
    }
    if advice.jobs_elsewhere > 0 {
        notes.push(format!(
            "{} job(s) are left out: their steps ran in pods of their own (ARC's kubernetes modes), \
             which a runner's requests are not for.",
            advice.jobs_elsewhere
        ));
    }
    if advice.jobs_left_out > 0 {
        notes.push(match advice.source {
            Source::Prometheus => format!(
                "{} job(s) are left out: they run, or their end or their pods' names are not in Prometheus.",
                advice.jobs_left_out
            ),
            Source::Agents => format!(
                "{} job(s) are left out: agents counted them under no name of their own.",
                advice.jobs_left_out
            ),
        });
    }
    if advice.source == Source::Agents && !advice.rows.is_empty() {
        notes.push(
            "By agents' own counts: memory is that of single containers, and their pods used more, so \
             nothing about memory follows; what pods request is not known."
                .to_owned(),
        );
    }
    notes
}

fn pair(of: Option<Resources>) -> String {
    let of = of.unwrap_or_default();
    if of.is_empty() {
        return "-".to_owned();
    }
    let cpu = or_dash(of.cpu_cores, cpu_quantity);
    format!("{cpu}, {}", or_dash(of.memory_bytes, memory_quantity))
}
