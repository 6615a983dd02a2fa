//! Journals and specs without end: the pod that floods pays, and nobody else.

use std::sync::Arc;

use ephemon_contract::{JOURNAL_TEXT_MAX_CHARS, Record, StepKind};
use ephemon_discovery::inventory::{RunnerFacts, SpecEntry};
use ephemon_journal::Entry;
use ephemon_model::{ContainerId, ContainerType, PodRef, PodUid};

use crate::assembler::MAX_EVIDENCE_BYTES;
use crate::story::{Story, pod, s};
use crate::{
    Assembler, Evidence, Heard, JobEvidence, MAX_FACT_BYTES, MAX_RECORD_BYTES, MAX_RECORDS, Memory,
    Options, PodSnapshot, Sighted,
};

/// As large as one can be once it was read.
fn largest(number: u64) -> Record {
    let text = || "\u{10ffff}".repeat(JOURNAL_TEXT_MAX_CHARS);
    Record::StepStarted {
        at_ns: s(20),
        step: number,
        name: text(),
        kind: StepKind::Script,
        id: Some(text()),
        called_ns: Some(s(19)),
        pid: 1,
    }
}

fn heard(file: &str, number: u64, record: Record) -> Evidence {
    Evidence::Journal(Heard { file: file.into(), at: number, heard_ns: s(30), record })
}

fn other_pod(number: usize) -> Arc<PodRef> {
    let uid = PodUid::parse(&format!("1e269fa4-f505-4963-9096-{number:012}")).unwrap();
    Arc::new(PodRef { namespace: "ci".into(), name: format!("runner-{number}").into(), uid })
}

#[test]
fn a_record_that_is_read_is_no_longer_than_one_that_init_writes() {
    let Record::StepStarted { at_ns, step, kind, pid, .. } = largest(1) else { panic!() };
    let name = "x".repeat(7_000);
    let (id, called_ns) = (None, None);
    let line = Record::StepStarted { at_ns, step, name, kind, id, called_ns, pid }.to_line();
    let read = Record::from_line(&line.unwrap()).unwrap();
    assert_eq!(read.text_bytes(), JOURNAL_TEXT_MAX_CHARS);
    let read = Record::from_line(&largest(1).to_line().unwrap()).unwrap();
    assert_eq!(read, largest(1), "characters, not bytes");
}

#[test]
fn a_flood_in_one_journal_leaves_the_pods_others_and_its_figures_as_they_are() {
    let quiet = Story::whole().job_evidence().job(Some(s(100))).unwrap();
    for early in [false, true] {
        let mut job_evidence = JobEvidence::new(pod());
        let mut flood = (0..2 * MAX_RECORDS as u64).map(|at| heard("evil", at, largest(at)));
        if early {
            flood.by_ref().for_each(|piece| _ = job_evidence.take(piece));
        }
        for piece in Story::whole().pieces {
            job_evidence.take(piece);
        }
        flood.for_each(|piece| _ = job_evidence.take(piece));
        assert!(
            job_evidence.bytes() <= MAX_RECORD_BYTES + MAX_FACT_BYTES,
            "{}",
            job_evidence.bytes()
        );
        let mut job = job_evidence.job(Some(s(100))).unwrap();
        assert!(job.left_out > 2 * MAX_RECORDS as u64 - 1000, "{}", job.left_out);
        job.left_out = 0;
        assert_eq!(job, quiet, "early: {early}");
    }
}

#[test]
fn specs_without_end_are_bounded_in_bytes() {
    let mut job_evidence = JobEvidence::new(pod());
    for number in 0..5000 {
        job_evidence.take(Evidence::Spec(SpecEntry {
            name: format!("c{number}").into(),
            container_type: ContainerType::Ephemeral,
            image: Some("i".repeat(1024).into()),
            limits: None,
            wants_init: false,
            job: None,
        }));
    }
    assert!(job_evidence.bytes() <= MAX_FACT_BYTES, "{}", job_evidence.bytes());
    assert_eq!(job_evidence.left_out(), 1, "they are shown again and again, and counted once");
}

/// An assembler, and its evidence about a pod.
fn held(assembler: &Assembler, pod: &PodUid) -> usize {
    assembler.evidence_bytes(pod)
}

#[test]
fn beyond_the_bound_for_all_the_largest_pods_give_up_their_own() {
    let mut assembler = Assembler::new(Options::default(), Memory::default());
    let pods: Vec<_> = (0..20).map(other_pod).collect();
    let snapshot = |pod: &Arc<PodRef>| PodSnapshot {
        pod: Arc::clone(pod),
        there: true,
        spec: Vec::new(),
        containers: Vec::new(),
        runner: RunnerFacts::default(),
    };
    assembler.snapshots(pods.iter().map(snapshot).collect(), true, s(1));
    let (small, large) = pods.split_last().unwrap();
    let tell = |assembler: &mut Assembler, pod: &PodRef, records: u64| {
        for at in 0..records {
            let (pod, file, record) = (pod.uid.clone(), "job".into(), largest(at));
            assembler.journal(Entry { pod, file, at, record }, s(30));
        }
    };
    tell(&mut assembler, small, 3);
    let own = held(&assembler, &small.uid);
    for pod in large {
        tell(&mut assembler, pod, 2000);
    }
    let all: usize = pods.iter().map(|pod| held(&assembler, &pod.uid)).sum();
    assert!(all <= MAX_EVIDENCE_BYTES && all > MAX_EVIDENCE_BYTES / 2, "{all}");
    assert_eq!(held(&assembler, &small.uid), own, "it keeps all");
    let least = large.iter().map(|pod| held(&assembler, &pod.uid)).min().unwrap();
    assert!(least > MAX_EVIDENCE_BYTES / pods.len() / 2, "each has its share: {least}");
    let turn = assembler.turn(s(31));
    assert_eq!(turn.left_out.len(), large.len());
    assert!(turn.left_out.iter().all(|(pod, count)| pod.uid != small.uid && *count > 1000));
    assert_eq!(assembler.turn(s(32)).left_out, [], "told once");
    // Nothing is held of pods that are gone.
    assembler.snapshots(Vec::new(), true, s(33));
    for second in [33, 50, 51] {
        assembler.turn(s(second));
    }
    assert_eq!(assembler.wanted(), []);
    assert_eq!(assembler.all_bytes(), 0);
}

#[test]
fn nested_containers_leave_room_for_those_of_the_spec() {
    let sighted = |number: usize, container_type| {
        Evidence::Container(Box::new(Sighted {
            id: ContainerId::parse(&format!("{number:064x}")).unwrap(),
            name: format!("c-{number}").into(),
            container_type,
            image: None,
            born_ns: Some(s(20)),
            ended_ns: None,
            started_ns: None,
            finished_ns: None,
            exit: None,
            reading: None,
        }))
    };
    let mut job_evidence = JobEvidence::new(pod());
    let nested = (0..2000).map(|number| sighted(number, ContainerType::Nested));
    let taken = nested.filter(|one| job_evidence.take(one.clone())).count();
    assert!((100..=256).contains(&taken), "{taken}");
    assert_eq!(job_evidence.left_out(), 1, "counted once");
    assert!(job_evidence.take(sighted(5000, ContainerType::Container)));
}
