//! What a job costs the agent: to put its record together, to encode its spans, to hold it while it
//! lives.
//!
//! `cargo bench --bench jobs`.

#![expect(clippy::print_stdout, reason = "a program that prints figures")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use ephemon_contract::trace::{JobKey, RunKey};
use ephemon_contract::{CgroupDelta, End, Phase, ProcessUsage, Record, StepKind};
use ephemon_discovery::inventory::SpecEntry;
use ephemon_jobs::{Evidence, Figures, Heard, Job, JobEvidence, Reading, Sighted, Which};
use ephemon_model::{ContainerId, ContainerType, Exit, JobEnv, PodRef, PodUid, Quality};
use ephemon_otlp::span;

/// Steps of one job: a long one.
const STEPS: u64 = 300;
/// Spans to be made in all.
const SPANS: usize = 10_000;
/// Jobs held at once.
const LIVING: usize = 100;
const SECOND: u64 = 1_000_000_000;

fn main() {
    let evidence = evidence();
    let job_evidence = job_evidence(&evidence);
    let job = job_evidence.job(Some(1000 * SECOND)).expect("a job");
    let options = span::Options::default();
    let spans: usize =
        span::encoded(&job, &Which::All, &options).iter().map(|part| part.spans).sum();
    let rounds = SPANS.div_ceil(spans);
    println!("a job of {} steps and {spans} spans, {rounds} times", job.steps.len());

    let began = Instant::now();
    for _ in 0..rounds {
        black_box(job_evidence.job(Some(1000 * SECOND)));
    }
    say("assemble", began, rounds * spans);
    let began = Instant::now();
    let mut bytes = 0;
    for _ in 0..rounds {
        let encoded = span::encoded(black_box(&job), &Which::All, &options);
        bytes += encoded.iter().map(|part| part.body.len()).sum::<usize>();
    }
    say("encode", began, rounds * spans);
    println!("encoded: {} bytes a span", bytes / (rounds * spans));

    let before = resident_bytes();
    let living: Vec<(JobEvidence, Option<Job>)> = (0..LIVING)
        .map(|_| {
            let job_evidence = self::job_evidence(&evidence);
            let job = job_evidence.job(None);
            (job_evidence, job)
        })
        .collect();
    let grown = resident_bytes().saturating_sub(before);
    println!("memory: {} bytes a living job of {STEPS} steps", grown / living.len() as u64);
}

fn say(what: &str, began: Instant, spans: usize) {
    let took = began.elapsed();
    let each = took.as_secs_f64() * 1e6 / spans as f64;
    println!("{what}: {spans} spans in {took:.1?}, {each:.2} us each");
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 =
        text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * procfs::page_size()
}

fn job_evidence(evidence: &[Evidence]) -> JobEvidence {
    let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").expect("a UID");
    let pod = PodRef { namespace: "ci".into(), name: "runner-1".into(), uid };
    let mut job_evidence = JobEvidence::new(Arc::new(pod));
    for piece in evidence {
        job_evidence.take(piece.clone());
    }
    job_evidence
}

fn evidence() -> Vec<Evidence> {
    let mut all = container();
    let key = JobKey {
        run: RunKey { run_id: "14460881260", run_attempt: "13" },
        job: "test",
        runner: "runner-1",
    };
    for number in 0..STEPS {
        let (start, end) = ((10 + 2 * number) * SECOND, (11 + 2 * number) * SECOND);
        let name = format!("__run_{number}");
        let context = Some(key.step_span(&name, start).to_string());
        let started = Record::StepStarted {
            at_ns: start + 1_000_000,
            step: number + 1,
            name: name.clone(),
            kind: StepKind::Script,
            id: Some(name.clone()),
            called_ns: Some(start),
            pid: 7,
        };
        let ended = Record::StepEnded {
            at_ns: end - 1_000_000,
            step: number + 1,
            duration_ns: SECOND,
            end: End::Code(0),
            cancelled: false,
            process: ProcessUsage::default(),
            cgroup: CgroupDelta { cpu_ns: Some(500_000_000), ..CgroupDelta::default() },
        };
        let call = Record::HookPhase {
            at_ns: start,
            phase: Phase::RunScriptStep,
            duration_ns: SECOND,
            success: true,
            container: None,
            name: Some(name),
            display_name: None,
            traceparent: context,
            exit_code: Some(0),
        };
        for (file, at, record) in
            [("job", 2 * number, started), ("job", 2 * number + 1, ended), ("_hook", number, call)]
        {
            let heard = Heard { file: file.into(), at, heard_ns: end, record };
            all.push(Evidence::Journal(heard));
        }
    }
    all
}

fn container() -> Vec<Evidence> {
    let text = |text: &str| Some(text.into());
    let job = JobEnv {
        repository: text("o/r"),
        run_id: text("14460881260"),
        run_attempt: text("13"),
        name: text("test"),
        runner: text("runner-1"),
        role: text("job"),
        ..JobEnv::default()
    };
    let entry = SpecEntry {
        name: "job".into(),
        container_type: ContainerType::Ephemeral,
        image: text("node:22"),
        limits: None,
        wants_init: false,
        job: Some(Arc::new(job)),
    };
    let figures = Figures {
        cpu_ns: Some(STEPS * SECOND),
        memory_peak_bytes: Some(1 << 30),
        ..Figures::default()
    };
    let sighted = Sighted {
        id: ContainerId::parse(&"a".repeat(64)).expect("an id"),
        name: "job".into(),
        container_type: ContainerType::Ephemeral,
        image: None,
        born_ns: Some(SECOND),
        ended_ns: Some(900 * SECOND),
        started_ns: None,
        finished_ns: None,
        exit: Some(Exit { code: 0, reason: "Completed".into() }),
        reading: Some(Reading { at_ns: 900 * SECOND, figures, quality: Some(Quality::Exact) }),
    };
    vec![Evidence::Spec(entry), Evidence::Container(Box::new(sighted))]
}
