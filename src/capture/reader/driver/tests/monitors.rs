//! podman's monitors beside pods.

use super::*;

/// A container that podman in a pod's container has made beside the pods.
fn podmans(number: u32, pod: char) -> NestedGroup {
    NestedGroup {
        path: PathBuf::from(format!("libpod_parent/libpod-{number}")),
        engine: Engine::Podman,
        engines_directory: Some(PathBuf::from("libpod_parent")),
        ..nested(number, pod)
    }
}

impl Driver {
    fn beside_ms(&mut self, pod: char) -> u64 {
        self.balance_all();
        let pods = self.reports.readings.snapshot().pods;
        let record = pods.into_iter().find(|record| record.pod == uid(pod)).unwrap();
        record.beside_cpu_ns.unwrap() / 1_000_000
    }

    fn run_beside(&mut self, root: &Path, number: u32, pod: char) {
        put(root, &format!("libpod_parent/libpod-{number}"), 20_000, 1);
        self.nested(&podmans(number, pod), Source::Inotify);
    }

    fn end_beside(&mut self, root: &Path, number: u32) {
        let group = root.join(format!("libpod_parent/libpod-{number}"));
        fs::write(group.join("cgroup.events"), "populated 0\n").unwrap();
        let key = self.held.population.key(&id(number)).unwrap();
        self.changed(key, Instant::now());
        fs::remove_dir_all(group).unwrap();
        self.removed(&id(number));
    }
}

#[test]
fn what_podmans_monitors_use_is_that_of_the_pods_whose_containers_they_watch() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let mut driver = driver_with(root, Places { own: 3, nested: 8 }, Inventory::default());
    for (pod, number) in [('a', 90), ('b', 91)] {
        put(root, &format!("pod{pod}"), 100_000, 1);
        driver.pod_created(uid(pod), Path::new(&format!("pod{pod}")), Source::Inotify);
        driver.create(root, number, pod, 100_000);
    }
    let monitors = |used_us| put(root, "libpod_parent/conmon", used_us, 1);
    put(root, "libpod_parent", 0, 1);
    monitors(8_000);
    driver.held.monitors.add("libpod_parent/conmon".into(), true);
    driver.run_beside(root, 1, 'a');
    assert_eq!(driver.beside_ms('a'), 28);

    // One of the other pod comes and goes between two readings.
    driver.run_beside(root, 2, 'b');
    driver.end_beside(root, 2);
    monitors(18_000);
    assert_eq!((driver.beside_ms('a'), driver.beside_ms('b')), (33, 25));

    // The containers' own are not counted twice, and the monitors of the last one clean up after it.
    driver.end_beside(root, 1);
    assert_eq!(driver.beside_ms('a'), 33);
    monitors(20_000);
    assert_eq!((driver.beside_ms('a'), driver.beside_ms('b')), (35, 25));

    // They are in the last record of a pod.
    driver.run_beside(root, 3, 'a');
    monitors(27_000);
    driver.pod_removed(&uid('a'));
    let pods = driver.reports.readings.snapshot().pods;
    let last = pods.into_iter().find(|record| record.pod == uid('a')).unwrap();
    assert_eq!((last.gone, last.beside_cpu_ns.unwrap() / 1_000_000), (true, 62));
}
