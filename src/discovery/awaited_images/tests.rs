//! What is told of pods as the API server shows them.

use serde_json::{Value, json};

use super::*;

fn uid(number: usize) -> PodUid {
    PodUid::parse(&format!("0e269fa4-f505-4963-9096-{number:012}")).unwrap()
}

fn container(name: &str, image: &str) -> Value {
    json!({"name": name, "image": image, "imagePullPolicy": "IfNotPresent"})
}

fn status(name: &str, state: &Value) -> Value {
    json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state})
}

fn waiting(name: &str, reason: &str) -> Value {
    status(name, &json!({"waiting": {"reason": reason}}))
}

fn pod(number: usize, containers: &[Value], statuses: &[Value], more: &Value) -> Pod {
    let mut pod = json!({
        "metadata": {"name": "runner-1", "namespace": "ci", "uid": uid(number).to_string()},
        "spec": {"containers": [], "ephemeralContainers": containers},
        "status": {"phase": "Running", "ephemeralContainerStatuses": statuses},
    });
    for (place, value) in more.as_object().into_iter().flatten() {
        let (part, field) = place.split_once('.').unwrap();
        pod[part][field] = value.clone();
    }
    serde_json::from_value(pod).unwrap()
}

fn images(pod: &Pod) -> Vec<(String, String)> {
    let found = parse::awaiting(pod).unwrap().images;
    assert!(found.iter().all(|image| image.for_kubelet.is_none()), "{found:?}");
    let of = |one: &AwaitedImage| one.container.as_deref().unwrap_or("-").to_owned();
    found.iter().map(|one| (one.name.to_string(), of(one))).collect()
}

fn pair(image: &str, container: &str) -> (String, String) {
    (image.to_owned(), container.to_owned())
}

#[test]
fn each_image_of_a_container_that_was_not_started_is_awaited_once() {
    let mut never = container("never", "a:9");
    never["imagePullPolicy"] = json!("Never");
    let mut always = container("always", "b");
    always["imagePullPolicy"] = json!("Always");
    let all = [
        container("job", "job:1"),
        container("redis", "redis"),
        container("again", "redis:latest"),
        never,
        always,
        container("ended", "c:1"),
        container("failed", "d:1"),
        container("init", "e:1"),
    ];
    let statuses = [
        status("job", &json!({"running": {}})),
        waiting("redis", "ContainerCreating"),
        status("ended", &json!({"terminated": {"exitCode": 0}})),
        waiting("failed", "ErrImagePull"),
        waiting("init", "PodInitializing"),
    ];
    let pod = pod(1, &all, &statuses, &Value::Null);
    assert_eq!(
        images(&pod),
        [pair("redis:latest", "redis"), pair("b:latest", "always"), pair("e:1", "init")]
    );
    let found = parse::awaiting(&pod).unwrap().images;
    assert_eq!(found.iter().filter(|one| one.is_pulled_always).count(), 1);
}

#[test]
fn what_only_the_kubelet_can_pull_is_named_and_left() {
    let one = |more: Value| {
        let pod = pod(1, &[container("job", "job:1")], &[], &more);
        parse::awaiting(&pod).unwrap().images[0].for_kubelet
    };
    assert_eq!(one(json!({})), None);
    assert_eq!(one(json!({"spec.imagePullSecrets": []})), None);
    let secrets = json!({"spec.imagePullSecrets": [{"name": "registry"}]});
    assert_eq!(one(secrets), Some(ForKubelet::PullSecrets));
    assert_eq!(one(json!({"spec.runtimeClassName": "kata"})), Some(ForKubelet::RuntimeClass));
    let annotation = json!({"metadata.annotations": {"io.containerd.cri.runtime-handler": "x"}});
    assert_eq!(one(annotation), Some(ForKubelet::RuntimeClass));
    let hostile = pod(1, &[container("job", "a b\n"), container("b", "$(id)")], &[], &Value::Null);
    let found = parse::awaiting(&hostile).unwrap().images;
    assert_eq!(
        (found.len(), found[0].for_kubelet, &*found[0].name),
        (1, Some(ForKubelet::Name), "")
    );
}

fn telling(name: &str, image: &str, told: &str) -> Value {
    let mut container = container(name, image);
    let variable = |value: &str| json!({"name": "EPHEMON_ACTION_IMAGES", "value": value});
    container["env"] = json!([variable("first:1"), {"name": "CI", "value": "x:1"}, variable(told)]);
    container
}

#[test]
fn images_that_are_told_ahead_are_awaited_after_those_of_containers() {
    let all =
        [telling("job", "job:1", "a:1 b redis a:1 job:1"), container("redis", "redis:latest")];
    let running = [status("job", &json!({"running": {}}))];
    let of = |statuses: &[Value]| pod(1, &all, statuses, &Value::Null);
    assert_eq!(
        images(&of(&[])),
        [
            pair("job:1", "job"),
            pair("redis:latest", "redis"),
            pair("a:1", "-"),
            pair("b:latest", "-")
        ]
    );
    let awaiting = parse::awaiting(&of(&running)).unwrap();
    let always: Vec<bool> = awaiting.images.iter().map(|image| image.is_pulled_always).collect();
    assert_eq!(always, [false, false, true], "as the kubelet will pull them");
    let taken: Vec<_> =
        awaiting.taken.iter().map(|taken| (&*taken.name, &*taken.container)).collect();
    assert_eq!(taken, [("job:1", "job")], "that redis waits is said once");
    assert!(!awaiting.has_more);
}

#[test]
fn an_image_that_was_told_ahead_is_the_first_containers_that_has_it() {
    let all = [
        telling("job", "job:1", "a:1 b:1"),
        container("standby", "a:1"),
        container("standby-2", "a:1"),
    ];
    let statuses =
        [status("job", &json!({"running": {}})), status("standby", &json!({"running": {}}))];
    let awaiting = parse::awaiting(&pod(1, &all, &statuses, &Value::Null)).unwrap();
    assert_eq!(awaiting.images.len(), 2);
    assert_eq!(awaiting.images[0].container.as_deref(), Some("standby-2"));
    assert_eq!((&*awaiting.images[1].name, &awaiting.images[1].container), ("b:1", &None));
    assert_eq!((awaiting.taken.len(), &*awaiting.taken[0].container), (1, "standby"));
    // With the container that told of them the job is over.
    let ended = [status("job", &json!({"terminated": {"exitCode": 0}}))];
    let awaiting = parse::awaiting(&pod(1, &all[..1], &ended, &Value::Null)).unwrap();
    assert_eq!((awaiting.images, awaiting.taken), (Vec::new(), Vec::new()));
}

#[test]
fn what_was_told_ahead_stays_awaited_when_containers_have_its_place() {
    let told: Vec<String> = (0..MAX_IMAGES_PER_POD).map(|n| format!("a-{n}:1")).collect();
    let mut all = vec![telling("job", "job:1", &told.join(" "))];
    let running = [status("job", &json!({"running": {}}))];
    let of = |all: &[Value]| parse::awaiting(&pod(1, all, &running, &Value::Null)).unwrap();
    assert_eq!((of(&all).images.len(), of(&all).more), (MAX_IMAGES_PER_POD, vec![]));
    all.push(container("network", "network:1"));
    let awaiting = of(&all);
    assert_eq!((awaiting.images.len(), &*awaiting.images[0].name), (8, "network:1"));
    assert_eq!(awaiting.more, [key("a-7:1")]);
    // Also if it is a container's by then, for which there is no place either.
    all.extend((0..7).map(|n| container(&format!("c-{n}"), &format!("c-{n}:1"))));
    all.push(container("standby", "a-3:1"));
    all.push(container("other", "other:1"));
    let awaiting = of(&all);
    assert!(awaiting.images.iter().all(|image| image.container.is_some()));
    let mut more: Vec<u64> = told.iter().map(|name| key(name)).collect();
    more.sort_unstable();
    let mut found = awaiting.more;
    found.sort_unstable();
    assert_eq!(found, more);
}

#[test]
fn of_what_containers_have_the_last_is_said_where_there_is_little_room() {
    let told: Vec<String> = (0..MAX_IMAGES_PER_POD).map(|n| format!("a-{n}:1")).collect();
    let mut all = vec![telling("job", "job:1", &told.join(" "))];
    let mut statuses = vec![status("job", &json!({"running": {}}))];
    for (n, image) in told.iter().enumerate().take(6) {
        all.push(container(&format!("standby-{n}"), image));
        statuses.push(status(&format!("standby-{n}"), &json!({"running": {}})));
    }
    all.extend((0..4).map(|n| container(&format!("c-{n}"), &format!("c-{n}:1"))));
    let awaiting = parse::awaiting(&pod(1, &all, &statuses, &Value::Null)).unwrap();
    let taken: Vec<&str> = awaiting.taken.iter().map(|taken| &*taken.name).collect();
    assert_eq!((awaiting.images.len(), taken), (6, vec!["a-4:1", "a-5:1"]));
    // One that waits has its place in the list; what is left is the others'.
    let awaiting = parse::awaiting(&pod(1, &all[..7], &statuses[..6], &Value::Null)).unwrap();
    let taken: Vec<&str> = awaiting.taken.iter().map(|taken| &*taken.name).collect();
    assert_eq!(awaiting.images[0].container.as_deref(), Some("standby-5"));
    assert_eq!((awaiting.images.len(), taken.len()), (3, 5));
}

#[test]
fn what_a_container_told_that_could_not_be_started_counts_until_the_next_one_tells() {
    let failed =
        |reason: &str| status("db", &json!({"terminated": {"exitCode": 128, "reason": reason}}));
    let first = telling("db", "db:1", "a:1 b:1");
    let of = |containers: &[Value], statuses: &[Value]| {
        images(&pod(1, containers, statuses, &Value::Null))
    };
    let both = [pair("a:1", "-"), pair("b:1", "-")];
    assert_eq!(of(std::slice::from_ref(&first), &[failed("StartError")]), both);
    assert_eq!(of(std::slice::from_ref(&first), &[failed("Error")]), []);
    let all = [first, telling("db-2", "db:1", "b:1")];
    let running = status("db-2", &json!({"running": {}}));
    assert_eq!(of(&all, &[failed("StartError"), running]), both[1..]);
}

#[test]
fn hostile_words_about_images_are_bounded_and_left() {
    let many: Vec<String> = (0..100_000).map(|number| format!("a-{number}:1")).collect();
    let many = many.join(" ");
    let with = |told: &str, more: &Value| {
        let containers = [telling("job", "job:1", told), telling("b", "job:1", told)];
        parse::awaiting(&pod(1, &containers, &[], more)).unwrap()
    };
    let awaiting = with(&many, &Value::Null);
    assert_eq!((awaiting.images.len(), awaiting.has_more), (MAX_IMAGES_PER_POD, true));
    assert_eq!(&*awaiting.images[1].name, "a-0:1");
    let long = "a".repeat(1 << 13);
    for told in ["$(id) https://a?b a;b", &long, "a\nb \u{202e}:1"] {
        let found = with(told, &Value::Null).images;
        assert_eq!((found.len(), &*found[1].name), (2, ""), "{told:.40}");
        assert_eq!(found[1].for_kubelet, Some(ForKubelet::Name));
    }
    // Nothing is read without end, and no part of a name.
    for (told, images) in [
        ("a:1 ".repeat(1 << 18), 2),
        (" ".repeat(1 << 20), 1),
        (format!("a:1{}b:1", " ".repeat(1 << 16)), 2),
        (format!("a:1 {}é", "b".repeat(1 << 16)), 2),
    ] {
        let awaiting = with(&told, &Value::Null);
        assert_eq!((awaiting.images.len(), awaiting.has_more), (images, true), "{told:.40}");
    }
    let secrets = json!({"spec.imagePullSecrets": [{"name": "registry"}]});
    let found = with("a:1", &secrets).images;
    assert!(found.iter().all(|one| one.for_kubelet == Some(ForKubelet::PullSecrets)), "{found:?}");
    assert!(!with(&many, &secrets).has_more, "they are the kubelet's, however many");
    // Nobody looks at the pod's own containers, at what another variable says, or at a reference.
    let mut from = container("from", "job:1");
    from["env"] = json!([{"name": "EPHEMON_ACTION_IMAGES", "valueFrom": {}}]);
    let own = json!([telling("runner", "runner:1", "a:1")]);
    let pod = pod(1, &[from], &[], &json!({"spec.containers": own}));
    assert_eq!(images(&pod), [pair("job:1", "from")]);
}

#[test]
fn a_pod_that_is_over_awaits_nothing() {
    for over in [
        json!({"metadata.deletionTimestamp": "2026-11-29T03:00:00Z"}),
        json!({"status.phase": "Succeeded"}),
        json!({"status.phase": "Failed"}),
    ] {
        assert_eq!(images(&pod(1, &[container("job", "job:1")], &[], &over)), []);
    }
    assert_eq!(parse::awaiting(&pod(1, &[], &[], &Value::Null)), None);
}

#[test]
fn thousands_of_containers_are_told_of_a_few_at_a_time() {
    let all: Vec<Value> =
        (0..5000).map(|n| container(&format!("c-{n}"), &format!("image-{n}:1"))).collect();
    let mut statuses = Vec::new();
    assert_eq!(images(&pod(1, &all, &statuses, &Value::Null)).len(), MAX_IMAGES_PER_POD);
    statuses.extend((0..10).map(|n| status(&format!("c-{n}"), &json!({"running": {}}))));
    let found = images(&pod(1, &all, &statuses, &Value::Null));
    assert_eq!((found.len(), &*found[0].0), (MAX_IMAGES_PER_POD, "image-10:1"));
}

#[test]
fn a_reader_gets_the_latest_of_each_pod_and_those_that_are_gone() {
    let awaited = AwaitedImages::default();
    let job = || [container("job", "job:1")];
    awaited.apply(&pod(1, &job(), &[], &Value::Null));
    let started = [status("job", &json!({"running": {}}))];
    awaited.apply(&pod(1, &job(), &started, &Value::Null));
    // Of a pod that never waited nothing is told.
    awaited.apply(&pod(2, &job(), &started, &Value::Null));
    let (changes, refused) = awaited.take();
    let [Awaiting::Pod(only)] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!((only.images.len(), &only.pod.uid, refused), (0, &uid(1), 0));
    awaited.apply(&pod(3, &job(), &[], &Value::Null));
    awaited.list_complete(&HashSet::from([uid(1)]));
    awaited.deleted(&uid(1));
    awaited.deleted(&uid(2));
    let (mut changes, _) = awaited.take();
    changes.sort_by_key(|change| format!("{change:?}"));
    assert_eq!(changes, [Awaiting::Gone(uid(1)), Awaiting::Gone(uid(3))]);
    assert_eq!(awaited.take().0, []);
}

#[test]
fn a_pod_beyond_the_bound_is_left_and_counted() {
    let awaited = AwaitedImages::default();
    for number in 0..MAX_PODS + 3 {
        awaited.apply(&pod(number, &[container("job", "job:1")], &[], &Value::Null));
    }
    let (changes, refused) = awaited.take();
    assert_eq!((changes.len(), refused), (MAX_PODS, 3));
    // One that is over leaves its place, though it stays in the cluster.
    let over = json!({"status.phase": "Failed"});
    awaited.apply(&pod(0, &[container("job", "job:1")], &[], &over));
    awaited.apply(&pod(MAX_PODS, &[container("job", "job:1")], &[], &Value::Null));
    assert_eq!(awaited.take().0.len(), 2);
}
