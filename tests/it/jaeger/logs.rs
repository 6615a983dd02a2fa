//! A job's lines in a log back end that people use: found in `VictoriaLogs` by pod, container, job and run,
//! and from a span in Jaeger to its lines and back.

use std::fs;

use super::{PATIENCE, find, play};
use crate::support::jaeger::{self, Jaeger};
use crate::support::job_pod::{JOB, JobPod, NAME, RUN};
use crate::support::parts::{self, Part, all_there};
use crate::support::process::until;
use crate::support::runner_pod::NAMESPACE;
use crate::support::site::Site;
use crate::support::victoria_logs::{self, Found, VictoriaLogs};

/// What tells one stream of logs from another, as `deploy/docs/install.md` has it.
const STREAMS: &str = "VL-Stream-Fields=k8s.namespace.name%2Ck8s.pod.name%2Ck8s.container.name";

#[test]
fn a_jobs_lines_are_found_in_victoria_logs_by_their_attributes_and_lead_to_spans_and_back() {
    let parts = [jaeger::PROGRAM, victoria_logs::PROGRAM].map(Part::Program);
    if !all_there(&parts) {
        return;
    }
    let site = Site::new();
    let (jaeger, logs) = (Jaeger::start(site.root()), VictoriaLogs::start(site.root()));
    let mut pod = JobPod::new(&site);
    let agent = pod.agent(&[
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &format!("http://{}/v1/traces", jaeger.otlp_http())),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", &logs.otlp()),
        ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", STREAMS),
    ]);
    let played = play(&mut pod, &agent);
    // A line is found by its stream a second or two after it is found by its fields.
    let until_found = |query: &str, least: usize| -> Vec<Found> {
        let found = || Some(logs.find(query)).filter(|found| found.len() >= least);
        until(PATIENCE, found)
            .unwrap_or_else(|| panic!("{query}: {:#?}\n{}", logs.find("*"), agent.log()))
    };
    // Each container of the job has said who it is.
    until_found(&format!(r#""k8s.pod.name":="{NAME}" event_name:="""#), 3);

    let only = |query: &str| -> Found {
        let mut found = until_found(query, 1);
        assert_eq!(found.len(), 1, "{query}: {found:#?} of {:#?}", logs.find("*"));
        found.remove(0)
    };
    let line = only(&format!(
        r#"{{"k8s.namespace.name"="{NAMESPACE}","k8s.pod.name"="{NAME}","k8s.container.name"="job"}} event_name:="" | sort by (_time) | limit 1"#
    ));
    assert_eq!(line.field("_msg"), "job says hello");
    let by_run = format!(
        r#""cicd.pipeline.run.id":="{}" "cicd.pipeline.task.name":="{}" "k8s.container.name":="cache" event_name:="""#,
        RUN.run_id, JOB.job
    );
    assert_eq!(only(&by_run).field("_msg"), "cache says hello");

    // From a span to its lines, and from a line to its span.
    let id = RUN.trace_id().to_string();
    let whole = || Some(jaeger.trace(&id)).filter(|spans| spans.len() >= played.len());
    let spans = until(PATIENCE, whole).expect("the job's trace");
    let cache = spans.iter().find(|span| span.name == "cache").expect("the service's span");
    let of_span = format!(r#"trace_id:={id} span_id:={} event_name:="""#, cache.id);
    assert_eq!(only(&of_span).field("_msg"), "cache says hello");
    let (trace, span) = (line.field("trace_id"), line.field("span_id"));
    let there = jaeger.trace(trace).into_iter().any(|one| one.id == span);
    assert!(there, "{line:?} leads nowhere: {spans:#?}");
    // The job's own span has no lines; its trace has all.
    let job = find(&spans, &played[0]);
    assert_eq!(logs.find(&format!("span_id:={}", job.id)).len(), 0);
    until_found(&format!(r#"trace_id:={id} event_name:="""#), 3);
    // What Grafana asks from the dashboard of a job, and from the service's span.
    until_found(&documented().replace("NAMESPACE", NAMESPACE).replace("POD", NAME), 3);
    let tags = [("namespace", NAMESPACE), ("pod", NAME), ("container", "cache")]
        .map(|(of, value)| format!(r#""k8s.{of}.name":="{value}""#));
    let of_tags = format!(r#"{} AND event_name:="""#, tags.join(" AND "));
    assert_eq!(only(&of_tags).field("_msg"), "cache says hello");
    agent.stop();
}

/// The query that `deploy/docs/dashboards.md` has in the place of Loki's.
fn documented() -> String {
    let page = fs::read_to_string(parts::repository().join("deploy/docs/dashboards.md")).unwrap();
    let query = page.lines().find(|line| line.starts_with(r#"{"k8s.namespace.name"="#));
    query.expect("the query in LogsQL").to_owned()
}
