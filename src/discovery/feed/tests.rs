//! No wakeup is lost, no change is missed, and memory is bounded: every order of a few operations,
//! long random sequences compared with a model, and threads.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use proptest::prelude::*;

use super::*;

fn pod(number: usize) -> PodUid {
    PodUid::parse(&format!("{number:08x}-f505-4963-9096-958063077203")).unwrap()
}

fn pods(numbers: impl IntoIterator<Item = usize>) -> Changed {
    Changed::Pods(numbers.into_iter().map(pod).collect())
}

/// Counts how often it was woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Debug, Clone, Copy)]
enum Operation {
    Publish(usize),
    PublishAll,
    /// The reader waits: it is polled once, and remains pending if nothing has changed.
    Wait,
    /// The reader stops waiting, as after a timeout.
    GiveUp,
    Take,
}

/// What a reader must get, by the simplest implementation.
#[derive(Debug, Default)]
struct Model {
    all: bool,
    pods: HashSet<PodUid>,
}

impl Model {
    fn expected(&self) -> Changed {
        if self.all { Changed::All } else { Changed::Pods(self.pods.clone()) }
    }

    fn has_news(&self) -> bool {
        self.all || !self.pods.is_empty()
    }
}

/// Runs operations one after the other; a waiting reader keeps its future during the following
/// ones.
fn run(operations: &[Operation], limit: usize) {
    let feed = Feed::new(limit);
    let mut follower = feed.follow();
    let mut model = Model { all: true, ..Model::default() };
    let counter = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&counter));
    let mut rest = operations.iter();
    let publish = |model: &mut Model, operation: Operation| match operation {
        Operation::Publish(number) => {
            feed.publish(&pod(number));
            model.pods.insert(pod(number));
        }
        Operation::PublishAll => {
            feed.publish_all();
            model.all = true;
        }
        _ => {}
    };
    while let Some(operation) = rest.next().copied() {
        match operation {
            Operation::Take => {
                let taken = follower.take();
                // Beyond the limit it may be told to check more pods, never fewer.
                let exact = taken == model.expected();
                let beyond = taken == Changed::All && model.pods.len() > limit;
                assert!(exact || beyond, "{taken:?} of {model:?} after {operations:?}");
                model = Model::default();
            }
            Operation::Wait => {
                let mut changed = pin!(follower.changed());
                let mut context = Context::from_waker(&waker);
                let before = counter.0.load(Ordering::SeqCst);
                if changed.as_mut().poll(&mut context) == Poll::Ready(()) {
                    assert!(model.has_news(), "woken for nothing after {operations:?}");
                    continue;
                }
                assert!(!model.has_news(), "left waiting after {operations:?}");
                // Every publication wakes a waiting reader.
                for operation in rest.by_ref().copied() {
                    publish(&mut model, operation);
                    if model.has_news() {
                        let woken = counter.0.load(Ordering::SeqCst);
                        assert!(woken > before, "not woken after {operations:?}");
                        assert_eq!(changed.as_mut().poll(&mut context), Poll::Ready(()));
                        break;
                    }
                    if matches!(operation, Operation::GiveUp) {
                        break;
                    }
                }
            }
            Operation::GiveUp => {}
            operation => publish(&mut model, operation),
        }
    }
    let changes = feed.changes();
    assert!(changes.by_pod.len() <= limit && changes.by_pod.len() == changes.by_version.len());
}

#[test]
fn in_every_order_of_six_operations_no_wakeup_is_lost_and_nothing_is_missed() {
    use Operation::{GiveUp, Publish, PublishAll, Take, Wait};
    const LENGTH: u32 = 6;
    let all = [Publish(1), Publish(2), PublishAll, Wait, GiveUp, Take];
    for number in 0..all.len().pow(LENGTH) {
        let operations: Vec<_> =
            (0..LENGTH).map(|place| all[number / all.len().pow(place) % all.len()]).collect();
        run(&operations, 8);
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => (0..12_usize).prop_map(Operation::Publish),
        1 => Just(Operation::PublishAll),
        2 => Just(Operation::Wait),
        2 => Just(Operation::GiveUp),
        2 => Just(Operation::Take),
    ]
}

proptest! {
    #[test]
    fn a_slow_reader_is_told_everything_and_the_set_stays_bounded(
        operations in prop::collection::vec(operation(), 0..80),
        limit in 1..14_usize,
    ) {
        run(&operations, limit);
    }
}

#[test]
fn a_slow_reader_sees_each_pod_once_and_readers_do_not_disturb_each_other() {
    let feed = Feed::default();
    let (mut slow, mut quick) = (feed.follow(), feed.follow());
    assert_eq!((slow.take(), quick.take()), (Changed::All, Changed::All));
    for number in 0..1000 {
        feed.publish(&pod(number % 3));
        assert_eq!(quick.take(), pods([number % 3]));
    }
    assert_eq!(slow.take(), pods(0..3));
    assert!(slow.take().is_empty());
    assert!(feed.follow().take().has(&pod(77)), "to a new reader everything is new");
}

#[test]
fn beyond_the_bound_whoever_is_behind_looks_at_all() {
    let feed = Feed::default();
    let (mut behind, mut near) = (feed.follow(), feed.follow());
    behind.take();
    near.take();
    feed.publish(&pod(MAX_PODS));
    near.take();
    (0..MAX_PODS).for_each(|number| feed.publish(&pod(number)));
    assert_eq!(behind.take(), Changed::All);
    assert_eq!(near.take(), pods(0..MAX_PODS));
}

#[test]
fn readers_in_other_threads_see_what_many_publish_at_once() {
    const PUBLISHERS: usize = 4;
    const EACH: usize = 200;
    let feed = Feed::default();
    let read = || {
        let mut follower = feed.follow();
        follower.take();
        let mut left: HashSet<PodUid> = (0..PUBLISHERS * EACH).map(pod).collect();
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            while !left.is_empty() {
                // A lost wakeup would block here forever.
                runtime.block_on(follower.changed());
                let Changed::Pods(pods) = follower.take() else { panic!("all fit") };
                left.retain(|pod| !pods.contains(pod));
            }
        }
    };
    let readers = [read(), read()];
    std::thread::scope(|scope| {
        for reader in readers {
            scope.spawn(reader);
        }
        for publisher in 0..PUBLISHERS {
            let feed = feed.clone();
            let own = publisher * EACH..(publisher + 1) * EACH;
            scope.spawn(move || own.for_each(|number| feed.publish(&pod(number))));
        }
    });
}
