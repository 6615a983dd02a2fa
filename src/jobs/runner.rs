//! What the runner's own log says of a job.
//!
//! Source: actions/runner v2.336.0, `src/Runner.Listener/JobDispatcher.cs`: `WriteLine` of
//! `{utc}: Running job: {name}` and `{utc}: Job {name} completed with result: {result}`.

use std::sync::Arc;

use super::outcome::JobResult;

/// Longest name of a job taken, in characters.
const MAX_NAME: usize = 256;

/// What one line says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Said {
    /// A job begins.
    Running {
        /// Its name as people see it.
        name: Arc<str>,
    },
    /// A job is over.
    Completed {
        /// Its name.
        name: Arc<str>,
        /// How it ended.
        result: JobResult,
    },
}

/// Reads one line, without its newline; most say nothing of the kind.
pub fn parse(line: &str) -> Option<Said> {
    let (stamp, text) = line.trim_end().split_once("Z: ")?;
    // "2026-11-23 12:19:10Z: ": a job's own output does not stand in this log, but be sure.
    let is_stamp = |byte: u8| byte.is_ascii_digit() || b"-: ".contains(&byte);
    if stamp.len() != 19 || !stamp.bytes().all(is_stamp) {
        return None;
    }
    if let Some(name) = text.strip_prefix("Running job: ") {
        return Some(Said::Running { name: clean(name)? });
    }
    let (name, result) = text.strip_prefix("Job ")?.rsplit_once(" completed with result: ")?;
    Some(Said::Completed { name: clean(name)?, result: result_of(result)? })
}

/// The runner's word for how something ended (`TaskResult`).
pub(super) fn result_of(word: &str) -> Option<JobResult> {
    Some(match word {
        "Succeeded" | "SucceededWithIssues" => JobResult::Success,
        "Failed" => JobResult::Failure,
        "Canceled" => JobResult::Cancellation,
        "Skipped" => JobResult::Skip,
        "Abandoned" => JobResult::Error,
        _ => return None,
    })
}

/// A name that can be shown.
pub(super) fn clean(name: &str) -> Option<Arc<str>> {
    let name: String = name.chars().filter(|letter| !letter.is_control()).take(MAX_NAME).collect();
    (!name.is_empty()).then(|| name.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_runners_two_sentences_are_understood() {
        assert_eq!(
            parse("2026-11-23 12:19:10Z: Running job: test (1.23)"),
            Some(Said::Running { name: "test (1.23)".into() })
        );
        assert_eq!(
            parse(
                "2026-11-23 12:20:10Z: Job a completed with result: b completed with result: Failed"
            ),
            Some(Said::Completed {
                name: "a completed with result: b".into(),
                result: JobResult::Failure,
            })
        );
    }

    #[test]
    fn nothing_else_is() {
        for line in [
            "",
            "Running job: test",
            "2026-11-23 12:19:10Z: Listening for Jobs",
            "2026-11-23 12:19:10Z: Running job: ",
            "2026-11-23 12:19:10Z: Job x completed with result: Odd",
            "echo 2026-11-23 12:19:10Z: Running job: x",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(line in any::<String>()) {
            drop(parse(&line));
            drop(parse(&format!("2026-11-23 12:19:10Z: {line}")));
        }
    }
}
