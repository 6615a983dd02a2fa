//! Jobs for the recording: one that is over and has every figure, and one under way that nothing
//! has named.

use std::sync::Arc;

use ephemon_contract::{Phase, Record};
use ephemon_discovery::inventory::SpecEntry;
use ephemon_jobs::tally::Tally;
use ephemon_jobs::{Evidence, Figures, Heard, Job, JobEvidence, Reading, Shown, Sighted};
use ephemon_journal::HOOK;
use ephemon_metrics::JobView;
use ephemon_model::{ContainerId, ContainerType, Exit, JobEnv, PodRef, PodUid, Quality};

const CONTAINER: &str = "job";

pub(super) fn views() -> Vec<JobView> {
    let (mut over, living) = (over(), living());
    over.identity.display_name = Some("test (a \"b\")".into());
    let mut tally = Tally::default();
    tally.started(&over);
    tally.finished(&over);
    tally.started(&living);
    JobView::all(&Shown { tally: Arc::new(tally), jobs: vec![Arc::new(over), Arc::new(living)] })
}

/// A container waited four seconds for its image and a fifth of one for init; its only step failed.
fn over() -> Job {
    let mut job_evidence = job_evidence("runner-1");
    let pieces = [
        Evidence::Spec(spec(Some(env()))),
        Evidence::Container(Box::new(runner())),
        Evidence::Container(Box::new(sighted(ms(5000), Some(ms(90_000))))),
        heard(HOOK, 0, call(Phase::PrepareJob, ms(500), 6000)),
        heard(
            HOOK,
            1,
            Record::HookLaunched {
                at_ns: ms(1000),
                container: CONTAINER.to_owned(),
                image: "localhost/build:1".to_owned(),
                running_at_ns: None,
            },
        ),
        heard(
            HOOK,
            3,
            Record::ImagePulled {
                at_ns: ms(4000),
                container: CONTAINER.to_owned(),
                duration_ns: 2_500_000_000,
                bytes: None,
            },
        ),
        heard(
            CONTAINER,
            0,
            Record::ContainerStarted {
                at_ns: ms(5200),
                container: CONTAINER.to_owned(),
                pid: 1,
                uid: 0,
            },
        ),
        heard(
            CONTAINER,
            1,
            Record::ContainerEnded { at_ns: ms(89_999), exit_code: 137, dropped: 0 },
        ),
        heard(HOOK, 2, call(Phase::RunScriptStep, ms(10_000), 30_000)),
    ];
    for piece in pieces {
        job_evidence.take(piece);
    }
    job_evidence.job(Some(ms(95_000))).unwrap()
}

fn living() -> Job {
    let mut job_evidence = job_evidence("debugged");
    job_evidence.take(Evidence::Spec(spec(None)));
    job_evidence.take(Evidence::Container(Box::new(sighted(ms(2000), None))));
    job_evidence.job(None).unwrap()
}

fn job_evidence(name: &str) -> JobEvidence {
    let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
    let (namespace, name) = ("arc-runners".into(), name.into());
    JobEvidence::new(Arc::new(PodRef { namespace, name, uid }))
}

fn spec(job: Option<JobEnv>) -> SpecEntry {
    SpecEntry {
        name: CONTAINER.into(),
        container_type: ContainerType::Ephemeral,
        image: Some("localhost/build:1".into()),
        limits: None,
        wants_init: false,
        job: job.map(Arc::new),
    }
}

fn env() -> JobEnv {
    let text = |text: &str| Some(Arc::from(text));
    JobEnv {
        repository: text("octo/a \"b\""),
        run_id: text("14460881260"),
        run_attempt: text("1"),
        name: text("test"),
        workflow: text("CI"),
        workflow_ref: text("octo/a/.github/workflows/ci.yml@refs/heads/main"),
        sha: text("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"),
        git_ref: text("refs/heads/main"),
        event: text("push"),
        runner: text("runner-1"),
        role: text("job"),
        traceparent: None,
        server_url: None,
        display_name: None,
        ci: None,
    }
}

fn sighted(born_ns: u64, ended_ns: Option<u64>) -> Sighted {
    let figures = Figures {
        cpu_ns: Some(4_000_000_005),
        throttled_ns: Some(7_000_000),
        memory_peak_bytes: Some(512 << 20),
        memory_byte_ms: Some((1 << 30) + 1),
        oom_kills: Some(1),
        read_bytes: Some(8192),
        written_bytes: Some(4096),
    };
    Sighted {
        id: ContainerId::parse(&"e".repeat(64)).unwrap(),
        name: CONTAINER.into(),
        container_type: ContainerType::Ephemeral,
        image: Some("localhost/build:1".into()),
        born_ns: Some(born_ns),
        ended_ns,
        started_ns: Some(born_ns),
        finished_ns: ended_ns,
        exit: ended_ns.map(|_| Exit { code: 137, reason: "OOMKilled".into() }),
        reading: ended_ns.map(|at_ns| Reading { at_ns, figures, quality: Some(Quality::Exact) }),
    }
}

/// What was there before the job: no journal is older.
fn runner() -> Sighted {
    Sighted {
        id: ContainerId::parse(&"f".repeat(64)).unwrap(),
        name: "runner".into(),
        container_type: ContainerType::Container,
        ..sighted(ms(0), None)
    }
}

fn call(phase: Phase, at_ns: u64, lasted_ms: u64) -> Record {
    let of_step = phase == Phase::RunScriptStep;
    Record::HookPhase {
        at_ns,
        phase,
        duration_ns: lasted_ms * 1_000_000,
        success: !of_step,
        container: of_step.then(|| CONTAINER.to_owned()),
        name: of_step.then(|| "__run".to_owned()),
        display_name: None,
        traceparent: None,
        exit_code: Some(u8::from(of_step)),
    }
}

fn heard(file: &str, at: u64, record: Record) -> Evidence {
    Evidence::Journal(Heard { file: file.into(), at, heard_ns: ms(95_000), record })
}

fn ms(after: u64) -> u64 {
    (1_790_000_000_000 + after) * 1_000_000
}
