//! The mode `kubernetes` with the hook of GitHub's image, v0.7: a pod on the runner's node for the job's
//! container and its services, and a `Job` for a container action.

use super::objects::{Arc, Mode};
use crate::hook_in_pods::site::{PATIENCE, Site};
use crate::logs::backend::{Backend, attribute};
use crate::support::collector::Wire;
use crate::support::exposition::Ledger;
use crate::support::process::until;

const RUNNER: &str = "linux-runner-volume";
/// Those by default, and the one that the documents name for container actions.
const SELECTORS: [&str; 3] =
    ["actions-ephemeral-runner=True", "runner-pod", "batch.kubernetes.io/job-name"];

#[test]
fn a_job_has_the_pod_on_its_node_and_the_action_that_is_a_job_of_kubernetes() {
    let Some(site) = Site::start() else { return };
    let collector = Backend::start_on(site.node.gateway(), Wire::Http);
    let arc = Arc::new(&site);
    let flags = SELECTORS.map(|selector| ["--pod-selector", selector]);
    let agent = site.agent_to(&collector.endpoint(), flags.as_flattened());
    let mut ledger = Ledger::default();
    let mut until_shown = |family: &str, labels: &[(&str, &str)]| {
        until(PATIENCE, || {
            agent.scrape_into(&mut ledger);
            ledger.sum(family, labels).filter(|value| *value > 0.0)
        })
        .unwrap_or_else(|| panic!("{family} {labels:?}:\n{}", agent.log()))
    };
    arc.runner(RUNNER, Mode::Kubernetes);
    arc.writes(RUNNER, "[RUNNER 2026-11-23 12:19:01Z INFO Listener] Listening for Jobs\n");
    arc.says(RUNNER, "Running job: build");
    arc.takes_job(RUNNER, "build", 72);
    let workflow = arc.pod_of_job(RUNNER);
    for container in ["job", "redis"] {
        until_shown(
            "ephemon_container_info",
            &[("namespace", site.namespace()), ("pod", &workflow), ("container", container)],
        );
    }
    let action = arc.action(RUNNER, 3);
    let labels = [
        ("namespace", site.namespace()),
        ("organization", "octo-org"),
        ("repository", "widgets"),
        ("workflow", ".github/workflows/ci.yml"),
    ];
    until_shown("ephemon_job_started_total", &labels);
    arc.delete(&workflow);
    arc.says(RUNNER, "Job build completed with result: Failed");
    arc.ends(RUNNER);
    let completed = [&labels[..], &[("result", "failure")]].concat();
    until_shown("ephemon_job_completed_total", &completed);
    until_shown("ephemon_job_cpu_usage_seconds_total", &labels);

    let spans = || collector.spans_of(site.namespace());
    let is_root = |span: &_| attribute(span, "cicd.pipeline.task.run.result") == "failure";
    let root = until(PATIENCE, || {
        spans().into_values().find(|span| span.name == "build" && is_root(span))
    })
    .unwrap_or_else(|| panic!("no trace:\n{}", agent.log()));
    let parts: Vec<_> = spans()
        .into_values()
        .filter(|span| span.parent_span_id == root.span_id)
        .map(|span| {
            let keys = ["k8s.pod.name", "k8s.container.name", "ephemon.container.role"];
            (keys.map(|key| attribute(&span, key)), span.status.map_or(0, |status| status.code))
        })
        .collect();
    // The pod was deleted; only the action failed.
    for (pod, container, role, is_failed) in [
        ("", "runner", "runner", false),
        (&*workflow, "job", "job", false),
        (&*workflow, "redis", "service", false),
        (&*action, "job", "step", true),
    ] {
        let key = [pod, container, role].map(str::to_owned);
        let part = parts.iter().find(|(part, _)| *part == key);
        let (_, code) = part.unwrap_or_else(|| panic!("{key:?} is not among {parts:?}"));
        assert_eq!(*code == 2, is_failed, "{key:?}");
    }
}
