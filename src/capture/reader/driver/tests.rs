//! Events in an order that the reader's tests cannot bring about.

mod missed;
mod monitors;
mod places;
mod unheld;
mod vacant;

use std::fs;
use std::time::Duration;

use ephemon_cgroup::Hierarchy;
use ephemon_cgroup::nested_name::Engine;
use ephemon_discovery::inventory::{Inventory, Verdict};
use ephemon_discovery::nested::NestedNames;
use ephemon_model::Quality;
use ephemon_self_metrics::SelfMetrics;

use super::*;
use crate::population::{Places, Population};
use crate::readings::{Readings, Record};

const PLACES: Places = Places { own: 3, nested: 3 };

fn driver(root: &Path) -> Driver {
    driver_with(root, PLACES, Inventory::default())
}

fn driver_with(root: &Path, places: Places, inventory: Inventory) -> Driver {
    let names = NestedNames::new(root.to_owned(), root.join("proc"), inventory.clone());
    let self_metrics = SelfMetrics::new().unwrap();
    let hierarchy = Hierarchy::V2 { root: root.to_owned() };
    Driver {
        held: Held::new(hierarchy, Population::new(places, 2)),
        reports: Reports { readings: Readings::default(), inventory, self_metrics, names },
        poller: Poller::new().unwrap(),
        cadence: Cadence { steady: Duration::from_secs(1) },
        budget: Budget::new(1.0),
        epoch: Instant::now(),
        proc: root.join("proc"),
        networks_due: Vec::new(),
    }
}

fn uid(digit: char) -> PodUid {
    PodUid::parse(&format!("{digit}e269fa4-f505-4963-9096-958063077203")).unwrap()
}

fn id(number: u32) -> ContainerId {
    ContainerId::parse(&format!("{number:064x}")).unwrap()
}

/// Writes a group's files: the test plays the kernel.
fn put(root: &Path, path: &str, usage_us: u64, populated: u8) {
    let path = root.join(path);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("cpu.stat"), format!("usage_usec {usage_us}\n")).unwrap();
    fs::write(path.join("cgroup.events"), format!("populated {populated}\n")).unwrap();
}

/// A group that an engine in the pod's first container makes beside the pods.
fn nested(number: u32, pod: char) -> NestedGroup {
    NestedGroup {
        key: id(number),
        pod: uid(pod),
        outer: id(0),
        outer_path: PathBuf::from(format!("pod{pod}/outer")),
        path: PathBuf::from(format!("docker/{number}")),
        engine: Engine::Docker,
        id: number.to_string().into(),
        beside: true,
        engines_directory: Some(PathBuf::from("docker")),
        from_birth: true,
    }
}

impl Driver {
    fn create(&mut self, root: &Path, number: u32, pod: char, usage_us: u64) {
        let path = format!("pod{pod}/{number}");
        put(root, &path, usage_us, 1);
        self.created(&id(number), &uid(pod), Path::new(&path), Source::Inotify);
    }

    fn shown(&self, number: u32) -> Option<Record> {
        let records = self.reports.readings.snapshot().containers;
        records.into_iter().find(|record| record.id == id(number)).map(|it| Record::clone(&it))
    }

    /// CPU time in milliseconds, and the quality of one that is over.
    fn cpu(&self, number: u32) -> Option<(u64, Option<Quality>)> {
        let Record { usage, ended, .. } = self.shown(number)?;
        Some((usage.cpu.usage_ns? / 1_000_000, ended.map(|ended| ended.quality)))
    }

    fn dropped(&self, reason: Reason) -> u64 {
        self.reports.self_metrics.dropped_so_far(Signal::Metrics, reason)
    }

    /// The time of every container's timer has come.
    fn all_due(&mut self, later: Duration) {
        let now = Instant::now() + later;
        while let Some(key) = self.held.population.pop_due(now) {
            self.on(key, Event::Due, now);
        }
    }
}

/// A node full of pods that no selector matches.
#[test]
fn foreign_pods_take_no_place_that_a_selected_one_needs() {
    let root = tempfile::tempdir().unwrap();
    let inventory = Inventory::with_api(SelfMetrics::new().unwrap());
    let mut driver = driver_with(root.path(), PLACES, inventory.clone());
    put(root.path(), "poda", 0, 1);
    for number in 1..=9 {
        driver.create(root.path(), number, 'a', 1_000);
    }
    inventory.listed(&uid('b'));
    inventory.list_complete(&[uid('b')].into(), Instant::now());
    assert_eq!(inventory.verdict(&uid('a')), Verdict::Unwanted);
    put(root.path(), "podb", 0, 1);
    for number in 10..=12 {
        driver.create(root.path(), number, 'b', 7_000);
    }
    for number in 10..=12 {
        assert_eq!(driver.cpu(number), Some((7, None)), "{number}");
    }
    assert_eq!(driver.dropped(Reason::Cap), 0, "nobody is left out who would be shown");
    driver.create(root.path(), 13, 'b', 7_000);
    assert_eq!(driver.cpu(13), None);
    assert_eq!(driver.dropped(Reason::Cap), 1);
    // With the first that is over there is a place.
    driver.removed(&id(10));
    driver.all_due(Duration::from_secs(6));
    assert_eq!(driver.cpu(13), Some((7, None)));
    assert_eq!(driver.dropped(Reason::Cap), 1, "it is counted once");
}

/// They had places, and gave them up.
#[test]
fn so_many_unselected_containers_that_no_more_could_wait_stop_no_selected_one() {
    let root = tempfile::tempdir().unwrap();
    let inventory = Inventory::with_api(SelfMetrics::new().unwrap());
    let places = Places { own: 1000, nested: 3 };
    let mut driver = driver_with(root.path(), places, inventory.clone());
    driver.create(root.path(), 701, 'a', 1_000);
    inventory.listed(&uid('b'));
    inventory.list_complete(&[uid('b')].into(), Instant::now());
    for first in (1..=700).step_by(100) {
        (first..first + 100).for_each(|number| driver.create(root.path(), number, 'a', 1_000));
        driver.all_due(Duration::from_secs(11));
    }
    assert!(!driver.held.captures(&uid('a')), "all places are free");
    driver.create(root.path(), 702, 'b', 7_000);
    assert_eq!(driver.cpu(702), Some((7, None)));
    assert_eq!(driver.dropped(Reason::Cap), 0);
}

#[test]
fn a_pod_that_is_found_not_to_be_selected_leaves_its_places() {
    let root = tempfile::tempdir().unwrap();
    let inventory = Inventory::with_api(SelfMetrics::new().unwrap());
    let mut driver = driver_with(root.path(), PLACES, inventory.clone());
    (1..=3).for_each(|number| driver.create(root.path(), number, 'a', 1_000));
    inventory.list_complete(&[].into(), Instant::now());
    driver.all_due(Duration::from_secs(11));
    assert!(!driver.held.population.is_full(Kind::Own));
}

#[test]
fn nested_containers_that_end_together_share_what_was_missed() {
    let root = tempfile::tempdir().unwrap();
    let mut driver = driver(root.path());
    put(root.path(), "poda", 0, 1);
    driver.pod_created(uid('a'), Path::new("poda"), Source::Inotify);
    driver.create(root.path(), 9, 'a', 0);
    put(root.path(), "docker", 0, 1);
    for number in [1, 2] {
        put(root.path(), &format!("docker/{number}"), 10_000, 1);
        driver.nested(&nested(number, 'a'), Source::Inotify);
    }
    put(root.path(), "docker", 120_000, 1);
    for number in [1, 2] {
        fs::write(root.path().join(format!("docker/{number}/cpu.stat")), "").unwrap();
        fs::remove_dir_all(root.path().join(format!("docker/{number}"))).unwrap();
    }
    driver.removed(&id(1));
    let (one, two) = (driver.cpu(1).unwrap(), driver.cpu(2).unwrap());
    let shared = Some(Quality::ResidualShared);
    assert_eq!((one.1, two.1), (shared, shared));
    // How much of it each has depends on how long ago it was read, so that may be less than 1 ms.
    let used = |number| driver.shown(number).unwrap().usage.cpu.usage_ns;
    assert!([1, 2].iter().all(|number| used(*number) > Some(10_000_000)), "{one:?} {two:?}");
    assert!((118..=120).contains(&(one.0 + two.0)), "{one:?} {two:?}");
    driver.removed(&id(2));
    driver.balance_all();
    let pod = driver.reports.readings.snapshot().pods.pop().unwrap();
    let beside_ms = pod.beside_cpu_ns.unwrap() / 1_000_000;
    assert!((118..=120).contains(&beside_ms), "{beside_ms}");
}

/// More nested containers than one pod has places for.
#[test]
fn what_nested_containers_without_a_place_use_is_in_the_pods_books() {
    let root = tempfile::tempdir().unwrap();
    let places = Places { own: 3, nested: 8 };
    for (places, left_out) in [(places, 2), (Places { nested: 0, ..places }, 0)] {
        let mut driver = driver_with(root.path(), places, Inventory::default());
        put(root.path(), "poda", 0, 1);
        driver.pod_created(uid('a'), Path::new("poda"), Source::Inotify);
        driver.create(root.path(), 99, 'a', 0);
        for number in 1..=10 {
            put(root.path(), &format!("docker/{number}"), 20_000, 1);
            driver.nested(&nested(number, 'a'), Source::Inotify);
        }
        let shown = (1..=10).filter(|number| driver.cpu(*number).is_some()).count();
        assert_eq!(shown, places.nested);
        driver.balance_all();
        let pod = driver.reports.readings.snapshot().pods.pop().unwrap();
        assert_eq!(pod.beside_cpu_ns, Some(200_000_000), "all ten are the pod's");
        assert_eq!(pod.nested_left_out, left_out);
        assert_eq!(driver.dropped(Reason::Cap), left_out);
        // One of them ends, and what it had used stays.
        fs::remove_dir_all(root.path().join("docker/10")).unwrap();
        driver.removed(&id(10));
        driver.balance_all();
        let pod = driver.reports.readings.snapshot().pods.pop().unwrap();
        assert_eq!(pod.beside_cpu_ns, Some(200_000_000));
        fs::remove_dir_all(root.path().join("docker")).unwrap();
    }
}

/// Privileged containers of two pods have an engine each, and both make their groups in one directory.
#[test]
fn what_an_unselected_pods_nested_container_used_is_no_selected_ones() {
    let root = tempfile::tempdir().unwrap();
    let inventory = Inventory::with_api(SelfMetrics::new().unwrap());
    let mut driver = driver_with(root.path(), PLACES, inventory.clone());
    put(root.path(), "docker", 0, 1);
    for (number, pod) in [(1, 'a'), (2, 'b')] {
        put(root.path(), &format!("pod{pod}"), 0, 1);
        driver.pod_created(uid(pod), Path::new(&format!("pod{pod}")), Source::Inotify);
        driver.create(root.path(), number + 10, pod, 0);
        put(root.path(), &format!("docker/{number}"), 10_000, 1);
        driver.nested(&nested(number, pod), Source::Inotify);
    }
    inventory.listed(&uid('a'));
    inventory.list_complete(&[uid('a')].into(), Instant::now());
    driver.all_due(Duration::from_secs(11));
    assert!(driver.cpu(1).is_some() && driver.cpu(2).is_none());
    let removed = |driver: &mut Driver, number: u32, used_us| {
        put(root.path(), "docker", used_us, 1);
        let group = root.path().join(format!("docker/{number}"));
        fs::write(group.join("cpu.stat"), "").unwrap();
        fs::remove_dir_all(group).unwrap();
        driver.removed(&id(number));
    };
    removed(&mut driver, 2, 900_000);
    driver.balance_all();
    removed(&mut driver, 1, 920_000);
    let (cpu_ms, quality) = driver.cpu(1).unwrap();
    assert!((29..=30).contains(&cpu_ms) && quality == Some(Quality::Residual), "{cpu_ms}");
}

#[test]
fn a_nested_container_that_was_over_and_lost_its_place_is_counted_once() {
    let root = tempfile::tempdir().unwrap();
    let inventory = Inventory::with_api(SelfMetrics::new().unwrap());
    let mut driver = driver_with(root.path(), PLACES, inventory.clone());
    put(root.path(), "poda", 0, 1);
    driver.pod_created(uid('a'), Path::new("poda"), Source::Inotify);
    driver.create(root.path(), 99, 'a', 0);
    put(root.path(), "docker", 10_000, 1);
    put(root.path(), "docker/1", 10_000, 1);
    driver.nested(&nested(1, 'a'), Source::Inotify);
    put(root.path(), "docker/1", 10_000, 0);
    let key = driver.held.population.key(&id(1)).unwrap();
    driver.changed(key, Instant::now());
    driver.all_due(Duration::from_secs(3));
    let is_reported = |driver: &Driver| driver.held.containers[&key].life.is_reported();
    assert!(is_reported(&driver));
    let beside_ms = |driver: &mut Driver| {
        driver.balance_all();
        let pod = driver.reports.readings.snapshot().pods.pop().unwrap();
        pod.beside_cpu_ns.unwrap() / 1_000_000
    };
    assert_eq!(beside_ms(&mut driver), 10);
    driver.on(key, Event::Displaced, Instant::now());
    assert_eq!(beside_ms(&mut driver), 10);
    driver.open_pod(&uid('a'), Instant::now());
    driver.all_due(Duration::from_secs(9));
    assert!(is_reported(&driver));
    assert_eq!(beside_ms(&mut driver), 10);
}

#[test]
fn what_nobody_follows_is_counted_and_makes_the_pods_error_unknown() {
    let root = tempfile::tempdir().unwrap();
    let mut driver = driver(root.path());
    put(root.path(), "poda", 0, 1);
    driver.pod_created(uid('a'), Path::new("poda"), Source::Inotify);
    driver.create(root.path(), 99, 'a', 0);
    put(root.path(), "poda", 300_000, 1);
    put(root.path(), "poda/99", 300_000, 1);
    driver.balance_all();
    let error = |driver: &Driver| driver.reports.readings.snapshot().pods.pop().unwrap();
    assert!(error(&driver).accounting_error.is_some_and(|error| error < 0.01));
    driver.nested_left_out(&uid('a'), 3, false);
    driver.balance_all();
    assert!(error(&driver).accounting_error.is_some(), "they are part of their outer container");
    driver.nested_left_out(&uid('a'), 1, true);
    driver.balance_all();
    assert_eq!(error(&driver).accounting_error, None);
    assert_eq!(error(&driver).nested_left_out, 4);
    // Its last own container is displaced, and has a place again.
    let key = driver.held.population.key(&id(99)).unwrap();
    driver.on(key, Event::Displaced, Instant::now());
    driver.open_pod(&uid('a'), Instant::now());
    driver.balance_all();
    put(root.path(), "poda", 900_000, 1);
    put(root.path(), "poda/99", 900_000, 1);
    driver.balance_all();
    assert_eq!(error(&driver).accounting_error, None, "it may still be there");
}

#[test]
fn what_ended_beside_a_pod_is_once_in_its_last_record() {
    let root = tempfile::tempdir().unwrap();
    let put = |path: &str, usage_us: u64, populated: u8| {
        let path = root.path().join(path);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("cpu.stat"), format!("usage_usec {usage_us}\n")).unwrap();
        fs::write(path.join("cgroup.events"), format!("populated {populated}\n")).unwrap();
    };
    put("pod", 100, 1);
    put("docker/x", 1_000, 1);
    let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
    let id = |digit: &str| ContainerId::parse(&digit.repeat(64)).unwrap();
    let mut driver = driver(root.path());
    driver.pod_created(uid.clone(), Path::new("pod"), Source::Inotify);
    let group = NestedGroup {
        key: id("a"),
        pod: uid.clone(),
        outer: id("b"),
        outer_path: PathBuf::from("pod/b"),
        path: PathBuf::from("docker/x"),
        engine: Engine::Docker,
        id: "x".into(),
        beside: true,
        engines_directory: None,
        from_birth: false,
    };
    driver.nested(&group, Source::Inotify);
    let records = driver.reports.readings.snapshot().containers;
    assert!(records.iter().all(|record| !record.is_birth_seen), "it may be old: {records:?}");
    driver.balance_all();
    put("docker/x", 5_000, 0);
    driver.pod_removed(&uid);
    let pods = driver.reports.readings.snapshot().pods;
    assert_eq!((pods.len(), pods[0].gone), (1, true));
    assert_eq!(pods[0].beside_cpu_ns, Some(5_000_000));
}
