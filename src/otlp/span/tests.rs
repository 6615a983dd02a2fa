//! The trace of a job, held against a recording. `EPHEMON_GOLDEN=write` writes it anew.

use std::collections::HashMap;

use ephemon_jobs::story::{Story, s};
use ephemon_jobs::{Evidence, Figures, StepEvent, StepLine, StepReading};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use serde_json::{Map, Value, json};

use super::*;

fn job() -> Job {
    let mut story = Story::whole();
    story.runner(9, "Running job: test (1.23)");
    story.runner(62, "Job test (1.23) completed with result: Failed");
    story.kill("job", 1, Some("__run_2"));
    story.job_evidence().job(Some(s(100))).unwrap()
}

fn options() -> Options {
    let resource = vec![("deployment.environment.name".to_owned(), "test".to_owned())];
    Options { node_name: Some("worker-1".to_owned()), resource, ..Options::default() }
}

fn spans(job: &Job, which: &Which, options: &Options) -> Vec<Span> {
    let request = request(job, which, options).unwrap();
    assert_eq!(request.resource_spans.len(), 1);
    request.resource_spans[0].scope_spans[0].spans.clone()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn attributes(list: &[KeyValue]) -> Value {
    let mut map = Map::new();
    for KeyValue { key, value, .. } in list {
        let value = match value.as_ref().unwrap().value.as_ref().unwrap() {
            Any::StringValue(text) => json!(text),
            Any::IntValue(number) => json!(number),
            Any::DoubleValue(number) => json!(number),
            Any::BoolValue(truth) => json!(truth),
            other => json!(format!("{other:?}")),
        };
        assert_eq!(map.insert(key.clone(), value), None, "{key} stands twice");
    }
    Value::Object(map)
}

fn shown(request: &ExportTraceServiceRequest) -> Value {
    let resource = &request.resource_spans[0];
    let spans = resource.scope_spans[0].spans.iter().map(|span| {
        let events = span.events.iter().map(|event| {
            let named = attributes(&event.attributes);
            json!({"name": event.name, "time": event.time_unix_nano, "attributes": named})
        });
        let links = span.links.iter().map(|link| {
            json!({"trace_id": hex(&link.trace_id), "span_id": hex(&link.span_id)})
        });
        json!({
            "name": span.name,
            "trace_id": hex(&span.trace_id),
            "span_id": hex(&span.span_id),
            "parent_span_id": hex(&span.parent_span_id),
            "flags": span.flags,
            "kind": span.kind,
            "start": span.start_time_unix_nano,
            "end": span.end_time_unix_nano,
            "attributes": attributes(&span.attributes),
            "events": events.collect::<Vec<_>>(),
            "links": links.collect::<Vec<_>>(),
            "status": span.status.as_ref().map(|it| json!({"code": it.code, "message": it.message})),
        })
    });
    json!({
        "resource": attributes(&resource.resource.as_ref().unwrap().attributes),
        "schema_url": resource.schema_url,
        "spans": spans.collect::<Vec<_>>(),
    })
}

#[test]
fn a_jobs_trace_is_as_recorded() {
    let mut request = request(&job(), &Which::All, &options()).unwrap();
    // The package's version is no part of the recording.
    request.resource_spans[0].scope_spans[0].scope = None;
    let text = serde_json::to_string_pretty(&shown(&request)).unwrap() + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/it/golden/job-trace.json");
    if std::env::var("EPHEMON_GOLDEN").is_ok_and(|act| act == "write") {
        std::fs::write(path, &text).unwrap();
    }
    let recorded = std::fs::read_to_string(path).unwrap();
    for (line, (is, was)) in text.lines().zip(recorded.lines()).enumerate() {
        assert_eq!(is, was, "line {}", line + 1);
    }
    assert_eq!(text, recorded);
}

#[test]
fn every_span_lies_in_its_parent_and_the_tree_has_one_root() {
    let job = job();
    let all = spans(&job, &Which::All, &options());
    let by_id: HashMap<_, _> = all.iter().map(|span| (span.span_id.clone(), span)).collect();
    assert_eq!(by_id.len(), all.len());
    let mut roots = 0;
    for span in &all {
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        match by_id.get(&span.parent_span_id) {
            Some(parent) => {
                assert!(parent.start_time_unix_nano <= span.start_time_unix_nano, "{}", span.name);
                assert!(span.end_time_unix_nano <= parent.end_time_unix_nano, "{}", span.name);
            }
            None => roots += 1,
        }
        let inside = |at: u64| span.start_time_unix_nano <= at && at <= span.end_time_unix_nano;
        assert!(span.events.iter().all(|event| inside(event.time_unix_nano)));
    }
    assert_eq!(roots, 1);
    assert!(all[0].parent_span_id.is_empty() || all[0].parent_span_id == [0; 8]);
    let names: Vec<_> = all.iter().map(|span| span.name.as_str()).collect();
    for name in ["test (1.23)", "prepare", "cleanup", "redis", "__run", "lint", "wait", "run"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
}

#[test]
fn standing_by_is_told_apart_from_running_and_hangs_under_the_job() {
    for (taken, expected) in [
        (true, &["wait", "pull", "create", "standby", "run"][..]),
        (false, &["wait", "pull", "create", "standby"]),
    ] {
        let job = Story::stood_by(taken).job_evidence().job(Some(s(100))).unwrap();
        let spans = spans(&job, &Which::All, &options());
        let one = spans
            .iter()
            .find(|span| span.name == "standby" && span.parent_span_id == job.span.span_id.0);
        let one = one.expect("its span under the job's");
        let stages: Vec<&Span> =
            spans.iter().filter(|span| span.parent_span_id == one.span_id).collect();
        let names: Vec<&str> = stages.iter().map(|span| &*span.name).collect();
        assert_eq!(names, expected);
        for pair in stages.windows(2) {
            assert_eq!(pair[0].end_time_unix_nano, pair[1].start_time_unix_nano, "{names:?}");
        }
        assert_eq!(one.status, None);
    }
}

#[test]
fn a_pull_ahead_of_the_kubelet_says_so_and_lies_beside_the_wait() {
    let mut story = Story::whole();
    story.pre_pulled("redis", (s(11) + 1, s(11) + 500));
    let job = story.job_evidence().job(Some(s(100))).unwrap();
    let redis = job.containers.iter().find(|one| &*one.name == "redis").unwrap();
    let all = spans(&job, &Which::All, &options());
    let stage = |of: SpanId, name: &str| {
        let found = all.iter().find(|span| span.name == name && span.parent_span_id == of.0);
        let span = found.unwrap_or_else(|| panic!("{name}"));
        let times = (span.start_time_unix_nano, span.end_time_unix_nano);
        (times, attributes(&span.attributes))
    };
    let (times, told) = stage(redis.span_id, "pull");
    assert_eq!(times, (s(11) + 1, s(11) + 500));
    assert_eq!(told["ephemon.image.pre_pulled"], json!(true));
    assert_eq!(told["ephemon.image.bytes"], json!(1_000_000));
    assert_eq!(stage(redis.span_id, "wait").0, (s(11), s(12)));
    // One that was told of before its container was asked for has its own times all the same.
    let mut early = Story::whole();
    early.pre_pulled("step", (s(11), s(12)));
    let job = early.job_evidence().job(Some(s(100))).unwrap();
    let step = job.containers.iter().find(|one| &*one.name == "step").unwrap();
    assert_eq!(step.window.start.ns, s(41));
    let early = spans(&job, &Which::All, &options());
    let pull =
        early.iter().find(|span| span.name == "pull" && span.parent_span_id == step.span_id.0);
    let times = pull.map(|span| (span.start_time_unix_nano, span.end_time_unix_nano));
    assert_eq!(times, Some((s(11), s(12))));
    let own = early.iter().find(|span| span.span_id == step.span_id.0).unwrap();
    let ready = own.events.iter().find(|event| event.name == names::EVENT_IMAGE_READY);
    assert_eq!(ready.map(|event| event.time_unix_nano), Some(s(41)));
    // The kubelet's own has no such attribute.
    let by_kubelet = job.containers.iter().find(|one| one.role == Role::Job).unwrap();
    assert_eq!(stage(by_kubelet.span_id, "pull").1.get("ephemon.image.pre_pulled"), None);
}

#[test]
fn the_runs_span_is_the_parent_when_asked_for_and_the_attempt_before_is_linked() {
    let job = job();
    let run = RunKey { run_id: "14460881260", run_attempt: "13" };
    let with = Options { parent: Parent::GithubRun, ..options() };
    let root = &spans(&job, &Which::All, &with)[0];
    assert_eq!(hex(&root.parent_span_id), "aba151af7cfbcf0f");
    assert_eq!((root.flags, hex(&root.trace_id)), (REMOTE, run.trace_id().to_string()));
    let before = RunKey { run_attempt: "12", ..run };
    assert_eq!(root.links[0].trace_id, before.trace_id().0);
    assert_eq!(root.links[0].span_id, before.span_id().0);
}

#[test]
fn what_goes_ahead_and_the_rest_are_all_and_what_is_under_way_is_left_out() {
    let job = job();
    let all = spans(&job, &Which::All, &options()).len();
    let ahead = std::collections::HashSet::from([job.steps[0].span_id, job.containers[1].span_id]);
    let first = spans(&job, &Which::Only(ahead.clone()), &options());
    // A step, and a container with its four stages.
    assert_eq!(first.len(), 6);
    assert_eq!(spans(&job, &Which::Except(ahead), &options()).len(), all - 6);
    let mut story = Story::whole();
    story.until(25);
    let living = story.job_evidence().job(None).unwrap();
    let names: Vec<_> = spans(&living, &Which::All, &options());
    assert!(names.iter().all(|span| span.name != "job" && span.name != "test"));
    assert_eq!(request(&living, &Which::Only(std::collections::HashSet::new()), &options()), None);
}

#[test]
fn a_job_of_very_many_steps_goes_in_several_requests() {
    let mut story = Story::whole();
    story.many_steps(1200);
    let job = story.job_evidence().job(Some(s(100))).unwrap();
    let parts = encoded(&job, &Which::All, &options());
    assert!(parts.len() > 1 && parts.iter().all(|part| part.spans <= MAX_SPANS));
    let decoded = parts.iter().map(|part| ExportTraceServiceRequest::decode(&*part.body).unwrap());
    let spans: usize = decoded.map(|request| count(&request)).sum();
    assert!(spans > 1200, "{spans}");
    assert!(parts.iter().all(|part| part.body.len() < 2 * 1024 * 1024));
}

#[test]
fn a_step_by_the_runners_log_says_so_and_has_neither_id_nor_kind() {
    let mut story = Story::idle();
    story.runner(9, "Running job: build");
    let figures = |cpu_ns| Figures { cpu_ns: Some(cpu_ns), ..Figures::default() };
    for (number, event, cpu_ns) in [
        (1, StepEvent::Began { name: "Run make".into() }, 1_000_000_000),
        (2, StepEvent::Ended { result: Some(JobResult::Failure) }, 1_500_000_000),
    ] {
        let reading = Some(StepReading { at_ns: s(number * 10), figures: figures(cpu_ns) });
        let line = StepLine { at_ns: s(number * 10), number, event, reading };
        story.pieces.push(Evidence::Step(line));
    }
    let job = story.job_evidence().job(Some(s(100))).unwrap();
    let spans = spans(&job, &Which::All, &options());
    let step = spans.iter().find(|span| span.name == "Run make").unwrap();
    assert_eq!(step.parent_span_id, job.span.span_id.0);
    let mut shown = attributes(&step.attributes);
    shown.as_object_mut().unwrap().remove("cicd.pipeline.task.run.id");
    let wanted = json!({
        "cicd.pipeline.task.name": "Run make",
        "cicd.pipeline.task.run.result": "failure",
        "error.type": "_OTHER",
        "ephemon.step.source": "runner_log",
        "k8s.container.name": "runner",
        "ephemon.cpu.seconds": 0.5,
        "ephemon.usage.quality": "window",
        "ephemon.time.start.source": "runner",
        "ephemon.time.end.source": "runner",
    });
    assert_eq!(shown, wanted);
}

/// Manifests name the agent's own pod so, for programs that send spans of their own.
#[test]
fn what_an_operator_says_of_the_agents_own_pod_is_not_said_of_a_jobs() {
    let said = [
        ("k8s.pod.name", "ephemon-agent-x1"),
        ("k8s.namespace.name", "monitoring"),
        ("k8s.node.name", "elsewhere"),
        ("container.id", "abc"),
        ("service.name", "ours"),
        ("team", "ci"),
    ];
    let resource = said.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let request = request(&job(), &Which::All, &Options { resource, ..options() }).unwrap();
    let shown = attributes(&request.resource_spans[0].resource.as_ref().unwrap().attributes);
    let meant = json!(["runner-1", "ci", "worker-1", null, "ours", "ci"]);
    assert_eq!(Value::from_iter(said.map(|(key, _)| shown[key].clone())), meant);
}

#[test]
fn links_lead_to_the_runs_own_server() {
    let mut job = job();
    for (server, url) in [
        (Some("https://ghe.example.org"), "https://ghe.example.org/o/r"),
        (None, "https://github.com/o/r"),
    ] {
        job.identity.server_url = server.map(Into::into);
        let request = request(&job, &Which::All, &options()).unwrap();
        let resource = attributes(&request.resource_spans[0].resource.as_ref().unwrap().attributes);
        assert_eq!(resource["vcs.repository.url.full"], url);
        let run = format!("{url}/actions/runs/14460881260");
        assert_eq!(resource["cicd.pipeline.run.url.full"], run);
        let task = spans(&job, &Which::All, &options())[0].clone();
        let task = attributes(&task.attributes);
        assert!(task["cicd.pipeline.task.run.url.full"].as_str().unwrap().starts_with(&run));
    }
}

/// Without an API a container can stand under another's name for a while.
#[test]
fn two_runs_under_one_name_have_spans_of_their_own() {
    let mut story = Story::whole();
    story.sighted("redis", |one| one.name = "job".into());
    let job = story.job_evidence().job(Some(s(100))).unwrap();
    assert_eq!(job.containers.iter().filter(|one| &*one.name == "job").count(), 2);
    let all = spans(&job, &Which::All, &options());
    let ids: std::collections::HashSet<_> = all.iter().map(|span| &span.span_id).collect();
    assert_eq!(ids.len(), all.len());
}

/// The job of another CI system has that system's URLs, and no result where nothing says one.
#[test]
fn another_systems_job_has_its_own_names_and_urls() {
    let mut job = job();
    let ci = ephemon_model::CiJob {
        system: "gitlab".into(),
        run_url: Some("https://gitlab.example.com/-/pipelines/7".into()),
        job_url: Some("https://gitlab.example.com/-/jobs/9".into()),
        provider: Some("gitlab".into()),
        ..ephemon_model::CiJob::default()
    };
    job.identity.ci = Some(std::sync::Arc::new(ci));
    job.identity.repository = Some("web/team/shop".into());
    job.outcome = Outcome::UNKNOWN;
    let request = request(&job, &Which::All, &options()).unwrap();
    let resource = attributes(&request.resource_spans[0].resource.as_ref().unwrap().attributes);
    for (name, value) in [
        ("ephemon.ci.system", "gitlab"),
        ("vcs.provider.name", "gitlab"),
        ("vcs.owner.name", "web/team"),
        ("vcs.repository.name", "shop"),
        ("cicd.pipeline.run.url.full", "https://gitlab.example.com/-/pipelines/7"),
    ] {
        assert_eq!(resource[name], value, "{name}");
    }
    assert_eq!(resource.get("vcs.repository.url.full"), None, "none is made up");
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    let own = attributes(&span.attributes);
    assert_eq!(own["cicd.pipeline.task.run.url.full"], "https://gitlab.example.com/-/jobs/9");
    assert_eq!((own.get("cicd.pipeline.task.run.result"), &span.status), (None, &None));
    assert!(span.parent_span_id.is_empty() && span.links.is_empty());
}
