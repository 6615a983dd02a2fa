//! Journals, and what becomes of them in a job's record and trace.

use std::collections::HashSet;
use std::sync::Arc;

use ephemon_contract::{JOURNAL_RECORD_MAX_BYTES, JOURNAL_TEXT_MAX_CHARS, Record};
use ephemon_discovery::inventory::SpecEntry;
use ephemon_jobs::{Evidence, Figures, Heard, Job, JobEvidence, Reading, Sighted, Which};
use ephemon_journal::{Found, HOOK, Lines};
use ephemon_model::{ContainerId, ContainerType, JobEnv, PodRef, PodUid, Quality};
use ephemon_otlp::span;

/// What the kernel counted for the job's container.
const CPU_NS: u64 = 4_000_000_000;
/// When the container was made, ended, and the pod was gone; nanoseconds since 1970.
const BORN_NS: u64 = 12_000_000_000;
const ENDED_NS: u64 = 80_000_000_000;
const GONE_NS: u64 = 100_000_000_000;

/// Two journals, after each other: the job container's, and after a line `--` the hook's.
pub(super) fn journal(data: &[u8]) {
    let at = data.windows(4).position(|window| window == b"\n--\n");
    let (job, hook) = match at.and_then(|at| data.split_at_checked(at + 1)) {
        Some((job, rest)) => (job, rest.get(3..).unwrap_or_default()),
        None => (data, &[][..]),
    };
    let mut job_evidence = JobEvidence::new(pod());
    job_evidence.take(Evidence::Spec(spec()));
    job_evidence.take(Evidence::Container(Box::new(sighted())));
    for (file, text) in [("job", job), (HOOK, hook)] {
        let found = read(text);
        for (at, record) in found.records {
            kept(&record);
            let file = Arc::from(file);
            job_evidence.take(Evidence::Journal(Heard { file, at, heard_ns: ENDED_NS, record }));
        }
    }
    job_evidence.take(Evidence::Gone { at_ns: GONE_NS });
    let job = job_evidence.job(Some(GONE_NS)).expect("a job");
    holds(&job);
}

/// What bytes come to is the same however they come.
fn read(text: &[u8]) -> Found {
    let at_once = Lines::default().take(text);
    let (mut lines, mut found, mut end) = (Lines::default(), Found::default(), 0);
    while end < text.len() {
        end = (end + 1 + end % 97).min(text.len());
        let from = usize::try_from(lines.offset()).expect("an offset in the text");
        let next = lines.take(text.get(from..end).expect("what was not read"));
        found.records.extend(next.records);
        found.bad += next.bad;
    }
    assert_eq!(at_once, found, "in pieces");
    found
}

/// A record is within its bounds, and is read back as it is written.
fn kept(record: &Record) {
    assert!(record.text_bytes() <= 3 * 4 * JOURNAL_TEXT_MAX_CHARS, "{record:?}");
    let line = record.to_line().expect("what was read can be written");
    assert!(line.len() <= JOURNAL_RECORD_MAX_BYTES, "{record:?}");
    assert_eq!(Record::from_line(&line).as_ref(), Some(record), "read back");
}

/// The kernel's word stands, ids are ours, everything lies within the pod's life.
fn holds(job: &Job) {
    let steps = || job.steps.iter().filter(|step| step.container.as_deref() == Some("job"));
    let cpu: u128 = steps().filter_map(|step| step.figures.cpu_ns).map(u128::from).sum();
    assert!(cpu <= u128::from(CPU_NS), "{cpu} ns of {CPU_NS}");
    let container = job.containers.iter().find(|one| &*one.name == "job").expect("the container");
    assert_eq!(container.figures.cpu_ns, Some(CPU_NS));
    assert_eq!(container.born_ns, Some(BORN_NS));
    assert!(job.window.end.expect("all is over").ns <= GONE_NS, "{:?}", job.window);
    assert_eq!(job.span.trace_id.to_string(), "731ec8a47fd7450f753a812a4a8aa5a0");

    let request = span::request(job, &Which::All, &span::Options::default()).expect("a trace");
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    let spans: Vec<_> = scopes.flat_map(|scope| &scope.spans).collect();
    let ids: HashSet<_> = spans.iter().map(|span| &span.span_id).collect();
    assert_eq!(ids.len(), spans.len(), "every span has an id of its own");
    for span in spans {
        assert_eq!(span.trace_id, job.span.trace_id.0, "{span:?}");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
        let known = span.parent_span_id.is_empty() || ids.contains(&span.parent_span_id);
        assert!(known, "its parent is not there: {span:?}");
    }
}

fn pod() -> Arc<PodRef> {
    let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").expect("a UID");
    Arc::new(PodRef { namespace: "ci".into(), name: "runner-1".into(), uid })
}

fn spec() -> SpecEntry {
    let text = |text: &str| Some(Arc::from(text));
    let env = JobEnv {
        repository: text("o/r"),
        run_id: text("14460881260"),
        run_attempt: text("13"),
        name: text("test"),
        runner: text("runner-1"),
        role: text("job"),
        ..JobEnv::default()
    };
    SpecEntry {
        name: "job".into(),
        container_type: ContainerType::Ephemeral,
        image: text("busybox"),
        limits: None,
        wants_init: false,
        job: Some(Arc::new(env)),
    }
}

fn sighted() -> Sighted {
    Sighted {
        id: ContainerId::parse(&"6a6f62".repeat(32).chars().take(64).collect::<String>())
            .expect("an id"),
        name: "job".into(),
        container_type: ContainerType::Ephemeral,
        image: None,
        born_ns: Some(BORN_NS),
        ended_ns: Some(ENDED_NS),
        started_ns: None,
        finished_ns: None,
        exit: None,
        reading: Some(Reading {
            at_ns: ENDED_NS,
            figures: Figures { cpu_ns: Some(CPU_NS), oom_kills: Some(0), ..Figures::default() },
            quality: Some(Quality::Exact),
        }),
    }
}
