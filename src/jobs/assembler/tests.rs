//! A story told second by second: what goes out, when, and that nothing goes twice.

mod ci;
mod eager;
mod runners;
mod workflow_pods;

use std::collections::BTreeSet;

use ephemon_model::PodRef;

use super::*;
use crate::Evidence;
use crate::story::{Story, pod, s};
use crate::{Proof, ResultSource};

fn bare(pod: Arc<PodRef>, there: bool) -> PodSnapshot {
    let runner = RunnerFacts::default();
    PodSnapshot { pod, there, spec: Vec::new(), containers: Vec::new(), runner }
}

/// What a node shows of a story at a second.
fn news(story: &Story, second: u64, there: bool) -> (PodSnapshot, Vec<Entry>) {
    let mut known = story.clone();
    known.until(second);
    let mut snapshot = bare(pod(), there);
    let mut entries = Vec::new();
    for piece in known.pieces {
        match piece {
            Evidence::Spec(entry) => snapshot.spec.push(entry),
            Evidence::Container(sighted) => snapshot.containers.push(*sighted),
            Evidence::Journal(Heard { file, at, record, .. }) => {
                entries.push(Entry { pod: pod().uid.clone(), file, at, record });
            }
            _ => {}
        }
    }
    (snapshot, entries)
}

/// What the runner has said by then.
fn hear(assembler: &mut Assembler, story: &Story, second: u64) {
    let said = story
        .pieces
        .iter()
        .filter(|piece| matches!(piece, Evidence::Runner { at_ns, .. } if *at_ns <= s(second)));
    if let Some(followed) = assembler.pods.get_mut(&pod().uid) {
        said.for_each(|piece| followed.take(piece.clone()));
    }
}

/// Lets a story go on second by second; everything that is to be sent.
fn follow(
    assembler: &mut Assembler,
    story: &Story,
    seconds: std::ops::Range<u64>,
) -> Vec<Dispatch> {
    follow_learning(assembler, story, seconds).0
}

/// The same, with what is to be kept for another agent.
fn follow_learning(
    assembler: &mut Assembler,
    story: &Story,
    seconds: std::ops::Range<u64>,
) -> (Vec<Dispatch>, Vec<Evidence>) {
    follow_withholding(assembler, story, seconds, |_, _| {})
}

/// The same, without what is taken out of a second's snapshot.
fn follow_withholding(
    assembler: &mut Assembler,
    story: &Story,
    seconds: std::ops::Range<u64>,
    withhold: impl Fn(u64, &mut PodSnapshot),
) -> (Vec<Dispatch>, Vec<Evidence>) {
    let (mut all, mut learnt) = (Vec::new(), Vec::new());
    let mut read = HashSet::new();
    for second in seconds {
        let (mut snapshot, entries) = news(story, second, true);
        withhold(second, &mut snapshot);
        assembler.snapshots(vec![snapshot], true, s(second));
        for entry in entries {
            if read.insert((entry.file.clone(), entry.at)) {
                assembler.journal(entry, s(second));
            }
        }
        hear(assembler, story, second);
        assembler.learnt(|_, piece| learnt.push(piece.clone()));
        let turn = assembler.turn(s(second));
        all.extend(turn.dispatches);
    }
    (all, learnt)
}

/// The same, shown only what has changed or is due, as an agent shows it. What is read of a container
/// that lives is no change.
fn follow_changes(
    assembler: &mut Assembler,
    story: &Story,
    seconds: std::ops::Range<u64>,
) -> Vec<Dispatch> {
    let (mut all, mut read, mut shown) = (Vec::new(), HashSet::new(), None);
    let pods = HashSet::from([pod().uid.clone()]);
    for second in seconds {
        let (snapshot, entries) = news(story, second, true);
        let mut bare = snapshot.clone();
        bare.containers.iter_mut().for_each(|container| container.reading = None);
        if shown.replace(bare.clone()).as_ref() != Some(&bare) || assembler.due().next().is_some() {
            assembler.snapshots_of(&pods, vec![snapshot], s(second));
        }
        for entry in entries {
            if read.insert((entry.file.clone(), entry.at)) {
                assembler.journal(entry, s(second));
            }
        }
        hear(assembler, story, second);
        all.extend(assembler.turn(s(second)).dispatches);
    }
    all
}

/// What is there to be seen of a story for an agent that began at a second: no container that was
/// over by then.
fn since(story: &Story, second: u64) -> Story {
    let mut story = story.clone();
    story.pieces.retain(|piece| match piece {
        Evidence::Container(one) => one.ended_ns.is_none_or(|ended| ended >= s(second)),
        _ => true,
    });
    story
}

/// An agent that goes on where another was killed.
fn restarted(options: Options, before: &Assembler, learnt: Vec<Evidence>) -> Assembler {
    let kept = serde_json::to_string(before.memory()).unwrap();
    let mut after = Assembler::new(options, serde_json::from_str(&kept).unwrap());
    if after.is_under_way(&pod().uid) {
        after.recall(&pod());
        for piece in learnt {
            after.recall_piece(&pod().uid, piece);
        }
    }
    after
}

fn spans(dispatch: &Dispatch) -> HashSet<SpanId> {
    let job = &dispatch.job;
    let steps = job.steps.iter().map(|step| step.span_id);
    let containers = job.containers.iter().map(|one| one.span_id);
    let phases = job.phases.iter().map(|phase| phase.span_id);
    let all = steps.chain(containers).chain(phases).chain([job.span.span_id]);
    all.filter(|span| dispatch.which.has(*span)).collect()
}

#[test]
fn who_is_shown_changes_only_sends_what_one_does_who_is_shown_all() {
    let mut killed = Story::whole();
    killed.kill("job", 1, Some("__run_2"));
    let stories = [Story::whole(), killed, Story::at_once(), Story::debugged(), Story::idle()];
    for (number, story) in stories.into_iter().enumerate() {
        for mode in [TraceMode::Whole, TraceMode::Eager] {
            let new = || Assembler::new(Options { mode, ..Options::default() }, Memory::default());
            // What is sent early has the figures of the last look, which differ.
            let sent = |all: Vec<Dispatch>| -> Vec<(BTreeSet<String>, Option<String>)> {
                let whole =
                    |one: &Dispatch| (mode == TraceMode::Whole).then(|| format!("{:?}", one.job));
                let ids = |one: &Dispatch| spans(one).iter().map(|id| format!("{id:?}")).collect();
                all.iter().map(|one| (ids(one), whole(one))).collect()
            };
            let all = sent(follow(&mut new(), &story, 1..80));
            let changes = sent(follow_changes(&mut new(), &story, 1..80));
            assert_eq!(changes, all, "story {number}, {mode:?}");
        }
    }
}

#[test]
fn a_job_is_sent_once_and_whole_when_it_is_over_though_its_runner_lives_on() {
    let mut assembler = Assembler::new(Options::default(), Memory::default());
    let all = follow(&mut assembler, &Story::whole(), 1..69);
    let [only] = &all[..] else { panic!("{} dispatches", all.len()) };
    assert!(only.last && only.which == Which::All);
    assert_eq!(only.job.steps.len(), 3);
    assert!(assembler.memory().is_done(&pod().uid));
    assert_eq!(follow(&mut assembler, &Story::whole(), 69..90).len(), 0);
    assert!(assembler.pods.is_empty());
}

#[test]
fn eagerly_each_span_is_sent_once_and_the_jobs_own_at_last() {
    let options = Options { mode: TraceMode::Eager, ..Options::default() };
    let mut assembler = Assembler::new(options, Memory::default());
    let all = follow(&mut assembler, &Story::whole(), 1..90);
    assert!(all.len() > 3, "{}", all.len());
    let mut sent = HashSet::new();
    for dispatch in &all {
        for span in spans(dispatch) {
            assert!(sent.insert(span), "{span} twice");
        }
    }
    let last = all.last().unwrap();
    assert!(last.last && all.iter().filter(|one| one.last).count() == 1);
    assert!(spans(last).contains(&last.job.span.span_id));
    let whole = Dispatch { which: Which::All, ..last.clone() };
    assert_eq!(spans(&whole), sent);
}

#[test]
fn eagerly_a_step_waits_for_the_kernels_figures_but_not_for_ever() {
    let options = Options { mode: TraceMode::Eager, ..Options::default() };
    let story = Story::whole();
    let mut whole = Assembler::new(options, Memory::default());
    let job = follow(&mut whole, &story, 1..90).pop().unwrap().job;
    let end = job.steps[0].window.end.unwrap().ns / s(1);
    // From before its end on nothing is read of the kernel's, for so many seconds.
    for (silent, proof) in [(6, Proof::Confirmed), (30, Proof::Unconfirmed)] {
        let mut assembler = Assembler::new(options, Memory::default());
        let mut all = follow(&mut assembler, &story, 1..end);
        for second in end..end + silent {
            for entry in news(&story, second, true).1 {
                assembler.journal(entry, s(second));
            }
            all.extend(assembler.turn(s(second)).dispatches);
        }
        all.extend(follow(&mut assembler, &story, end + silent..90));
        let first = job.steps[0].span_id;
        let sent = all.iter().find(|dispatch| spans(dispatch).contains(&first)).unwrap();
        let step = sent.job.steps.iter().find(|step| step.span_id == first).unwrap();
        assert_eq!(step.proof, proof, "after {silent} s");
    }
}

#[test]
fn a_restart_at_any_second_sends_nothing_twice_and_nothing_less() {
    for mode in [TraceMode::Whole, TraceMode::Eager] {
        let options = Options { mode, ..Options::default() };
        let mut undisturbed = HashSet::new();
        let mut assembler = Assembler::new(options, Memory::default());
        for dispatch in follow(&mut assembler, &Story::whole(), 1..90) {
            undisturbed.extend(spans(&dispatch));
        }
        for restart in (2..88).step_by(5) {
            let mut first = Assembler::new(options, Memory::default());
            let mut all = follow(&mut first, &Story::whole(), 1..restart);
            let kept = serde_json::to_string(first.memory()).unwrap();
            let mut second = Assembler::new(options, serde_json::from_str(&kept).unwrap());
            all.extend(follow(&mut second, &Story::whole(), restart..restart + 90));
            let mut sent = HashSet::new();
            for dispatch in &all {
                for span in spans(dispatch) {
                    assert!(sent.insert(span), "{span} twice, restart at {restart}");
                }
            }
            assert_eq!(sent, undisturbed, "restart at {restart}, {mode:?}");
        }
    }
}

#[test]
fn a_restart_at_any_second_costs_no_figure_of_a_container_that_was_over_before() {
    let options = Options::default();
    let mut assembler = Assembler::new(options, Memory::default());
    let undisturbed = follow(&mut assembler, &Story::whole(), 1..90).pop().unwrap().job;
    // With the job's container, its job began.
    for restart in 13..70 {
        let mut first = Assembler::new(options, Memory::default());
        let (mut all, learnt) = follow_learning(&mut first, &Story::whole(), 1..restart);
        let mut second = restarted(options, &first, learnt);
        let story = since(&Story::whole(), restart);
        all.extend(follow(&mut second, &story, restart..restart + 90));
        let [only] = &all[..] else { panic!("{} dispatches, restart at {restart}", all.len()) };
        assert_eq!(only.job, undisturbed, "restart at {restart}");
    }
}

#[test]
fn evidence_is_kept_of_a_job_that_an_earlier_agent_had_only_counted() {
    let options = Options::default();
    let mut first = Assembler::new(options, Memory::default());
    follow(&mut first, &Story::whole(), 1..20);
    // Killed before it kept anything.
    let mut second = restarted(options, &first, Vec::new());
    second.pods.clear();
    let (_, learnt) = follow_learning(&mut second, &Story::whole(), 20..40);
    let journals = |piece: &&Evidence| matches!(piece, Evidence::Journal(_));
    assert!(learnt.iter().filter(journals).count() > 3, "{learnt:?}");
}

#[test]
fn a_job_whose_pod_went_while_no_agent_ran_is_sent_with_what_was_known() {
    let options = Options::default();
    for restart in [35, 50, 62] {
        let mut first = Assembler::new(options, Memory::default());
        let (all, learnt) = follow_learning(&mut first, &Story::whole(), 1..restart);
        assert_eq!(all.len(), 0);
        let mut second = restarted(options, &first, learnt);
        let mut sent = Vec::new();
        for second_of in 100..130 {
            second.snapshots(Vec::new(), second_of >= 110, s(second_of));
            let turn = second.turn(s(second_of));
            assert!(turn.dispatches.is_empty() || second_of > 110, "before all was looked at");
            assert_eq!(turn.started.len(), 0);
            sent.extend(turn.dispatches);
            assert!(turn.over.is_empty() || turn.over == [pod().uid.clone()]);
        }
        let [only] = &sent[..] else { panic!("{} dispatches, restart at {restart}", sent.len()) };
        assert!(only.last);
        let steps: Vec<_> = only.job.steps.iter().map(|step| step.outcome).collect();
        let failed = crate::Outcome::of_code(42);
        assert!(steps.contains(&failed), "restart at {restart}: {steps:?}");
        assert_eq!(only.job.identity.name(), "test");
        assert!(second.memory().is_done(&pod().uid) && second.pods.is_empty());
    }
}

#[test]
fn a_job_begins_once() {
    let mut assembler = Assembler::new(Options::default(), Memory::default());
    let mut started = 0;
    for second in 1..20 {
        let (snapshot, _) = news(&Story::whole(), second, true);
        assembler.snapshots(vec![snapshot], true, s(second));
        started += assembler.turn(s(second)).started.len();
    }
    assert_eq!(started, 1);
}

#[test]
fn a_pod_that_is_gone_takes_its_unfinished_job_along() {
    let mut assembler = Assembler::new(Options::default(), Memory::default());
    follow(&mut assembler, &Story::whole(), 1..35);
    let mut all = Vec::new();
    for second in 35..50 {
        assembler.snapshots(Vec::new(), true, s(second));
        all.extend(assembler.turn(s(second)).dispatches);
    }
    let [only] = &all[..] else { panic!("{} dispatches", all.len()) };
    let lost = only.job.containers.iter().filter(|one| &*one.name == "job");
    let faults: Vec<_> = lost.map(|one| one.outcome.fault).collect();
    assert_eq!(faults, [Some(crate::Fault::Lost)]);
    assert!(only.job.window.end.is_some());
}

#[test]
fn an_idle_runner_is_no_job_and_leaves_nothing() {
    let mut assembler = Assembler::new(Options::default(), Memory::default());
    assert_eq!(follow(&mut assembler, &Story::idle(), 1..90).len(), 0);
    assert!(!assembler.memory().is_met(&pod().uid));
}

#[test]
fn there_is_room_for_so_many_pods_and_the_rest_is_counted_once() {
    let mut assembler = Assembler::new(Options::default(), Memory::default());
    let snapshot = |n: usize| {
        let uid = PodUid::parse(&format!("0e269fa4-f505-4963-9096-{n:012}")).unwrap();
        let pod = PodRef { namespace: "ci".into(), name: format!("r{n}").into(), uid };
        bare(Arc::new(pod), true)
    };
    let mut refused = 0;
    for second in 1..4 {
        assembler.snapshots((0..MAX_JOBS + 7).map(snapshot).collect(), true, s(second));
        refused += assembler.turn(s(second)).refused;
    }
    assert_eq!((refused, assembler.pods.len()), (7, MAX_JOBS));
}
