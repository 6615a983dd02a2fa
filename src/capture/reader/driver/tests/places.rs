//! Places of nested containers on a node on which all are taken.

use super::*;

#[test]
fn a_pod_that_has_its_share_takes_no_other_pods_place() {
    let root = tempfile::tempdir().unwrap();
    let inventory = Inventory::with_api(SelfMetrics::new().unwrap());
    let places = Places { own: 9, nested: 64 };
    let mut driver = driver_with(root.path(), places, inventory.clone());
    let add = |driver: &mut Driver, number: u32, pod: char| {
        put(root.path(), &format!("docker/{number}"), 1_000, 1);
        driver.nested(&nested(number, pod), Source::Inotify);
    };
    for (number, pod) in (0..).zip(['a', 'b', 'c', 'd']) {
        put(root.path(), &format!("pod{pod}"), 0, 1);
        driver.pod_created(uid(pod), Path::new(&format!("pod{pod}")), Source::Inotify);
        driver.create(root.path(), 1000 + number, pod, 0);
        (1..=16).for_each(|each| add(&mut driver, number * 16 + each, pod));
    }
    inventory.listed(&uid('a'));
    inventory.list_complete(&[uid('a')].into(), Instant::now());
    assert!(driver.held.population.is_full(Kind::Nested));
    add(&mut driver, 65, 'a');
    assert_eq!(driver.cpu(65), None);
    assert!(driver.held.population.is_full(Kind::Nested), "another pod's place is free for nobody");
}
