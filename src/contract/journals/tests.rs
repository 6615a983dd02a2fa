//! Journals in which a job has written, too.

use super::*;

fn call(at_ns: u64, success: bool) -> Record {
    Record::HookPhase {
        at_ns,
        phase: Phase::RunScriptStep,
        duration_ns: 5,
        success,
        container: Some("job".to_owned()),
        name: Some("__run".to_owned()),
        display_name: None,
        traceparent: None,
        exit_code: None,
    }
}

fn launched(at_ns: u64) -> Record {
    let (container, image) = ("job".to_owned(), "i".to_owned());
    Record::HookLaunched { at_ns, container, image, running_at_ns: None }
}

fn pulled(at_ns: u64) -> Record {
    Record::ImagePulled { at_ns, container: "job".to_owned(), duration_ns: 1, bytes: None }
}

fn started(at_ns: u64) -> Record {
    let (name, id) = ("build".to_owned(), None);
    Record::StepStarted {
        at_ns,
        step: 1,
        name,
        kind: StepKind::Script,
        id,
        called_ns: None,
        pid: 7,
    }
}

fn ended(at_ns: u64) -> Record {
    let (process, cgroup) = (ProcessUsage::default(), CgroupDelta::default());
    let (end, cancelled) = (End::Code(0), false);
    Record::StepEnded { at_ns, step: 1, duration_ns: 1, end, cancelled, process, cgroup }
}

fn container(at_ns: u64) -> [Record; 2] {
    let name = "job".to_owned();
    [
        Record::ContainerStarted { at_ns, container: name, pid: 1, uid: 0 },
        Record::ContainerEnded { at_ns, exit_code: 0, dropped: 0 },
    ]
}

/// With the number of each.
fn numbered(records: &[Record]) -> impl Iterator<Item = (usize, &Record)> {
    records.iter().enumerate()
}

#[test]
fn of_two_records_about_one_thing_the_first_counts() {
    let hook = [call(1, true), call(1, false), call(2, false), launched(3), launched(4), pulled(5)];
    let hook = [&hook[..], &[pulled(6)]].concat();
    let journal = HookJournal::read(numbered(&hook));
    let calls: Vec<_> =
        journal.calls.iter().map(|(number, call)| (*number, call.success)).collect();
    assert_eq!(calls, [(0, true), (2, false)]);
    assert_eq!(journal.calls[0].1.end_ns(), 6);
    assert_eq!(journal.launched, [(3, Launched { at_ns: 3, container: "job" })]);
    let pulls: Vec<_> = journal.pulled.iter().map(|(number, pull)| (*number, pull.at_ns)).collect();
    assert_eq!(pulls, [(5, 5)]);
    let init = [&container(1)[..], &container(2), &[started(3), ended(4), started(5), ended(6)]];
    let init = init.concat();
    let journal = InitJournal::read(numbered(&init));
    assert_eq!((journal.started, journal.ended), (Some((0, 1)), Some((1, 1, 0))));
    let steps: Vec<_> = journal.steps.into_iter().collect();
    let [(1, ran)] = &steps[..] else { panic!("one step: {steps:?}") };
    assert_eq!(ran.started.map(|(number, started)| (number, started.at_ns)), Some((4, 3)));
    assert_eq!(ran.ended.map(|(number, ended)| (number, ended.at_ns)), Some((5, 4)));
}

#[test]
fn nobody_speaks_for_another() {
    let all = [&container(1)[..], &[started(2), ended(3), call(4, true), launched(5), pulled(6)]];
    let all = all.concat();
    let (of_init, of_hook) = all.split_at(4);
    assert_eq!(HookJournal::read(numbered(of_init)), HookJournal::read([]));
    assert_eq!(InitJournal::read(numbered(of_hook)), InitJournal::read([]));
}

#[test]
fn init_knows_best_how_a_step_ended() {
    let of = StepResult::of;
    assert_eq!(of(Some((End::Signal(9), false)), Some(0), true), StepResult::Failure(137));
    assert_eq!(of(Some((End::Code(0), true)), Some(1), false), StepResult::Cancelled(0));
    assert_eq!(of(Some((End::Code(0), false)), None, false), StepResult::Success(Some(0)));
    assert_eq!(of(Some((End::Code(0), false)), Some(1), false), StepResult::Failure(1));
    assert_eq!(of(None, Some(143), false), StepResult::Cancelled(143));
    assert_eq!(of(None, Some(2), false), StepResult::Failure(2));
    assert_eq!(of(None, Some(0), true), StepResult::Success(Some(0)));
    assert_eq!(of(None, None, true), StepResult::Success(None));
    assert_eq!(of(None, None, false), StepResult::Error);
}
