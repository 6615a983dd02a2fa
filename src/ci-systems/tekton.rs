//! Tekton Pipelines: a pod for each `TaskRun`, its steps as containers.
//!
//! Source: tektoncd/pipeline, `pkg/apis/pipeline/register.go` (the labels' names), `pkg/pod/pod.go`:
//! `makeLabels` (the pod has the `TaskRun`'s labels), `pkg/reconciler/pipelinerun/pipelinerun.go`:
//! `createChildResourceLabels`, `pkg/pod/entrypoint.go` (`step-`, `sidecar-`).
//!
//! All steps' containers start together; the entrypoint in each waits for the step before, and writes
//! into the termination message when its own began. No repository is known.

use super::part::Part;
use super::pod_facts::PodFacts;
use super::said::{Said, run_key};
use super::text::short;

pub(super) const TASK_RUN: &str = "tekton.dev/taskRun";

const TASK: &str = "tekton.dev/task";
const TASK_RUN_UID: &str = "tekton.dev/taskRunUID";
const PIPELINE: &str = "tekton.dev/pipeline";
const PIPELINE_RUN: &str = "tekton.dev/pipelineRun";
const PIPELINE_RUN_UID: &str = "tekton.dev/pipelineRunUID";
const PIPELINE_TASK: &str = "tekton.dev/pipelineTask";

const STEP: &str = "step-";

pub(super) fn job(pod: PodFacts<'_>) -> Option<Said> {
    let task_run = pod.label(TASK_RUN)?;
    // A TaskRun of no pipeline is a run of one job.
    let (run, uid) = match pod.label(PIPELINE_RUN) {
        Some(run) => (run, pod.label(PIPELINE_RUN_UID)),
        None => (task_run, pod.label(TASK_RUN_UID)),
    };
    let job = pod.label(PIPELINE_TASK).or_else(|| pod.label(TASK));
    Some(Said {
        pipeline: pod.label(PIPELINE).and_then(short),
        run: short(run),
        // Older releases have no label with the UID, and a name may come again.
        run_key: run_key([Some("tekton"), Some(pod.namespace()), Some(uid.unwrap_or(run))]),
        job: job.and_then(short),
        // The name of a TaskRun without a Task of its own is made up for each run.
        display_name: short(task_run).filter(|_| job.is_none()),
        ..Said::default()
    })
}

pub(super) fn part(container: &str) -> Part {
    if container.starts_with(STEP) { Part::Step } else { Part::Service }
}

/// The step's name in the Task.
pub(super) fn step_name(container: &str) -> Option<&str> {
    container.strip_prefix(STEP)
}
