//! A container of which nothing is known yet when another of its pod ends.

use super::*;

const HELD: u32 = 1;
const UNHELD: u32 = 2;

fn path(number: u32) -> String {
    format!("poda/{number:064x}")
}

fn create(driver: &mut Driver, number: u32) {
    driver.created(&id(number), &uid('a'), Path::new(&path(number)), Source::Inotify);
}

fn end(driver: &mut Driver, root: &Path, number: u32, used_us: u64) {
    put(root, &path(number), used_us, 0);
    let key = driver.held.population.key(&id(number)).unwrap();
    driver.changed(key, Instant::now());
    remove(driver, root, number);
}

fn remove(driver: &mut Driver, root: &Path, number: u32) {
    let group = root.join(path(number));
    // An open file of a removed group has nothing to read.
    fs::write(group.join("cpu.stat"), "").unwrap();
    fs::remove_dir_all(group).unwrap();
    driver.removed(&id(number));
}

fn accounting_error(driver: &Driver) -> f64 {
    driver.reports.readings.snapshot().pods.pop().unwrap().accounting_error.unwrap()
}

/// A pod with one container of 100 ms, of which 5 ms are not in its last sample, and one of 60 ms that is not
/// held.
fn pod(root: &Path) -> Driver {
    let mut driver = driver(root);
    put(root, "poda", 0, 1);
    driver.pod_created(uid('a'), Path::new("poda"), Source::Inotify);
    put(root, &path(HELD), 95_000, 1);
    create(&mut driver, HELD);
    put(root, &path(UNHELD), 60_000, 1);
    put(root, "poda", 160_000, 1);
    driver
}

/// It ends with 70 ms.
fn end_unheld(driver: &mut Driver, root: &Path) {
    create(driver, UNHELD);
    put(root, "poda", 170_000, 1);
    end(driver, root, UNHELD, 70_000);
    assert_eq!(driver.cpu(UNHELD), Some((70, Some(Quality::Exact))));
    driver.balance_all();
    assert!(accounting_error(driver) < 0.001, "{}", accounting_error(driver));
}

#[test]
fn what_it_has_used_is_not_that_of_one_that_was_read_to_its_end() {
    let root = tempfile::tempdir().unwrap();
    let mut driver = pod(root.path());
    end(&mut driver, root.path(), HELD, 100_000);
    assert_eq!(driver.cpu(HELD), Some((100, Some(Quality::Exact))));
    end_unheld(&mut driver, root.path());
}

#[test]
fn what_it_has_used_is_not_the_remainder_of_one_whose_end_was_missed() {
    let root = tempfile::tempdir().unwrap();
    let mut driver = pod(root.path());
    remove(&mut driver, root.path(), HELD);
    assert_eq!(driver.cpu(HELD), Some((100, Some(Quality::Residual))));
    assert!(accounting_error(&driver) < 0.001, "{}", accounting_error(&driver));
    end_unheld(&mut driver, root.path());
}

/// An agent that was started while the pod was there: what was used before is nobody's.
#[test]
fn what_it_had_used_when_the_pods_baseline_was_set_is_still_its_own() {
    let root = tempfile::tempdir().unwrap();
    let mut driver = driver(root.path());
    put(root.path(), "poda", 400_000, 1);
    driver.pod_created(uid('a'), Path::new("poda"), Source::Startup);
    put(root.path(), &path(HELD), 95_000, 1);
    create(&mut driver, HELD);
    put(root.path(), &path(UNHELD), 60_000, 1);
    driver.balance_all();
    put(root.path(), &path(UNHELD), 65_000, 1);
    put(root.path(), "poda", 410_000, 1);
    remove(&mut driver, root.path(), HELD);
    assert_eq!(driver.cpu(HELD), Some((100, Some(Quality::Residual))));
    create(&mut driver, UNHELD);
    put(root.path(), "poda", 415_000, 1);
    end(&mut driver, root.path(), UNHELD, 70_000);
    assert_eq!(driver.cpu(UNHELD), Some((70, Some(Quality::Exact))));
    driver.balance_all();
    assert!(accounting_error(&driver) < 0.001, "{}", accounting_error(&driver));
}

#[test]
fn what_it_has_used_is_no_error_of_the_pods_accounting() {
    let root = tempfile::tempdir().unwrap();
    let mut driver = pod(root.path());
    put(root.path(), &path(HELD), 100_000, 1);
    driver.balance_all();
    assert!(accounting_error(&driver) < 0.001, "{}", accounting_error(&driver));
}

/// So many are known that it is none of them: it is not said to be anybody's, and not hidden either.
#[test]
fn what_one_that_was_refused_has_used_is_an_error_of_the_pods_accounting() {
    let root = tempfile::tempdir().unwrap();
    let mut driver = pod(root.path());
    put(root.path(), &path(HELD), 100_000, 1);
    driver.balance_all();
    assert!(accounting_error(&driver) < 0.001, "it may be handled in a moment");
    let is_refused = |driver: &Driver, number| driver.held.population.key(&id(number)).is_none();
    let refused = (100..1000).find(|number| {
        driver.create(root.path(), *number, 'b', 0);
        is_refused(&driver, *number)
    });
    assert!(refused.is_some(), "there is a bound");
    create(&mut driver, UNHELD);
    assert!(is_refused(&driver, UNHELD));
    driver.balance_all();
    let shown = driver.reports.readings.snapshot().pods;
    let errors = shown.iter().filter(|pod| pod.pod == uid('a')).map(|pod| pod.accounting_error);
    // 60 of 160 ms.
    assert_eq!(errors.collect::<Vec<_>>(), [Some(0.375)]);
}
