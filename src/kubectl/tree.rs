//! A job as a tree: its phases, steps and containers in the order of their beginnings, with what each
//! used. Pure.

use ephemon_client::{Container, Ending, Job, Samples, Span, Step, Usage};

use crate::screen::{Screen, Tone};
use crate::spark::Spark;
use crate::table::{Cell, Table};
use crate::text::{bytes, cpu_time, cpus, duration, known, name, percent, result};

/// From this share of its time on it is said that something was throttled, percent.
const THROTTLED_PERCENT: u64 = 5;

/// A part of a job.
struct Node<'a> {
    name: String,
    span: &'a Span,
    ending: &'a Ending,
    usage: Usage,
    spark: Spark,
    note: String,
    children: Vec<Node<'a>>,
}

/// The job's head and its tree.
pub(crate) fn text(job: &Job, samples: &Samples, screen: Screen) -> String {
    head(job, screen) + "\n" + &tree(job, samples, screen)
}

/// What the job is and where, in a few lines.
fn head(job: &Job, screen: Screen) -> String {
    let of = &job.summary;
    let run = of.run_id.as_ref().map(|run| {
        let attempt = of.run_attempt.as_deref().filter(|attempt| *attempt != "1");
        format!("run {run}{}", attempt.map(|it| format!(", attempt {it}")).unwrap_or_default())
    });
    let what =
        [of.repository.clone(), of.workflow.clone(), run, of.event.clone(), of.git_ref.clone()];
    let what: Vec<String> = what.into_iter().flatten().map(|text| name(&text)).collect();
    let took = duration(of.span.millis(job.now_unix_ms));
    let cpu = known(of.usage.cpu_seconds, cpu_time);
    let peak = known(of.usage.memory_peak_bytes, bytes);
    let mut lines = vec![
        format!(
            "{}  {}",
            screen.paint(Tone::Strong, &name(&of.name)),
            screen.paint(Tone::of_result(&of.ending.result), &result(&of.ending))
        ),
        what.join(" · "),
        format!(
            "pod {}/{} on {} · took {took} · CPU {cpu} · peak memory {peak}",
            name(&of.namespace),
            name(&of.pod),
            name(&job.node)
        ),
    ];
    let addresses =
        job.links.iter().map(|link| format!("{}: {}", name(&link.rel), name(&link.href)));
    lines.extend(addresses.map(|link| screen.paint(Tone::Quiet, &link)));
    if job.parts_left_out > 0 {
        let left =
            format!("{} parts are left out: the agent has no room for them", job.parts_left_out);
        lines.push(screen.paint(Tone::Warning, &left));
    }
    lines.retain(|line| !line.is_empty());
    lines.join("\n") + "\n"
}

fn tree(job: &Job, samples: &Samples, screen: Screen) -> String {
    let nodes = nodes(job, samples);
    let most = highest(&nodes);
    let over_time = format!("CPU (▁ 0, █ {})", cpus(most));
    let mut table =
        Table::new(&["NAME", "FROM>", "TOOK>", "CPU>", "PEAK>", over_time.as_str(), "RESULT"]);
    hang(&nodes, "", &mut |line, node| {
        let from = node.span.start_unix_ms.saturating_sub(job.summary.span.start_unix_ms);
        let result = format!("{}{}", result(node.ending), node.note);
        let tone = match &*node.note {
            "" => Tone::of_result(&node.ending.result),
            _ if node.ending.result == "success" => Tone::Warning,
            _ => Tone::of_result(&node.ending.result),
        };
        table.add(vec![
            Cell::new(line + &node.name),
            Cell::number(duration(from)).tone(Tone::Quiet),
            Cell::number(duration(node.span.millis(job.now_unix_ms))),
            Cell::number(known(node.usage.cpu_seconds, cpu_time)),
            Cell::number(known(node.usage.memory_peak_bytes, bytes)),
            Cell::new(node.spark.text(most)).tone(Tone::Live),
            Cell::new(result).tone(tone),
        ]);
    });
    table.text(screen)
}

fn highest(nodes: &[Node<'_>]) -> u64 {
    let of = |node: &Node<'_>| node.spark.highest().max(highest(&node.children));
    nodes.iter().map(of).max().unwrap_or_default()
}

/// Lists everything. `before`: the prefix of the lines.
fn hang(nodes: &[Node<'_>], before: &str, add: &mut impl FnMut(String, &Node<'_>)) {
    for (at, node) in nodes.iter().enumerate() {
        let is_last = at + 1 == nodes.len();
        let (joint, below) = if is_last { ("└ ", "  ") } else { ("├ ", "│ ") };
        add(format!("{before}{joint}"), node);
        hang(&node.children, &format!("{before}{below}"), add);
    }
}

/// The job's parts. The container of a container step is below its step.
fn nodes<'a>(job: &'a Job, samples: &Samples) -> Vec<Node<'a>> {
    let end = job.now_unix_ms;
    let is_own = |step: &Step, container: &Container| {
        container.role == "step" && step.container.as_deref() == Some(&*container.name)
    };
    let phase = |phase: &'a ephemon_client::Phase| Node {
        name: name(&phase.name),
        span: &phase.span,
        ending: &phase.ending,
        usage: Usage::default(),
        spark: Spark::default(),
        note: String::new(),
        children: Vec::new(),
    };
    let step = |step: &'a Step| {
        let own = job.containers.iter().find(|one| is_own(step, one));
        Node {
            children: own.map(|one| container(one, samples, end)).into_iter().collect(),
            ..self::step(step, job, samples)
        }
    };
    let is_free = |one: &&Container| !job.steps.iter().any(|step| is_own(step, one));
    let containers = job.containers.iter().filter(is_free).map(|one| container(one, samples, end));
    let mut all: Vec<Node<'a>> =
        job.phases.iter().map(phase).chain(containers).chain(job.steps.iter().map(step)).collect();
    all.sort_by_key(|node| node.span.start_unix_ms);
    all
}

fn step<'a>(step: &'a Step, job: &Job, samples: &Samples) -> Node<'a> {
    let of = step.container.as_deref().and_then(|name| {
        let container = job.containers.iter().rev().find(|one| one.name == name);
        samples.of(container.and_then(|one| one.id.as_deref()), name)
    });
    Node {
        name: name(step.shown_name()),
        span: &step.span,
        ending: &step.ending,
        usage: step.usage,
        spark: of.map(|of| spark(of, &step.span, job.now_unix_ms)).unwrap_or_default(),
        note: note(&step.usage, &step.span, job.now_unix_ms),
        children: Vec::new(),
    }
}

fn container<'a>(one: &'a Container, samples: &Samples, now_ms: u64) -> Node<'a> {
    let kind = match (&*one.container_type, &*one.role) {
        ("init", _) => "init container",
        (_, "service") => "service",
        (_, "standby") => "standby",
        (_, "debug") => "debug container",
        _ => "container",
    };
    let mut note = note(&one.usage, &one.span, now_ms);
    if let Some(pull) = one.pull {
        note = format!(
            "{note}, pull {}",
            duration(pull.end_unix_ms.saturating_sub(pull.start_unix_ms))
        );
    }
    let of = samples.of(one.id.as_deref(), &one.name);
    Node {
        name: format!("{kind} {}", name(&one.name)),
        span: &one.span,
        ending: &one.ending,
        usage: one.usage,
        spark: of.map(|of| spark(of, &one.span, now_ms)).unwrap_or_default(),
        note,
        children: Vec::new(),
    }
}

fn spark(samples: &ephemon_client::ContainerSamples, span: &Span, now_ms: u64) -> Spark {
    Spark::new(samples, span.start_unix_ms, span.end_unix_ms.unwrap_or(now_ms))
}

/// What was the matter with it.
fn note(usage: &Usage, span: &Span, now_ms: u64) -> String {
    let mut note = String::new();
    if let Some(kills) = usage.oom_kills.filter(|kills| *kills > 0) {
        note = format!("{note}, {kills} OOM kill{}", if kills == 1 { "" } else { "s" });
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float's cast saturates"
    )]
    let throttled = usage.cpu_throttled_seconds.map(|seconds| (seconds * 1000.0) as u64);
    let share = throttled.and_then(|ms| percent(ms, span.millis(now_ms)));
    match share {
        Some(share @ THROTTLED_PERCENT..=100) => note = format!("{note}, throttled {share}%"),
        // Added up over tasks, it is no share of the time.
        Some(101..) => note = format!("{note}, throttled {}", duration(throttled.unwrap_or(0))),
        _ => {}
    }
    note
}

#[cfg(test)]
mod tests;
