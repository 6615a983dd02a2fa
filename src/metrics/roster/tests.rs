//! Who is shown under which name.

use ephemon_capture::readings::PodRecord;
use ephemon_discovery::inventory::Verdict;
use ephemon_model::{ContainerType, Ended, PodRef, Quality, Usage};

use super::*;

const UID: &str = "0e269fa4-f505-4963-9096-958063077203";

fn uid() -> PodUid {
    PodUid::parse(UID).unwrap()
}

fn id(n: u64) -> ContainerId {
    ContainerId::parse(&format!("{n:012x}{:052x}", 0)).unwrap()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000 + seconds)
}

fn container(n: u64, created: u64, ended: Option<u64>) -> Arc<Record> {
    Arc::new(Record {
        id: id(n),
        pod: uid(),
        created: at(created),
        is_birth_seen: true,
        read_at: at(created),
        nested: false,
        usage: Usage::default(),
        ended: ended.map(|seconds| Ended { at: at(seconds), quality: Quality::Exact }),
    })
}

fn snapshot(containers: impl IntoIterator<Item = Arc<Record>>) -> Snapshot {
    Snapshot {
        containers: containers.into_iter().collect(),
        pods: vec![Arc::new(PodRecord {
            pod: uid(),
            net: Vec::new(),
            accounting_error: None,
            beside_cpu_ns: None,
            nested_left_out: 0,
            gone: false,
        })],
    }
}

fn facts(name: &str, container_type: ContainerType) -> Arc<ContainerFacts> {
    Arc::new(ContainerFacts {
        name: name.into(),
        container_type,
        image: None,
        engine_id: None,
        exit: None,
    })
}

fn named(verdict: Verdict, container: Option<Arc<ContainerFacts>>) -> Known {
    Known {
        verdict,
        has_api: true,
        pod: Some(Arc::new(PodRef { namespace: "arc".into(), name: "runner".into(), uid: uid() })),
        container,
    }
}

fn nothing() -> Known {
    Known { verdict: Verdict::Wanted, has_api: true, pod: None, container: None }
}

struct Clock {
    start: Instant,
}

impl Clock {
    fn at(&self, seconds: u64) -> Moment {
        Moment { steady: self.start + Duration::from_secs(seconds), wall: at(seconds) }
    }
}

fn clock() -> Clock {
    Clock { start: Instant::now() }
}

fn names(cast: &Cast) -> Vec<String> {
    cast.containers
        .iter()
        .map(|shown| {
            let Identity { namespace, pod, container, container_type } = &shown.identity;
            format!("{namespace}/{pod}/{container} {}", container_type.as_str())
        })
        .collect()
}

#[test]
fn a_named_container_is_shown_at_once() {
    let step = || named(Verdict::Wanted, Some(facts("step", ContainerType::Ephemeral)));
    let cast =
        Roster::default().cast(&snapshot([container(1, 0, None)]), |_, _| step(), clock().at(0));
    assert_eq!(names(&cast), ["arc/runner/step ephemeral"]);
    assert_eq!(cast.pods.len(), 1);
}

#[test]
fn pods_that_are_not_wanted_or_not_judged_yet_are_not_shown() {
    for verdict in [Verdict::Unwanted, Verdict::Open] {
        let step = || named(verdict, Some(facts("step", ContainerType::Ephemeral)));
        let cast = Roster::default().cast(
            &snapshot([container(1, 0, None)]),
            |_, _| step(),
            clock().at(100),
        );
        assert_eq!(names(&cast), [""; 0]);
        assert_eq!(cast.pods.len(), 0);
    }
}

#[test]
fn the_sandbox_is_no_container() {
    let sandbox = || named(Verdict::Wanted, Some(facts("pause", ContainerType::Sandbox)));
    let cast = Roster::default().cast(
        &snapshot([container(1, 0, None)]),
        |_, _| sandbox(),
        clock().at(100),
    );
    assert_eq!(names(&cast), [""; 0]);
}

#[test]
fn an_ended_container_without_a_name_goes_by_its_id_five_seconds_after_its_end() {
    let (mut roster, clock) = (Roster::default(), clock());
    let there = snapshot([container(0xabc, 0, Some(1))]);
    for (seconds, shown) in [(1, 0), (5, 0), (6, 1)] {
        let cast = roster.cast(&there, |_, _| nothing(), clock.at(seconds));
        assert_eq!(cast.containers.len(), shown, "at {seconds} s");
        assert_eq!(cast.pods.len(), shown, "at {seconds} s");
    }
    let cast = roster.cast(&there, |_, _| nothing(), clock.at(7));
    assert_eq!(names(&cast), [format!("/{UID}/000000000abc unknown")]);
}

#[test]
fn a_name_that_comes_late_is_taken() {
    let (mut roster, clock) = (Roster::default(), clock());
    let there = snapshot([container(1, 0, Some(1))]);
    assert_eq!(names(&roster.cast(&there, |_, _| nothing(), clock.at(2))), [""; 0]);
    let step = || named(Verdict::Wanted, Some(facts("step", ContainerType::Ephemeral)));
    for seconds in [3, 60] {
        let cast = roster.cast(&there, |_, _| step(), clock.at(seconds));
        assert_eq!(names(&cast), ["arc/runner/step ephemeral"]);
    }
}

#[test]
fn a_living_container_without_a_name_is_not_hidden_for_its_whole_life() {
    let (mut roster, clock) = (Roster::default(), clock());
    let living = snapshot([container(1, 0, None)]);
    assert_eq!(roster.cast(&living, |_, _| nothing(), clock.at(4)).containers.len(), 0);
    assert_eq!(roster.cast(&living, |_, _| nothing(), clock.at(5)).containers.len(), 1);
    let ended = snapshot([container(1, 0, Some(6))]);
    let cast = roster.cast(&ended, |_, _| nothing(), clock.at(6));
    assert_eq!(cast.containers.len(), 1, "and does not vanish at its end");
}

#[test]
fn a_clock_set_back_does_not_hide_a_container_for_longer() {
    let (mut roster, clock) = (Roster::default(), clock());
    let there = snapshot([container(1, 86_400, Some(86_401))]);
    assert_eq!(roster.cast(&there, |_, _| nothing(), clock.at(0)).containers.len(), 0);
    assert_eq!(roster.cast(&there, |_, _| nothing(), clock.at(5)).containers.len(), 1);
}

#[test]
fn of_several_with_one_name_the_newest_is_shown_in_whatever_order_they_come() {
    let step = || named(Verdict::Wanted, Some(facts("step", ContainerType::Ephemeral)));
    let mut there = vec![container(3, 0, Some(1)), container(2, 2, Some(3)), container(1, 4, None)];
    for _ in 0..there.len() {
        there.rotate_left(1);
        let cast = Roster::default().cast(&snapshot(there.clone()), |_, _| step(), clock().at(9));
        let shown: Vec<_> = cast.containers.iter().map(|shown| &shown.record.id).collect();
        assert_eq!(shown, [&id(1)]);
        assert_eq!(cast.superseded, HashSet::from([id(2), id(3)]));
    }
}

#[test]
fn an_older_one_whose_end_is_not_settled_is_hidden_but_not_given_up() {
    let step = || named(Verdict::Wanted, Some(facts("step", ContainerType::Ephemeral)));
    let there = snapshot([container(1, 0, None), container(2, 2, None)]);
    let cast = Roster::default().cast(&there, |_, _| step(), clock().at(9));
    assert_eq!(cast.containers.len(), 1);
    assert_eq!(cast.superseded, HashSet::new());
}

#[test]
fn whom_nobody_knows_any_more_is_not_remembered() {
    let (mut roster, clock) = (Roster::default(), clock());
    roster.cast(&snapshot([container(1, 0, None)]), |_, _| nothing(), clock.at(0));
    assert_eq!(roster.nameless.len(), 1);
    roster.cast(&snapshot([]), |_, _| nothing(), clock.at(1));
    assert_eq!(roster.nameless.len(), 0);
}
