//! Events of the runtime beside the kernel: who has the last word, and what is kept.

use std::time::{Duration, SystemTime};

use ephemon_model::{ContainerType, Exit};

use super::*;
use crate::inventory::watched::ApiState;

fn uid(n: u32) -> PodUid {
    PodUid::parse(&format!("{n:08x}-f505-4963-9096-958063077203")).unwrap()
}

fn id(n: u32) -> ContainerId {
    ContainerId::parse(&format!("{n:064x}")).unwrap()
}

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

/// About a container `job` of the first pod, whose sandbox is container 99.
fn told(n: u32) -> RuntimeWord {
    let pod = PodRef { namespace: "ci".into(), name: "runner".into(), uid: uid(1) };
    RuntimeWord {
        id: id(n),
        word: Observation { pod: Some(uid(1)), name: "job".into(), ..Observation::default() },
        pod: Some(pod),
        sandbox: Some(id(99)),
        is_new: false,
        is_over: false,
    }
}

fn created(n: u32) -> RuntimeWord {
    RuntimeWord { is_new: true, ..told(n) }
}

fn started(n: u32, second: u64) -> RuntimeWord {
    let mut told = told(n);
    told.word.started = Some(at(second));
    told
}

fn over(n: u32, second: u64, code: i32) -> RuntimeWord {
    let mut told = told(n);
    told.is_over = true;
    told.word.finished = Some(at(second));
    told.word.exit = Some(Exit { code, reason: "".into() });
    told
}

/// A creation or a start that failed.
fn undone(n: u32) -> RuntimeWord {
    let mut told = told(n);
    told.is_over = true;
    told.word.finished = Some(at(9));
    told
}

fn state(words: impl IntoIterator<Item = RuntimeWord>) -> State {
    let mut state = State::default();
    for word in words {
        state.told(word, Instant::now());
    }
    state
}

fn code(state: &mut State, n: u32) -> Option<i32> {
    Some(state.container(&uid(1), &id(n))?.exit.as_ref()?.code)
}

#[test]
fn a_name_is_known_before_the_cgroup_and_pod_and_sandbox_with_it() {
    let mut state = state([created(1)]);
    assert_eq!(&*state.pod(&uid(1)).unwrap().name, "runner");
    state.created(&uid(1), &id(1), at(11), Instant::now());
    assert_eq!(&*state.container(&uid(1), &id(1)).unwrap().name, "job");
    let sandbox = state.container(&uid(1), &id(99)).unwrap();
    assert_eq!(sandbox.container_type, ContainerType::Sandbox);
    assert_eq!(state.sources(&id(1)), [EvidenceSource::Nri]);
}

#[test]
fn of_what_lives_by_the_kernel_no_event_is_the_end() {
    let mut state = state([created(1)]);
    state.created(&uid(1), &id(1), at(11), Instant::now());
    state.told(over(1, 12, 7), Instant::now());
    assert_eq!(code(&mut state, 1), None);
    let run = &state.snapshot(Instant::now())[0].runs[0];
    assert_eq!((run.finished, run.ended), (None, false));
    // Asked before as after: an answer that is kept must not outlive the end.
    state.ended(&id(1));
    assert_eq!(code(&mut state, 1), Some(7));
    let run = &state.snapshot(Instant::now())[0].runs[0];
    assert_eq!((run.finished, run.ended), (Some(at(12)), true));
    assert!(state.is_unexplained(&id(1)), "the runtime may know why");
}

#[test]
fn a_container_whose_cgroup_nobody_saw_has_its_life_and_the_order_does_not_matter() {
    for words in [[started(1, 11), over(1, 12, 3)], [over(1, 12, 3), started(1, 11)]] {
        let mut state = state([created(1)].into_iter().chain(words));
        assert_eq!(code(&mut state, 1), Some(3));
        let run = &state.snapshot(Instant::now())[0].runs[0];
        assert_eq!((run.started, run.finished), (Some(at(11)), Some(at(12))));
    }
}

#[test]
fn a_better_source_says_how_it_ended() {
    let mut state = state([created(1), started(1, 11), over(1, 12, 137)]);
    let exit = Exit { code: 137, reason: "OOMKilled".into() };
    let word =
        Observation { name: "job".into(), exit: Some(exit.clone()), ..Observation::default() };
    state.learn(Evidence::Container { id: id(1), word, by: EvidenceSource::Cri }, Instant::now());
    assert_eq!(state.container(&uid(1), &id(1)).unwrap().exit, Some(exit));
}

#[test]
fn a_creation_that_failed_leaves_nothing_but_what_others_know() {
    let mut state = state([created(1), undone(1)]);
    assert_eq!(state.container(&uid(1), &id(1)), None);
    state.told(created(2), Instant::now());
    state.created(&uid(1), &id(2), at(11), Instant::now());
    state.told(undone(2), Instant::now());
    assert_eq!(code(&mut state, 2), None);
    assert!(state.containers.contains_key(&id(2)), "the kernel knows it");
}

#[test]
fn an_end_that_is_told_before_the_start_is_not_lost_though_it_has_no_code() {
    let gone = |n| {
        let mut told = undone(n);
        (told.word.pod, told.pod, told.sandbox) = (None, None, None);
        told
    };
    // The runtime does not say when it was started: that is when it is told.
    for words in [
        vec![created(1), undone(1), started(1, 11)],
        vec![created(1), gone(1), started(1, 11)],
        vec![gone(1), started(1, 11)],
        vec![undone(1), started(1, 11), started(1, 12)],
    ] {
        let mut state = state(words);
        let run = &state.snapshot(Instant::now())[0].runs[0];
        assert_eq!((run.started, run.finished), (Some(at(9)), Some(at(9))));
        state.created(&uid(1), &id(99), at(1), Instant::now());
        let sandbox = state.container(&uid(1), &id(99)).unwrap();
        assert_eq!(sandbox.container_type, ContainerType::Sandbox, "nothing runs in it");
    }
    let mut state = state([undone(1), created(1), started(1, 11)]);
    let run = &state.snapshot(Instant::now())[0].runs[0];
    assert_eq!((run.started, run.finished), (Some(at(11)), None), "the end was another's");
}

#[test]
fn of_an_end_without_its_pod_the_code_is_known_once_its_start_is_told() {
    let mut end = over(1, 12, 3);
    (end.word.pod, end.pod, end.sandbox) = (None, None, None);
    let mut state = state([end, started(1, 11)]);
    assert_eq!(code(&mut state, 1), Some(3));
    let run = &state.snapshot(Instant::now())[0].runs[0];
    assert_eq!((run.started, run.finished), (Some(at(11)), Some(at(12))));
}

#[test]
fn an_id_that_comes_again_has_not_ended() {
    let mut state = state([created(1), started(1, 11), over(1, 12, 3), created(1)]);
    assert_eq!(code(&mut state, 1), None);
    state.told(started(1, 21), Instant::now());
    let run = &state.snapshot(Instant::now())[0].runs[0];
    assert_eq!((run.started, run.finished), (Some(at(21)), None));
}

#[test]
fn the_kernel_says_whose_a_container_is() {
    let mut state = State::default();
    state.created(&uid(2), &id(1), at(11), Instant::now());
    state.told(started(1, 12), Instant::now());
    assert_eq!(state.container(&uid(1), &id(1)), None);
    assert_eq!(state.container(&uid(2), &id(1)), None);
    assert_eq!(state.pod(&uid(2)), None, "the name is another's");
}

#[test]
fn an_end_without_its_pod_is_the_containers_of_which_was_told() {
    let gone = |n| {
        let mut told = over(n, 12, 3);
        (told.word.pod, told.pod, told.sandbox) = (None, None, None);
        told
    };
    let mut state = state([created(1), started(1, 11), gone(1), gone(2)]);
    assert_eq!(code(&mut state, 1), Some(3));
    assert!(!state.containers.contains_key(&id(2)), "nobody knows whose it is");
}

#[test]
fn of_pods_that_are_not_selected_nothing_is_kept() {
    let start = Instant::now();
    let late = start + Duration::from_mins(1);
    let mut state = State::new(ApiState::Live);
    state.told(created(1), start);
    assert!(state.containers.contains_key(&id(1)), "it may still be listed");
    assert_eq!(state.verdict(&uid(1), late), Verdict::Unwanted);
    state.told(created(2), late);
    state.told_all(Vec::new(), vec![told(3)], true, late);
    assert!(!state.containers.contains_key(&id(2)) && !state.containers.contains_key(&id(3)));
    state.listed(&uid(1), late);
    state.told(created(4), late);
    assert!(state.containers.contains_key(&id(4)));
}

#[test]
fn a_list_takes_back_what_it_does_not_have_unless_it_is_cut_or_the_kernel_knows_better() {
    let now = Instant::now();
    let mut state = state([created(1), started(2, 11), over(3, 12, 0), created(4)]);
    state.told(started(3, 11), now);
    state.created(&uid(1), &id(4), at(11), now);
    let pods = || vec![(told(1).pod.unwrap(), id(98))];
    state.told_all(pods(), vec![told(5)], false, now);
    assert_eq!([1, 2, 3, 4, 5].map(|n| state.containers.contains_key(&id(n))), [true; 5]);
    state.told_all(pods(), vec![told(5)], true, now);
    let left = [1, 2, 3, 4, 5].map(|n| state.containers.contains_key(&id(n)));
    assert_eq!(left, [false, false, true, true, true]);
    assert_eq!(&*state.container(&uid(1), &id(4)).unwrap().name, "job", "it lives");
    let sandbox = state.container(&uid(1), &id(98)).unwrap();
    assert_eq!(sandbox.container_type, ContainerType::Sandbox);
}

#[test]
fn what_only_events_tell_of_is_bounded_for_each_pod_and_what_others_know_stays() {
    let mut state = state([created(1)]);
    state.created(&uid(1), &id(1), at(1), Instant::now());
    let word = Observation { pod: Some(uid(1)), name: "api".into(), ..Observation::default() };
    let by = EvidenceSource::Api;
    state.told(created(2), Instant::now());
    state.learn(Evidence::Container { id: id(2), word, by }, Instant::now());
    for n in 100..5000 {
        state.told(created(n), Instant::now());
        state.told(started(n, 11), Instant::now());
    }
    // With the sandbox.
    assert_eq!(state.containers.len(), 3 + MAX_TOLD_PER_POD);
    assert!(state.containers.contains_key(&id(1)) && state.containers.contains_key(&id(2)));
    assert!(state.containers.contains_key(&id(4999)));
    assert_eq!(state.take_dropped(), 4900 - MAX_TOLD_PER_POD as u64);
}

#[test]
fn a_sandbox_that_holds_its_pod_is_known_by_events_alone() {
    let mut state = state([created(1)]);
    state.created(&uid(1), &id(99), at(10), Instant::now());
    let kind = |state: &mut State| state.container(&uid(1), &id(99)).unwrap().container_type;
    assert_eq!(kind(&mut state), ContainerType::Sandbox, "nothing runs in it yet");
    state.told(started(1, 11), Instant::now());
    assert_eq!(kind(&mut state), ContainerType::SharedSandbox);
    state.told(over(1, 12, 0), Instant::now());
    assert_eq!(kind(&mut state), ContainerType::Sandbox, "it is over");
}

#[test]
fn an_event_is_no_leave_to_limit_what_the_runtime_still_starts() {
    let mut state = state([created(1), started(1, 11)]);
    state.created(&uid(1), &id(1), at(10), Instant::now());
    let container = &state.containers[&id(1)];
    assert!(container.started(&uid(1)).is_some() && !container.is_known_to_run(&uid(1)));
}
