//! A job's trace in a back end that people use: the agent's spans in Jaeger, by its own API, and the
//! way there from Prometheus.

mod job;
mod logs;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::jaeger::{self, Jaeger, Span};
use crate::support::job_pod::{JOB, JobPod, NAME, RUN};
use crate::support::parts::{Part, all_there};
use crate::support::process::until;
use crate::support::prometheus::Prometheus;
use crate::support::runner_pod::{NAMESPACE, NODE};
use crate::support::site::Site;
use job::{DISPLAY_NAME, Expected, play};

const PATIENCE: Duration = Duration::from_mins(2);

/// A span's id is the last word on what it is.
fn find<'a>(spans: &'a [Span], expected: &Expected) -> &'a Span {
    let found = spans.iter().find(|span| span.id == expected.id);
    found.unwrap_or_else(|| panic!("{expected:?} is not among {spans:#?}"))
}

/// Plays a job before an agent that sends its spans this way, and looks for them in Jaeger.
fn a_job_is_a_trace(protocol: &str, endpoint: impl Fn(&Jaeger) -> String) {
    if !all_there(&[Part::Program(jaeger::PROGRAM)]) {
        return;
    }
    let site = Site::new();
    let jaeger = Jaeger::start(site.root());
    let mut pod = JobPod::new(&site);
    let agent = pod.agent(&[
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &endpoint(&jaeger)),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
    ]);
    let played = play(&mut pod, &agent);

    let id = RUN.trace_id().to_string();
    let whole = || Some(jaeger.trace(&id)).filter(|spans| spans.len() >= played.len());
    let spans = until(PATIENCE, whole)
        .unwrap_or_else(|| panic!("{:#?}\n{}", jaeger.trace(&id), agent.log()));
    for expected in &played {
        let span = find(&spans, expected);
        assert_eq!((&*span.name, &span.parent), (&*expected.name, &expected.parent), "{span:#?}");
        let result = span.tag("cicd.pipeline.task.run.result");
        assert_eq!(result, expected.result.map_or(Value::Null, Value::from), "{span:#?}");
        let failed = expected.result.is_some_and(|result| result != "success");
        assert_eq!(span.tag("error"), if failed { json!(true) } else { Value::Null }, "{span:#?}");
        assert_eq!(span.tag("error.type"), expected.fault.map_or(Value::Null, Value::from));
        assert_eq!(span.events.iter().any(|name| name == "ephemon.oom_kill"), expected.oom);
        if let Some((start_ns, end_ns)) = expected.times {
            // Jaeger keeps microseconds.
            let (start, duration) = (start_ns / 1000, (end_ns - start_ns) / 1000);
            assert!(span.start_us.abs_diff(start) <= 1, "{span:#?}");
            assert!(span.duration_us.abs_diff(duration) <= 1, "{span:#?}");
        }
        for (key, value) in [
            ("cicd.pipeline.name", "ci"),
            ("cicd.pipeline.run.id", RUN.run_id),
            ("cicd.worker.name", JOB.runner),
            ("github.run.attempt", RUN.run_attempt),
            ("vcs.repository.url.full", "https://github.com/octo-org/widgets"),
            ("vcs.ref.head.name", "main"),
            ("k8s.namespace.name", NAMESPACE),
            ("k8s.pod.name", NAME),
            ("k8s.node.name", NODE),
        ] {
            assert_eq!(span.resource(key), value, "{key} of {span:#?}");
        }
        assert_eq!(span.service, "widgets");
    }
    assert_eq!(spans.len(), played.len(), "and no others: {spans:#?}");
    assert!(jaeger.services().contains(&"widgets".to_owned()));

    let job = find(&spans, &played[0]);
    let url = format!("https://github.com/octo-org/widgets/actions/runs/{}", RUN.run_id);
    assert_eq!(job.tag("cicd.pipeline.task.name"), DISPLAY_NAME);
    assert_eq!(job.tag("cicd.pipeline.task.run.url.full"), url);
    assert_eq!(job.tag("ephemon.result.source"), "runner");
    assert_eq!(job.tag("span.kind"), "internal");
    let step = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let failing = step("test");
    assert_eq!(failing.tag("process.exit.code"), 42);
    assert_eq!(failing.tag("ephemon.step.kind"), "script");
    assert_eq!(failing.tag("otel.status_code"), "ERROR");
    assert_eq!(failing.tag("otel.status_description"), "failure: exit_code (exit code 42)");
    let killed = step("lint-1");
    assert_eq!(killed.tag("ephemon.container.type"), "ephemeral");
    assert_eq!(killed.tag("ephemon.oom.kills"), 1);
    assert_eq!(killed.tag("ephemon.memory.peak.bytes"), 104_857_600);
    assert_eq!(killed.tag("container.image.name"), "localhost/lint-1");
    agent.stop();
}

#[test]
fn a_job_is_a_trace_in_jaeger_by_grpc() {
    a_job_is_a_trace("grpc", |jaeger| format!("http://{}", jaeger.otlp_grpc()));
}

#[test]
fn a_job_is_a_trace_in_jaeger_by_http() {
    a_job_is_a_trace("http/protobuf", |jaeger| format!("http://{}/v1/traces", jaeger.otlp_http()));
}

#[test]
fn an_exemplar_in_prometheus_leads_to_the_trace_in_jaeger() {
    if !all_there(&[Part::Program(jaeger::PROGRAM), Part::Program("prometheus")]) {
        return;
    }
    let site = Site::new();
    let jaeger = Jaeger::start(site.root());
    let mut pod = JobPod::new(&site);
    let endpoint = format!("http://{}/v1/traces", jaeger.otlp_http());
    let agent = pod.agent(&[
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ]);
    let prometheus = Prometheus::start(site.root(), &[agent.address()]);
    let played = play(&mut pod, &agent);

    let kept = |query: &str| Some(prometheus.exemplars(query)).filter(|found| !found.is_empty());
    let found = until(PATIENCE, || kept("ephemon_job_duration_seconds_bucket{job_id=\"build\"}"))
        .unwrap_or_else(|| panic!("no exemplar: {}\n{}", prometheus.target(), agent.log()));
    for exemplar in &found {
        assert_eq!(exemplar["labels"]["trace_id"], RUN.trace_id().to_string(), "{exemplar}");
        assert_eq!(exemplar["labels"]["span_id"], played[0].id, "{exemplar}");
    }
    // The container that the OOM killer ended is one click away, too.
    let peak =
        "ephemon_job_container_memory_peak_bytes_bucket{job_id=\"build\",le=\"268435456.0\"}";
    let peak = until(PATIENCE, || kept(peak)).expect("an exemplar of the highest memory use");
    assert_eq!(peak[0]["value"], "104857600", "{peak:?}");

    let of = |exemplar: &Value, label: &str| exemplar["labels"][label].as_str().unwrap().to_owned();
    for exemplar in [&found[0], &peak[0]] {
        let (trace, span) = (of(exemplar, "trace_id"), of(exemplar, "span_id"));
        let there = || jaeger.trace(&trace).into_iter().find(|one| one.id == span);
        let there = until(PATIENCE, there);
        there.unwrap_or_else(|| panic!("{exemplar} leads nowhere: {:#?}", jaeger.trace(&trace)));
    }
    agent.stop();
}
