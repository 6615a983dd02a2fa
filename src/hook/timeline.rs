//! A job's timeline as Markdown, from its journals: a diagram of the hook's phases, steps and
//! containers, and a table of what each step used. Pure.
//!
//! Names of images are left out: the runner masks values in a summary, but not those whose marks are
//! escaped. Names of steps come from the runner's log, which is masked.

mod containers;

use std::collections::HashMap;

use ephemon_base::visible::one_line;
use ephemon_contract::{Phase, Record, StepKind};
use ephemon_markdown::figures::{duration, or_dash};
use ephemon_markdown::{Bar, Gantt, State, table};

use super::journals::Journals;
use super::step_usage::StepUsage;
use containers::containers;

const HEADS: [&str; 10] = [
    "Step",
    "Result",
    "Began",
    "Took",
    "CPU time",
    "Throttled",
    "Memory",
    "OOM kills",
    "Read",
    "Written",
];
/// Most characters of a step's name.
const NAME_CHARS_MAX: usize = 120;
/// Most bytes up to which rows are added, of the 1 MiB of a summary.
const BYTES_MAX: usize = 600 << 10;

/// A step.
#[derive(Debug)]
struct Step<'a> {
    name: &'a str,
    start_ns: u64,
    end_ns: Option<u64>,
    result: String,
    state: State,
    usage: Option<StepUsage>,
}

/// What an init has told of a step.
#[derive(Debug, Clone, Copy)]
struct Told<'a> {
    name: &'a str,
    start_ns: u64,
    /// The record of its end.
    ended: Option<&'a Record>,
}

/// The text of a job that is over; `None` if the hook has recorded nothing. `now_ns`: nanoseconds since
/// 1970.
pub(super) fn markdown(journals: &Journals, now_ns: u64) -> Option<String> {
    let phases = phases(journals);
    let steps = steps(journals);
    let containers = containers(journals);
    let bars = steps.iter().map(|step| bar(step.name, step.start_ns, step.end_ns, step.state));
    let sections = [("Hook", phases), ("Steps", bars.collect()), ("Containers", containers)];
    let all = sections.iter().flat_map(|(_, bars)| bars);
    let start_unix_ms = all.map(|bar| bar.start_unix_ms).min()?;
    let end_unix_ms = ms(cleaned_ns(journals).unwrap_or(now_ns));
    let gantt = Gantt { start_unix_ms, end_unix_ms, sections: &sections };
    let mut text = format!("\n### Timeline\n\n{}", gantt.markdown());
    let rows: Vec<[String; 10]> = steps.iter().map(|step| row(step, start_unix_ms)).collect();
    let rows = rows.iter().map(|row| row.iter().map(String::as_str));
    table(&mut text, "Steps", &HEADS, rows, BYTES_MAX);
    Some(text)
}

/// When the last `cleanup_job` had ended: the job's end, as far as the hook knows it.
fn cleaned_ns(journals: &Journals) -> Option<u64> {
    let ends = journals.hook.iter().filter_map(|record| match record {
        Record::HookPhase { at_ns, phase: Phase::CleanupJob, duration_ns, .. } => {
            Some(at_ns.saturating_add(*duration_ns))
        }
        _ => None,
    });
    ends.max()
}

fn phases(journals: &Journals) -> Vec<Bar<'_>> {
    let bars = journals.hook.iter().filter_map(|record| match record {
        Record::HookPhase {
            at_ns,
            phase: phase @ (Phase::PrepareJob | Phase::CleanupJob),
            duration_ns,
            success,
            ..
        } => {
            let state = if *success { State::Done } else { State::Failed };
            let end = at_ns.saturating_add(*duration_ns);
            Some(bar(phase.as_str(), *at_ns, Some(end), state))
        }
        _ => None,
    });
    bars.collect()
}

/// By their beginnings. A call of the hook that was killed has recorded nothing, but its init has.
fn steps(journals: &Journals) -> Vec<Step<'_>> {
    let mut told = told(journals);
    let mut steps = Vec::new();
    for record in &journals.hook {
        let Record::HookPhase {
            at_ns,
            phase: phase @ (Phase::RunScriptStep | Phase::RunContainerStep),
            duration_ns,
            success,
            container,
            name,
            display_name,
            exit_code,
            ..
        } = record
        else {
            continue;
        };
        let own = container.as_deref().and_then(|container| told.remove(&(container, *at_ns)));
        let name = display_name.as_deref().or(name.as_deref()).unwrap_or(phase.as_str());
        let is_cancelled = own.is_some_and(Told::is_cancelled);
        let (result, state) = result(*success, is_cancelled, *exit_code);
        let (start_ns, end_ns) = (*at_ns, Some(at_ns.saturating_add(*duration_ns)));
        let usage = own.and_then(Told::usage);
        steps.push(Step { name, start_ns, end_ns, result, state, usage });
    }
    steps.extend(told.into_values().map(Told::step));
    steps.sort_by_key(|step| (step.start_ns, step.name));
    steps
}

/// What is said of how a step ended.
fn result(success: bool, is_cancelled: bool, exit_code: Option<u8>) -> (String, State) {
    match (success, is_cancelled, exit_code) {
        (true, ..) => ("success".to_owned(), State::Done),
        (_, true, _) => ("cancelled".to_owned(), State::Done),
        (_, _, Some(code)) => (format!("failure, exit code {code}"), State::Failed),
        (_, _, None) => ("failure".to_owned(), State::Failed),
    }
}

/// By container and the beginning of the hook's call.
fn told(journals: &Journals) -> HashMap<(&str, u64), Told<'_>> {
    let mut told = HashMap::new();
    for (container, records) in &journals.containers {
        let mut ends = HashMap::new();
        for record in records {
            if let Record::StepEnded { step, .. } = record {
                ends.entry(*step).or_insert(record);
            }
        }
        for record in records {
            if let Record::StepStarted { at_ns, step, name, kind, called_ns: Some(called), .. } =
                record
                && matches!(kind, StepKind::Script | StepKind::Container)
            {
                let ended = ends.get(step).copied();
                let one = Told { name, start_ns: *at_ns, ended };
                told.entry((container.as_str(), *called)).or_insert(one);
            }
        }
    }
    told
}

fn bar(name: &str, start_ns: u64, end_ns: Option<u64>, state: State) -> Bar<'_> {
    Bar { name, start_unix_ms: ms(start_ns), end_unix_ms: end_ns.map(ms), state }
}

fn ms(ns: u64) -> u64 {
    ns / 1_000_000
}

fn row(step: &Step<'_>, start_unix_ms: u64) -> [String; 10] {
    let took = step.end_ns.map(|end| ms(end.saturating_sub(step.start_ns)));
    let used =
        |of: fn(&StepUsage) -> Option<String>| or_dash(step.usage.as_ref().and_then(of), |it| it);
    [
        one_line(step.name, NAME_CHARS_MAX),
        step.result.clone(),
        duration(ms(step.start_ns).saturating_sub(start_unix_ms)),
        or_dash(took, duration),
        used(|it| Some(it.cpu.clone())),
        used(|it| it.throttled.clone()),
        used(|it| Some(it.memory.clone())),
        used(|it| it.oom_kills.map(|kills| kills.to_string())),
        used(|it| it.read.clone()),
        used(|it| it.written.clone()),
    ]
}

// === impl Told ===

impl<'a> Told<'a> {
    fn is_cancelled(self) -> bool {
        matches!(self.ended, Some(Record::StepEnded { cancelled: true, .. }))
    }

    fn usage(self) -> Option<StepUsage> {
        let Some(Record::StepEnded { process, cgroup, .. }) = self.ended else { return None };
        Some(StepUsage::of(process, cgroup))
    }

    /// A step of which nobody else has told.
    fn step(self) -> Step<'a> {
        let Self { name, start_ns, ended } = self;
        let (end_ns, (result, state)) = match ended {
            Some(Record::StepEnded { at_ns, end, .. }) => {
                let code = end.exit_code();
                (Some(*at_ns), result(code == 0, self.is_cancelled(), Some(code)))
            }
            // The job is over, and with it the step: it was killed with its init.
            _ => (None, ("end not known".to_owned(), State::Unknown)),
        };
        Step { name, start_ns, end_ns, result, state, usage: self.usage() }
    }
}

#[cfg(test)]
mod tests;
