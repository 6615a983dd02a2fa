//! The inventory's answers: precedence, order of evidence, verdicts, bounds.

mod sandbox;
mod touched;

use std::collections::HashSet;
use std::time::Duration;

use ephemon_model::Exit;
use proptest::prelude::*;

use super::super::{MAX_LOGS_PER_POD, SpecEntry};
use super::*;

fn uid(n: u32) -> PodUid {
    PodUid::parse(&format!("{n:08x}-f505-4963-9096-958063077203")).unwrap()
}

fn id(n: u32) -> ContainerId {
    ContainerId::parse(&format!("{n:064x}")).unwrap()
}

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

fn word(pod: Option<u32>, name: &str) -> Observation {
    Observation { pod: pod.map(uid), name: name.into(), ..Observation::default() }
}

fn told(n: u32, by: EvidenceSource, word: Observation) -> Evidence {
    let id = id(n);
    Evidence::Container { id, word, by }
}

fn log(pod: u32, container: &str, second: u64) -> Evidence {
    Evidence::Log { pod: uid(pod), container: container.into(), attempt: 0, made: at(second) }
}

fn spec(pod: u32, name: &str, container_type: ContainerType) -> Evidence {
    Evidence::Spec {
        pod: uid(pod),
        entries: vec![SpecEntry {
            name: name.into(),
            container_type,
            image: Some("busybox:1".into()),
            limits: None,
            wants_init: false,
            job: None,
        }],
    }
}

fn named(pod: u32, name: &str, by: EvidenceSource) -> Evidence {
    let pod = PodRef { namespace: "ns".into(), name: name.into(), uid: uid(pod) };
    Evidence::Pod { pod, by }
}

/// A state with all of `evidence`, with containers 1 and 2 of pod 1 created at seconds 11 and 21.
fn state(evidence: impl IntoIterator<Item = Evidence>) -> State {
    let now = Instant::now();
    let mut state = State::default();
    state.created(&uid(1), &id(1), at(11), now);
    state.created(&uid(1), &id(2), at(21), now);
    for evidence in evidence {
        state.learn(evidence, now);
    }
    state
}

fn name(state: &mut State, n: u32) -> Option<String> {
    let facts = state.container(&uid(1), &id(n))?;
    Some(facts.name.to_string())
}

#[test]
fn a_better_witness_corrects_a_worse_one() {
    let mut state = state([log(1, "by-order", 10)]);
    assert_eq!(name(&mut state, 1).unwrap(), "by-order");
    for (by, expected) in [
        (EvidenceSource::Link, "by-link"),
        (EvidenceSource::Cri, "by-cri"),
        (EvidenceSource::Api, "by-api"),
    ] {
        state.learn(told(1, by, word(None, expected)), Instant::now());
        assert_eq!(name(&mut state, 1).unwrap(), expected);
    }
    state.learn(told(1, EvidenceSource::Cri, word(None, "late")), Instant::now());
    assert_eq!(name(&mut state, 1).unwrap(), "by-api");
}

/// A spec with limits for a container.
fn limited(pod: u32, name: &str) -> Evidence {
    let mut evidence = spec(pod, name, ContainerType::Ephemeral);
    if let Evidence::Spec { entries, .. } = &mut evidence {
        entries[0].limits = Some("pids=5".parse());
    }
    evidence
}

fn names_to_limit(state: &mut State) -> Vec<String> {
    state.limited(Instant::now()).iter().map(|limited| limited.name.to_string()).collect()
}

#[test]
fn a_container_is_to_be_limited_once_its_spec_its_name_and_its_cgroup_are_known() {
    use proptest::sample::subsequence;
    let pod = || named(1, "runner", EvidenceSource::LogDirectory);
    let all = [pod(), limited(1, "job"), told(1, EvidenceSource::Link, word(Some(1), "job"))];
    proptest!(|(known in subsequence(all.to_vec(), 0..=3), stands in any::<bool>())| {
        let mut state = state(known.clone());
        if stands {
            state.stands_at(&id(1), "kubepods/pod/1".as_ref());
        }
        let complete = known.len() == 3 && stands;
        prop_assert_eq!(names_to_limit(&mut state).len(), usize::from(complete));
        state.ended(&id(1));
        prop_assert_eq!(names_to_limit(&mut state).len(), 0);
    });
}

#[test]
fn order_names_a_container_to_be_limited_only_where_it_leaves_no_choice() {
    let known =
        [named(1, "runner", EvidenceSource::LogDirectory), limited(1, "job"), log(1, "job", 20)];
    let mut state = state(known);
    state.stands_at(&id(2), "kubepods/pod/2".as_ref());
    assert_eq!(names_to_limit(&mut state), ["job"]);
    state.learn(log(1, "other", 10), Instant::now());
    assert_eq!(name(&mut state, 2).unwrap(), "job", "good enough for a label");
    state.learn(told(1, EvidenceSource::Link, word(None, "other")), Instant::now());
    assert_eq!(names_to_limit(&mut state), ["job"], "the other log has an owner");
    state.learn(log(1, "third", 19), Instant::now());
    assert_eq!(names_to_limit(&mut state), [""; 0]);
    state.learn(told(2, EvidenceSource::Cri, word(None, "job")), Instant::now());
    assert_eq!(names_to_limit(&mut state), ["job"]);
}

#[test]
fn limits_of_a_pod_that_is_not_listed_are_not_taken() {
    let now = Instant::now();
    let mut state = State::new(ApiState::Connecting { since: now });
    state.created(&uid(1), &id(1), at(11), now);
    state.stands_at(&id(1), "kubepods/pod/1".as_ref());
    let known = [
        named(1, "runner", EvidenceSource::Api),
        limited(1, "job"),
        told(1, EvidenceSource::Api, word(Some(1), "job")),
    ];
    for evidence in known {
        state.learn(evidence, now);
    }
    assert_eq!(names_to_limit(&mut state), [""; 0]);
    state.listed(&uid(1), now);
    assert_eq!(names_to_limit(&mut state), ["job"]);
}

#[test]
fn type_and_image_come_from_the_spec_by_name() {
    let mut state = state([
        told(1, EvidenceSource::Cri, word(Some(1), "job")),
        spec(1, "job", ContainerType::Ephemeral),
    ]);
    assert_eq!(
        *state.container(&uid(1), &id(1)).unwrap(),
        ContainerFacts {
            name: "job".into(),
            container_type: ContainerType::Ephemeral,
            image: Some("busybox:1".into()),
            engine_id: None,
            exit: None,
        }
    );
}

#[test]
fn without_a_spec_the_type_is_unknown() {
    let mut state = state([told(1, EvidenceSource::Link, word(None, "job"))]);
    let facts = state.container(&uid(1), &id(1)).unwrap();
    assert_eq!(facts.container_type, ContainerType::Unknown);
}

#[test]
fn the_kernel_says_which_pod_a_container_is_of() {
    let mut state = state([told(1, EvidenceSource::Api, word(Some(7), "stolen"))]);
    assert_eq!(state.container(&uid(1), &id(1)), None);
    assert_eq!(state.container(&uid(7), &id(1)), None);
}

#[test]
fn an_exit_once_told_stays_told() {
    let mut ended = word(Some(1), "job");
    ended.exit = Some(Exit { code: 137, reason: "OOMKilled".into() });
    let mut state = state([
        told(1, EvidenceSource::Api, ended.clone()),
        told(1, EvidenceSource::Api, word(Some(1), "job")),
    ]);
    assert_eq!(state.container(&uid(1), &id(1)).unwrap().exit, ended.exit);
    assert!(!state.is_unexplained(&id(1)));
    assert!(state.is_unexplained(&id(2)));
}

#[test]
fn what_is_forgotten_is_gone_and_the_rest_stays() {
    let mut state = state([
        told(1, EvidenceSource::Link, word(None, "one")),
        told(2, EvidenceSource::Link, word(None, "two")),
    ]);
    state.forget(&id(1));
    assert_eq!(name(&mut state, 1), None);
    assert_eq!(name(&mut state, 2).unwrap(), "two");
    state.forget_pod(&uid(1));
    assert_eq!(name(&mut state, 2), None);
    assert!(state.pods.is_empty() && state.containers.is_empty());
}

#[test]
fn a_pod_is_named_by_the_best_witness() {
    let state = state([
        named(1, "from-directory", EvidenceSource::LogDirectory),
        named(1, "from-api", EvidenceSource::Api),
        named(1, "from-cri", EvidenceSource::Cri),
    ]);
    assert_eq!(&*state.pod(&uid(1)).unwrap().name, "from-api");
    assert_eq!(state.pod(&uid(2)), None);
}

#[test]
fn pods_missing_from_a_new_list_were_deleted_and_stay_wanted_for_their_last_figures() {
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let mut state = State::new(ApiState::Connecting { since: start });
    state.created(&uid(1), &id(1), at(1), start);
    state.created(&uid(3), &id(3), at(1), start);
    assert_eq!(state.verdict(&uid(1), after(1)), Verdict::Open);
    for pod in [1, 2] {
        state.listed(&uid(pod), after(2));
    }
    state.list_complete(&HashSet::from([uid(1), uid(2)]), after(2), after(2));
    assert_eq!(state.verdict(&uid(1), after(2)), Verdict::Wanted);
    assert_eq!(state.verdict(&uid(3), after(2)), Verdict::Unwanted);

    state.list_complete(&HashSet::new(), after(10), after(10));
    assert_eq!(state.verdict(&uid(1), after(600)), Verdict::Wanted);
    assert_eq!(state.verdict(&uid(2), after(69)), Verdict::Wanted);
    assert_eq!(state.verdict(&uid(2), after(70)), Verdict::Unwanted);
    state.forget(&id(1));
    assert_eq!(state.verdict(&uid(1), after(600)), Verdict::Unwanted);
}

#[test]
fn a_pod_seen_before_the_watch_tells_of_it_is_open_first() {
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let mut state = State::new(ApiState::Connecting { since: start });
    state.list_complete(&HashSet::new(), start, start);
    assert_eq!(state.verdict(&uid(1), after(10)), Verdict::Open);
    assert_eq!(state.verdict(&uid(1), after(15)), Verdict::Unwanted);
    state.listed(&uid(1), after(16));
    assert_eq!(state.verdict(&uid(1), after(16)), Verdict::Wanted);
}

#[test]
fn who_was_none_of_ours_stays_so_while_the_api_is_away() {
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let mut state = State::new(ApiState::Connecting { since: start });
    state.list_complete(&HashSet::new(), start, start);
    assert_eq!(state.verdict(&uid(1), after(1)), Verdict::Open);
    state.api_failing(after(10));
    assert_eq!(state.verdict(&uid(2), after(11)), Verdict::Open);
    assert_eq!(state.verdict(&uid(1), after(99)), Verdict::Unwanted);
    assert_eq!(state.verdict(&uid(2), after(99)), Verdict::Nameless);
    let named = PodRef { namespace: "ci".into(), name: "stranger".into(), uid: uid(2) };
    state.learn(Evidence::Pod { pod: named, by: EvidenceSource::LogDirectory }, after(99));
    assert_eq!(state.snapshot(after(99)), [], "no job of a stranger");
}

#[test]
fn containers_are_bounded_and_the_living_go_last() {
    let now = Instant::now();
    let mut state = State::default();
    state.created(&uid(1), &id(0), at(0), now);
    let count = u32::try_from(MAX_CONTAINERS).unwrap() + 500;
    for n in 1..count {
        state.created(&uid(n % 50), &id(n), at(u64::from(n)), now);
        state.ended(&id(n));
        assert!(state.containers.len() <= MAX_CONTAINERS);
    }
    assert!(state.containers.contains_key(&id(0)), "lives");
    assert!(!state.containers.contains_key(&id(1)), "oldest that ended");
    assert!(state.containers.contains_key(&id(count - 1)), "youngest");
    let held = u64::try_from(state.containers.len()).unwrap();
    assert_eq!(state.take_dropped() + held, u64::from(count));
}

#[test]
fn words_about_containers_the_kernel_never_showed_are_bounded() {
    let now = Instant::now();
    let mut state = state([]);
    for n in 10..6000 {
        state.learn(told(n, EvidenceSource::Cri, word(Some(n % 50), "x")), now);
    }
    assert!(state.containers.len() <= MAX_UNSEEN + 2);
    assert_eq!(state.unborn + 2, state.containers.len());
    assert!(state.containers.contains_key(&id(1)), "was created");
    assert!(state.take_dropped() > 0);
}

#[test]
fn pods_and_logs_are_bounded_and_listed_pods_go_last() {
    let now = Instant::now();
    let mut state = State::new(ApiState::Connecting { since: now });
    state.listed(&uid(0), now);
    for n in 1..5000 {
        state.verdict(&uid(n), now);
        assert!(state.pods.len() <= MAX_PODS);
    }
    assert!(state.pods.contains_key(&uid(0)));
    for n in 0..2000 {
        state.learn(log(0, &format!("c{n}"), n), now);
    }
    assert_eq!(state.pods.get(&uid(0)).unwrap().logs.len(), MAX_LOGS_PER_POD);
}

#[test]
fn deleted_pods_do_not_pile_up() {
    let start = Instant::now();
    let mut state = State::new(ApiState::Connecting { since: start });
    for n in 0..1000 {
        let now = start + Duration::from_secs(u64::from(n));
        state.listed(&uid(n), now);
        state.unlisted(&uid(n), now);
    }
    assert!(state.pods.len() <= 61, "{}", state.pods.len());
}

fn witness() -> impl Strategy<Value = EvidenceSource> {
    use EvidenceSource::{Api, Cri, Link, Nri};
    prop_oneof![Just(Api), Just(Cri), Just(Nri), Just(Link)]
}

/// Evidence in which no source contradicts itself: a name is a function of source and id.
fn consistent() -> impl Strategy<Value = Evidence> {
    prop_oneof![
        (1..6u32, witness(), any::<bool>()).prop_map(|(n, by, with_pod)| {
            let pod = (with_pod || by == EvidenceSource::Api).then_some(1);
            told(n, by, word(pod, &format!("{by:?}-{n}")))
        }),
        (1..6u32, 5..40u64).prop_map(|(n, second)| log(1, &format!("log-{n}"), second)),
        (1..6u32).prop_map(|n| spec(1, &format!("Api-{n}"), ContainerType::Ephemeral)),
        (1..6u32).prop_map(|n| spec(1, &format!("log-{n}"), ContainerType::Init)),
        (1..6u32).prop_map(|n| Evidence::Sandbox { id: id(n), pod: None }),
        witness().prop_map(|by| named(1, &format!("{by:?}"), by)),
    ]
}

/// The creation of a container or a piece of evidence.
#[derive(Debug, Clone)]
enum Event {
    Born(u32, u64),
    Told(Evidence),
}

fn answers(events: &[Event], peek: bool) -> Vec<Option<ContainerFacts>> {
    let now = Instant::now();
    let mut state = State::default();
    for event in events {
        match event.clone() {
            Event::Born(n, second) => state.created(&uid(1), &id(n), at(second), now),
            Event::Told(evidence) => state.learn(evidence, now),
        }
        if peek {
            for n in 1..6 {
                state.container(&uid(1), &id(n));
            }
        }
    }
    (1..6).map(|n| Some((*state.container(&uid(1), &id(n))?).clone())).collect()
}

proptest! {
    #[test]
    fn the_same_evidence_in_any_order_gives_the_same_answers(
        (straight, shuffled) in proptest::collection::vec(consistent(), 0..24)
            .prop_map(|evidence| {
                let creations = (1..6).map(|n| Event::Born(n, u64::from(n) * 7));
                creations.chain(evidence.into_iter().map(Event::Told)).collect::<Vec<_>>()
            })
            .prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle())),
    ) {
        prop_assert_eq!(answers(&straight, false), answers(&shuffled, true));
    }

    #[test]
    fn hostile_names_are_carried_as_they_are(name in any::<String>()) {
        let mut state = state([told(1, EvidenceSource::Api, word(Some(1), &name))]);
        prop_assert_eq!(&*state.container(&uid(1), &id(1)).unwrap().name, name.as_str());
    }
}
