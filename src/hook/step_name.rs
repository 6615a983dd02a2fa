//! The name of the step that calls us, as GitHub shows it. The runner hands over an id alone, but it
//! logs each step when its turn comes, with its secrets masked.
//!
//! Source: actions/runner v2.336.0, `StepsRunner.cs`, `Handlers/CompositeActionHandler.cs`,
//! `HostTraceListener.cs` (`[2026-01-01 00:00:00Z INFO StepsRunner] …`, flushed with each line).

use super::settings::Settings;
use super::worker_log::WorkerLog;

/// So much of the log's end is looked at: between the line and the call are some dozens of others.
const TAIL_BYTES: u64 = 256 * 1024;
/// Who logs a step of the job.
const STEP: &str = " INFO StepsRunner] Processing step: DisplayName='";
/// And one of a composite action, before its name is evaluated: all are called `run` there.
const EMBEDDED: &str = " INFO CompositeActionHandler] Processing embedded step: DisplayName='";
/// A name with this in it is evaluated when the step runs; the runner logs it before.
const EXPRESSION: &str = "${{";
/// Where steps run beside others, the last one logged need not be the one that calls.
const BACKGROUND: &str = " BackgroundStepCoordinator] ";

/// The name, where it is known for certain.
pub(super) fn of(settings: &Settings) -> Option<String> {
    last(&WorkerLog::newest(settings)?.tail(TAIL_BYTES)?)
}

fn last(log: &str) -> Option<String> {
    if log.contains(BACKGROUND) {
        return None;
    }
    log.lines().rev().find_map(told).and_then(Told::name)
}

/// What a line tells of a step.
#[derive(Debug, Clone, Copy)]
enum Told<'a> {
    /// A step of the job, of this name.
    Step(&'a str),
    /// A step of a composite action.
    Embedded,
}

impl Told<'_> {
    /// The name, where GitHub shows the same. One of several lines is cut after the first.
    fn name(self) -> Option<String> {
        let Self::Step(name) = self else { return None };
        let name = name.strip_suffix('\'').unwrap_or(name).trim();
        (!name.is_empty() && !name.contains(EXPRESSION)).then(|| name.to_owned())
    }
}

/// Of a line that tells of a step.
fn told(line: &str) -> Option<Told<'_>> {
    let line = line.strip_prefix('[')?;
    // The time, to the second, and its zone.
    let (stamp, told) = line.split_at_checked("2026-01-01 00:00:00Z".len())?;
    if !stamp.ends_with('Z') {
        return None;
    }
    let embedded = told.starts_with(EMBEDDED).then_some(Told::Embedded);
    told.strip_prefix(STEP).map(Told::Step).or(embedded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: &[(&str, &str)]) -> String {
        let line = |(source, text): &(&str, &str)| {
            format!("[2026-01-01 00:00:00Z INFO {source}] {text}\n")
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn the_last_step_that_was_logged_is_the_one_that_calls() {
        let step = |name: &str| format!("Processing step: DisplayName='{name}'");
        let (first, second) = (step("Run actions/checkout@v4"), step("Say 'hello'"));
        let inner = "Processing embedded step: DisplayName='run'";
        let around = [("ActionRunner", "Loading"), ("StepsRunner", &first), ("Worker", &second)];
        assert_eq!(last(&log(&around)).as_deref(), Some("Run actions/checkout@v4"));
        let both = [("StepsRunner", &*first), ("StepsRunner", &*second), ("Handler", "env")];
        assert_eq!(last(&log(&both)).as_deref(), Some("Say 'hello'"));
        let composite = [("StepsRunner", &*first), ("CompositeActionHandler", inner)];
        assert_eq!(last(&log(&composite)), None, "the inner step calls, not the outer one");
        let more = format!("{first}\n second line'");
        assert_eq!(
            last(&log(&[("StepsRunner", &more)])).as_deref(),
            Some("Run actions/checkout@v4")
        );
    }

    #[test]
    fn what_is_no_such_line_or_not_certain_gives_no_name() {
        let step = "Processing step: DisplayName='a'";
        let queued = "Background step '1' queued (slot will be acquired asynchronously).";
        for text in [
            String::new(),
            step.to_owned(),
            format!("x [2026-01-01 00:00:00Z INFO StepsRunner] {step}"),
            format!("[2026-01-01 00:00:00é INFO StepsRunner] {step}"),
            log(&[("StepsRunner", "Processing step: DisplayName=''")]),
            log(&[(
                "StepsRunner",
                "Processing step: DisplayName='Deploy ${{ steps.v.outputs.tag }}'",
            )]),
            log(&[("StepsRunner", step), ("BackgroundStepCoordinator", queued)]),
        ] {
            assert_eq!(last(&text), None, "{text}");
        }
    }
}
