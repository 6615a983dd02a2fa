//! What is written here is what the published messages read.

use ephemon_contract::trace::{JobKey, RunKey};
use ephemon_mask::job::{JobMasks, Mode};
use ephemon_model::{ContainerId, ContainerType, PodRef, PodUid};
use ephemon_model::{LogFlaw, LogStream};
use ephemon_sanitize::{Options, Sanitizer};
use ephemon_sanitize::{Record, Sanitized};
use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value},
    logs::v1::{LogRecord, ResourceLogs},
};
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::{Job, Source};

fn source() -> Source {
    Source {
        pod: PodRef {
            namespace: "ci".into(),
            name: "runner-1".into(),
            uid: PodUid::parse("0e269fa4-f505-4963-9096-958063077203").expect("a UID"),
        },
        container: "job".into(),
        log_file_path: "/var/log/pods/ci_runner-1_x/job/0.log".into(),
        container_id: Some(ContainerId::parse(&"ab".repeat(32)).expect("an id")),
        container_type: Some(ContainerType::Ephemeral),
        image: Some("reg:5000/a/b:v1@sha256:00".into()),
        node: Some("node-a".into()),
        service_name: None,
        attributes: Arc::default(),
        job: Some(Job {
            repository: Some("octo/My_Repo".into()),
            run_id: Some("7".into()),
            run_attempt: Some("2".into()),
            workflow: Some("CI".into()),
            job: Some("build".into()),
            sha: Some("c0ffee".into()),
            git_ref: Some("refs/heads/main".into()),
            runner: Some("r-1".into()),
            server_url: Some("https://ghe.example.org".into()),
            ci: None,
        }),
    }
}

fn entry<'a>(record: &'a Record<'a>) -> Entry<'a> {
    Entry {
        time_unix_nano: 5,
        observed_unix_nano: 6,
        stream: LogStream::Stderr,
        uid: 0xab,
        span: None,
        sequence: 7,
        unended: false,
        flaw: None,
        record,
    }
}

fn refine(text: &[u8]) -> Record<'_> {
    let mut sanitizer = Sanitizer::new(JobMasks::new(Mode::Masked), Options::default());
    match sanitizer.line(LogStream::Stdout, text) {
        Sanitized::Record(record) => record,
        Sanitized::Suppressed(_) => panic!("not sent"),
    }
}

fn decode(batch: &mut Batch) -> Vec<ResourceLogs> {
    let expected = batch.encoded_len();
    let bytes = batch.finish();
    assert_eq!(bytes.len(), expected, "the length is known before the end");
    assert_eq!((batch.encoded_len(), batch.records()), (0, 0));
    let request = ExportLogsServiceRequest::decode(bytes.as_slice()).expect("a request");
    assert_eq!(request.encode_to_vec(), bytes, "nothing that the messages do not know");
    request.resource_logs
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::ArrayValue(array)) => {
            let all: Vec<String> = array.values.iter().map(|value| text(Some(value))).collect();
            format!("[{}]", all.join(","))
        }
        other => format!("{other:?}"),
    }
}

fn texts(attributes: &[KeyValue]) -> Vec<String> {
    attributes.iter().map(|pair| format!("{}={}", pair.key, text(pair.value.as_ref()))).collect()
}

fn one(entry: &Entry<'_>) -> LogRecord {
    let mut batch = Batch::new();
    batch.push(&Arc::new(Resource::new(&source())), entry);
    decode(&mut batch).remove(0).scope_logs.remove(0).log_records.remove(0)
}

#[test]
fn a_resource_says_whose_the_records_are() {
    let mut batch = Batch::new();
    let record = refine(b"hello");
    batch.push(&Arc::new(Resource::new(&source())), &entry(&record));
    let logs = decode(&mut batch).remove(0);
    assert_eq!(logs.schema_url, SCHEMA_URL);
    assert_eq!(logs.scope_logs[0].schema_url, SCHEMA_URL);
    assert_eq!(logs.scope_logs[0].scope.as_ref().map(|scope| scope.name.as_str()), Some(SCOPE));
    let expected = "service.name=my-repo k8s.namespace.name=ci k8s.pod.name=runner-1 \
        k8s.pod.uid=0e269fa4-f505-4963-9096-958063077203 k8s.container.name=job \
        k8s.node.name=node-a container.id=ID ephemon.container.type=ephemeral \
        cicd.pipeline.name=CI cicd.pipeline.run.id=7 github.run.attempt=2 \
        cicd.pipeline.task.name=build cicd.worker.name=r-1 vcs.ref.head.revision=c0ffee \
        vcs.ref.head.name=main vcs.ref.head.type=branch vcs.provider.name=github \
        vcs.repository.url.full=https://ghe.example.org/octo/My_Repo vcs.owner.name=octo \
        vcs.repository.name=My_Repo \
        cicd.pipeline.run.url.full=https://ghe.example.org/octo/My_Repo/actions/runs/7/attempts/2 \
        container.image.name=reg:5000/a/b container.image.tags=[v1] \
        container.image.repo_digests=[reg:5000/a/b@sha256:00]";
    let found = texts(&logs.resource.expect("a resource").attributes).join(" ");
    assert_eq!(found, expected.replace("ID", &"ab".repeat(32)));
    let mut bare = source();
    (bare.job, bare.image, bare.node, bare.container_id, bare.container_type) =
        (None, None, None, None, None);
    batch.push(&Arc::new(Resource::new(&bare)), &entry(&record));
    let found = texts(&decode(&mut batch).remove(0).resource.expect("a resource").attributes);
    assert_eq!(found.len(), 5);
    assert_eq!(found[0], "service.name=job");
}

#[test]
fn a_plain_line_has_its_times_its_text_and_no_severity() {
    let record = refine(b"hello");
    let found = one(&entry(&record));
    assert_eq!((found.time_unix_nano, found.observed_time_unix_nano), (5, 6));
    assert_eq!((found.severity_number, found.severity_text.as_str()), (0, ""));
    assert_eq!(text(found.body.as_ref()), "hello");
    assert!(found.trace_id.is_empty());
    let uid = format!("log.record.uid={:032x}", 0xab);
    let path = "log.file.path=/var/log/pods/ci_runner-1_x/job/0.log";
    let sequence = "ephemon.log.sequence=7";
    assert_eq!(texts(&found.attributes), ["log.iostream=stderr", path, &uid, sequence]);
}

#[test]
fn a_line_without_an_end_or_a_time_says_so() {
    let record = refine(b"hello");
    let flaw = Some(LogFlaw::Stamp);
    let found = one(&Entry { time_unix_nano: 0, unended: true, flaw, ..entry(&record) });
    assert_eq!((found.time_unix_nano, found.observed_time_unix_nano), (0, 6));
    let marks = ["ephemon.log.unended=Some(BoolValue(true))", "ephemon.log.malformed=stamp"];
    assert_eq!(texts(&found.attributes)[4..], marks);
}

#[test]
fn an_annotation_has_its_place_and_its_span() {
    let record = refine(b"::error file=a.rs,line=3,endLine=4,col=5,endColumn=6,title=T::m");
    let key = JobKey { run: RunKey { run_id: "7", run_attempt: "2" }, job: "build", runner: "r-1" };
    let span = Some(key.span());
    let found = one(&Entry { span, ..entry(&record) });
    assert_eq!((found.severity_number, found.severity_text.as_str()), (17, "error"));
    assert_eq!(text(found.body.as_ref()), "m");
    assert_eq!(found.trace_id, key.span().trace_id.0);
    assert_eq!((found.span_id.as_slice(), found.flags), (&key.span().span_id.0[..], 1));
    let expected = [
        "github.log.command=error",
        "code.file.path=a.rs",
        "github.log.title=T",
        "code.line.number=3",
        "code.column.number=5",
        "github.log.end_line=4",
        "github.log.end_column=6",
    ];
    assert_eq!(texts(&found.attributes)[4..], expected);
}

/// `decode` holds the event's bytes to what the messages would make of it.
#[test]
fn the_event_that_closes_a_log_has_its_figures_and_its_span() {
    let key = JobKey { run: RunKey { run_id: "7", run_attempt: "2" }, job: "build", runner: "r-1" };
    let end = LogEnd {
        observed_unix_nano: 9,
        uid: 0xcd,
        span: Some(key.span()),
        lines: 7,
        bytes: 300,
        lost_bytes: 0,
        complete: true,
    };
    let mut batch = Batch::new();
    batch.push_end(&Arc::new(Resource::new(&source())), &end);
    assert_eq!(batch.records(), 1);
    let mut all = decode(&mut batch);
    let found = all.remove(0).scope_logs.remove(0).log_records.remove(0);
    assert_eq!(found.event_name, "ephemon.log.end");
    assert_eq!((found.time_unix_nano, found.observed_time_unix_nano), (9, 9));
    assert_eq!(found.trace_id, key.span().trace_id.0);
    let figures = texts(&found.attributes);
    assert!(figures.contains(&"ephemon.log.lines=7".to_owned()), "{figures:?}");
    assert!(figures.contains(&"ephemon.log.bytes=300".to_owned()), "{figures:?}");
    assert!(
        figures.iter().any(|one| one.starts_with("ephemon.log.complete=") && one.contains("true"))
    );
}

#[test]
fn records_stand_with_their_container_in_the_order_they_came() {
    let mut batch = Batch::new();
    assert!(batch.is_empty());
    let resources = [(); 2].map(|()| Arc::new(Resource::new(&source())));
    for n in 0..6 {
        let line = format!("line {n}");
        let record = refine(line.as_bytes());
        batch.push(&resources[n % 2], &entry(&record));
    }
    assert_eq!(batch.records(), 6);
    let found: Vec<Vec<String>> = decode(&mut batch)
        .iter()
        .map(|logs| &logs.scope_logs[0].log_records)
        .map(|records| records.iter().map(|record| text(record.body.as_ref())).collect())
        .collect();
    assert_eq!(found, [["line 0", "line 2", "line 4"], ["line 1", "line 3", "line 5"]]);
    assert_eq!(batch.finish(), Vec::<u8>::new());
}

proptest! {
    #[test]
    fn a_body_is_carried_whatever_it_is(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let record = Record { body: body.as_slice().into(), ..refine(b"") };
        let found = one(&entry(&record)).body.and_then(|body| body.value);
        match found.expect("a body") {
            any_value::Value::StringValue(text) => prop_assert_eq!(text.into_bytes(), body),
            any_value::Value::BytesValue(bytes) => {
                prop_assert!(std::str::from_utf8(&body).is_err());
                prop_assert_eq!(bytes, body);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
