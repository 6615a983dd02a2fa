//! The result of a call: its exit code, and a message before the runner's own.

use std::collections::BTreeMap;

use ephemon_contract::{End, Exit};

use super::call::Call;
use super::summary;

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) code: u8,
    /// The message, if the step was not successful.
    pub(super) sentence: Option<String>,
    /// Whether the step was cancelled by the runner, or by the end of the container.
    pub(super) cancelled: bool,
}

// === impl Outcome ===

impl Outcome {
    /// The result of a process that init ran.
    pub(super) fn of(call: &Call<'_>, exit: &Exit) -> Self {
        let settings = call.settings;
        if let Some(path) = settings.summary.as_ref().filter(|_| settings.step_tables)
            && let Err(error) =
                summary::append(path, &summary::table(settings.step_id.as_deref(), exit))
        {
            call.console.debug(&format!("cannot write the step's summary: {error}"));
        }
        Self { code: exit.end.exit_code(), sentence: sentence(exit), cancelled: exit.cancelled }
    }

    /// The result of a process that `exec` ran.
    pub(super) fn of_exec(code: u8, cancelled: bool) -> Self {
        let sentence = match (code, cancelled) {
            (_, true) => Some("the step was cancelled".to_owned()),
            (0, false) => None,
            (code, false) => Some(failed(code)),
        };
        Self { code, sentence, cancelled }
    }

    /// The result of a container according to the kubelet.
    pub(super) fn of_code(code: i32, reason: &str, message: &str) -> Self {
        // A code above 255 cannot be passed on, and must not become a success.
        let passed = u8::try_from(code).unwrap_or(1);
        let sentence = match (code, reason) {
            (0, _) => None,
            (code, "OOMKilled") => Some(format!(
                "the container ran out of memory and was killed (exit code {code}); raise its memory limit or reduce its use"
            )),
            // The runtime's message; there is no other, because no process ran.
            (code, "StartError") => Some(format!(
                "cannot start the container's command (exit code {code}): {}",
                super::console::quote(message)
            )),
            (code, reason) => Some(format!("the container ended with exit code {code} ({reason})")),
        };
        Self { code: passed, sentence, cancelled: false }
    }
}

fn sentence(exit: &Exit) -> Option<String> {
    let oom = exit.cgroup.oom_kills.is_some_and(|kills| kills > 0);
    match exit.end {
        End::Code(0) => None,
        _ if exit.cancelled => Some("the step was cancelled".to_owned()),
        End::Signal(9) if oom => Some(
            "the step ran out of memory and was killed; raise the container's memory limit or reduce the step's use"
                .to_owned(),
        ),
        End::Code(code) if oom => Some(format!(
            "a process of the step was killed because memory ran out, and the step ended with exit code {code}"
        )),
        End::Signal(number) => Some(format!("the step was killed by signal {number}")),
        End::Code(code) => Some(failed(code)),
    }
}

fn failed(code: u8) -> String {
    format!(
        "the step failed: its command ended with exit code {code} (the runner's message below about the custom container implementation means the same)"
    )
}

/// Divides an environment into variables that a process can have, and a warning for each of the
/// others.
pub(super) fn passable(env: BTreeMap<String, String>) -> (Vec<(String, String)>, Vec<String>) {
    let fits = |(name, value): &(String, String)| is_name(name) && !value.contains('\0');
    let (passed, left): (Vec<_>, Vec<_>) = env.into_iter().partition(fits);
    let warnings = left.into_iter().map(|(name, _)| {
        let name = super::console::quote(&name);
        format!(
            "environment variable {name:?} is ignored: its name or value is not valid for a process"
        )
    });
    (passed, warnings.collect())
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

#[cfg(test)]
mod tests {
    use ephemon_contract::{CgroupDelta, ProcessUsage};

    use super::*;

    fn exit(end: End, cancelled: bool, oom_kills: Option<u64>) -> Exit {
        Exit {
            end,
            cancelled,
            left_open: false,
            started_at_ns: 0,
            ended_at_ns: 0,
            duration_ns: 0,
            process: ProcessUsage::default(),
            cgroup: CgroupDelta { oom_kills, ..CgroupDelta::default() },
        }
    }

    #[test]
    fn every_end_but_success_has_a_sentence() {
        assert_eq!(sentence(&exit(End::Code(0), false, None)), None);
        let said = |end, cancelled, oom| sentence(&exit(end, cancelled, oom)).unwrap();
        assert!(said(End::Code(3), false, None).contains("exit code 3"));
        assert!(said(End::Signal(9), false, Some(1)).contains("out of memory"));
        assert!(said(End::Signal(9), false, Some(0)).contains("signal 9"));
        assert!(said(End::Code(1), false, Some(2)).contains("because memory ran out"));
        assert!(said(End::Signal(15), true, None).contains("cancelled"));
    }

    #[test]
    fn a_containers_code_is_passed_on_and_a_strange_one_is_no_success() {
        assert_eq!(
            Outcome::of_code(0, "Completed", ""),
            Outcome { code: 0, sentence: None, cancelled: false }
        );
        assert_eq!(Outcome::of_code(42, "Error", "").code, 42);
        assert_eq!(Outcome::of_code(256, "Error", "").code, 1);
        assert_eq!(Outcome::of_code(-1, "Error", "").code, 1);
        let said =
            |code, reason, message| Outcome::of_code(code, reason, message).sentence.unwrap();
        assert!(said(137, "OOMKilled", "").contains("memory"));
        assert!(
            said(128, "StartError", "exec /x: no such file\n").contains("exec /x: no such file")
        );
    }

    #[test]
    fn what_no_process_can_be_given_is_left_out() {
        let env = [("A=B", "1"), ("", "2"), ("C", "x\0y"), ("D", "4")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let (passed, warnings) = passable(env);
        assert_eq!(passed, [("D".to_owned(), "4".to_owned())]);
        assert!(warnings.len() == 3 && warnings.iter().all(|it| it.contains("is ignored")));
    }
}
