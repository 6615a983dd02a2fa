//! Pods as other CI systems make them, played on a real node: each is a job with its name, its result
//! and a trace of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;

use super::ci_pod::{CiPod, Shown, say, turn};
use super::site::{PATIENCE, Site};
use crate::logs::backend::{Backend, attribute};
use crate::support::collector::Wire;
use crate::support::process::until;

const GITLAB: &str = include_str!("../fixtures/ci-systems/gitlab.yaml");
const BUILDKITE: &str = include_str!("../fixtures/ci-systems/buildkite.yaml");
const TEKTON: &str = include_str!("../fixtures/ci-systems/tekton.yaml");
const JENKINS: &str = include_str!("../fixtures/ci-systems/jenkins.yaml");
const ARGO: &str = include_str!("../fixtures/ci-systems/argo.yaml");

/// Work that the kernel's counter shows.
const WORK: &str = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
/// What [`WORK`] takes at least, seconds of CPU time.
const WORKED: f64 = 0.02;
/// How long the agent waits for the kubelet's word of a container of a job that is over.
const TOLD_WITHIN: Duration = Duration::from_secs(10);
/// Most pods of which the kubelet may tell later.
const ATTEMPTS: usize = 5;
/// Runs until its pod is deleted.
const STAY: &str = "trap 'exit 0' TERM; sleep 1000 & wait";
/// Says what Tekton's entrypoint says when a step's turn has come. This clock has whole seconds: the
/// next one is not before anything that is over.
const BEGIN: &str = "now=$(date +%s); until [ $(date +%s) -gt $now ]; do sleep 0.1; done; \
    printf '[{\"key\":\"StartedAt\",\"value\":\"%s\",\"type\":3}]' \
    $(date -u +%Y-%m-%dT%H:%M:%S.000Z) > /tekton/termination";

/// A stage of a GitLab job as the runner has its script run: what it says of itself is the runner's, see
/// `src/ci-systems/gitlab_stage.rs`.
fn stage(name: &str, command: &str) -> String {
    let script = format!(
        "trap \"exit 1\" TERM; echo \"{{\\\"script\\\": \\\"$0\\\"}}\"; runner_script_trap() {{ exit_code=$?; \
         echo; echo \"{{\\\"command_exit_code\\\": $exit_code, \\\"script\\\": \\\"$0\\\"}}\"; exit 0; }}; \
         trap runner_script_trap EXIT; set -o errexit; ({command}) < /dev/null; exit 0"
    );
    format!("(sh -c '{script}' /scripts-42-8412/{name} 2>&1 | tee -a /tmp/output.log)")
}

/// The spans of a pod's trace by name, and its resource.
struct Trace {
    spans: BTreeMap<String, Span>,
    resource: BTreeMap<String, String>,
}

// === impl Trace ===

impl Trace {
    fn span(&self, name: &str) -> &Span {
        self.spans.get(name).unwrap_or_else(|| panic!("{name}: {:#?}", self.spans.keys()))
    }

    fn resource(&self, name: &str) -> &str {
        self.resource.get(name).map_or("", String::as_str)
    }

    /// The job's result, and its error's type.
    fn result(&self, job: &str) -> (String, String) {
        let job = self.span(job);
        (attribute(job, "cicd.pipeline.task.run.result"), attribute(job, "error.type"))
    }
}

fn trace_of(collector: &Backend, pod: &str) -> Option<Trace> {
    let (spans, resource) = collector.trace_of_pod(pod)?;
    Some(Trace {
        spans: spans.into_iter().map(|span| (span.name.clone(), span)).collect(),
        resource,
    })
}

fn cpu_seconds(span: &Span) -> f64 {
    let found = span.attributes.iter().find(|pair| pair.key == "ephemon.cpu.seconds");
    match found.and_then(|pair| pair.value.clone()).and_then(|value| value.value) {
        Some(AnyValue::DoubleValue(seconds)) => seconds,
        _ => 0.0,
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "five systems, one node")]
fn a_pod_of_each_ci_system_is_a_job_by_name_with_its_result_and_trace() {
    let Some(site) = Site::start() else { return };
    site.unguard();
    let collector = Backend::start_on(site.node.gateway(), Wire::Http);
    let systems = ["--ci-system", "gitlab,buildkite,tekton,jenkins,argo"];
    let agent = site.agent_to(&collector.endpoint(), &systems);
    let play = |manifest, scripts: &[_]| CiPod::create(&site, manifest, scripts);
    let killed = format!("trap 'exit 143' TERM; {WORK}; sleep 1000 & wait");
    let (begin, end) = (turn("begin"), turn("end"));

    let script = stage("step_script", &format!("{WORK}; echo some output; exit 3"));
    let script = format!("{}; {script}; {}; {STAY}", turn("sources"), say("script"));
    let helper = [
        stage("get_sources", "true"),
        say("sources"),
        turn("script"),
        stage("cleanup_file_variables", "true"),
        say("cleaned"),
        STAY.to_owned(),
    ];
    let helper = helper.join("; ");
    let gitlab = play(GITLAB, &[("build", &script), ("helper", &helper), ("postgres", STAY)]);
    let jenkins = play(JENKINS, &[("maven", &killed), ("jnlp", STAY)]);
    let second = format!("{}; {WORK}; {}", turn("second"), turn("worked"));
    let steps = [("checkout", begin.as_str()), ("container-0", &second), ("agent", &end)];
    let buildkite = play(BUILDKITE, &steps);
    let (first, second) = (format!("{BEGIN}; {begin}"), turn("second"));
    let second = format!("{second}; {BEGIN}; {WORK}; exit 3");
    let steps = [("step-fetch", first.as_str()), ("step-build", &second), ("sidecar-cache", &end)];
    let tekton = play(TEKTON, &steps);
    let argo = play(ARGO, &[("main", &format!("{begin}; {WORK}")), ("wait", &end)]);

    let mut shown = Shown::of(&agent);
    for (pod, containers) in [
        (&gitlab, &["build", "helper", "postgres"][..]),
        (&jenkins, &["maven", "jnlp"]),
        (&buildkite, &["checkout", "container-0", "agent"]),
        (&tekton, &["step-fetch", "step-build", "sidecar-cache"]),
        (&argo, &["main", "wait"]),
    ] {
        for container in containers {
            shown.until_begun(pod, container);
        }
    }
    gitlab.until_said("cleaned");
    for (pod, container) in [(&gitlab, "build"), (&jenkins, "maven")] {
        shown.until_worked(WORKED, pod, container);
        pod.delete();
    }
    for pod in [&buildkite, &tekton, &argo] {
        pod.tell("begin");
    }
    for (pod, container) in [(&buildkite, "checkout"), (&tekton, "step-fetch")] {
        shown.until_ended(pod, container);
        pod.tell("second");
    }
    shown.until_worked(WORKED, &buildkite, "container-0");
    buildkite.tell("worked");
    // While a container of the pod still runs the kubelet may be slow to tell of the steps.
    for (pod, step) in [(&buildkite, "container-0"), (&tekton, "step-build"), (&argo, "main")] {
        shown.until_told(pod, step);
    }
    for pod in [&buildkite, &tekton, &argo] {
        pod.tell("end");
    }

    let trace = |pod: &CiPod<'_>, job: &str, parts: &[&str]| {
        let all = |trace: &Trace| {
            [&[job], parts].concat().into_iter().all(|span| trace.spans.contains_key(span))
        };
        until(PATIENCE, || trace_of(&collector, &pod.name).filter(all)).unwrap_or_else(|| {
            let trace = trace_of(&collector, &pod.name);
            let names: Vec<String> =
                trace.map(|it| it.spans.into_keys().collect()).unwrap_or_default();
            panic!("{}: {names:?} {}\n{}", pod.name, pod.status(), agent.log())
        })
    };

    let job = trace(&gitlab, "unit tests", &["build", "helper", "get_sources", "step_script"]);
    assert_eq!(job.result("unit tests"), ("failure".to_owned(), "exit_code".to_owned()));
    let (sources, script) = (job.span("get_sources"), job.span("step_script"));
    assert_eq!(attribute(script, "process.exit.code"), "3");
    assert_eq!(attribute(script, "ephemon.step.source"), "runner_log");
    assert!(script.start_time_unix_nano >= sources.end_time_unix_nano, "{sources:?} {script:?}");
    let url = "https://gitlab.example.com/web/team/shop/-/jobs/8412";
    assert_eq!(attribute(job.span("unit tests"), "cicd.pipeline.task.run.url.full"), url);
    for (name, value) in [
        ("ephemon.ci.system", "gitlab"),
        ("vcs.provider.name", "gitlab"),
        ("vcs.owner.name", "web/team"),
        ("vcs.repository.name", "shop"),
        ("vcs.ref.head.name", "feature/cart"),
        ("cicd.pipeline.name", "Merge checks"),
        ("cicd.pipeline.run.id", "977"),
        ("cicd.pipeline.run.url.full", "https://gitlab.example.com/web/team/shop/-/pipelines/977"),
    ] {
        assert_eq!(job.resource(name), value, "{name}");
    }
    assert_eq!(attribute(job.span("build"), "ephemon.container.role"), "job");
    assert_eq!(attribute(job.span("helper"), "ephemon.container.role"), "runner");
    assert!(cpu_seconds(job.span("build")) >= WORKED, "{:?}", job.span("build"));

    let job = trace(&jenkins, "team/shop #12", &["maven"]);
    assert_eq!(job.result("team/shop #12"), Default::default());
    assert_eq!(job.resource("cicd.pipeline.name"), "team/shop");
    assert!(cpu_seconds(job.span("maven")) >= WORKED, "{:?}", job.span("maven"));

    let job = trace(&buildkite, "unit-tests", &["checkout", "container-0"]);
    assert_eq!(job.result("unit-tests").0, "success");
    assert_eq!(job.resource("vcs.repository.url.full"), "https://github.com/acme/shop");
    let steps = collector.spans_named(&buildkite.name, "ephemon.step.id");
    let (first, second) = (&steps["checkout"], &steps["container-0"]);
    assert_eq!(second.start_time_unix_nano, first.end_time_unix_nano, "its turn");
    assert_eq!(attribute(second, "ephemon.time.start.source"), "derived");
    assert!(cpu_seconds(second) >= WORKED, "{second:?}");

    let job = trace(&tekton, "compile", &["fetch", "build"]);
    assert_eq!(job.result("compile"), ("failure".to_owned(), "exit_code".to_owned()));
    assert_eq!(job.resource("cicd.pipeline.run.id"), "release-x7k2p");
    let steps = collector.spans_named(&tekton.name, "ephemon.step.id");
    let (first, second) = (&steps["step-fetch"], &steps["step-build"]);
    assert_eq!((first.name.as_str(), second.name.as_str()), ("fetch", "build"));
    assert_eq!(attribute(second, "ephemon.time.start.source"), "system");
    assert_eq!(attribute(second, "process.exit.code"), "3");
    assert!(second.start_time_unix_nano > first.end_time_unix_nano, "{first:?} {second:?}");

    let job = trace(&argo, "nightly-x7k2p.compile(0:amd64)", &[]);
    assert_eq!(job.result("nightly-x7k2p.compile(0:amd64)").0, "success");
    assert_eq!(job.resource("cicd.pipeline.name"), "nightly");
    let ids: std::collections::BTreeSet<_> = [&gitlab, &jenkins, &buildkite, &tekton, &argo]
        .into_iter()
        .filter_map(|pod| Some(collector.trace_of_pod(&pod.name)?.0.first()?.trace_id.clone()))
        .collect();
    assert_eq!(ids.len(), 5, "each run has a trace of its own");
}

/// A pod that an operator's mapping describes.
fn flow(name: &str) -> String {
    let manifest = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "labels": {"example.com/flow": "deploy"},
            "annotations": {"example.com/run": "r-7"},
        },
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "rollout", "env": [{"name": "JOB_TITLE", "value": "roll out"}]}],
        },
    });
    manifest.to_string()
}

#[test]
fn an_own_mapping_makes_a_job_of_a_pod() {
    let Some(site) = Site::start() else { return };
    site.unguard();
    let collector = Backend::start_on(site.node.gateway(), Wire::Http);
    let mapping =
        "pipeline=label:example.com/flow,run=annotation:example.com/run,job=env:JOB_TITLE";
    let flags = ["--pod-selector", "example.com/flow", "--job-identity", mapping];
    let agent = site.agent_to(&collector.endpoint(), &flags);
    let mut shown = Shown::of(&agent);
    let job = (1..=ATTEMPTS).find_map(|attempt| {
        let pod = CiPod::create(&site, &flow(&format!("flow-{attempt}")), &[("rollout", "exit 7")]);
        let after = shown.until_told(&pod, "rollout");
        let whole =
            || trace_of(&collector, &pod.name).filter(|trace| trace.spans.contains_key("roll out"));
        let job =
            until(PATIENCE, whole).unwrap_or_else(|| panic!("{}\n{}", pod.status(), agent.log()));
        // The kubelet told of the end when the agent waited no more.
        let is_late = after >= TOLD_WITHIN && job.result("roll out").1 == "lost";
        (!is_late).then_some(job)
    });
    let job = job.expect("the kubelet tells in time how a container has ended");
    assert_eq!(job.result("roll out").0, "failure");
    for (name, value) in [
        ("ephemon.ci.system", "custom"),
        ("cicd.pipeline.name", "deploy"),
        ("cicd.pipeline.run.id", "r-7"),
    ] {
        assert_eq!(job.resource(name), value, "{name}");
    }
}
