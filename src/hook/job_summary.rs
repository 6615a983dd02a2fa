//! The job's timeline on its summary page: what the runner starts last, as its job completed hook
//! (`ACTIONS_RUNNER_HOOK_JOB_COMPLETED`), if the operator sets it.
//!
//! It is no part of `cleanup_job`, because of a container hook's calls the runner reads the summaries of
//! steps alone. Its job completed hook has a summary of its own, and runs when the containers have been
//! stopped. Source: actions/runner v2.336.0, `ContainerHookManager.cs`, `JobHookProvider.cs`, and
//! `JobExtension.cs`, where steps after the job are a stack and this one is the first.

use ephemon_base::clock::now_ns;

use super::console::Console;
use super::journals::Journals;
use super::settings::Settings;
use super::{summary, timeline};

/// The argument with which this program does it.
pub(super) const ARGUMENT: &str = "--job-summary";

/// Appends the timeline. The job does not depend on it: what goes wrong is a line of this step's log.
pub(super) fn write(settings: &Settings, console: &Console) {
    let Some(path) = &settings.summary else {
        return console.warning("no timeline is written: GITHUB_STEP_SUMMARY names no file");
    };
    let Some(text) = timeline::markdown(&Journals::read(&settings.volume), now_ns()) else {
        return console.debug("no timeline is written: the hook has run nothing in this job");
    };
    if let Err(error) = summary::append(path, &text) {
        console.warning(&format!("cannot write the timeline of the job: {error}"));
    }
}
