//! Nested containers whose final values were missed, in numbers.

use super::*;

/// A pod with one container, beside which an engine has made so many.
fn crowd(root: &Path, containers: u32, places: usize) -> Driver {
    let places = Places { own: 3, nested: places };
    let mut driver = driver_with(root, places, Inventory::default());
    put(root, "poda", 0, 1);
    driver.pod_created(uid('a'), Path::new("poda"), Source::Inotify);
    driver.create(root, 99_999, 'a', 0);
    put(root, "docker", 0, 1);
    for number in 1..=containers {
        put(root, &format!("docker/{number}"), 20_000, 1);
        driver.nested(&nested(number, 'a'), Source::Inotify);
    }
    put(root, "docker", 20_000 * u64::from(containers), 1);
    driver
}

/// Uses up what readings there are. As if an hour had passed: none are added however slow the machine is.
fn use_up_readings(driver: &mut Driver) {
    assert!(!driver.held.missed.is_due(0, Instant::now() + Duration::from_hours(1)));
    driver.held.missed.spend(100_000);
}

fn remove(driver: &mut Driver, root: &Path, number: u32) {
    let group = root.join(format!("docker/{number}"));
    fs::write(group.join("cpu.stat"), "").unwrap();
    fs::remove_dir_all(group).unwrap();
    driver.removed(&id(number));
}

#[test]
fn hundreds_that_end_one_by_one_are_derived_together_and_nothing_is_lost() {
    const CONTAINERS: u32 = 200;
    let root = tempfile::tempdir().unwrap();
    let mut driver = crowd(root.path(), CONTAINERS, 8);
    driver.balance_all();
    let (mut counter, mut waited) = (0, 0);
    for number in 1..=CONTAINERS {
        // On a slow machine each of them would have time for further readings.
        driver.held.missed.spend(100_000);
        // Each has used 1 ms more than was read of it.
        let used_us = 20_000 * u64::from(CONTAINERS) + 1_000 * u64::from(number);
        put(root.path(), "docker", used_us, 1);
        remove(&mut driver, root.path(), number);
        waited = waited.max(driver.held.missed.waiting().len());
        let cpu_ns = driver.held.pods[&uid('a')].beside.cpu_ns();
        assert!(cpu_ns >= counter, "{cpu_ns} after {counter}");
        counter = cpu_ns;
    }
    assert!((10..=60).contains(&waited), "{waited}");
    driver.balance_all();
    assert!(driver.held.missed.waiting().is_empty());
    let pod = driver.reports.readings.snapshot().pods.pop().unwrap();
    let beside_us = pod.beside_cpu_ns.unwrap() / 1000;
    assert!((4_199_900..=4_200_000).contains(&beside_us), "{beside_us}");
}

#[test]
fn one_that_waited_ends_when_it_was_removed() {
    let root = tempfile::tempdir().unwrap();
    let mut driver = crowd(root.path(), 20, 20);
    use_up_readings(&mut driver);
    put(root.path(), "docker", 405_000, 1);
    remove(&mut driver, root.path(), 7);
    let removed_by = SystemTime::now();
    while SystemTime::now() <= removed_by {}
    assert_eq!(driver.cpu(7), Some((20, None)));
    driver.balance_all();
    assert_eq!(driver.cpu(7), Some((25, Some(Quality::Residual))));
    assert!(driver.shown(7).unwrap().ended.unwrap().at <= removed_by);
}

#[test]
fn those_that_wait_when_their_pod_ends_are_in_its_last_record() {
    let root = tempfile::tempdir().unwrap();
    let mut driver = crowd(root.path(), 20, 20);
    use_up_readings(&mut driver);
    put(root.path(), "docker", 405_000, 1);
    remove(&mut driver, root.path(), 7);
    driver.pod_removed(&uid('a'));
    let pod = driver.reports.readings.snapshot().pods.pop().unwrap();
    let beside_us = pod.beside_cpu_ns.unwrap() / 1000;
    assert!(pod.gone && (404_999..=405_000).contains(&beside_us), "{beside_us}");
}

#[test]
fn what_was_used_beside_a_pod_is_a_counter_though_the_pod_was_not_selected_for_a_while() {
    let root = tempfile::tempdir().unwrap();
    let inventory = Inventory::with_api(SelfMetrics::new().unwrap());
    let mut driver = driver_with(root.path(), PLACES, inventory.clone());
    let select = |digit: char| {
        inventory.listed(&uid(digit));
        inventory.list_complete(&[uid(digit)].into(), Instant::now());
    };
    put(root.path(), "docker", 30_000, 1);
    put(root.path(), "poda", 0, 1);
    driver.pod_created(uid('a'), Path::new("poda"), Source::Inotify);
    driver.create(root.path(), 99, 'a', 0);
    for number in [1, 2, 3] {
        put(root.path(), &format!("docker/{number}"), 10_000, 1);
        driver.nested(&nested(number, 'a'), Source::Inotify);
    }
    remove(&mut driver, root.path(), 1);
    let beside_ms = |driver: &mut Driver| {
        driver.balance_all();
        driver
            .reports
            .readings
            .snapshot()
            .pods
            .pop()
            .map(|pod| pod.beside_cpu_ns.unwrap() / 1_000_000)
    };
    assert_eq!(beside_ms(&mut driver), Some(30));
    select('b');
    driver.all_due(Duration::from_secs(11));
    assert!(!driver.held.captures(&uid('a')));
    remove(&mut driver, root.path(), 2);
    put(root.path(), "docker/3", 15_000, 1);
    select('a');
    driver.all_due(Duration::from_mins(1));
    assert!(driver.held.captures(&uid('a')));
    assert_eq!(beside_ms(&mut driver), Some(35));
}
