//! What becomes of the runtime's words.

use std::sync::Arc;
use std::time::Duration;

use ephemon_nri::End;
use proptest::prelude::*;

use super::*;
use crate::inventory::EvidenceSource;

const UID: &str = "0e269fa4-f505-4963-9096-958063077203";

fn pod() -> Pod {
    Pod {
        sandbox: "f".repeat(64),
        namespace: "ci".into(),
        name: "runner-1".into(),
        uid: UID.into(),
    }
}

fn life(pod: Pod, id: &str, container: &str) -> Life {
    Life {
        pod: Arc::new(pod),
        id: id.into(),
        container: container.into(),
        started_ns: None,
        end: None,
    }
}

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

#[test]
fn an_event_without_a_time_happened_now_and_has_no_code() {
    let inventory = Inventory::default();
    let (uid, id) = (PodUid::parse(UID).unwrap(), "a".repeat(64));
    let job = life(pod(), &id, "job");
    for (event, second) in [(Event::Created, 1), (Event::Started, 2), (Event::Ended, 3)] {
        told(&inventory, event, &job, at(second));
    }
    let run = inventory.snapshot().remove(0).runs.remove(0);
    assert_eq!((run.started, run.finished, run.exit), (Some(at(2)), Some(at(3)), None));
    assert_eq!(&*inventory.pod(&uid).unwrap().name, "runner-1");
    let id = ContainerId::parse(&id).unwrap();
    assert_eq!(inventory.sources(&id), [EvidenceSource::Nri]);
}

#[test]
fn an_end_with_its_time_has_the_code() {
    let inventory = Inventory::default();
    let end = End { at_ns: 7_000_000_000, code: 3, reason: String::new() };
    let job = Life {
        started_ns: Some(5_000_000_000),
        end: Some(end),
        ..life(pod(), &"a".repeat(64), "job")
    };
    told(&inventory, Event::Ended, &job, at(99));
    let run = inventory.snapshot().remove(0).runs.remove(0);
    assert_eq!((run.started, run.finished), (Some(at(5)), Some(at(7))));
    assert_eq!(run.exit.map(|exit| exit.code), Some(3));
}

#[test]
fn what_is_listed_is_known_and_what_is_not_valid_is_passed_over() {
    let inventory = Inventory::default();
    let wrong = Pod { name: "a\nb".into(), ..pod() };
    let list = List {
        pods: vec![pod().into(), wrong.clone().into()],
        containers: vec![
            life(pod(), &"a".repeat(64), "job"),
            life(pod(), "../escape", "job"),
            life(pod(), &"b".repeat(64), "a\"b"),
            life(Pod::default(), &"c".repeat(64), "job"),
            life(wrong, &"d".repeat(64), "other"),
        ],
        is_complete: true,
    };
    listed(&inventory, &list);
    let pods = inventory.snapshot();
    assert_eq!((pods.len(), &*pods[0].pod.name), (1, "runner-1"));
    let names: Vec<_> = pods[0].runs.iter().map(|run| &*run.name).collect();
    assert_eq!(names, ["job", "other"], "the pod's UID is valid, and its name is another's word");
}

proptest! {
    #[test]
    fn any_words_are_taken_or_not(
        texts in proptest::array::uniform6(".{0,70}"),
        ns in any::<u64>(),
        event in prop_oneof![Just(Event::Created), Just(Event::Started), Just(Event::Ended)],
    ) {
        let inventory = Inventory::default();
        let [sandbox, namespace, name, uid, id, container] = texts;
        let end = Some(End { at_ns: ns, code: i32::MIN, reason: namespace.clone() });
        let pod = Pod { sandbox, namespace, name, uid };
        let life = Life { started_ns: Some(ns), end, ..life(pod, &id, &container) };
        told(&inventory, event, &life, at(0));
        listed(&inventory, &List { containers: vec![life], ..List::default() });
        prop_assert_eq!(inventory.snapshot(), []);
    }
}
