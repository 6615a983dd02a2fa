//! What the scripts of a GitLab job write about themselves into the logs of `build` and `helper`: which
//! stage begins, and with which code it ended. Pure.
//!
//! The runner has each stage's script run in one of the two containers, its output going to a file, from
//! which the runner reads, and by `tee` to the container's own output. The script's first line says its
//! path, and a trap its exit code: the runner knows how a stage ended by these lines alone. A job can
//! write such lines, too, and the runner would believe them.
//!
//! Source: gitlab-runner 19.4, `shells/bash.go` (`bashJSONInitializationScript`,
//! `bashJSONTerminationScript`), `shells/powershell.go`, `shells/trap_command_exit_status.go`,
//! `executors/kubernetes/kubernetes.go` (`getContainerInfo`, `buildRedirectionCmd`), `common/build.go`
//! (the stages, `getPredefinedEnv`, `executeScript`). With `FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY`
//! or `FF_CONCRETE` there are no such lines.

use std::sync::Arc;

use serde::Deserialize;

use super::gitlab::{BUILD, HELPER};

/// A longer line is none of these.
const MAX_LINE: usize = 512;
/// Longest name of a stage, in bytes.
const MAX_NAME: usize = 64;
/// The stages of the job's own scripts: `step_script`, `step_release`.
const STEP: &str = "step_";
const AFTER_SCRIPT: &str = "after_script";
/// The last stage of every job that got so far.
const CLEANUP: &str = "cleanup_file_variables";
/// With which a script ends that the runner ends: 1 by its trap for SIGTERM, 143 where a shell of an older
/// runner has none, 137 of PowerShell, whose processes are killed.
const ENDED_CODES: [i32; 3] = [1, 137, 143];
/// Stages in `helper` whose failure fails the job, with how it is tried again: the last attempt counts.
const COUNTING: [&str; 8] = [
    "prepare_script",
    "get_sources",
    "restore_cache",
    "download_artifacts",
    "archive_cache",
    "archive_cache_on_failure",
    "upload_artifacts_on_success",
    "upload_artifacts_on_failure",
];
/// Other stages there.
const OTHERS: [&str; 2] = ["clear_worktree", CLEANUP];

/// A stage that begins, or is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitlabStage {
    /// Its name: `get_sources`, `step_script`.
    pub name: Arc<str>,
    /// The exit code of one that is over.
    pub exit_code: Option<i32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    command_exit_code: Option<i32>,
    script: String,
}

// === impl GitlabStage ===

impl GitlabStage {
    /// The containers whose logs have such lines.
    pub const CONTAINERS: [&str; 2] = [BUILD, HELPER];

    /// Reads one line of a container's log, without its newline. A stage that does not run in that
    /// container is not believed.
    pub fn parse(container: &str, line: &[u8]) -> Option<Self> {
        if line.first() != Some(&b'{') || line.len() > MAX_LINE {
            return None;
        }
        let Mark { command_exit_code: exit_code, script } = serde_json::from_slice(line).ok()?;
        let name = script.rsplit('/').next()?;
        (Self::container(name)? == container).then(|| Self { name: name.into(), exit_code })
    }

    /// The container in which a stage runs; `None` of what is no stage.
    pub fn container(name: &str) -> Option<&'static str> {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_name = name.len() <= MAX_NAME && name.bytes().all(is_letter);
        if is_name
            && (name == AFTER_SCRIPT || name.strip_prefix(STEP).is_some_and(|it| !it.is_empty()))
        {
            Some(BUILD)
        } else {
            (COUNTING.contains(&name) || OTHERS.contains(&name)).then_some(HELPER)
        }
    }

    /// Whether it is one of the job's own scripts, which runs once.
    pub fn is_script(name: &str) -> bool {
        name.starts_with(STEP)
    }

    /// Whether the job fails if this stage does. `after_script` counts only where a job says so.
    pub fn counts(name: &str) -> bool {
        Self::is_script(name) || COUNTING.contains(&name)
    }

    /// Whether a stage may have been ended by the runner, by its exit code; one may fail so by itself, too.
    ///
    /// The runner sends SIGTERM to the children of the script's shell when a job is cancelled or takes too
    /// long (`executors/kubernetes/kubernetes.go`: `runWithAttach`, `stageCancellationScript`;
    /// `shells/bash.go`: `bashExitOnScriptTerminationSignal`). If the job was aborted or its time is over, no
    /// stage follows (`common/build.go`: `executeStage` checks the job's context). If somebody cancelled it
    /// on GitLab 17 or newer while its own script ran, or that script had a timeout of its own, the job
    /// goes on with `after_script` and what follows a failure (`executeUserScripts`): nothing tells it from
    /// a script that failed with the same code.
    pub fn may_be_ended(code: i32) -> bool {
        ENDED_CODES.contains(&code)
    }

    /// Whether it is the last one: what comes before it is over.
    pub fn is_last(name: &str) -> bool {
        name == CLEANUP
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stage(name: &str, exit_code: Option<i32>) -> GitlabStage {
        GitlabStage { name: name.into(), exit_code }
    }

    #[test]
    fn a_stage_begins_and_ends_by_its_scripts_own_lines() {
        for (container, line, expected) in [
            (BUILD, r#"{"script": "/scripts-42-8412/step_script"}"#, stage("step_script", None)),
            (
                BUILD,
                r#"{"command_exit_code": 7, "script": "/scripts-42-8412/step_script"}"#,
                stage("step_script", Some(7)),
            ),
            (HELPER, r#"{"script": "/x/scripts-42-8412/get_sources"}"#, stage("get_sources", None)),
            // PowerShell says the name alone.
            (
                BUILD,
                r#"{"command_exit_code": 0, "script": "after_script"}"#,
                stage("after_script", Some(0)),
            ),
        ] {
            assert_eq!(GitlabStage::parse(container, line.as_bytes()), Some(expected), "{line}");
        }
    }

    #[test]
    fn nothing_else_is_a_stages_line() {
        let long = format!(r#"{{"script": "/{}/step_script"}}"#, "x".repeat(MAX_LINE));
        let name = format!(r#"{{"script": "step_{}"}}"#, "x".repeat(MAX_NAME));
        for (container, line) in [
            // What runs in `helper` is not said in `build`, where the job runs.
            (BUILD, r#"{"command_exit_code": 0, "script": "/scripts-1-2/get_sources"}"#),
            (HELPER, r#"{"script": "/scripts-1-2/step_script"}"#),
            (BUILD, r#" {"script": "step_script"}"#),
            (BUILD, r#"{"script": "step_script", "more": 1}"#),
            (BUILD, r#"{"command_exit_code": 0}"#),
            (BUILD, r#"{"command_exit_code": "0", "script": "step_script"}"#),
            (BUILD, r#"{"command_exit_code": 99999999999, "script": "step_script"}"#),
            (BUILD, r#"{"script": "step_"}"#),
            (BUILD, r#"{"script": "step_a b"}"#),
            (BUILD, r#"{"script": "make"}"#),
            (BUILD, r#"{"script": 7}"#),
            (BUILD, long.as_str()),
            (BUILD, name.as_str()),
            (BUILD, "{"),
            (BUILD, ""),
            ("postgres", r#"{"script": "step_script"}"#),
        ] {
            assert_eq!(GitlabStage::parse(container, line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn the_jobs_scripts_and_what_is_done_for_them_decide() {
        let counts = |name: &&str| GitlabStage::counts(name);
        let names = ["step_script", "get_sources", "archive_cache", "after_script", CLEANUP];
        let found: Vec<&str> = names.into_iter().filter(counts).collect();
        assert_eq!(found, ["step_script", "get_sources", "archive_cache"]);
        assert!(GitlabStage::is_last(CLEANUP) && !GitlabStage::is_last("step_script"));
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(line in any::<Vec<u8>>(), script in any::<String>()) {
            drop(GitlabStage::parse(BUILD, &line));
            let line = serde_json::json!({"script": script}).to_string();
            let found = GitlabStage::parse(BUILD, line.as_bytes());
            prop_assert!(found.is_none_or(|stage| stage.name.len() <= MAX_NAME));
        }
    }
}
