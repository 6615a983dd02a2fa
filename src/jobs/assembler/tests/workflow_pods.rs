//! Runners without our hook: their controller names the job, and the pods that they create are part
//! of it.

use ephemon_discovery::pod_view::Purpose;
use ephemon_model::{ContainerType, JobEnv};

use super::*;
use crate::{JobResult, Role, tally::Tally};

const WITH_SPECS: Options = Options { mode: TraceMode::Whole, has_specs: true };

fn uid(n: u32) -> PodUid {
    PodUid::parse(&format!("1e269fa4-f505-4963-9096-{n:012}")).unwrap()
}

/// The runner's pod: it waits, has a job from 10 to 60, and goes at 70.
fn runner() -> Story {
    let mut story = Story::idle();
    story.runner(10, "Running job: build (1)");
    story.runner(60, "Job build (1) completed with result: Failed");
    story
}

/// What ARC says.
fn job() -> Arc<JobEnv> {
    let text = |text: &str| Some(Arc::from(text));
    Arc::new(JobEnv {
        repository: text("o/r"),
        run_id: text("71"),
        workflow_ref: text("o/r/.github/workflows/ci.yml@refs/heads/main"),
        runner: text("runner-1"),
        ..JobEnv::default()
    })
}

fn told(mut snapshot: PodSnapshot) -> PodSnapshot {
    snapshot.runner.job = Some(job());
    snapshot
}

/// A pod that the runner has created, as it is at a second.
fn created(name: &str, number: u32, purpose: Purpose, story: &Story, second: u64) -> PodSnapshot {
    let (snapshot, _) = news(story, second, true);
    let pod = PodRef { namespace: "ci".into(), name: name.into(), uid: uid(number) };
    let runner = RunnerFacts {
        purpose: Some(purpose),
        pod: Some(super::pod().uid.clone()),
        ..RunnerFacts::default()
    };
    let mut snapshot = PodSnapshot { pod: Arc::new(pod), runner, ..snapshot };
    // Ids are made of names, and the runner's pod has a container of each.
    for (at, one) in snapshot.containers.iter_mut().enumerate() {
        let id = format!("{:032x}{number:016x}{at:016x}", 7);
        one.id = ephemon_model::ContainerId::parse(&id).unwrap();
    }
    snapshot
}

/// The job's container and a service, from 12 to 55, ended by force.
fn workflow() -> Story {
    let mut story = Story::new();
    story.container("fs-init", ContainerType::Init, None, (11, 12), 0, 100);
    story.container("job", ContainerType::Container, None, (12, 55), 137, 4000);
    story.container("redis", ContainerType::Container, None, (12, 55), 137, 500);
    story
}

/// The runner and its pods, second by second.
fn play(
    assembler: &mut Assembler,
    seconds: std::ops::Range<u64>,
) -> (Vec<Arc<Job>>, Vec<Dispatch>) {
    let mut action = Story::new();
    action.container("job", ContainerType::Container, None, (30, 35), 3, 1000);
    let (mut started, mut sent) = (Vec::new(), Vec::new());
    for second in seconds {
        let mut snapshots = vec![news(&runner(), second, second < 70).0];
        if second >= 12 {
            snapshots = snapshots.into_iter().map(told).collect();
        }
        if (11..57).contains(&second) {
            snapshots.push(created("r-workflow", 1, Purpose::Job, &workflow(), second));
        }
        if (30..40).contains(&second) {
            snapshots.push(created("r-step-x", 2, Purpose::OwnProgram, &action, second));
        }
        assembler.snapshots(snapshots, true, s(second));
        hear(assembler, &runner(), second);
        let turn = assembler.turn(s(second));
        started.extend(turn.started);
        sent.extend(turn.dispatches);
    }
    (started, sent)
}

#[test]
fn a_runner_and_the_pods_that_it_creates_are_one_job() {
    let mut assembler = Assembler::new(WITH_SPECS, Memory::default());
    let (started, sent) = play(&mut assembler, 1..90);
    let [begun] = &started[..] else { panic!("{} jobs began", started.len()) };
    assert_eq!((begun.identity.name(), begun.window.end), ("build (1)", None), "before its end");
    let [only] = &sent[..] else { panic!("{} dispatches", sent.len()) };
    let job = &only.job;
    assert_eq!(job.identity.repository.as_deref(), Some("o/r"));
    assert_eq!(job.identity.workflow.as_deref(), Some(".github/workflows/ci.yml"));
    assert_eq!((job.identity.run_id.as_deref(), &job.identity.run), (Some("71"), &None));
    assert_eq!((job.outcome.result, job.judged_by), (JobResult::Failure, ResultSource::Runner));
    let part = |pod: Option<&str>, name: &str| {
        let found = job
            .containers
            .iter()
            .find(|one| one.pod.as_ref().map(|pod| &*pod.name) == pod && &*one.name == name);
        let one = found.unwrap_or_else(|| panic!("no {name} of {pod:?}"));
        (one.role, one.outcome.result)
    };
    assert_eq!(part(None, "runner").0, Role::Runner);
    assert_eq!(part(Some("r-workflow"), "fs-init").0, Role::Runner);
    assert_eq!(part(Some("r-workflow"), "job"), (Role::Job, JobResult::Success));
    assert_eq!(part(Some("r-workflow"), "redis"), (Role::Service, JobResult::Success));
    assert_eq!(part(Some("r-step-x"), "job"), (Role::Step, JobResult::Failure));
    // The sum of what the job's containers used, and not the runner's.
    assert_eq!(job.totals.figures.cpu_ns, Some(5_500_000_000));
    let ids: HashSet<SpanId> = job.containers.iter().map(|one| one.span_id).collect();
    assert_eq!(ids.len(), job.containers.len(), "each has a span of its own");
    assert!(assembler.pods.is_empty() && assembler.members.is_empty());
    assert_eq!(assembler.all_bytes(), 0);
}

#[test]
fn a_pod_that_is_seen_before_its_runner_and_outlives_it_is_no_job() {
    let mut assembler = Assembler::new(WITH_SPECS, Memory::default());
    let alone = |second| {
        let mut pod = created("r-workflow", 1, Purpose::Job, &workflow(), second);
        pod.runner.pod = None;
        pod
    };
    assembler.snapshots(vec![alone(20)], true, s(20));
    assert_eq!(assembler.turn(s(20)).started.len(), 0);
    let (mut jobs, mut sent, mut over) = (0, Vec::new(), Vec::new());
    for second in 21..100 {
        let mut snapshots = vec![created("r-workflow", 1, Purpose::Job, &workflow(), 20)];
        if second < 75 {
            snapshots.push(told(news(&runner(), second, second < 70).0));
        } else {
            snapshots = vec![alone(20)];
        }
        assembler.snapshots(snapshots, true, s(second));
        hear(&mut assembler, &runner(), second);
        let turn = assembler.turn(s(second));
        jobs += turn.started.len();
        sent.extend(turn.dispatches);
        over.extend(turn.over);
    }
    assert_eq!((jobs, sent.len()), (1, 1));
    assert!(sent[0].job.containers.iter().any(|one| one.pod.is_some()));
    assert!(over.contains(&uid(1)), "what was kept of it alone goes");
    assert!(assembler.pods.is_empty() && assembler.members.is_empty());
}

#[test]
fn what_is_known_of_created_pods_outlives_the_agent() {
    let mut undisturbed = Assembler::new(WITH_SPECS, Memory::default());
    let expected = play(&mut undisturbed, 1..90).1.pop().unwrap().job;
    for restart in [32, 45, 58] {
        let mut first = Assembler::new(WITH_SPECS, Memory::default());
        play(&mut first, 1..restart);
        let mut learnt = Vec::new();
        let place = |assembler: &mut Assembler| {
            let followed = assembler.pods.get_mut(&pod().uid).unwrap();
            followed.keep();
        };
        place(&mut first);
        first.learnt(|_, piece| learnt.push(piece.clone()));
        let mut second = restarted(WITH_SPECS, &first, learnt);
        let (_, sent) = play(&mut second, restart..90);
        let [only] = &sent[..] else { panic!("{} dispatches, restart at {restart}", sent.len()) };
        assert_eq!(only.job.totals.figures, expected.totals.figures, "restart at {restart}");
        assert_eq!(only.job.containers.len(), expected.containers.len(), "restart at {restart}");
    }
}

#[test]
fn a_pod_whose_runner_is_elsewhere_adds_what_it_uses_and_is_counted_there() {
    let mut assembler = Assembler::new(WITH_SPECS, Memory::default());
    let mut tally = Tally::default();
    let mut sent = Vec::new();
    for second in 10..90 {
        let mut pod = created("r-workflow", 1, Purpose::Job, &workflow(), second);
        (pod.runner.pod, pod.runner.job) = (None, Some(job()));
        let snapshots = if second < 57 { vec![pod] } else { Vec::new() };
        assembler.snapshots(snapshots, true, s(second));
        let turn = assembler.turn(s(second));
        turn.started.iter().for_each(|job| tally.started(job));
        sent.extend(turn.dispatches);
    }
    let [only] = &sent[..] else { panic!("{} dispatches", sent.len()) };
    assert!(only.job.is_part);
    assert_eq!(only.job.identity.repository.as_deref(), Some("o/r"));
    tally.finished(&only.job);
    let (labels, counts) = tally.sets().next().unwrap();
    assert_eq!(labels.repository, "o/r");
    assert_eq!((counts.started, counts.completed.len()), (0, 0));
    assert_eq!(counts.cpu_ns, 4_500_000_000);
}

#[test]
fn with_a_hook_of_its_own_a_job_waits_for_what_the_hook_says() {
    for (has_own_hook, count) in [(false, 1), (true, 0)] {
        let mut assembler = Assembler::new(WITH_SPECS, Memory::default());
        let mut started = 0;
        for second in 1..20 {
            let mut snapshot = told(news(&runner(), second, true).0);
            snapshot.runner.has_own_hook = has_own_hook;
            assembler.snapshots(vec![snapshot], true, s(second));
            hear(&mut assembler, &runner(), second);
            started += assembler.turn(s(second)).started.len();
        }
        assert_eq!(started, count, "{has_own_hook}");
    }
}

#[test]
fn a_flood_of_pods_finds_no_room() {
    let mut job_evidence = crate::JobEvidence::new(pod());
    for number in 0..400 {
        let pod = PodRef { namespace: "ci".into(), name: "x".into(), uid: uid(number) };
        let piece = Box::new(Evidence::Gone { at_ns: 1 });
        let pod = Arc::new(pod);
        job_evidence.take(Evidence::Member { pod, purpose: Purpose::Action, piece });
    }
    assert!(job_evidence.members.len() <= crate::members::MAX_MEMBERS);
    assert_eq!(job_evidence.left_out(), 1, "counted once");
    let before = job_evidence.bytes();
    job_evidence.shed(before / 2);
    assert!(job_evidence.bytes() <= before / 2 && job_evidence.bytes() > 0);
}
