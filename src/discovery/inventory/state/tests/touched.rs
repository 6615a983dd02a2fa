//! Which pods a change affects: its own pod if an answer may change, and none if the report is
//! already known.

use super::*;

/// The affected pods, each once, or all.
fn touched(state: &mut State, act: impl FnOnce(&mut State)) -> Option<Vec<PodUid>> {
    act(state);
    match state.take_touched() {
        Touched::All => None,
        Touched::Pods(mut pods) => {
            pods.sort();
            pods.dedup();
            Some(pods)
        }
    }
}

#[test]
fn every_kind_of_evidence_concerns_its_pod_once() {
    let now = Instant::now();
    let mut state = state([]);
    state.take_touched();
    let sandbox = Evidence::Sandbox { id: id(3), pod: Some(uid(2)) };
    for evidence in [
        named(1, "runner", EvidenceSource::Api),
        spec(1, "job", ContainerType::Ephemeral),
        log(1, "job", 10),
        told(1, EvidenceSource::Cri, word(None, "job")),
        told(9, EvidenceSource::Api, word(Some(1), "late")),
    ] {
        let first = touched(&mut state, |state| state.learn(evidence.clone(), now));
        assert_eq!(first, Some(vec![uid(1)]), "{evidence:?}");
        let again = touched(&mut state, |state| state.learn(evidence.clone(), now));
        assert_eq!(again, Some(Vec::new()), "{evidence:?}");
    }
    let again = sandbox.clone();
    assert_eq!(touched(&mut state, |state| state.learn(sandbox, now)), Some(vec![uid(2)]));
    assert_eq!(touched(&mut state, |state| state.learn(again, now)), Some(Vec::new()));
    assert_eq!(touched(&mut state, |state| state.ended(&id(1))), Some(vec![uid(1)]));
    assert_eq!(touched(&mut state, |state| state.ended(&id(1))), Some(Vec::new()));
    assert_eq!(touched(&mut state, |state| state.forget(&id(1))), Some(vec![uid(1)]));
    let created = |state: &mut State| state.created(&uid(2), &id(2), at(30), now);
    assert_eq!(touched(&mut state, created), Some(vec![uid(1), uid(2)]), "both its pods");
    assert_eq!(touched(&mut state, |state| state.forget_pod(&uid(2))), Some(vec![uid(2)]));
}

#[test]
fn an_id_that_comes_back_lives_and_ends_again() {
    let now = Instant::now();
    let mut state = state([]);
    let created = |state: &mut State| state.created(&uid(1), &id(1), at(30), now);
    created(&mut state);
    state.ended(&id(1));
    assert!(state.containers[&id(1)].ended);
    created(&mut state);
    assert!(!state.containers[&id(1)].ended, "it is there again");
    state.take_touched();
    assert_eq!(touched(&mut state, |state| state.ended(&id(1))), Some(vec![uid(1)]));
}

#[test]
fn what_the_list_says_concerns_the_pod_and_whether_it_can_be_heard_everybody() {
    let now = Instant::now();
    let mut state = State::new(ApiState::Connecting { since: now });
    let listed = |state: &mut State| state.listed(&uid(1), now);
    assert_eq!(touched(&mut state, listed), Some(vec![uid(1)]));
    assert_eq!(touched(&mut state, listed), Some(Vec::new()));
    let all = HashSet::from([uid(1)]);
    let complete = |state: &mut State| state.list_complete(&all, now, now);
    assert_eq!(touched(&mut state, complete), None);
    assert_eq!(touched(&mut state, complete), Some(Vec::new()));
    assert_eq!(touched(&mut state, |state| state.api_failing(now)), None);
    assert_eq!(touched(&mut state, |state| state.api_failing(now)), Some(Vec::new()));
    assert_eq!(touched(&mut state, State::api_live), None);
    assert_eq!(touched(&mut state, |state| state.unlisted(&uid(1), now)), Some(vec![uid(1)]));
}
