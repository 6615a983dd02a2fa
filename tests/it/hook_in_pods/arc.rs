//! Runners of ARC as ARC makes them, without our hook: its object with a status, its pods, and the
//! pods that its container hook creates. The runner itself is a stand-in that writes the real one's
//! lines, the message of the job among them, as in GitHub's image.

mod kubernetes;
mod objects;

use ephemon_contract::trace::RunKey;
use serde_json::json;

use super::installed::Installed;
use super::site::{PATIENCE, Site};
use crate::logs::backend::{Backend, attribute};
use crate::support::collector::Wire;
use crate::support::process::until;
use objects::{Arc, Mode};

/// Runners, their modes, how their jobs end, and that result in a metric.
const RUNNERS: [(&str, Mode, &str, &str); 4] = [
    ("linux-runner-default", Mode::Default, "Succeeded", "success"),
    ("linux-runner-sidecar", Mode::DindSidecar, "Failed", "failure"),
    ("linux-runner-classic", Mode::DindClassic, "Succeeded", "success"),
    ("linux-runner-kube", Mode::KubernetesNovolume, "Succeeded", "success"),
];

/// Waits until the agent has read what the job's container of a pod has used. A busy machine may keep it from
/// the last reading of a pod that is deleted at once; what it has read before is in the job's sum.
fn until_read(agent: &Installed, pod: &str) {
    let labels = [("pod", pod), ("container", "job")];
    let cpu = "ephemon_container_cpu_usage_seconds_total";
    agent.scrape_until(|ledger| ledger.sum(cpu, &labels).filter(|used| *used > 0.1));
}

fn all_of_agent(what: &str, agent: &Installed) -> String {
    let page = agent.get("/metrics").map(|answer| answer.body).unwrap_or_default();
    let jobs = page.lines().filter(|line| line.starts_with("ephemon_job_"));
    format!("{what}:\n{}\n{}", jobs.collect::<Vec<_>>().join("\n"), agent.log())
}

#[test]
fn jobs_of_every_mode_are_known_by_name_without_the_hook() {
    let Some(site) = Site::start() else { return };
    let collector = Backend::start_on(site.node.gateway(), Wire::Http);
    let arc = Arc::new(&site);
    let agent = Installed::apply(&site, "overlays/otlp", &collector.endpoint());
    for (name, mode, ..) in RUNNERS {
        arc.runner(name, mode);
    }
    for (name, mode, ..) in RUNNERS {
        // As of an image that has the runner's own log on its standard output.
        arc.writes(name, "[RUNNER 2026-11-23 12:19:01Z INFO Listener] Listening for Jobs\n");
        arc.says(name, &format!("Running job: build {name}"));
        // Without it, ARC alone says which job it is.
        if mode != Mode::KubernetesNovolume {
            arc.writes(name, &job_message(name));
        }
    }
    // What each is named by: its message, or ARC.
    let labels = |name: &'static str, mode| {
        let (workflow, job_id) = match mode {
            Mode::KubernetesNovolume => (".github/workflows/ci.yml", ""),
            _ => ("CI", name),
        };
        let repository = [("organization", "octo-org"), ("repository", "widgets")];
        [&repository[..], &[("workflow", workflow), ("job_id", job_id)]].concat()
    };
    let started = |name, mode| {
        let labels = labels(name, mode);
        agent.scrape_until(|ledger| {
            ledger.sum("ephemon_job_started_total", &labels).filter(|count| *count >= 1.0)
        })
    };
    // As ARC's listener does, which is told some time after the runner: the agent has read the message, where
    // there is one, or it would name the job by ARC.
    for (number, (name, mode, ..)) in RUNNERS.into_iter().enumerate() {
        if mode != Mode::KubernetesNovolume {
            started(name, mode);
        }
        arc.takes_job(name, &format!("build {name}"), 71 + number);
    }
    let workflow = arc.workflow_pod("linux-runner-kube", "workflow");
    let step = arc.workflow_pod("linux-runner-kube", "step-0a1b2c3d");
    // While they run: named, and counted once.
    for (name, mode, ..) in RUNNERS {
        let started = started(name, mode);
        assert!((started - 1.0).abs() < f64::EPSILON, "{}", all_of_agent(name, &agent));
    }
    // What a mode shows of containers.
    for (pod, container) in [
        ("linux-runner-default", "runner"),
        ("linux-runner-sidecar", "dind"),
        ("linux-runner-classic", "dind"),
        (&*workflow, "job"),
        (&*workflow, "redis"),
        (&*step, "job"),
    ] {
        let labels = [("pod", pod), ("container", container)];
        agent.scrape_until(|ledger| ledger.sum("ephemon_container_info", &labels));
    }
    for pod in [&workflow, &step] {
        until_read(&agent, pod);
        arc.delete(pod);
    }
    for (name, _, result, _) in RUNNERS {
        arc.says(name, &format!("Job build {name} completed with result: {result}"));
        arc.ends(name);
    }
    for (name, mode, _, result) in RUNNERS {
        let mut labels = labels(name, mode);
        labels.push(("result", result));
        agent.scrape_until(|ledger| ledger.sum("ephemon_job_completed_total", &labels));
    }
    assert_traces(&site, &collector, &agent, [&workflow, &step]);
    // Those of other scenarios on this node are counted, too.
    let own = [("namespace", site.namespace())];
    let jobs = agent.scrape_until(|ledger| ledger.sum("ephemon_job_started_total", &own));
    assert!((jobs - 4.0).abs() < f64::EPSILON, "{}", all_of_agent("four jobs", &agent));
    assert_eq!(agent.complaints(), Vec::<String>::new());
}

/// Each job is a trace of its own, and the pods that a runner has created are in it.
fn assert_traces(site: &Site, collector: &Backend, agent: &Installed, [workflow, step]: [&str; 2]) {
    let spans = || collector.spans_of(site.namespace());
    let root = |name: &str| {
        let name = format!("build {name}");
        until(PATIENCE, || spans().into_values().find(|span| span.name == name))
            .unwrap_or_else(|| panic!("{}", all_of_agent("no trace", agent)))
    };
    let github = RunKey { run_id: "71", run_attempt: "2" }.trace_id();
    for (name, mode, _, result) in RUNNERS {
        let root = root(name);
        assert!(root.parent_span_id.iter().all(|byte| *byte == 0));
        // ARC does not know the attempt, without which nobody knows GitHub's trace.
        assert_eq!(root.trace_id == github.0, mode != Mode::KubernetesNovolume, "{name}");
        assert_eq!(attribute(&root, "cicd.pipeline.task.run.result"), result);
    }
    // The runner's pod and those that it created are one job and one trace.
    let root = root("linux-runner-kube");
    let parts: Vec<_> = spans()
        .into_values()
        .filter(|span| span.parent_span_id == root.span_id)
        .map(|span| {
            let keys = ["k8s.pod.name", "k8s.container.name", "ephemon.container.role"];
            let [pod, container, role] = keys.map(|key| attribute(&span, key));
            assert_eq!(span.trace_id, root.trace_id);
            (pod, container, role)
        })
        .collect();
    let text = |pod: &str, container: &str, role: &str| {
        (pod.to_owned(), container.to_owned(), role.to_owned())
    };
    for part in [
        text("", "runner", "runner"),
        text(workflow, "fs-init", "runner"),
        text(workflow, "job", "job"),
        text(workflow, "redis", "service"),
        text(step, "job", "step"),
    ] {
        assert!(parts.contains(&part), "{part:?} is not among {parts:?}");
    }
    let used: f64 = attribute_of_number(&root, "ephemon.cpu.seconds");
    assert!(used > 0.2, "the job's pods worked for it: {used} s");
}

/// The message of a job as the worker writes it: the parts that count, and some that do not.
fn job_message(job: &str) -> String {
    let pairs = [
        ("repository", "octo-org/widgets"),
        ("run_id", "71"),
        ("run_attempt", "2"),
        ("workflow", "CI"),
        ("ref", "refs/heads/main"),
        ("server_url", "https://github.com"),
    ];
    let pairs: Vec<_> = pairs.iter().map(|(key, value)| json!({"k": key, "v": value})).collect();
    let message = json!({
        "variables": {
            "system.culture": {"value": "en-US"}, "system.github.job": {"value": job},
        },
        "contextData": {
            "inputs": {"t": 2, "d": [{"k": "run_attempt", "v": "99"}]},
            "github": {"t": 2, "d": pairs},
        },
    });
    let text = format!("Job message:\n {}", serde_json::to_string_pretty(&message).unwrap());
    let header = "[WORKER 2026-11-23 12:19:10Z INFO Worker] ";
    text.lines().fold(String::new(), |all, line| all + header + line + "\n")
}

fn attribute_of_number(span: &opentelemetry_proto::tonic::trace::v1::Span, key: &str) -> f64 {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    let found = span.attributes.iter().find(|one| one.key == key);
    match found.and_then(|one| one.value.as_ref()?.value.as_ref()) {
        Some(Value::DoubleValue(number)) => *number,
        other => panic!("{key}: {other:?}"),
    }
}

#[test]
fn without_the_right_to_read_arcs_objects_labels_and_log_name_the_job() {
    let Some(site) = Site::start() else { return };
    let collector = Backend::start_on(site.node.gateway(), Wire::Http);
    let arc = Arc::new(&site);
    // The right is given in another namespace only: with the agent, in its own.
    let components = ["otlp", "runner-namespaces"];
    let agent = Installed::with(&site, &components, &collector.endpoint());
    let name = "linux-runner-labelled";
    arc.runner(name, Mode::Default);
    arc.says(name, "Running job: build");
    arc.takes_job(name, "build", 71);
    arc.says(name, "Job build completed with result: Succeeded");
    arc.ends(name);
    let labels = [
        ("organization", "octo-org"),
        ("repository", "widgets"),
        ("workflow", ""),
        ("job_id", ""),
        ("result", "success"),
    ];
    agent.scrape_until(|ledger| ledger.sum("ephemon_job_completed_total", &labels));
    let up = agent.scrape_until(|ledger| {
        ledger.sum("ephemon_agent_watch_up", &[("watch", "ephemeral_runners")])
    });
    assert!(up.abs() < f64::EPSILON);
    let complaints = agent.complaints();
    let [complaint] = &complaints[..] else { panic!("once: {complaints:?}") };
    assert!(complaint.contains("ephemeralrunners") && complaint.contains("grant"), "{complaint}");
    let state = agent.get("/debug/state").expect("the agent answers").body;
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert_eq!(state["ephemeralRunners"]["readable"], false, "{state:#}");
}

#[test]
fn a_pod_of_a_runner_on_another_node_is_labelled_and_counted_by_its_runners_agent() {
    let Some(site) = Site::start() else { return };
    let collector = Backend::start_on(site.node.gateway(), Wire::Http);
    let arc = Arc::new(&site);
    let agent = Installed::apply(&site, "overlays/otlp", &collector.endpoint());
    // Its runner's pod is nowhere on this node, and its object has the job.
    arc.object("linux-runner-away");
    arc.takes_job("linux-runner-away", "build", 71);
    let pod = arc.workflow_pod("linux-runner-away", "workflow");
    until_read(&agent, &pod);
    arc.delete(&pod);
    let labels =
        [("namespace", site.namespace()), ("organization", "octo-org"), ("repository", "widgets")];
    let used = agent.scrape_until(|ledger| {
        ledger.sum("ephemon_job_cpu_usage_seconds_total", &labels).filter(|used| *used > 0.1)
    });
    assert!(used > 0.1, "{used}");
    for family in ["ephemon_job_started_total", "ephemon_job_completed_total"] {
        let own = [("namespace", site.namespace())];
        let count = agent.scrape_until(|ledger| Some(ledger.sum(family, &own).unwrap_or_default()));
        assert!(count.abs() < f64::EPSILON, "{}", all_of_agent(family, &agent));
    }
}
