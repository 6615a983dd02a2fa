//! Events in an order that the reader's tests cannot bring about.

use std::fs;

use ephemon_cgroup::Hierarchy;
use ephemon_cgroup::nested_name::Engine;
use ephemon_discovery::inventory::Inventory;
use ephemon_discovery::nested::NestedNames;
use ephemon_self_metrics::SelfMetrics;

use super::*;
use crate::population::Population;
use crate::readings::Readings;

fn driver(root: &Path) -> Driver {
    let inventory = Inventory::default();
    let names = NestedNames::new(root.to_owned(), root.join("proc"), inventory.clone());
    let self_metrics = SelfMetrics::new().unwrap();
    let hierarchy = Hierarchy::V2 { root: root.to_owned() };
    Driver {
        held: Held::new(hierarchy, Population::new(3, 2)),
        reports: Reports { readings: Readings::default(), inventory, self_metrics, names },
        poller: Poller::new().unwrap(),
        cadence: Cadence { steady: Duration::from_secs(1) },
        budget: Budget::new(1.0),
        epoch: Instant::now(),
        proc: root.join("proc"),
        networks_due: Vec::new(),
    }
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
    driver.balance_all();
    put("docker/x", 5_000, 0);
    driver.pod_removed(&uid);
    let pods = driver.reports.readings.snapshot().pods;
    assert_eq!((pods.len(), pods[0].gone), (1, true));
    assert_eq!(pods[0].beside_cpu_ns, Some(5_000_000));
}
