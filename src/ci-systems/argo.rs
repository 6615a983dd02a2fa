//! Argo Workflows: a pod for each node of a workflow that runs containers.
//!
//! Source: argoproj/argo-workflows, `workflow/common/common.go` (the names of labels, annotations and
//! containers), `workflow/controller/workflowpod.go`: `build` (labels, annotations, the owner), `dag.go`
//! and `steps.go` (a node's name is its workflow's, then `[GROUP]` and `.TASK` for each level),
//! `operator.go`: `inferFailedReason` (an error of `init`, `wait` and `supervisor` is the node's error).
//!
//! The pod of HTTP and plugin templates, and the one that removes artifacts, have no node: they are no
//! job. No repository is known; the workflow template is where `podMetadata` puts its label on pods.

use super::part::Part;
use super::pod_facts::PodFacts;
use super::said::{Said, run_key};
use super::text::short;

pub(super) const WORKFLOW: &str = "workflows.argoproj.io/workflow";

const NODE_ID: &str = "workflows.argoproj.io/node-id";
const NODE_NAME: &str = "workflows.argoproj.io/node-name";
/// Labels of a workflow that its pods have where it says so.
const TEMPLATES: [&str; 3] = [
    "workflows.argoproj.io/workflow-template",
    "workflows.argoproj.io/cluster-workflow-template",
    "workflows.argoproj.io/cron-workflow",
];

/// The container that the template describes.
pub(super) const MAIN: &str = "main";
/// The executor's containers, beside init containers.
const EXECUTOR: [&str; 2] = ["wait", "supervisor"];
/// The containers that carry artifacts for plugins.
const PLUGIN: &str = "artifact-plugin-";

pub(super) fn job(pod: PodFacts<'_>) -> Option<Said> {
    let workflow = pod.label(WORKFLOW)?;
    pod.annotation(NODE_ID)?;
    let uid = pod.owner("Workflow").unwrap_or(workflow);
    let node = pod.annotation(NODE_NAME);
    let template = TEMPLATES.into_iter().find_map(|label| pod.label(label));
    Some(Said {
        pipeline: template.and_then(short),
        run: short(workflow),
        run_key: run_key([Some("argo"), Some(pod.namespace()), Some(uid)]),
        job: node.and_then(|node| short(task(node, workflow))),
        display_name: node.and_then(short),
        ..Said::default()
    })
}

/// The task's own name in a node's: without the workflow's, the levels above, and what tells the runs of
/// a loop or of a retry apart.
fn task<'a>(node: &'a str, workflow: &str) -> &'a str {
    let below = node.strip_prefix(workflow).unwrap_or(node);
    // What is looped over may have dots and brackets in it.
    let name = below.split('(').next().unwrap_or_default();
    name.rsplit('.').next().unwrap_or_default()
}

/// `has_main`: the pod has a container of that name, as all have but some of container sets. What stands
/// beside it is a sidecar or of the same set: either is stopped by the executor or fails the node.
pub(super) fn part(container: &str, has_main: bool) -> Part {
    match container {
        _ if EXECUTOR.contains(&container) || container.starts_with(PLUGIN) => Part::System,
        MAIN => Part::Step,
        _ if has_main => Part::Service,
        _ => Part::Step,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tasks_name_is_the_same_in_all_runs() {
        for (node, name) in [
            ("build-x7k2p", ""),
            ("build-x7k2p.compile", "compile"),
            ("build-x7k2p[1].lint", "lint"),
            ("build-x7k2p.test(0:linux.amd64)", "test"),
            ("build-x7k2p.test(0)", "test"),
            ("build-x7k2p.outer[0].inner", "inner"),
            ("build-x7k2p(0)", ""),
        ] {
            assert_eq!(task(node, "build-x7k2p"), name, "{node}");
        }
    }
}
