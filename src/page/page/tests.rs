//! Answers against `openapi.json`, in both directions.

mod schema;

use std::collections::BTreeSet;

use ephemon_history::Sample;
use ephemon_jobs::story::{self, Story};
use ephemon_jobs::{Job, JobResult, Role, RunnerStart};
use ephemon_logs::NewLine;
use ephemon_model::{ContainerType, Limit, LogStream, Usage};
use ephemon_sanitize::Severity;
use serde_json::Value;

use super::*;
use schema::Description;

struct Rig {
    page: Page,
    board: Board,
    history: History,
}

fn job() -> Job {
    let mut job = Story::whole().job_evidence().job(None).unwrap();
    job.runner_start = Some(RunnerStart { startup_ns: 5_000_000, idle_ns: 7_000_000 });
    job
}

fn rig(log: LogSource) -> Rig {
    let (board, history) = (Board::default(), History::default());
    let page = Page::new(Parts {
        node: "node-1".into(),
        board: board.clone(),
        history: history.clone(),
        log,
        run_url: |_| Some("https://github.com/o/r/actions/runs/7".into()),
        trace_url: Some("https://jaeger/trace/{trace_id}".parse().unwrap()),
        logs_url: None,
    });
    Rig { page, board, history }
}

impl Rig {
    fn get(&self, path: &str) -> (u16, Value) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let answer = self.page.answer(&Route::of(path, Some(query)).unwrap(), None);
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    }

    fn show(&self, job: &Job) {
        self.board.put(Arc::new(job.clone()), clock::now_ns());
    }

    fn sample(&self, job: &Job, at_ms: u64, cpu_ms: u64) {
        let container = job.containers.iter().find(|one| one.id.is_some()).unwrap();
        let mut usage = Usage::default();
        usage.cpu.usage_ns = Some(cpu_ms * 1_000_000);
        usage.memory.limit_bytes = Some(Limit::At(512 << 20));
        usage.memory.working_set_bytes = Some(9 << 20);
        usage.pressure.cpu.waiting_us = Some(cpu_ms);
        self.history.add(&Sample {
            pod: &job.pod.uid,
            id: container.id.as_ref().unwrap(),
            created_ms: 1_000_000,
            at_ms,
            usage: &usage,
            complete: true,
            last: false,
        });
    }
}

fn log(tail: &Tail, job: &Job, text: &str) {
    tail.push(NewLine {
        pod: &job.pod.uid,
        container: &job.containers[0].name,
        at_ns: 7_000_000,
        stream: LogStream::Stderr,
        severity: Severity::Error,
        body: text.as_bytes(),
    });
}

#[test]
fn every_answer_is_what_the_description_says_and_nothing_else() {
    let tail = Tail::default();
    let rig = rig(LogSource::Tail(tail.clone()));
    let (job, description) = (job(), Description::read());
    rig.show(&job);
    log(&tail, &job, "a line");
    for second in 1..5 {
        rig.sample(&job, 1_000_000 + second * 1000, second * 500);
    }
    let id = &job.pod.uid;
    let mut tried = BTreeSet::new();
    for (path, of) in [
        ("/api/v1/jobs", "/api/v1/jobs"),
        (&format!("/api/v1/jobs/{id}"), "/api/v1/jobs/{id}"),
        (&format!("/api/v1/jobs/{id}/samples"), "/api/v1/jobs/{id}/samples"),
        (&format!("/api/v1/jobs/{id}/log"), "/api/v1/jobs/{id}/log"),
        ("/api/v1/openapi.json", "/api/v1/openapi.json"),
    ] {
        let (status, answer) = rig.get(path);
        assert_eq!(status, 200, "{path}");
        description.check(of, status, &answer);
        tried.insert(of.to_owned());
    }
    let event = rig.page.cursors(Some(id)).event();
    let data = event.split("data: ").nth(1).unwrap();
    description.check_as("Change", &serde_json::from_str(data).unwrap());
    tried.insert("/api/v1/events".into());
    assert_eq!(tried, description.paths(), "each path is described and answered");
    for (path, of, status) in [
        ("/api/v1/jobs/0e269fa4-f505-4963-9096-000000000000", "/api/v1/jobs/{id}", 404),
        (&format!("/api/v1/jobs/{id}/log?after=x"), "/api/v1/jobs/{id}/log", 400),
    ] {
        let (got, answer) = rig.get(path);
        assert_eq!(got, status);
        description.check(of, status, &answer);
    }
}

#[test]
fn every_description_is_of_something_that_is_answered() {
    let description = Description::read();
    let rig = rig(LogSource::Tail(Tail::default()));
    let job = job();
    rig.show(&job);
    let (_, answer) = rig.get(&format!("/api/v1/jobs/{}", job.pod.uid));
    // Enough is known of the job that no kind of part is empty.
    for list in ["steps", "phases", "containers", "links", "usageRoles"] {
        assert_ne!(answer[list], serde_json::json!([]), "{list}");
    }
    assert_eq!(description.unreferenced(), BTreeSet::<String>::new());
}

#[test]
fn every_result_role_and_type_is_described() {
    let description = Description::read();
    let results = JobResult::ALL.into_iter().chain([JobResult::Unknown]);
    let mut results: BTreeSet<_> = results.map(|one| one.as_str().to_owned()).collect();
    results.extend(["running", "ending"].map(str::to_owned));
    for schema in ["JobSummary", "Job", "Phase", "Step", "Container"] {
        assert_eq!(description.values(schema, "result"), results, "{schema}");
    }
    let roles = [
        Role::Job,
        Role::Service,
        Role::Step,
        Role::Standby,
        Role::Runner,
        Role::Other,
        Role::Debug,
    ];
    let roles = roles.map(|one| one.as_str().to_owned());
    assert_eq!(description.values("Container", "role"), roles.into());
    let types = [
        ContainerType::Container,
        ContainerType::Init,
        ContainerType::Sidecar,
        ContainerType::Ephemeral,
        ContainerType::Sandbox,
        ContainerType::SharedSandbox,
        ContainerType::Unknown,
    ];
    let types = types.map(|one| one.as_str().to_owned());
    assert_eq!(description.values("Container", "type"), types.into());
}

#[test]
fn a_job_that_has_ended_and_is_not_over_is_ending() {
    let rig = rig(LogSource::None("logs are off"));
    let mut job = job();
    job.window.end = Some(job.window.start);
    rig.show(&job);
    let result = || rig.get("/api/v1/jobs").1["jobs"][0]["result"].clone();
    assert_eq!(result(), "ending");
    rig.board.over(&job.pod.uid, clock::now_ns());
    assert_eq!(result(), job.outcome.result.as_str());
    job.window.end = None;
    rig.show(&job);
    assert_eq!(result(), "running");
}

#[test]
fn an_answer_that_would_be_too_large_has_fewer_parts_and_says_so() {
    let rig = rig(LogSource::None("logs are off"));
    let mut job = job();
    let text: Arc<str> = "\u{1}".repeat(1000).into();
    job.steps = vec![job.steps[0].clone(); 1000];
    for step in &mut job.steps {
        step.display_name = Some(Arc::clone(&text));
    }
    rig.show(&job);
    let route = Route::Job(job.pod.uid.clone());
    let answer = rig.page.answer(&route, None);
    assert!(answer.status == 200 && answer.body.len() <= MAX_ANSWER_BYTES);
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    let shown = answer["steps"].as_array().unwrap().len() as u64;
    assert!(shown > 50, "{shown}");
    assert!(answer["partsLeftOut"].as_u64().unwrap() >= 1000 - shown);
}

#[test]
fn limits_that_were_not_read_are_not_known() {
    let rig = rig(LogSource::None("logs are off"));
    let job = job();
    rig.show(&job);
    rig.sample(&job, 1_001_000, 500);
    let samples = rig.get(&format!("/api/v1/jobs/{}/samples", job.pod.uid)).1;
    assert_eq!(samples["containers"][0]["limitsKnown"], false, "that of CPU was not read");
    assert_eq!(samples["readingsLeftOut"], 0);
}

#[test]
fn samples_come_in_columns_and_go_on_where_the_last_ones_may_change() {
    let rig = rig(LogSource::None("logs are off"));
    let job = job();
    rig.show(&job);
    rig.sample(&job, 1_001_000, 500);
    rig.sample(&job, 1_002_000, 1500);
    let samples =
        |since: u64| rig.get(&format!("/api/v1/jobs/{}/samples?since={since}", job.pod.uid)).1;
    let all = samples(0);
    let one = &all["containers"][0];
    assert_eq!(one["usage"]["cpuMillicores"], serde_json::json!([500, 1000]));
    assert_eq!(one["usage"]["to"], serde_json::json!([1000, 2000]));
    assert_eq!(one["memoryLimitBytes"], 512 << 20);
    assert_eq!(one["activity"]["readKibibytesPerSecond"][0], Value::Null);
    let next = all["nextSinceUnixMs"].as_u64().unwrap();
    assert_eq!(next, 1_001_000);
    rig.sample(&job, 1_003_000, 1600);
    let more = samples(next);
    assert_eq!(more["containers"][0]["usage"]["cpuMillicores"], serde_json::json!([1000, 100]));
    let none = samples(u64::MAX - 1);
    assert_eq!(none["containers"], serde_json::json!([]));
    assert_eq!(none["nextSinceUnixMs"], u64::MAX - 1);
}

#[test]
fn log_lines_are_not_served_where_they_are_not_kept_or_the_client_may_not_have_them() {
    let job = job();
    let off = rig(LogSource::None("logs are off"));
    off.show(&job);
    let (_, answer) = off.get(&format!("/api/v1/jobs/{}/log", job.pod.uid));
    assert_eq!((&answer["served"], &answer["reason"]), (&false.into(), &"logs are off".into()));
    let on = rig(LogSource::Tail(Tail::default()));
    on.show(&job);
    let route = Route::Log(job.pod.uid.clone(), 0, None);
    let answer = on.page.answer(&route, Some("not for you"));
    assert!(str::from_utf8(&answer.body).unwrap().contains("not for you"));
    let answer = on.page.answer(&route, None);
    assert!(str::from_utf8(&answer.body).unwrap().contains("\"served\":true"));
}

#[test]
fn hostile_names_are_only_text_and_a_link_leads_to_a_web_server_or_nowhere() {
    let mut rig = rig(LogSource::None("logs are off"));
    let parts = Arc::get_mut(&mut rig.page.0).unwrap();
    parts.run_url = |_| Some("javascript:alert(1)".into());
    let mut job = job();
    let hostile = "</script><img src=x onerror=alert(1)>\u{202e}\u{7}";
    job.identity.display_name = Some(hostile.into());
    rig.show(&job);
    let (_, answer) = rig.get(&format!("/api/v1/jobs/{}", job.pod.uid));
    assert_eq!(answer["name"], hostile);
    let links = answer["links"].as_array().unwrap();
    assert!(links.iter().all(|link| link["rel"] != "run"), "{links:?}");
}

#[test]
fn a_change_of_a_job_its_samples_or_the_list_is_a_change_of_cursors() {
    let rig = rig(LogSource::Tail(Tail::default()));
    let mut job = job();
    let uid = job.pod.uid.clone();
    let nothing = rig.page.cursors(Some(&uid));
    assert_eq!((nothing.job, nothing.samples, nothing.log), (None, None, None));
    rig.show(&job);
    let first = rig.page.cursors(Some(&uid));
    assert_eq!(first, rig.page.cursors(Some(&uid)));
    rig.sample(&job, 1_001_000, 1);
    let second = rig.page.cursors(Some(&uid));
    assert!(second.samples != first.samples && second.job == first.job);
    job.left_out += 1;
    rig.show(&job);
    let third = rig.page.cursors(Some(&uid));
    assert!(third.job != second.job && third.jobs != second.jobs);
    rig.board.over(&story::pod().uid, clock::now_ns());
    assert_ne!(rig.page.cursors(Some(&uid)).job, third.job);
    assert_eq!(rig.page.cursors(None).job, None);
}

#[test]
fn a_part_that_nobody_has_reported_on_is_lost_only_once_the_job_is_over() {
    let rig = rig(LogSource::None("logs are off"));
    let mut job = job();
    let step = &mut job.steps[0];
    step.outcome = ephemon_jobs::Outcome::error(ephemon_jobs::Fault::Lost, None);
    step.window.end = Some(step.window.start);
    rig.show(&job);
    let ending = |rig: &Rig| {
        let (_, answer) = rig.get(&format!("/api/v1/jobs/{}", job.pod.uid));
        let step = &answer["steps"][0];
        (step["result"].clone(), step["fault"].clone())
    };
    assert_eq!(ending(&rig), ("ending".into(), Value::Null));
    rig.board.over(&job.pod.uid, clock::now_ns());
    assert_eq!(ending(&rig), ("error".into(), "lost".into()));
}
