//! What follows from changes of pods, and in which order images are pulled.

use ephemon_discovery::awaited_images::TakenImage;

use super::*;

fn uid(number: usize) -> PodUid {
    PodUid::parse(&format!("0e269fa4-f505-4963-9096-{number:012}")).unwrap()
}

fn image(name: &str) -> AwaitedImage {
    AwaitedImage {
        name: name.into(),
        container: Some("job".into()),
        is_pulled_always: false,
        for_kubelet: None,
    }
}

fn pod(number: usize, names: &[String]) -> AwaitingPod {
    let pod = PodRef { namespace: "ci".into(), name: "runner".into(), uid: uid(number) };
    let images = names.iter().map(|name| image(name)).collect();
    let (more, taken) = (Vec::new(), Vec::new());
    AwaitingPod { pod: Arc::new(pod), images, more, taken, has_more: false }
}

fn left(of: Left) -> Update {
    Update { left: vec![of], ..Update::default() }
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}-{number}:1")).collect()
}

fn started(plan: &mut Plan) -> Vec<Start> {
    std::iter::from_fn(|| plan.next()).collect()
}

/// A pod of which so many images are told before any container has them.
fn ahead(count: usize) -> AwaitingPod {
    let mut ahead = pod(1, &names("a", count));
    for image in &mut ahead.images {
        image.container = None;
    }
    ahead
}

/// A plan of at most so many pulls, of which the pod's first ones run.
fn begun(most: usize, awaiting: &AwaitingPod) -> (Plan, Vec<Start>) {
    let mut plan = Plan::new(most);
    assert_eq!(plan.update(awaiting), Update::default());
    let running = started(&mut plan);
    (plan, running)
}

/// What is known of a pull that began then.
fn pulled(start_ns: u64) -> Pulled {
    Pulled { start_ns, end_ns: 9, bytes: None }
}

/// The same, of the container that has the image.
fn told(start_ns: u64, container: &str) -> PrePull {
    PrePull { container: container.into(), start_ns, end_ns: 9, bytes: None }
}

fn taken(number: usize, container: &str) -> TakenImage {
    TakenImage { name: format!("a-{number}:1").into(), container: container.into() }
}

#[test]
fn pulls_of_a_pod_are_at_most_half_and_pods_take_turns() {
    let of = |number| pod(number, &names("a", 9));
    let (mut plan, running) = begun(5, &of(1));
    assert_eq!(running.len(), 3);
    for number in 2..9 {
        plan.update(&of(number));
    }
    let more = started(&mut plan);
    let pods: HashSet<&PodUid> = more.iter().map(|start| &start.ticket.0).collect();
    assert_eq!((more.len(), pods.len()), (2, 2));
    plan.done(&more[0].ticket);
    plan.done(&more[0].ticket);
    assert_eq!(started(&mut plan).len(), 1, "each ends once");
    // The least that can be set.
    assert_eq!(begun(1, &of(1)).1.len(), 1);
}

#[test]
fn an_image_is_pulled_once_for_a_pod_and_none_that_nobody_waits_for() {
    let three = names("a", 3);
    let (mut plan, first) = begun(4, &pod(1, &three));
    assert_eq!(first.len(), 2);
    // The kubelet has started the first and the third.
    let cancelled = vec![first[0].ticket.clone()];
    assert_eq!(plan.update(&pod(1, &three[1..2])), Update { cancelled, ..Update::default() });
    plan.done(&first[0].ticket);
    assert!(started(&mut plan).is_empty());
    plan.done(&first[1].ticket);
    plan.update(&pod(1, &three));
    assert!(started(&mut plan).is_empty(), "each was seen");
}

#[test]
fn a_pod_that_is_gone_waits_for_nothing_and_leaves_nothing() {
    let (mut plan, running) = begun(4, &pod(1, &names("a", 9)));
    let mut cancelled = plan.gone(&uid(1));
    let mut expected: Vec<Ticket> = running.iter().map(|start| start.ticket.clone()).collect();
    cancelled.sort();
    expected.sort();
    assert_eq!(cancelled, expected);
    assert!(started(&mut plan).is_empty());
    for start in &running {
        plan.done(&start.ticket);
    }
    assert!(plan.pods.is_empty() && plan.turns.is_empty() && plan.running == 0);
    assert_eq!(plan.gone(&uid(1)), []);
}

#[test]
fn a_pod_has_its_share_and_what_is_left_is_told_once() {
    let mut plan = Plan::new(2);
    let mut with_secrets = pod(1, &names("a", 1));
    with_secrets.images[0].for_kubelet = Some(ForKubelet::PullSecrets);
    let secrets = Left::ForKubelet(ForKubelet::PullSecrets);
    assert_eq!(plan.update(&with_secrets), left(secrets));
    assert_eq!(plan.update(&with_secrets), Update::default());
    assert!(started(&mut plan).is_empty());
    let many = pod(2, &names("b", MAX_SEEN_PER_POD + 5));
    assert_eq!(plan.update(&many), left(Left::TooMany));
    assert_eq!(plan.update(&many), Update::default());
    assert_eq!(plan.pods[&uid(2)].waiting.len(), MAX_SEEN_PER_POD);
}

#[test]
fn more_than_is_read_and_more_than_its_share_are_counted_each_once() {
    let mut plan = Plan::new(2);
    let mut more = pod(1, &names("a", 1));
    more.has_more = true;
    assert_eq!(plan.update(&more), left(Left::TooMany));
    let mut many = pod(1, &names("b", MAX_SEEN_PER_POD));
    many.has_more = true;
    assert_eq!(plan.update(&many), left(Left::TooMany));
    assert_eq!(plan.update(&many), Update::default());
}

#[test]
fn what_was_told_ahead_is_told_of_the_container_that_has_it_whenever_that_comes() {
    let mut ahead = ahead(2);
    let (mut plan, running) = begun(8, &ahead);
    ahead.has_more = true;
    assert_eq!(plan.update(&ahead), left(Left::TooMany));
    assert_eq!(plan.update(&ahead), Update::default());
    // The first is there before its container, the second after it.
    assert_eq!(plan.pulled(&running[0].ticket, pulled(1)), None);
    plan.done(&running[0].ticket);
    // The kubelet has started the first at once; the second waits.
    let mut both = pod(1, &names("a", 2)[1..]);
    both.images[0].container = Some("standby-2".into());
    both.taken = vec![taken(0, "standby"), taken(1, "standby-2")];
    let update = Update { told: vec![told(1, "standby")], ..Update::default() };
    assert_eq!(plan.update(&both), update);
    assert_eq!(plan.pulled(&running[1].ticket, pulled(2)), Some(told(2, "standby-2")));
    plan.done(&running[1].ticket);
    assert_eq!(plan.update(&both), Update::default());
}

#[test]
fn what_was_told_ahead_outlasts_that_containers_have_its_place() {
    let mut ahead = ahead(3);
    let (mut plan, running) = begun(4, &ahead);
    assert_eq!(running.len(), 2);
    assert_eq!(plan.pulled(&running[0].ticket, pulled(1)), None);
    plan.done(&running[0].ticket);
    // One is pulled, one is being pulled, and one waits.
    let mut displaced = pod(1, &names("c", 1));
    displaced.more = names("a", 3).iter().map(|name| key(name)).collect();
    assert_eq!(plan.update(&displaced), Update::default(), "none is cancelled");
    assert_eq!(started(&mut plan)[0].image.name.as_ref(), "c-0:1");
    ahead.images.remove(0);
    ahead.taken = vec![taken(0, "standby")];
    assert_eq!(plan.update(&ahead).told, [told(1, "standby")]);
    plan.done(&running[1].ticket);
    let next = started(&mut plan);
    assert_eq!(next.iter().map(|start| &*start.image.name).collect::<Vec<_>>(), ["a-2:1"]);
}

#[test]
fn a_pull_is_of_the_container_that_had_the_image_first_if_changes_come_at_once() {
    let mut one = ahead(1);
    let (mut plan, running) = begun(2, &one);
    one.images[0].container = Some("standby-2".into());
    one.taken = vec![taken(0, "standby")];
    assert_eq!(plan.update(&one), Update::default());
    assert_eq!(plan.pulled(&running[0].ticket, pulled(1)), Some(told(1, "standby")));
}

#[test]
fn what_was_told_ahead_by_a_job_that_is_over_is_nobodys() {
    let (mut plan, running) = begun(8, &ahead(2));
    plan.pulled(&running[0].ticket, pulled(1));
    plan.done(&running[0].ticket);
    let cancelled = vec![running[1].ticket.clone()];
    let update = Update { cancelled, ..Update::default() };
    assert_eq!(plan.update(&pod(1, &[])), update);
    plan.done(&running[1].ticket);
    assert_eq!(plan.update(&pod(1, &names("a", 1))), Update::default());
}
