//! Pods whose processes are not in the groups of their containers.

use std::time::SystemTime;

use ephemon_contract::Limits;
use ephemon_discovery::inventory::{
    Asked, Evidence, EvidenceSource, Expected, Observation, SpecEntry,
};
use ephemon_model::ContainerType;

use super::*;

/// Longer than a start takes, by the container's clock.
const LATER: Duration = Duration::from_secs(2);

/// Numbers of no process of this machine.
const PROCS: &str = "2000000007\n2000000008\n";

/// Writes a group's files of version 1: its CPU time, and its processes.
fn put_v1(root: &Path, path: &str, usage_ns: u64, procs: &str) {
    let path = root.join("cpuacct").join(path);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("cpuacct.usage"), format!("{usage_ns}\n")).unwrap();
    fs::write(path.join("cgroup.procs"), procs).unwrap();
}

/// What the runtime says of a pod with a sandbox and a container that runs.
fn tell(inventory: &Inventory) {
    inventory.learn(Evidence::Sandbox { id: id(1), pod: Some(uid('a')) });
    let word = Observation {
        pod: Some(uid('a')),
        name: "job".into(),
        started: Some(SystemTime::now()),
        ..Observation::default()
    };
    inventory.learn(Evidence::Container { id: id(2), word, by: EvidenceSource::Cri });
}

fn kind(inventory: &Inventory, number: u32) -> ContainerType {
    inventory.container(&uid('a'), &id(number)).unwrap().container_type
}

/// As gVisor does: the sandbox's processes are in the pod's group.
#[test]
fn on_version_1_the_sandbox_has_the_values_of_the_pods_group() {
    let root = tempfile::tempdir().unwrap();
    let inventory = Inventory::default();
    let mut driver = driver_with(root.path(), PLACES, inventory.clone());
    put_v1(root.path(), "poda", 5_000_000, PROCS);
    driver.held.hierarchy = Hierarchy::detect(root.path()).unwrap();
    driver.pod_created(uid('a'), Path::new("poda"), Source::Inotify);
    for number in [1, 2, 3] {
        let path = format!("poda/{number}");
        put_v1(root.path(), &path, 0, "");
        driver.created(&id(number), &uid('a'), Path::new(&path), Source::Inotify);
    }
    tell(&inventory);
    assert_eq!(kind(&inventory, 1), ContainerType::Sandbox);
    // One that is over before anybody knows: the pod's use is not its own.
    driver.removed(&id(3));
    assert_eq!(driver.cpu(3), None);

    driver.all_due(LATER);
    assert_eq!(driver.cpu(1), Some((5, None)));
    assert_eq!(kind(&inventory, 1), ContainerType::SharedSandbox);
    assert_eq!(driver.cpu(2), None, "it has no values");
    driver.removed(&id(2));
    assert_eq!(driver.cpu(2), None);

    put_v1(root.path(), "poda/4", 0, "");
    driver.created(&id(4), &uid('a'), Path::new("poda/4"), Source::Inotify);
    put_v1(root.path(), "poda", 9_000_000, PROCS);
    driver.removed(&id(4));
    assert_eq!(driver.cpu(4), None, "too short to tell, and not the one that used it");

    put_v1(root.path(), "poda", 11_000_000, "");
    driver.all_due(LATER * 2);
    driver.removed(&id(1));
    assert_eq!(driver.cpu(1), Some((11, Some(Quality::Exact))));
}

/// As gVisor does on version 2: the sandbox's processes are in its own group.
#[test]
fn groups_without_a_process_have_no_values_and_end_without_any() {
    let root = tempfile::tempdir().unwrap();
    let inventory = Inventory::default();
    let mut driver = driver_with(root.path(), PLACES, inventory.clone());
    put(root.path(), "poda", 5_000, 1);
    driver.pod_created(uid('a'), Path::new("poda"), Source::Inotify);
    driver.create(root.path(), 1, 'a', 5_000);
    put(root.path(), "poda/2", 0, 0);
    driver.created(&id(2), &uid('a'), Path::new("poda/2"), Source::Inotify);
    tell(&inventory);
    driver.all_due(LATER);
    assert_eq!(driver.cpu(1), Some((5, None)));
    assert_eq!(kind(&inventory, 1), ContainerType::SharedSandbox);
    assert_eq!(driver.cpu(2), None);

    // A process that was only late.
    put(root.path(), "poda/2", 3_000, 1);
    driver.all_due(LATER * 2);
    assert_eq!(driver.cpu(2), Some((3, None)));
    assert_eq!(kind(&inventory, 1), ContainerType::Sandbox);
}

/// As CRI-O does: the group of the sandbox has no process, those of the containers do.
#[test]
fn a_sandbox_without_processes_is_not_shown_and_its_containers_are() {
    let root = tempfile::tempdir().unwrap();
    let inventory = Inventory::default();
    let mut driver = driver_with(root.path(), PLACES, inventory.clone());
    put(root.path(), "poda", 0, 1);
    driver.pod_created(uid('a'), Path::new("poda"), Source::Inotify);
    put(root.path(), "poda/1", 0, 0);
    driver.created(&id(1), &uid('a'), Path::new("poda/1"), Source::Inotify);
    driver.create(root.path(), 2, 'a', 4_000);
    tell(&inventory);
    driver.all_due(LATER);
    assert_eq!(kind(&inventory, 1), ContainerType::Sandbox);
    assert_eq!((driver.cpu(1), driver.cpu(2)), (None, Some((4, None))));
    // Too short to be seen running: its use is what the pod has in addition.
    put(root.path(), "poda/3", 0, 0);
    driver.created(&id(3), &uid('a'), Path::new("poda/3"), Source::Inotify);
    put(root.path(), "poda", 9_000, 1);
    driver.removed(&id(3));
    assert_eq!(driver.cpu(3), Some((5, Some(Quality::Residual))));
    // What was late, and over before the next look, is in the pod's use only.
    put(root.path(), "poda/4", 0, 0);
    driver.created(&id(4), &uid('a'), Path::new("poda/4"), Source::Inotify);
    driver.all_due(LATER);
    assert_eq!(driver.cpu(4), None);
    put(root.path(), "poda", 16_000, 1);
    driver.removed(&id(4));
    assert_eq!(driver.cpu(4), Some((7, Some(Quality::Residual))));
    // One that never had a process leaves nothing, nor does the sandbox.
    put(root.path(), "poda/5", 0, 0);
    driver.created(&id(5), &uid('a'), Path::new("poda/5"), Source::Inotify);
    driver.all_due(LATER);
    driver.removed(&id(5));
    put(root.path(), "poda", 20_000, 1);
    driver.removed(&id(1));
    assert_eq!((driver.cpu(5), driver.cpu(1)), (None, None));
}

/// One that has begun since the last look has used what is read of it, and another's use is the rest.
#[test]
fn a_late_process_keeps_its_use_when_another_container_is_missed() {
    let root = tempfile::tempdir().unwrap();
    let mut driver = driver(root.path());
    put(root.path(), "poda", 0, 1);
    driver.pod_created(uid('a'), Path::new("poda"), Source::Inotify);
    driver.create(root.path(), 1, 'a', 0);
    driver.create(root.path(), 2, 'a', 1_000);
    put(root.path(), "poda/3", 0, 0);
    driver.created(&id(3), &uid('a'), Path::new("poda/3"), Source::Inotify);
    driver.all_due(LATER);
    put(root.path(), "poda/3", 6_000, 1);
    put(root.path(), "poda", 9_000, 1);
    driver.removed(&id(2));
    assert_eq!(driver.cpu(2), Some((3, Some(Quality::Residual))));
}

/// The kernel does not keep when a group was made: after a start of the agent the sandbox's may look
/// newer than those of the containers.
#[test]
fn a_sandbox_that_is_not_the_oldest_is_known_by_the_names_of_the_others() {
    let root = tempfile::tempdir().unwrap();
    let inventory = Inventory::default();
    let mut driver = driver_with(root.path(), PLACES, inventory.clone());
    put(root.path(), "poda", 0, 1);
    driver.pod_created(uid('a'), Path::new("poda"), Source::Inotify);
    driver.create(root.path(), 2, 'a', 4_000);
    put(root.path(), "poda/1", 0, 0);
    driver.created(&id(1), &uid('a'), Path::new("poda/1"), Source::Inotify);
    tell(&inventory);
    driver.all_due(LATER);
    put(root.path(), "poda/3", 0, 0);
    driver.created(&id(3), &uid('a'), Path::new("poda/3"), Source::Inotify);
    put(root.path(), "poda", 9_000, 1);
    driver.removed(&id(3));
    assert_eq!(driver.cpu(3), Some((5, Some(Quality::Residual))));
}

#[test]
fn on_version_1_a_container_that_looks_oldest_does_not_have_the_values_of_the_pods_group() {
    let root = tempfile::tempdir().unwrap();
    let inventory = Inventory::default();
    let mut driver = driver_with(root.path(), PLACES, inventory.clone());
    put_v1(root.path(), "poda", 5_000_000, PROCS);
    driver.held.hierarchy = Hierarchy::detect(root.path()).unwrap();
    driver.pod_created(uid('a'), Path::new("poda"), Source::Inotify);
    tell(&inventory);
    for number in [2, 1] {
        let path = format!("poda/{number}");
        put_v1(root.path(), &path, 0, "");
        driver.created(&id(number), &uid('a'), Path::new(&path), Source::Inotify);
    }
    driver.all_due(LATER);
    assert_eq!((driver.cpu(1), driver.cpu(2)), (Some((5, None)), None));
}

/// As on a node where the agent was started after the pod.
#[test]
fn the_accounts_of_a_pod_that_its_sandbox_stands_for_balance() {
    let root = tempfile::tempdir().unwrap();
    let inventory = Inventory::default();
    let mut driver = driver_with(root.path(), PLACES, inventory.clone());
    put_v1(root.path(), "poda", 500_000_000, PROCS);
    driver.held.hierarchy = Hierarchy::detect(root.path()).unwrap();
    driver.pod_created(uid('a'), Path::new("poda"), Source::Startup);
    for number in [1, 2] {
        let path = format!("poda/{number}");
        put_v1(root.path(), &path, 0, "");
        driver.created(&id(number), &uid('a'), Path::new(&path), Source::Startup);
    }
    tell(&inventory);
    driver.balance_all();
    driver.all_due(LATER);
    put_v1(root.path(), "poda", 900_000_000, PROCS);
    driver.all_due(LATER * 2);
    driver.balance_all();
    let pod = driver.reports.readings.snapshot().pods.pop().unwrap();
    assert!(pod.accounting_error.is_some_and(|error| error < 0.01), "{:?}", pod.accounting_error);
}

/// The group beside which the pod's next container will be is never the pod's own.
#[test]
fn a_sandbox_whose_processes_come_late_to_the_pods_group_keeps_its_own_path() {
    let root = tempfile::tempdir().unwrap();
    let inventory = Inventory::default();
    let mut driver = driver_with(root.path(), PLACES, inventory.clone());
    for path in ["poda", "poda/1"] {
        put_v1(root.path(), path, 0, "");
    }
    driver.held.hierarchy = Hierarchy::detect(root.path()).unwrap();
    driver.pod_created(uid('a'), Path::new("poda"), Source::Inotify);
    driver.created(&id(1), &uid('a'), Path::new("poda/1"), Source::Inotify);
    let limits = Limits { pids: Some(64), ..Limits::default() };
    let entry = SpecEntry {
        name: "job".into(),
        container_type: ContainerType::Ephemeral,
        image: None,
        limits: Some(Ok(limits)),
        wants_init: false,
        job: None,
    };
    inventory.learn(Evidence::Spec { pod: uid('a'), entries: vec![entry] });
    let beside = || match inventory.expected(&uid('a'), "job") {
        Expected::Asks(Asked { limits: Some((_, beside)), .. }) => Some(beside),
        _ => None,
    };
    assert_eq!(beside().as_deref(), Some(Path::new("poda/1")));
    driver.all_due(LATER);
    assert_eq!(beside(), None, "it has no process");

    put_v1(root.path(), "poda", 5_000_000, PROCS);
    driver.all_due(LATER * 2);
    assert_eq!(driver.cpu(1), Some((5, None)));
    assert_ne!(beside().as_deref(), Some(Path::new("poda")));
}
