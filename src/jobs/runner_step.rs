//! What the runner's log says of the job's steps, one line at a time. Pure.
//!
//! With `ACTIONS_RUNNER_PRINT_LOG_TO_STDOUT=1`, which GitHub's runner image sets, the worker's own log
//! is also on the container's standard output. Each line of a message has a header of its own:
//! `[WORKER 2026-11-23 12:19:10Z INFO StepsRunner] `. The output of steps is not in it. The runner masks
//! the job's secrets there, and logs a step's name before it evaluates the expressions in it.
//!
//! A job runs as the runner's user and can write such lines itself, or have its text in them (a name of
//! several lines, the value of an `if:`). They say when and under which name, and are never trusted
//! for what was used.
//!
//! Source: actions/runner v2.336.0, `images/Dockerfile`; `src/Runner.Common/StdoutTraceListener.cs`,
//! `Tracing.cs`; `src/Runner.Worker/StepsRunner.cs`, `JobRunner.cs`, `BackgroundStepCoordinator.cs`.

use std::sync::Arc;

use ephemon_ci_systems::GitlabStage;

use super::outcome::JobResult;
use super::runner::{clean, result_of};

/// A longer line is cut here, and with it the step's name.
pub const MAX_STEP_LINE_BYTES: usize = 1024;
/// What a header begins with, and the length of the time in it.
const HOST: &[u8] = b"[WORKER ";
const STAMP_LEN: usize = "2026-11-23 12:19:10Z".len();
/// The level (`INFO`, `ERR `), with the blanks around it.
const LEVEL_LEN: usize = " INFO ".len();
/// What GitHub calls the runner's own work before and after the steps.
const SET_UP: &str = "Set up job";
const COMPLETE: &str = "Complete job";

/// What one line says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepEvent {
    /// A step begins.
    Began {
        /// Its name as the runner knows it by then.
        name: Arc<str>,
    },
    /// The step that began last is one of those that run beside others.
    Queued {
        /// Its id in the workflow.
        id: Arc<str>,
    },
    /// The step that began last is over.
    Ended {
        /// How; `None` if it runs on beside the next ones.
        result: Option<JobResult>,
    },
    /// A step that ran beside others is over.
    BackgroundEnded {
        /// Its id in the workflow.
        id: Arc<str>,
        /// How.
        result: JobResult,
    },
    /// A stage of another CI system's job is over, of which the script itself tells.
    Exited {
        /// Its name.
        name: Arc<str>,
        /// Its exit code.
        code: i32,
    },
}

// === impl StepEvent ===

impl StepEvent {
    /// Reads one line, without its newline; most say nothing of a step.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let (class, text) = message(line)?;
        match class {
            b"StepsRunner" => of_step(text),
            b"JobRunner" => of_job(text),
            b"BackgroundStepCoordinator" => of_background(text),
            _ => None,
        }
    }

    /// The same of a line in the log of a container of a GitLab job's pod: its stages are steps.
    pub fn of_stage(container: &str, line: &[u8]) -> Option<Self> {
        let GitlabStage { name, exit_code } = GitlabStage::parse(container, line)?;
        Some(match exit_code {
            None => Self::Began { name },
            Some(code) => Self::Exited { name, code },
        })
    }

    /// The same with another name or id, where it has one.
    #[must_use]
    pub fn with_text(self, change: impl FnOnce(&str) -> Option<Arc<str>>) -> Self {
        // What is empty afterwards has no name that may be shown.
        let changed = |text: Arc<str>| change(&text).unwrap_or_else(|| "***".into());
        match self {
            Self::Began { name } => Self::Began { name: changed(name) },
            Self::Queued { id } => Self::Queued { id: changed(id) },
            Self::BackgroundEnded { id, result } => {
                Self::BackgroundEnded { id: changed(id), result }
            }
            Self::Exited { name, code } => Self::Exited { name: changed(name), code },
            Self::Ended { .. } => self,
        }
    }

    /// Its name or id.
    pub(super) fn text(&self) -> Option<&Arc<str>> {
        match self {
            Self::Began { name } | Self::Exited { name, .. } => Some(name),
            Self::Queued { id } | Self::BackgroundEnded { id, .. } => Some(id),
            Self::Ended { .. } => None,
        }
    }
}

/// The class that logged a line, and its text.
fn message(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.get(..MAX_STEP_LINE_BYTES).unwrap_or(line);
    let (stamp, rest) = line.strip_prefix(HOST)?.split_at_checked(STAMP_LEN)?;
    let in_stamp = |byte: &u8| byte.is_ascii_digit() || b"-: Z".contains(byte);
    if !stamp.iter().all(in_stamp) || !stamp.ends_with(b"Z") {
        return None;
    }
    let rest = rest.get(LEVEL_LEN..)?;
    let end = rest.iter().position(|byte| *byte == b']')?;
    let (class, rest) = rest.split_at_checked(end)?;
    let text = rest.strip_prefix(b"] ")?;
    Some((class, text.strip_suffix(b"\r").unwrap_or(text)))
}

fn of_step(text: &[u8]) -> Option<StepEvent> {
    if let Some(name) = text.strip_prefix(b"Processing step: DisplayName='") {
        // Without the quote where it was cut, or goes on in the next line.
        return began(name.strip_suffix(b"'").unwrap_or(name));
    }
    let result = text
        .strip_prefix(b"No need for updating job result with current step result '")
        .or_else(|| text.strip_prefix(b"Update job result with current step result '"))?;
    match result.strip_suffix(b"'.")? {
        b"" => Some(StepEvent::Ended { result: None }),
        result => Some(ended(result_of(std::str::from_utf8(result).ok()?)?)),
    }
}

fn of_job(text: &[u8]) -> Option<StepEvent> {
    match text {
        b"Initialize job. Getting all job steps." => began(SET_UP.as_bytes()),
        b"Job initialize failed." => Some(ended(JobResult::Failure)),
        b"Job is cancelled during initialize." => Some(ended(JobResult::Cancellation)),
        b"Finalize job." => began(COMPLETE.as_bytes()),
        _ if text.starts_with(b"Total job steps: ")
            || text.starts_with(b"Job result after all job steps finish: ") =>
        {
            Some(ended(JobResult::Success))
        }
        _ => None,
    }
}

fn of_background(text: &[u8]) -> Option<StepEvent> {
    let text = String::from_utf8_lossy(text.strip_prefix(b"Background step '")?);
    let id = |id: &str| clean(id);
    if let Some(of) = text.strip_suffix("' waiting for slot.") {
        return Some(StepEvent::Queued { id: id(of)? });
    }
    let forced = "' did not terminate within grace period; marking as canceled.";
    if let Some(of) = text.strip_suffix(forced) {
        return Some(StepEvent::BackgroundEnded { id: id(of)?, result: JobResult::Cancellation });
    }
    let (of, result) = text.rsplit_once("' completed with result: ")?;
    Some(StepEvent::BackgroundEnded { id: id(of)?, result: result_of(result)? })
}

fn began(name: &[u8]) -> Option<StepEvent> {
    let name = String::from_utf8_lossy(name);
    Some(StepEvent::Began { name: clean(name.trim())? })
}

fn ended(result: JobResult) -> StepEvent {
    StepEvent::Ended { result: Some(result) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(level: &str, class: &str, text: &str) -> String {
        format!("[WORKER 2026-11-23 12:19:10Z {level} {class}] {text}")
    }

    fn steps(text: &str) -> Option<StepEvent> {
        StepEvent::parse(line("INFO", "StepsRunner", text).as_bytes())
    }

    fn begun(name: &str) -> StepEvent {
        StepEvent::Began { name: name.into() }
    }

    #[test]
    fn a_step_begins_under_its_name() {
        for (shown, name) in [
            ("Run actions/checkout@v4'", "Run actions/checkout@v4"),
            ("Run cargo test'", "Run cargo test"),
            ("Say 'hello''", "Say 'hello'"),
            ("Post Run actions/cache@v4'", "Post Run actions/cache@v4"),
            ("Run echo ${{ steps.a.outputs.b }}'", "Run echo ${{ steps.a.outputs.b }}"),
            ("Use ***'", "Use ***"),
            ("Grüße 🎉'", "Grüße 🎉"),
            // The first line of several, as the runner prints each with a header of its own.
            ("first line", "first line"),
            ("  padded  '", "padded"),
            ("a\u{7}b\u{1b}[31m'", "ab[31m"),
        ] {
            assert_eq!(steps(&format!("Processing step: DisplayName='{shown}")), Some(begun(name)));
        }
        assert_eq!(steps("Processing step: DisplayName=''"), None, "no name at all");
    }

    #[test]
    fn a_step_ends_with_its_conclusion() {
        for (word, result) in [
            ("Succeeded", JobResult::Success),
            ("SucceededWithIssues", JobResult::Success),
            ("Failed", JobResult::Failure),
            ("Canceled", JobResult::Cancellation),
            ("Skipped", JobResult::Skip),
            ("Abandoned", JobResult::Error),
        ] {
            let told = Some(StepEvent::Ended { result: Some(result) });
            for said in ["No need for updating", "Update"] {
                let text = format!("{said} job result with current step result '{word}'.");
                assert_eq!(steps(&text), told, "{text}");
            }
        }
        let beside = "No need for updating job result with current step result ''.";
        assert_eq!(steps(beside), Some(StepEvent::Ended { result: None }));
    }

    #[test]
    fn the_runners_own_work_before_and_after_is_two_steps() {
        let job =
            |level: &str, text: &str| StepEvent::parse(line(level, "JobRunner", text).as_bytes());
        let ends = |result| Some(StepEvent::Ended { result: Some(result) });
        assert_eq!(
            job("INFO", "Initialize job. Getting all job steps."),
            Some(begun("Set up job"))
        );
        assert_eq!(job("INFO", "Total job steps: 24."), ends(JobResult::Success));
        assert_eq!(job("ERR ", "Job initialize failed."), ends(JobResult::Failure));
        assert_eq!(
            job("ERR ", "Job is cancelled during initialize."),
            ends(JobResult::Cancellation)
        );
        assert_eq!(job("INFO", "Finalize job."), Some(begun("Complete job")));
        let over = "Job result after all job steps finish: Failed";
        assert_eq!(job("INFO", over), ends(JobResult::Success), "the job failed, not this");
        assert_eq!(job("INFO", "Run all job steps."), None);
    }

    #[test]
    fn a_step_that_runs_beside_others_is_known_by_its_id() {
        let beside = |text: &str| {
            StepEvent::parse(line("INFO", "BackgroundStepCoordinator", text).as_bytes())
        };
        let queued = Some(StepEvent::Queued { id: "db".into() });
        assert_eq!(beside("Background step 'db' waiting for slot."), queued);
        let over = |result| Some(StepEvent::BackgroundEnded { id: "db".into(), result });
        assert_eq!(
            beside("Background step 'db' completed with result: Failed"),
            over(JobResult::Failure)
        );
        let killed =
            "Background step 'db' did not terminate within grace period; marking as canceled.";
        assert_eq!(beside(killed), over(JobResult::Cancellation));
        assert_eq!(beside("Background step 'db' acquired slot."), None);
        assert_eq!(beside("Waiting for 1 background step(s)..."), None);
    }

    #[test]
    fn nothing_else_is_a_steps_line() {
        let step = "Processing step: DisplayName='a'";
        for text in [
            String::new(),
            step.to_owned(),
            format!("[2026-11-23 12:19:10Z INFO StepsRunner] {step}"),
            format!("[RUNNER 2026-11-23 12:19:10Z INFO StepsRunner] {step}"),
            format!("x {}", line("INFO", "StepsRunner", step)),
            format!("[WORKER 2026-11-23 12:19:10é INFO StepsRunner] {step}"),
            format!("[WORKER not-a-time-at-all!!!Z INFO StepsRunner] {step}"),
            format!("[WORKER 2026-11-23 12:19:10Z INFO StepsRunner]{step}"),
            line("INFO", "Worker", step),
            line("INFO", "CompositeActionHandler", "Processing embedded step: DisplayName='run'"),
            line("INFO", "StepsRunner", "Step result: Failed"),
            line("INFO", "StepsRunner", "Step result: "),
            line("INFO", "StepsRunner", "Skipping step due to condition evaluation."),
            line("INFO", "StepsRunner", "Current state: job state = 'Failed'"),
            line("INFO", "StepsRunner", "Update job result with current step result 'Odd'."),
            line("INFO", "StepsRunner", "Update job result with current step result 'Failed"),
        ] {
            assert_eq!(StepEvent::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_name_without_end_is_cut_and_bytes_that_are_no_text_are_replaced() {
        let whole = format!("Processing step: DisplayName='{}'", "x".repeat(100_000));
        let Some(StepEvent::Began { name }) = steps(&whole) else { panic!("it begins") };
        assert!(name.len() < MAX_STEP_LINE_BYTES && name.starts_with("xxx"), "{}", name.len());
        let mut torn = line("INFO", "StepsRunner", "Processing step: DisplayName='a").into_bytes();
        torn.extend_from_slice(b"\xff\xfe'");
        assert_eq!(StepEvent::parse(&torn), Some(begun("a\u{fffd}\u{fffd}")));
    }

    #[test]
    fn a_stage_of_gitlabs_is_a_step_that_says_its_exit_code() {
        let of = |line: &str| StepEvent::of_stage("build", line.as_bytes());
        let name = || "step_script".into();
        assert_eq!(of(r#"{"script": "/s/step_script"}"#), Some(StepEvent::Began { name: name() }));
        let over = of(r#"{"command_exit_code": 3, "script": "/s/step_script"}"#).unwrap();
        assert_eq!(over, StepEvent::Exited { name: name(), code: 3 });
        assert_eq!(over.clone().with_text(|text| Some(text.into())), over);
        assert_eq!(of("make: *** [all] Error 3"), None);
    }

    #[test]
    fn another_text_replaces_name_or_id_and_where_there_is_none_it_is_hidden() {
        let step = begun("token abc");
        let masked = step.clone().with_text(|text| Some(text.replace("abc", "***").into()));
        assert_eq!(masked, begun("token ***"));
        assert_eq!(step.with_text(|_| None), begun("***"));
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(text in any::<Vec<u8>>(), class in "[a-zA-Z]{0,9}") {
            drop(StepEvent::parse(&text));
            let header = format!("[WORKER 2026-11-23 12:19:10Z INFO {class}] ");
            drop(StepEvent::parse(&[header.as_bytes(), &text].concat()));
            for class in ["StepsRunner", "JobRunner", "BackgroundStepCoordinator"] {
                let text = String::from_utf8_lossy(&text);
                let said = StepEvent::parse(line("INFO", class, &text).as_bytes());
                if let Some(text) = said.as_ref().and_then(StepEvent::text) {
                    prop_assert!(!text.chars().any(char::is_control) && !text.is_empty());
                }
            }
        }
    }
}
