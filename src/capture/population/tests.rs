//! Who is admitted, who has a place, and who waits.

use std::time::Duration;

use super::*;

fn id(number: u32) -> ContainerId {
    ContainerId::parse(&format!("{number:064x}")).unwrap()
}

fn pod() -> PodUid {
    PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap()
}

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

const fn places(own: usize, nested: usize) -> Places {
    Places { own, nested }
}

#[test]
fn beyond_the_places_a_container_waits_until_one_is_left() {
    let mut population = Population::new(places(2, 0), 5);
    for (number, key, has_place) in [(1, 5, true), (2, 6, true), (3, 7, false), (4, 8, false)] {
        let admission = population.admit(&id(number), &pod(), at(0), Kind::Own);
        assert_eq!(admission, Admission::Admitted(key));
        assert_eq!(population.take_place(key), has_place);
    }
    assert!(population.take_place(5), "it has one already");
    population.leave_place(5);
    population.leave_place(5);
    assert!(population.take_place(7) && !population.take_place(8));
    assert_eq!(population.remove(&id(3)), Some(7));
    assert_eq!(population.remove(&id(3)), None);
    assert!(population.take_place(8) && !population.take_place(5));
    assert_eq!(population.children(&pod()), [5, 6, 8]);
    assert!(!population.take_place(99), "nobody");
}

#[test]
fn those_that_wait_are_bounded_and_take_no_place() {
    let mut population = Population::new(places(2, 0), 0);
    let most = u32::try_from(MAX_WAITING).unwrap() + 2;
    for number in 0..most {
        // Nested ones are bounded where they are found.
        for (number, kind) in [(number, Kind::Own), (number + most, Kind::Nested)] {
            let admission = population.admit(&id(number), &pod(), at(0), kind);
            assert!(matches!(admission, Admission::Admitted(_)), "{number}");
        }
    }
    let one_more = id(u32::MAX);
    assert_eq!(population.admit(&one_more, &pod(), at(0), Kind::Own), Admission::Full);
    assert!(population.take_place(0), "the places are free");
    assert_eq!(population.admit(&one_more, &pod(), at(0), Kind::Own), Admission::Full);
    population.remove(&id(0));
    let admitted = Admission::Admitted(u64::from(most) * 2);
    assert_eq!(population.admit(&one_more, &pod(), at(0), Kind::Own), admitted);
}

#[test]
fn the_memory_of_those_that_wait_is_what_it_is_said_to_be() {
    let held = size_of::<Member>() + size_of::<crate::container::Container>();
    // Ids and a path, and the tables' own.
    assert!(held + 320 < WAITING_CONTAINER_BYTES, "{held}");
}

#[test]
fn one_container_of_each_pod_with_places_can_be_asked_for_its_own() {
    let other = PodUid::parse("1e269fa4-f505-4963-9096-958063077203").unwrap();
    let mut population = Population::new(places(2, 0), 0);
    for (number, of) in [(1, &pod()), (2, &pod()), (3, &other)] {
        population.admit(&id(number), of, at(0), Kind::Own);
    }
    assert!(population.take_place(1));
    assert_eq!(population.holders(Kind::Own).collect::<Vec<_>>(), [(&pod(), 1)]);
    assert_eq!(population.holders(Kind::Nested).count(), 0);
    assert_eq!(population.of(2), Some((Kind::Own, &other)));
}

#[test]
fn of_nested_containers_one_pod_has_a_quarter_of_the_places() {
    let other = PodUid::parse("1e269fa4-f505-4963-9096-958063077203").unwrap();
    let mut population = Population::new(places(0, 4 * MIN_NESTED_PER_POD + 4), 0);
    let mut count = |of: &PodUid, first: u32| {
        let taken = (first..first + 20).filter(|number| {
            let admission = population.admit(&id(*number), of, at(0), Kind::Nested);
            matches!(admission, Admission::Admitted(key) if population.take_place(key))
        });
        taken.count()
    };
    assert_eq!(count(&pod(), 100), MIN_NESTED_PER_POD + 1);
    assert_eq!(count(&other, 200), MIN_NESTED_PER_POD + 1);
}

#[test]
fn nested_containers_take_nobodys_place_and_are_nobodys_eldest() {
    let mut population = Population::new(places(1, 1), 0);
    let now = Instant::now();
    let admit = |population: &mut Population, number, second, kind| match population.admit(
        &id(number),
        &pod(),
        at(second),
        kind,
    ) {
        Admission::Admitted(key) => Some((key, population.take_place(key))),
        _ => None,
    };
    assert_eq!(admit(&mut population, 1, 1, Kind::Nested), Some((0, true)));
    assert_eq!(admit(&mut population, 1, 1, Kind::Nested), None);
    assert_eq!(admit(&mut population, 2, 2, Kind::Own), Some((1, true)));
    assert!(population.is_full(Kind::Own) && population.captures(Kind::Nested));
    assert_eq!(population.oldest_container(&pod()), Some(1));
    assert_eq!((population.children(&pod()), population.nested(&pod())), (&[1][..], &[0][..]));
    population.set_timer(0, now);
    assert_eq!(population.pop_due(now), Some(0));
    assert_eq!(population.remove(&id(1)), Some(0));
    assert!(population.nested(&pod()).is_empty());
    assert!(!population.is_full(Kind::Nested));
    population.remove(&id(2));
    assert!(!population.is_full(Kind::Own));
}

#[test]
fn an_id_that_comes_back_has_another_key_and_is_never_there_twice() {
    let mut population = Population::new(places(1, 0), 0);
    let now = Instant::now();
    assert_eq!(population.admit(&id(1), &pod(), at(0), Kind::Own), Admission::Admitted(0));
    population.set_timer(0, now);
    assert_eq!(population.admit(&id(1), &pod(), at(9), Kind::Own), Admission::Known);
    population.remove(&id(1));
    assert_eq!(population.next_due(), None, "its timer goes with it");
    assert_eq!(population.admit(&id(1), &pod(), at(9), Kind::Own), Admission::Admitted(1));
    assert_eq!((population.id(0), population.key(&id(1))), (None, Some(1)));
    population.set_timer(0, now);
    assert_eq!(population.next_due(), None, "an old key has no timer");
}

#[test]
fn the_eldest_is_the_one_that_was_created_first_whenever_it_was_seen() {
    let mut population = Population::new(places(9, 0), 0);
    assert_eq!(population.oldest_container(&pod()), None);
    for (number, second) in [(1, 30), (2, 10), (3, 10), (4, 20)] {
        population.admit(&id(number), &pod(), at(second), Kind::Own);
    }
    assert_eq!(population.oldest_container(&pod()), population.key(&id(2)));
    population.remove(&id(2));
    assert_eq!(population.oldest_container(&pod()), population.key(&id(3)));
}

#[test]
fn a_container_has_one_timer_and_the_first_that_is_due_goes_off_first() {
    let mut population = Population::new(places(9, 0), 0);
    let start = Instant::now();
    let ms = |ms| start + Duration::from_millis(ms);
    (0..3).for_each(|number| {
        population.admit(&id(number), &pod(), at(0), Kind::Own);
    });
    for (key, due) in [(0, 30), (1, 20), (2, 50), (0, 10)] {
        population.set_timer(key, ms(due));
    }
    assert_eq!(population.next_due(), Some(ms(10)));
    assert_eq!(population.pop_due(ms(9)), None);
    let order: Vec<_> = std::iter::from_fn(|| population.pop_due(ms(40))).collect();
    assert_eq!(order, [0, 1]);
    assert_eq!(population.next_due(), Some(ms(50)));
    population.set_timer(0, ms(60));
    population.remove(&id(2));
    assert_eq!(population.next_due(), Some(ms(60)));
}
