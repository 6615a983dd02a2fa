//! The tables of a report, as text that is not escaped yet. Pure.

use ephemon_client::{Container, Job, Usage};
use ephemon_markdown::figures::{bytes, cpu, duration, or_dash};
use ephemon_markdown::{Beginning, Used};

use super::axis::Axis;
use super::figures::moment;
use super::part::Part;
use super::record::Record;
use super::text::name;

/// A cell: the class of a result, and the text.
pub(crate) type Cell = (Option<&'static str>, String);

/// A table.
pub(crate) struct Table {
    pub(crate) title: &'static str,
    pub(crate) heads: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// The job's own facts, by name.
pub(crate) fn facts(record: &Record) -> Vec<(&'static str, String)> {
    let job = &record.job;
    let of = &job.summary;
    let text = |value: &Option<String>| value.as_deref().map(name);
    let run = of.run_id.as_ref().map(|run| match of.run_attempt.as_deref() {
        Some(attempt) => format!("{}, attempt {}", name(run), name(attempt)),
        None => name(run),
    });
    let facts = [
        ("Repository", text(&of.repository)),
        ("Workflow", text(&of.workflow)),
        ("Job", text(&job.job)),
        ("Event", text(&of.event)),
        ("Ref", text(&of.git_ref)),
        ("Commit", text(&job.sha)),
        ("Run", run),
        ("Runner", text(&of.runner)),
        ("Pod", Some(format!("{}/{}", name(&of.namespace), name(&of.pod)))),
        ("Node", Some(name(&job.node))),
        ("Began", Some(moment(of.span.start_unix_ms))),
        ("Took", Some(duration(of.span.millis(job.now_unix_ms)))),
        ("CPU time", of.usage.cpu_seconds.map(cpu)),
        ("Throttled", of.usage.cpu_throttled_seconds.filter(|it| *it > 0.0).map(cpu)),
        ("Memory, highest", of.usage.memory_peak_bytes.map(bytes)),
        ("OOM kills", of.usage.oom_kills.map(|kills| kills.to_string())),
        ("Read", of.usage.read_bytes.map(bytes)),
        ("Written", of.usage.written_bytes.map(bytes)),
        ("Runner beside it", job.runner_usage.cpu_seconds.map(cpu)),
        ("Pod's start", job.runner_startup_ms.map(duration)),
        ("Runner waited", job.runner_idle_ms.map(duration)),
        ("Result by", Some(name(&job.result_source)).filter(|it| !it.is_empty())),
        ("Usage is of", Some(name(&job.usage_roles.join(", "))).filter(|it| !it.is_empty())),
        ("Trace", Some(name(&job.trace_id)).filter(|it| !it.is_empty())),
    ];
    facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// Phases and steps.
pub(crate) fn steps(record: &Record, axis: Axis) -> Table {
    let heads = [&Beginning::heads("Step")[..], &Used::HEADS, &["Quality"]].concat();
    let phases = record.job.phases.iter().map(Part::from);
    let mut parts: Vec<Part<'_>> = phases.chain(record.job.steps.iter().map(Part::from)).collect();
    parts.sort_by_key(|part| part.span.start_unix_ms);
    let row = |part: Part<'_>| {
        let mut cells = beginning(&part, &record.job, axis);
        cells.extend(used(&part.usage));
        cells.push((None, or_dash(part.quality, name)));
        cells
    };
    let rows = parts.into_iter().map(row).collect();
    Table { title: "Steps", heads, rows }
}

/// Containers.
pub(crate) fn containers(record: &Record, axis: Axis) -> Table {
    let heads = [
        &Beginning::heads("Container")[..],
        &["Role", "Image", "Waited"],
        &Used::HEADS,
        &["Quality", "Log lines"],
    ];
    let row = |of: &Container| {
        let mut cells = beginning(&of.into(), &record.job, axis);
        let waited = of.created_unix_ms.map(|at| at.saturating_sub(of.span.start_unix_ms));
        cells.extend([
            (None, or_dash(Some(&*of.role).filter(|it| !it.is_empty()), name)),
            (None, or_dash(of.image.as_deref(), name)),
            (None, or_dash(waited, duration)),
        ]);
        cells.extend(used(&of.usage));
        cells.push((None, or_dash(of.quality.as_deref(), name)));
        cells.push((None, or_dash(of.log_lines, |lines| lines.to_string())));
        cells
    };
    let rows = record.job.containers.iter().map(row).collect();
    Table { title: "Containers", heads: heads.concat(), rows }
}

/// What there is to say of what is missing.
pub(crate) fn missing(record: &Record) -> Vec<String> {
    let mut said = Vec::new();
    let mut say = |count: u64, what: &str| {
        if count > 0 {
            said.push(format!("{count} {what} are left out."));
        }
    };
    say(record.job.parts_left_out, "steps or containers");
    say(record.samples.left_out, "containers' curves");
    say(record.log.left_out, "earlier log lines");
    if record.job.summary.span.end_unix_ms.is_none() {
        said.push("The job was still running.".to_owned());
    }
    said
}

fn beginning(part: &Part<'_>, job: &Job, axis: Axis) -> Vec<Cell> {
    let start = part.span.start_unix_ms;
    let took = part.span.end_unix_ms.map(|end| end.saturating_sub(start));
    let cells = Beginning {
        name: (None, name(part.title)),
        result: (Some(part.class(job)), part.outcome(job)),
        began: (None, duration(axis.since(start))),
        took: (None, or_dash(took, duration)),
    };
    cells.cells().into()
}

fn used(usage: &Usage) -> [Cell; 6] {
    let kills = usage.oom_kills.unwrap_or_default();
    let class = (kills > 0).then_some("bad");
    let cells = Used {
        cpu: (None, or_dash(usage.cpu_seconds, cpu)),
        throttled: (None, or_dash(usage.cpu_throttled_seconds, cpu)),
        memory: (None, or_dash(usage.memory_peak_bytes, bytes)),
        oom_kills: (class, or_dash(usage.oom_kills, |kills| kills.to_string())),
        read: (None, or_dash(usage.read_bytes, bytes)),
        written: (None, or_dash(usage.written_bytes, bytes)),
    };
    cells.cells()
}
