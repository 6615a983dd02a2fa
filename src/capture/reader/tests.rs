//! The reader on a tree of plain files in version 2's formats: inotify works as on cgroups, and the
//! test plays the kernel. Real kernels are used in `tests/it`.

mod accesses;

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::time::SystemTime;

use ephemon_model::{ContainerId, Quality};

use self::accesses::Accesses;
use super::*;
use crate::population::Admission;
use crate::readings::Record;

const UID: &str = "0e269fa4-f505-4963-9096-958063077203";
const PATIENCE: Duration = Duration::from_mins(1);

struct Rig {
    node: tempfile::TempDir,
    readings: Readings,
    self_metrics: SelfMetrics,
    capture: Option<CaptureHandle>,
}

fn id(digit: char) -> ContainerId {
    ContainerId::parse(&digit.to_string().repeat(64)).unwrap()
}

impl Rig {
    fn new() -> Self {
        let node = tempfile::tempdir().unwrap();
        let kubepods = node.path().join("sys/fs/cgroup/kubepods/burstable");
        fs::create_dir_all(kubepods).unwrap();
        fs::write(node.path().join("sys/fs/cgroup/cgroup.controllers"), "cpu memory\n").unwrap();
        Self {
            node,
            readings: Readings::default(),
            self_metrics: SelfMetrics::new().unwrap(),
            capture: None,
        }
    }

    fn start(&mut self) {
        let options = Options {
            node: NodeRoot::new(self.node.path()),
            kubepods: None,
            sample_interval: Duration::from_secs(1),
            sample_budget: 1.0,
            max_containers: 3,
            max_nested: 3,
            heartbeat: Heartbeat::default(),
        };
        let inventory = Inventory::default();
        let capture =
            start(options, self.readings.clone(), inventory, self.self_metrics.clone()).unwrap();
        until(|| capture.walked().borrow().then_some(()));
        self.capture = Some(capture);
    }

    fn pod(&self) -> PathBuf {
        self.node.path().join("sys/fs/cgroup/kubepods/burstable").join(format!("pod{UID}"))
    }

    fn write(path: &std::path::Path, usage_us: u64, populated: u8) {
        fs::create_dir_all(path).unwrap();
        let put = |name: &str, text: String| {
            let mut options = fs::File::options();
            let file = options.write(true).create(true).truncate(false).open(path.join(name));
            file.unwrap().write_at(text.as_bytes(), 0).unwrap();
        };
        put("cpu.stat", format!("usage_usec {usage_us:010}\nuser_usec 0\nsystem_usec 0\n"));
        put("cgroup.events", format!("populated {populated}\nfrozen 0\n"));
        // Last: until the group is empty a reading is one of a container that runs.
        put("memory.current", format!("{:010}\n", 4096 * u64::from(populated)));
    }

    fn pod_uses(&self, usage_us: u64) {
        Self::write(&self.pod(), usage_us, 1);
    }

    fn container_uses(&self, digit: char, usage_us: u64, populated: u8) {
        // The directory appears with its files, as in the kernel.
        let made = self.node.path().join(format!("made-{digit}"));
        let path = self.pod().join(id(digit).as_str());
        if path.exists() {
            Self::write(&path, usage_us, populated);
        } else {
            Self::write(&made, usage_us, populated);
            fs::rename(made, path).unwrap();
        }
    }

    /// The container's last process ends, and the agent reads what it has used.
    fn ends(&self, digit: char, usage_us: u64) {
        let mut accesses = Accesses::of(&self.pod().join(id(digit).as_str()));
        self.container_uses(digit, usage_us, 0);
        until(|| accesses.show_final_reading().then_some(()));
    }

    /// The files are unlinked and the directory is removed; an open descriptor would still read
    /// them, so they are emptied first, which gives no value, like `ENODEV`.
    fn remove(&self, digit: char) {
        fs::remove_dir_all(self.pod().join(id(digit).as_str())).unwrap();
    }

    fn record(&self, digit: char) -> Option<Arc<Record>> {
        self.readings.snapshot().containers.into_iter().find(|record| record.id == id(digit))
    }

    fn ended(&self, digit: char) -> Arc<Record> {
        until(|| self.record(digit).filter(|record| record.ended.is_some()))
    }
}

fn until<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "nothing came of it");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_final_read_while_empty_is_exact_and_keeps_the_living_gauges() {
    let mut rig = Rig::new();
    rig.pod_uses(0);
    rig.start();
    rig.container_uses('a', 1_000, 1);
    until(|| rig.record('a').filter(|record| record.usage.memory.usage_bytes == Some(4096)));
    rig.ends('a', 52_000);
    let shown = || rig.record('a').map(|record| record.usage.cpu.usage_ns);
    rig.remove('a');
    let record = rig.ended('a');
    assert_eq!(record.ended.as_ref().unwrap().quality, Quality::Exact);
    assert_eq!(shown(), Some(Some(52_000_000)));
    assert_eq!(record.usage.memory.usage_bytes, Some(4096));
}

#[test]
fn what_was_charged_after_the_final_reading_is_found_in_the_pod() {
    let mut rig = Rig::new();
    rig.pod_uses(0);
    rig.start();
    for (digit, late_us, quality) in [('a', 500, Quality::Exact), ('b', 40_000, Quality::Residual)]
    {
        let before = if digit == 'a' { 0 } else { 52_500 };
        rig.container_uses(digit, 1_000, 1);
        until(|| rig.record(digit));
        rig.ends(digit, 52_000);
        rig.pod_uses(before + 52_000 + late_us);
        rig.remove(digit);
        let record = rig.ended(digit);
        assert_eq!(record.ended.as_ref().unwrap().quality, quality);
        assert_eq!(record.usage.cpu.usage_ns, Some((52_000 + late_us) * 1000));
    }
}

#[test]
fn what_a_final_missed_is_found_in_the_pod() {
    let mut rig = Rig::new();
    rig.pod_uses(0);
    rig.start();
    rig.container_uses('a', 1_000, 1);
    until(|| rig.record('a').filter(|record| record.usage.cpu.usage_ns == Some(1_000_000)));
    rig.pod_uses(300_000);
    rig.remove('a');
    let record = rig.ended('a');
    assert_eq!(record.ended.as_ref().unwrap().quality, Quality::Residual);
    assert_eq!(record.usage.cpu.usage_ns, Some(300_000_000));
}

#[test]
fn the_living_are_left_out_of_what_the_dead_get() {
    let mut rig = Rig::new();
    rig.pod_uses(0);
    rig.start();
    rig.container_uses('a', 1_000, 1);
    rig.container_uses('b', 50_000, 1);
    until(|| rig.record('a').and(rig.record('b')));
    rig.container_uses('b', 90_000, 1);
    rig.pod_uses(300_000);
    rig.remove('a');
    let record = rig.ended('a');
    assert_eq!(record.usage.cpu.usage_ns, Some(210_000_000));
    assert!(rig.record('b').unwrap().ended.is_none());
}

#[test]
fn what_ran_before_the_agent_is_nobodys() {
    let mut rig = Rig::new();
    rig.pod_uses(5_000_000);
    rig.container_uses('a', 1_000_000, 1);
    rig.start();
    until(|| rig.record('a'));
    until(|| (!rig.readings.snapshot().pods.is_empty()).then_some(()));
    rig.pod_uses(5_500_000);
    rig.remove('a');
    assert_eq!(rig.ended('a').usage.cpu.usage_ns, Some(1_500_000_000));
}

#[test]
fn a_group_that_stays_empty_is_over_and_one_that_fills_again_is_not() {
    let mut rig = Rig::new();
    rig.pod_uses(0);
    rig.start();
    rig.container_uses('a', 1_000, 1);
    until(|| rig.record('a'));
    rig.container_uses('a', 2_000, 0);
    rig.ended('a');
    rig.container_uses('a', 3_000, 1);
    until(|| rig.record('a').filter(|record| record.ended.is_none()));
    rig.container_uses('a', 9_000, 0);
    let record = rig.ended('a');
    assert_eq!(record.usage.cpu.usage_ns, Some(9_000_000));
}

#[test]
fn a_group_that_is_renamed_away_is_gone_and_one_of_the_same_id_begins_anew() {
    let mut rig = Rig::new();
    rig.pod_uses(0);
    rig.start();
    rig.container_uses('a', 1_000, 1);
    until(|| rig.record('a'));
    let (path, away) = (rig.pod().join(id('a').as_str()), rig.node.path().join("away"));
    rig.pod_uses(1_000);
    fs::rename(&path, &away).unwrap();
    rig.ended('a');
    fs::rename(&away, &path).unwrap();
    until(|| rig.record('a').filter(|record| record.ended.is_none()));
    rig.container_uses('a', 5_000, 0);
    let record = rig.ended('a');
    assert_eq!(record.usage.cpu.usage_ns, Some(5_000_000));
}

#[test]
fn of_a_pod_that_is_gone_first_the_last_sample_stands() {
    let rig = Rig::new();
    rig.pod_uses(300_000);
    rig.container_uses('a', 1_000, 1);
    let root = rig.node.path().join("sys/fs/cgroup");
    let path = rig.pod().join(id('a').as_str());
    let path = path.strip_prefix(&root).unwrap().to_owned();
    let places = Places { own: 1, nested: 0 };
    let mut held = Held::new(Hierarchy::V2 { root }, Population::new(places, FIRST_KEY));
    let pod = ephemon_model::PodUid::parse(UID).unwrap();
    let now = Instant::now();
    let admitted = held.admit(&id('a'), &pod, &path, SystemTime::now(), now);
    assert_eq!(admitted, Admission::Admitted(FIRST_KEY));
    held.open(FIRST_KEY);
    let mut container = held.remove(&id('a')).unwrap();
    container.sample(now, &mut Vec::new());
    let closed = held.close_missed(container);
    let over: Vec<_> = closed.finals.iter().map(|over| over.quality).collect();
    assert_eq!(over, [Quality::LastSample]);
    assert_eq!(closed.finals[0].record.usage.cpu.usage_ns, Some(1_000_000));
}

#[test]
fn one_containers_garbage_costs_no_other_its_figures() {
    let mut rig = Rig::new();
    rig.pod_uses(0);
    rig.start();
    rig.container_uses('a', 1_000, 1);
    until(|| rig.record('a'));
    let broken = rig.pod().join(id('b').as_str());
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("cpu.stat"), b"usage_usec \xff\xff\n").unwrap();
    fs::write(broken.join("cgroup.events"), "populated maybe\n").unwrap();
    rig.ends('a', 7_000);
    rig.remove('a');
    assert_eq!(rig.ended('a').usage.cpu.usage_ns, Some(7_000_000));
    assert_eq!(rig.record('b').map(|record| record.usage.cpu.usage_ns), Some(None));
}

#[test]
fn a_birth_is_as_old_as_its_group_however_late_it_is_heard_of() {
    let mut rig = Rig::new();
    rig.pod_uses(0);
    rig.start();
    let ago = |seconds| SystemTime::now() - Duration::from_secs(seconds);
    let (late, set) = (ago(5), ago(3600));
    for (digit, made) in [('a', late), ('b', set)] {
        let path = rig.node.path().join(format!("made-{digit}"));
        Rig::write(&path, 1_000, 1);
        fs::File::open(&path).unwrap().set_modified(made).unwrap();
        fs::rename(path, rig.pod().join(id(digit).as_str())).unwrap();
    }
    let record = until(|| rig.record('a'));
    assert_eq!((record.created, record.is_birth_seen), (late, true));
    let created = until(|| rig.record('b')).created;
    assert!(created > late, "a time that no event waits for is not believed: {created:?}");
}

#[test]
fn beyond_the_cap_containers_are_counted_as_dropped() {
    let mut rig = Rig::new();
    rig.pod_uses(0);
    for digit in ['a', 'b', 'c', 'd', 'e'] {
        rig.container_uses(digit, 1_000, 1);
    }
    rig.start();
    until(|| (rig.readings.snapshot().containers.len() == 3).then_some(()));
    let families = rig.self_metrics.registry().gather();
    let dropped =
        families.iter().find(|family| family.name() == "ephemon_agent_dropped_items_total");
    let counted: f64 =
        dropped.unwrap().get_metric().iter().map(|metric| metric.get_counter().get_value()).sum();
    assert!((counted - 2.0).abs() < f64::EPSILON, "{counted}");
}

#[test]
fn no_cgroup_mount_is_said_plainly() {
    let node = tempfile::tempdir().unwrap();
    let options = Options {
        node: NodeRoot::new(node.path()),
        kubepods: None,
        sample_interval: Duration::from_secs(1),
        sample_budget: 1.0,
        max_containers: 3,
        max_nested: 3,
        heartbeat: Heartbeat::default(),
    };
    let self_metrics = SelfMetrics::new().unwrap();
    let error =
        start(options, Readings::default(), Inventory::default(), self_metrics).unwrap_err();
    assert!(error.to_string().contains("--node-root"), "{error}");
}

/// A process, with the network that `/proc` shows for it.
struct Process(std::process::Child);

impl Process {
    fn in_network(rig: &Rig, namespace: &str, interface: &str) -> Self {
        let child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        rig.proc_shows(child.id(), namespace);
        let dev = format!(
            "Inter-|   Receive  |  Transmit\n face |bytes    packets errs drop fifo frame compressed \
             multicast|bytes    packets errs drop fifo colls carrier compressed\n\
             {interface}: 1296 16 0 0 0 0 0 0 2746 26 0 0 0 0 0 0\n"
        );
        let net = rig.node.path().join(format!("proc/{}/net", child.id()));
        fs::create_dir_all(&net).unwrap();
        fs::write(net.join("dev"), dev).unwrap();
        Self(child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().ok();
    }
}

impl Rig {
    fn proc_shows(&self, pid: u32, namespace: &str) {
        let ns = self.node.path().join(format!("proc/{pid}/ns"));
        fs::create_dir_all(&ns).unwrap();
        std::os::unix::fs::symlink(format!("net:[{namespace}]"), ns.join("net")).unwrap();
    }

    /// A container that already runs, with this process, created at this second.
    fn found_running(&self, digit: char, process: &Process, second: u64) {
        self.container_uses(digit, 1_000, 1);
        let path = self.pod().join(id(digit).as_str());
        fs::write(path.join("cgroup.procs"), format!("{}\n", process.0.id())).unwrap();
        let created = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000 + second);
        fs::File::open(&path).unwrap().set_modified(created).unwrap();
    }
}

#[test]
fn network_figures_are_the_sandboxs_though_a_job_has_made_itself_another_network() {
    // In either order.
    for (sandbox, job) in [('a', 'b'), ('b', 'a')] {
        let mut rig = Rig::new();
        rig.pod_uses(0);
        rig.proc_shows(1, "1");
        let (pause, liar) =
            (Process::in_network(&rig, "2", "eth0"), Process::in_network(&rig, "3", "lie0"));
        rig.found_running(job, &liar, 1);
        rig.found_running(sandbox, &pause, 0);
        rig.start();
        let net = until(|| {
            let pods = rig.readings.snapshot().pods;
            pods.first().filter(|pod| !pod.net.is_empty()).map(|pod| pod.net.clone())
        });
        assert_eq!(net[0].interface, "eth0", "{net:?}");
    }
}
