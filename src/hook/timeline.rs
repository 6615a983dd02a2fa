//! A job's timeline as Markdown, from its journals: a diagram of the hook's phases, steps and
//! containers, and a table of what each step used. Pure.
//!
//! Names of images are left out: the runner masks values in a summary, but not those whose marks are
//! escaped. Names of steps come from the runner's log, which is masked.

mod containers;

use std::collections::HashMap;

use ephemon_base::visible::one_line;
use ephemon_contract::journals::{Ended, HookJournal, InitJournal, Started, StepResult};
use ephemon_contract::{Phase, Record};
use ephemon_markdown::figures::{duration, or_dash};
use ephemon_markdown::{Bar, Beginning, Gantt, State, Used, table};

use super::journals::Journals;
use super::step_usage::StepUsage;
use containers::containers;

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

/// What an init says of a step: its beginning, and its end.
type Told<'a> = (Started<'a>, Option<Ended<'a>>);

/// The text of a job that is over; `None` if the hook has recorded nothing. `now_ns`: nanoseconds since
/// 1970.
pub(super) fn markdown(journals: &Journals, now_ns: u64) -> Option<String> {
    let hook = HookJournal::read(unmarked(&journals.hook));
    let inits = journals.containers.iter();
    let inits = inits.map(|(name, records)| (name.as_str(), InitJournal::read(unmarked(records))));
    let inits: Vec<(&str, InitJournal<'_, ()>)> = inits.collect();
    let phases = phases(&hook);
    let steps = steps(&hook, &inits);
    let containers = containers(&hook, &inits);
    let bars = steps.iter().map(|step| bar(step.name, step.start_ns, step.end_ns, step.state));
    let sections = [("Hook", phases), ("Steps", bars.collect()), ("Containers", containers)];
    let all = sections.iter().flat_map(|(_, bars)| bars);
    let start_unix_ms = all.map(|bar| bar.start_unix_ms).min()?;
    let end_unix_ms = ms(cleaned_ns(&hook).unwrap_or(now_ns));
    let gantt = Gantt { start_unix_ms, end_unix_ms, sections: &sections };
    let mut text = format!("\n### Timeline\n\n{}", gantt.markdown());
    let heads = [&Beginning::heads("Step")[..], &Used::HEADS].concat();
    let rows: Vec<Vec<String>> = steps.iter().map(|step| row(step, start_unix_ms)).collect();
    let rows = rows.iter().map(|row| row.iter().map(String::as_str));
    table(&mut text, "Steps", &heads, rows, BYTES_MAX);
    Some(text)
}

/// Nothing is known of a record but what it says.
fn unmarked(records: &[Record]) -> impl Iterator<Item = ((), &Record)> {
    records.iter().map(|record| ((), record))
}

/// When the last `cleanup_job` had ended: the job's end, as far as the hook knows it.
fn cleaned_ns(hook: &HookJournal<'_, ()>) -> Option<u64> {
    let calls = hook.calls.iter().filter(|((), call)| call.phase == Phase::CleanupJob);
    calls.map(|((), call)| call.end_ns()).max()
}

fn phases<'a>(hook: &HookJournal<'a, ()>) -> Vec<Bar<'a>> {
    let calls = hook.calls.iter().filter(|((), call)| call.phase.step_kind().is_none());
    let bars = calls.map(|((), call)| {
        let state = if call.success { State::Done } else { State::Failed };
        bar(call.phase.as_str(), call.at_ns, Some(call.end_ns()), state)
    });
    bars.collect()
}

/// By their beginnings. A call of the hook that was killed has recorded nothing, but its init has.
fn steps<'a>(
    hook: &HookJournal<'a, ()>,
    inits: &[(&'a str, InitJournal<'a, ()>)],
) -> Vec<Step<'a>> {
    let mut told = told(inits);
    let mut steps = Vec::new();
    for ((), call) in &hook.calls {
        if call.phase.step_kind().is_none() {
            continue;
        }
        let own = call.container.and_then(|container| told.remove(&(container, call.at_ns)));
        let ended = own.and_then(|(_, ended)| ended);
        let name = call.display_name.or(call.name).unwrap_or(call.phase.as_str());
        let how = ended.map(|ended| (ended.end, ended.cancelled));
        let (result, state) = shown(StepResult::of(how, call.exit_code, call.success));
        let usage = ended.map(|ended| StepUsage::of(ended.process, ended.cgroup));
        let (start_ns, end_ns) = (call.at_ns, Some(call.end_ns()));
        steps.push(Step { name, start_ns, end_ns, result, state, usage });
    }
    steps.extend(told.into_values().map(alone));
    steps.sort_by_key(|step| (step.start_ns, step.name));
    steps
}

/// A step of which nobody but init has told.
fn alone((started, ended): Told<'_>) -> Step<'_> {
    let (result, state) = match ended {
        Some(ended) => shown(StepResult::of(Some((ended.end, ended.cancelled)), None, false)),
        // The job is over, and with it the step: it was killed with its init.
        None => ("end not known".to_owned(), State::Unknown),
    };
    let usage = ended.map(|ended| StepUsage::of(ended.process, ended.cgroup));
    let end_ns = ended.map(|ended| ended.at_ns);
    Step { name: started.name, start_ns: started.at_ns, end_ns, result, state, usage }
}

/// What is said of how a step ended.
fn shown(result: StepResult) -> (String, State) {
    match result {
        StepResult::Success(_) => ("success".to_owned(), State::Done),
        StepResult::Cancelled(_) => ("cancelled".to_owned(), State::Done),
        StepResult::Failure(code) => (format!("failure, exit code {code}"), State::Failed),
        StepResult::Error => ("failure".to_owned(), State::Failed),
    }
}

/// By container and the beginning of the hook's call.
fn told<'a>(inits: &[(&'a str, InitJournal<'a, ()>)]) -> HashMap<(&'a str, u64), Told<'a>> {
    let mut told = HashMap::new();
    for (container, init) in inits {
        for ran in init.steps.values() {
            let Some(((), started)) = ran.started else { continue };
            if let Some(called_ns) = started.called_ns.filter(|_| started.kind.is_of_workflow()) {
                let ended = ran.ended.map(|((), ended)| ended);
                told.entry((*container, called_ns)).or_insert((started, ended));
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

fn row(step: &Step<'_>, start_unix_ms: u64) -> Vec<String> {
    let took = step.end_ns.map(|end| ms(end.saturating_sub(step.start_ns)));
    let beginning = Beginning {
        name: one_line(step.name, NAME_CHARS_MAX),
        result: step.result.clone(),
        began: duration(ms(step.start_ns).saturating_sub(start_unix_ms)),
        took: or_dash(took, duration),
    };
    let used =
        |of: fn(&StepUsage) -> Option<String>| or_dash(step.usage.as_ref().and_then(of), |it| it);
    let used = Used {
        cpu: used(|it| Some(it.cpu.clone())),
        throttled: used(|it| it.throttled.clone()),
        memory: used(|it| Some(it.memory.clone())),
        oom_kills: used(|it| it.oom_kills.map(|kills| kills.to_string())),
        read: used(|it| it.read.clone()),
        written: used(|it| it.written.clone()),
    };
    beginning.cells().into_iter().chain(used.cells()).collect()
}

#[cfg(test)]
mod tests;
