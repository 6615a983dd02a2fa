//! Pods as other CI systems make them, played on a real node: each is a job with its name, its result
//! and a trace of its own.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

use super::site::{PATIENCE, Site};
use crate::logs::backend::{Backend, attribute};
use crate::support::collector::Wire;
use crate::support::parts::alone;
use crate::support::process::until;
use crate::support::real_node::NODE;
use crate::support::workflow_images::BUSYBOX;

const GITLAB: &str = include_str!("../fixtures/ci-systems/gitlab.yaml");
const BUILDKITE: &str = include_str!("../fixtures/ci-systems/buildkite.yaml");
const TEKTON: &str = include_str!("../fixtures/ci-systems/tekton.yaml");
const JENKINS: &str = include_str!("../fixtures/ci-systems/jenkins.yaml");
const ARGO: &str = include_str!("../fixtures/ci-systems/argo.yaml");

/// Work that the kernel's counter shows.
const WORK: &str = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
/// Says what Tekton's entrypoint says when a step's turn has come; its clock has whole seconds here.
const BEGIN: &str = "printf '[{\"key\":\"StartedAt\",\"value\":\"%s\",\"type\":3}]' \
    $(date -u +%Y-%m-%dT%H:%M:%S.000Z) > /tekton/termination";

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

/// Creates the manifest's pod in the site's namespace: images and commands are a test's. A container
/// without a script ends at once.
fn play(site: &Site, manifest: &str, scripts: &[(&str, &str)]) -> String {
    let mut pod: Value = serde_saphyr::from_str(manifest).unwrap();
    let metadata = pod["metadata"].as_object_mut().unwrap();
    metadata.insert("namespace".into(), json!(site.namespace()));
    metadata.remove("uid");
    // Objects that are not there: the garbage collector would take the pod for an orphan.
    metadata.remove("ownerReferences");
    let name = metadata["name"].as_str().unwrap().to_owned();
    let spec = pod["spec"].as_object_mut().unwrap();
    spec.insert("nodeName".into(), json!(NODE));
    spec.insert("terminationGracePeriodSeconds".into(), json!(1));
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let of = |(known, _): &&(&str, &str)| container["name"] == *known;
            let script = scripts.iter().find(of).map_or("true", |(_, script)| *script);
            container["image"] = json!(BUSYBOX);
            container["command"] = json!(["sh", "-c", script]);
            let container = container.as_object_mut().unwrap();
            container.remove("args");
            container.remove("stdin");
            container.remove("tty");
        }
    }
    site.kubectl().apply(&pod.to_string());
    name
}

/// Deletes a pod once a container has said so on its output.
fn delete_when_done(site: &Site, pod: &str, container: &str) {
    let words = ["logs", pod, "-c", container, "-n", site.namespace()];
    let says_so = || {
        let said = site.kubectl().command(&words).output().unwrap();
        String::from_utf8_lossy(&said.stdout).contains("done").then_some(())
    };
    until(PATIENCE, says_so).unwrap_or_else(|| panic!("{}", site.pod(pod)["status"]));
    site.kubectl().run(&["delete", "pod", pod, "-n", site.namespace(), "--wait=false"]);
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
fn a_pod_of_each_ci_system_is_a_job_by_name_with_its_result_and_trace() {
    let _alone = alone();
    let Some(site) = Site::start() else { return };
    site.unguard();
    let collector = Backend::start_on(site.node.gateway(), Wire::Http);
    let systems = ["--ci-system", "gitlab,buildkite,tekton,jenkins,argo"];
    let agent = site.agent_to(&collector.endpoint(), &systems);
    let stay = format!("{WORK}; echo done; trap 'exit 143' TERM; sleep 1000 & wait");
    let wait = "trap 'exit 0' TERM; sleep 1000 & wait";

    let gitlab = play(&site, GITLAB, &[("build", &stay), ("helper", wait), ("postgres", wait)]);
    let jenkins = play(&site, JENKINS, &[("maven", &stay), ("jnlp", wait)]);
    let turn = format!("sleep 4; {WORK}");
    let steps = [("checkout", "sleep 2"), ("container-0", turn.as_str()), ("agent", "sleep 6")];
    let buildkite = play(&site, BUILDKITE, &steps);
    let fetch = format!("sleep 1; {BEGIN}; sleep 1");
    let build = format!("sleep 4; {BEGIN}; {WORK}; exit 3");
    let steps =
        [("step-fetch", fetch.as_str()), ("step-build", &build), ("sidecar-cache", "sleep 6")];
    let tekton = play(&site, TEKTON, &steps);
    let argo = play(&site, ARGO, &[("main", WORK), ("wait", "sleep 3")]);
    delete_when_done(&site, &gitlab, "build");
    delete_when_done(&site, &jenkins, "maven");

    let trace = |pod: &str, job: &str| {
        let whole = || trace_of(&collector, pod).filter(|trace| trace.spans.contains_key(job));
        until(PATIENCE, whole).unwrap_or_else(|| {
            let names = trace_of(&collector, pod).map(|trace| trace.spans.into_keys().collect());
            let names: Vec<String> = names.unwrap_or_default();
            panic!("{pod}: {names:?} {}\n{}", site.pod(pod)["status"], agent.log())
        })
    };

    let job = trace(&gitlab, "unit tests");
    assert_eq!(job.result("unit tests"), Default::default(), "nothing says how it ended");
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
    assert!(cpu_seconds(job.span("build")) > 0.02, "{:?}", job.span("build"));

    let job = trace(&jenkins, "team/shop #12");
    assert_eq!(job.result("team/shop #12"), Default::default());
    assert_eq!(job.resource("cicd.pipeline.name"), "team/shop");
    assert!(cpu_seconds(job.span("maven")) > 0.02, "{:?}", job.span("maven"));

    let job = trace(&buildkite, "unit-tests");
    assert_eq!(job.result("unit-tests").0, "success");
    assert_eq!(job.resource("vcs.repository.url.full"), "https://github.com/acme/shop");
    let steps = collector.spans_named(&buildkite, "ephemon.step.id");
    let (first, second) = (&steps["checkout"], &steps["container-0"]);
    assert_eq!(second.start_time_unix_nano, first.end_time_unix_nano, "its turn");
    assert_eq!(attribute(second, "ephemon.time.start.source"), "derived");
    assert!(cpu_seconds(second) > 0.02, "{second:?}");

    let job = trace(&tekton, "compile");
    assert_eq!(job.result("compile"), ("failure".to_owned(), "exit_code".to_owned()));
    assert_eq!(job.resource("cicd.pipeline.run.id"), "release-x7k2p");
    let steps = collector.spans_named(&tekton, "ephemon.step.id");
    let (first, second) = (&steps["step-fetch"], &steps["step-build"]);
    assert_eq!((first.name.as_str(), second.name.as_str()), ("fetch", "build"));
    assert_eq!(attribute(second, "ephemon.time.start.source"), "system");
    assert_eq!(attribute(second, "process.exit.code"), "3");
    assert!(second.start_time_unix_nano > first.end_time_unix_nano, "{first:?} {second:?}");

    let job = trace(&argo, "nightly-x7k2p.compile(0:amd64)");
    assert_eq!(job.result("nightly-x7k2p.compile(0:amd64)").0, "success");
    assert_eq!(job.resource("cicd.pipeline.name"), "nightly");
    let ids: std::collections::BTreeSet<_> = [&gitlab, &jenkins, &buildkite, &tekton, &argo]
        .into_iter()
        .filter_map(|pod| Some(collector.trace_of_pod(pod)?.0.first()?.trace_id.clone()))
        .collect();
    assert_eq!(ids.len(), 5, "each run has a trace of its own");
}

#[test]
fn an_own_mapping_makes_a_job_of_a_pod() {
    let _alone = alone();
    let Some(site) = Site::start() else { return };
    site.unguard();
    let collector = Backend::start_on(site.node.gateway(), Wire::Http);
    let mapping =
        "pipeline=label:example.com/flow,run=annotation:example.com/run,job=env:JOB_TITLE";
    let flags = ["--pod-selector", "example.com/flow", "--job-identity", mapping];
    let agent = site.agent_to(&collector.endpoint(), &flags);
    let manifest = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "flow-7", "labels": {"example.com/flow": "deploy"},
            "annotations": {"example.com/run": "r-7"},
        },
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "rollout", "env": [{"name": "JOB_TITLE", "value": "roll out"}]}],
        },
    });
    let pod = play(&site, &manifest.to_string(), &[("rollout", "exit 7")]);
    let whole = || trace_of(&collector, &pod).filter(|trace| trace.spans.contains_key("roll out"));
    let job = until(PATIENCE, whole)
        .unwrap_or_else(|| panic!("{}\n{}", site.pod(&pod)["status"], agent.log()));
    assert_eq!(job.result("roll out").0, "failure");
    for (name, value) in [
        ("ephemon.ci.system", "custom"),
        ("cicd.pipeline.name", "deploy"),
        ("cicd.pipeline.run.id", "r-7"),
    ] {
        assert_eq!(job.resource(name), value, "{name}");
    }
}
