//! Pods whose processes are not in the groups of their containers.

mod stand_in;

use std::time::SystemTime;

use ephemon_discovery::inventory::{Evidence, EvidenceSource, Observation};
use ephemon_model::ContainerType;

use super::*;

/// Longer than a start takes, by the container's clock.
const LATER: Duration = Duration::from_secs(2);

/// Numbers of no process of this machine.
const PROCS: &str = "2000000007\n2000000008\n";

/// One pod, whose containers' groups the test adds.
struct Rig {
    root: tempfile::TempDir,
    inventory: Inventory,
    driver: Driver,
    /// How the agent finds the pod and its containers.
    source: Source,
    later: Duration,
}

impl Rig {
    /// On version 2, a pod that has used so much CPU time.
    fn v2(source: Source, ms: u64) -> Self {
        let root = tempfile::tempdir().unwrap();
        let hierarchy = Hierarchy::V2 { root: root.path().to_owned() };
        Self::new(root, hierarchy, source, ms)
    }

    /// The same on version 1, where its processes are in the pod's own group.
    fn v1(source: Source, ms: u64) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("cpuacct")).unwrap();
        let hierarchy = Hierarchy::detect(root.path()).unwrap();
        Self::new(root, hierarchy, source, ms)
    }

    fn new(root: tempfile::TempDir, hierarchy: Hierarchy, source: Source, ms: u64) -> Self {
        let inventory = Inventory::default();
        let mut driver = driver_with(root.path(), PLACES, inventory.clone());
        driver.held.hierarchy = hierarchy;
        let mut rig = Self { root, inventory, driver, source, later: Duration::ZERO };
        rig.pod(ms, true);
        rig.driver.pod_created(uid('a'), Path::new("poda"), source);
        rig
    }

    /// Writes the files of the pod's group: its CPU time, and whether it has processes.
    fn pod(&self, ms: u64, has_processes: bool) {
        self.put("poda", ms, has_processes);
    }

    /// The same of a container's group.
    fn group(&self, number: u32, ms: u64, has_processes: bool) {
        self.put(&format!("poda/{number}"), ms, has_processes);
    }

    fn put(&self, path: &str, ms: u64, has_processes: bool) {
        if self.driver.held.hierarchy.has_events() {
            return put(self.root.path(), path, ms * 1_000, has_processes.into());
        }
        let path = self.root.path().join("cpuacct").join(path);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("cpuacct.usage"), format!("{}\n", ms * 1_000_000)).unwrap();
        fs::write(path.join("cgroup.procs"), if has_processes { PROCS } else { "" }).unwrap();
    }

    /// A container's group was made.
    fn add(&mut self, number: u32, ms: u64, has_processes: bool) {
        self.group(number, ms, has_processes);
        let path = format!("poda/{number}");
        self.driver.created(&id(number), &uid('a'), Path::new(&path), self.source);
    }

    /// A container's group was removed: nothing of it can be read, while a plain file that is open could.
    fn unlink(&mut self, number: u32) {
        let key = self.key(number);
        self.driver.held.containers.get_mut(&key).unwrap().close();
    }

    fn key(&self, number: u32) -> u64 {
        self.driver.held.population.key(&id(number)).unwrap()
    }

    fn removed(&mut self, number: u32) {
        self.driver.removed(&id(number));
    }

    /// The time of every container's timer has come, and each has had time to start.
    fn due(&mut self) {
        self.later += LATER;
        self.driver.all_due(self.later);
    }

    /// The runtime names the pod's sandbox, and a container that runs.
    fn tell(&self) {
        self.tell_sandbox();
        self.tell_job();
    }

    fn tell_sandbox(&self) {
        self.inventory.learn(Evidence::Sandbox { id: id(1), pod: Some(uid('a')) });
    }

    fn tell_job(&self) {
        let word = Observation {
            pod: Some(uid('a')),
            name: "job".into(),
            started: Some(SystemTime::now()),
            ..Observation::default()
        };
        self.inventory.learn(Evidence::Container { id: id(2), word, by: EvidenceSource::Cri });
    }

    fn cpu(&self, number: u32) -> Option<(u64, Option<Quality>)> {
        self.driver.cpu(number)
    }

    fn kind(&self, number: u32) -> ContainerType {
        self.inventory.container(&uid('a'), &id(number)).unwrap().container_type
    }
}

/// As gVisor does on version 2: the sandbox's processes are in its own group.
#[test]
fn groups_without_a_process_have_no_values_and_end_without_any() {
    let mut rig = Rig::v2(Source::Inotify, 5);
    rig.add(1, 5, true);
    rig.add(2, 0, false);
    rig.tell();
    rig.due();
    assert_eq!(rig.cpu(1), Some((5, None)));
    assert_eq!(rig.kind(1), ContainerType::SharedSandbox);
    assert_eq!(rig.cpu(2), None);

    // A process that was only late.
    rig.group(2, 3, true);
    rig.due();
    assert_eq!(rig.cpu(2), Some((3, None)));
    assert_eq!(rig.kind(1), ContainerType::Sandbox);
}

/// As CRI-O does: the group of the sandbox has no process, those of the containers do.
#[test]
fn a_sandbox_without_processes_is_not_shown_and_its_containers_are() {
    let mut rig = Rig::v2(Source::Inotify, 0);
    rig.add(1, 0, false);
    rig.add(2, 4, true);
    rig.tell();
    rig.due();
    assert_eq!(rig.kind(1), ContainerType::Sandbox);
    assert_eq!((rig.cpu(1), rig.cpu(2)), (None, Some((4, None))));
    // Too short to be seen running: its use is what the pod has in addition.
    rig.add(3, 0, false);
    rig.pod(9, true);
    rig.removed(3);
    assert_eq!(rig.cpu(3), Some((5, Some(Quality::Residual))));
    // What was late, and over before the next look, is in the pod's use only.
    rig.add(4, 0, false);
    rig.due();
    assert_eq!(rig.cpu(4), None);
    rig.pod(16, true);
    rig.removed(4);
    assert_eq!(rig.cpu(4), Some((7, Some(Quality::Residual))));
    // One that never had a process leaves nothing, nor does the sandbox.
    rig.add(5, 0, false);
    rig.due();
    rig.removed(5);
    rig.pod(20, true);
    rig.removed(1);
    assert_eq!((rig.cpu(5), rig.cpu(1)), (None, None));
}

/// Both groups are gone when the agent reads of the first removal.
#[test]
fn a_sandbox_without_processes_that_is_gone_keeps_no_container_from_its_last_correction() {
    // One that runs, or that is for a process, has used nobody knows what since it was read: its own removal
    // tells.
    let (corrected, left) = ((11, Some(Quality::Residual)), (4, Some(Quality::Exact)));
    for (gone, (used, runs), last) in
        [(1, (6, true), corrected), (3, (6, true), left), (3, (0, false), left)]
    {
        let mut rig = Rig::v2(Source::Inotify, 0);
        rig.add(1, 0, false);
        rig.add(2, 4, true);
        rig.add(3, used, runs);
        rig.tell();
        rig.due();
        rig.group(2, 4, false);
        rig.due();
        rig.pod(17, true);
        rig.unlink(gone);
        rig.removed(2);
        assert_eq!(rig.cpu(2), Some(last), "{gone} is gone, it runs: {runs}");
    }
}

/// One that has begun since the last look has used what is read of it, and another's use is the rest.
#[test]
fn a_late_process_keeps_its_use_when_another_container_is_missed() {
    let mut rig = Rig::v2(Source::Inotify, 0);
    rig.add(1, 0, true);
    rig.add(2, 1, true);
    rig.add(3, 0, false);
    rig.due();
    rig.group(3, 6, true);
    rig.pod(9, true);
    rig.removed(2);
    assert_eq!(rig.cpu(2), Some((3, Some(Quality::Residual))));
}

/// It was over before the next look, and its last use is what was read for the pod's accounts.
#[test]
fn a_late_process_that_was_read_and_never_seen_keeps_its_use() {
    let mut rig = Rig::v2(Source::Inotify, 0);
    rig.add(1, 0, true);
    rig.add(2, 0, false);
    rig.add(3, 0, false);
    rig.due();
    rig.group(2, 6, true);
    rig.pod(6, true);
    rig.driver.balance_all();
    rig.unlink(2);
    rig.removed(2);
    assert_eq!(rig.cpu(2), Some((6, Some(Quality::Residual))));
}

/// The kernel does not keep when a group was made: after a start of the agent the sandbox's may look
/// newer than those of the containers.
#[test]
fn a_sandbox_that_is_not_the_oldest_is_known_by_the_names_of_the_others() {
    let mut rig = Rig::v2(Source::Inotify, 0);
    rig.add(2, 4, true);
    rig.add(1, 0, false);
    rig.tell();
    rig.due();
    rig.add(3, 0, false);
    rig.pod(9, true);
    rig.removed(3);
    assert_eq!(rig.cpu(3), Some((5, Some(Quality::Residual))));
}

/// The pod may have used more than anybody accounts for; that is not the sandbox's.
#[test]
fn a_sandbox_without_processes_leaves_nothing_after_a_start_of_the_agent_either() {
    for tell in [Rig::tell, Rig::tell_sandbox, Rig::tell_job] {
        let mut rig = Rig::v2(Source::Startup, 4);
        rig.add(2, 4, true);
        rig.add(1, 0, false);
        tell(&rig);
        rig.due();
        rig.driver.balance_all();
        rig.pod(20, true);
        rig.removed(1);
        assert_eq!((rig.cpu(1), rig.cpu(2)), (None, Some((4, None))));
    }
}
