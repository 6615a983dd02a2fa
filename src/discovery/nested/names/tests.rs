//! Names, from fixture trees of cgroups, processes and files.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::SystemTime;

use ephemon_cgroup::nested_name::Engine;
use ephemon_model::{ContainerId, ContainerType};

use super::*;
use crate::inventory::{Evidence, EvidenceSource, NAMES_TIMEOUT, Observation};

const OUTER: &str = "kubepods/pod1/outer";
const PATIENCE: Duration = Duration::from_mins(1);

struct Rig {
    directory: tempfile::TempDir,
    began: Instant,
    inventory: Inventory,
    names: NestedNames,
}

fn id(digit: char) -> ContainerId {
    ContainerId::parse(&digit.to_string().repeat(64)).unwrap()
}

/// The name of a container whose engine gives it none.
fn by_id(key: &ContainerId) -> String {
    format!("dind/{}", key.short())
}

fn pod() -> PodUid {
    PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap()
}

impl Rig {
    fn new() -> Self {
        let (directory, began) = (tempfile::tempdir().unwrap(), Instant::now());
        let at = |name: &str| directory.path().join(name);
        let inventory = Inventory::default();
        inventory.created(&pod(), &id('a'), SystemTime::now());
        let word = Observation { pod: Some(pod()), name: "dind".into(), ..Observation::default() };
        inventory.learn(Evidence::Container { id: id('a'), word, by: EvidenceSource::Link });
        let names = NestedNames::new(at("cgroup"), at("proc"), inventory.clone());
        let rig = Self { directory, began, inventory, names };
        rig.process(30, 1, OUTER);
        rig.process(1, 0, "init.scope");
        fs::create_dir_all(rig.directory.path().join("root")).unwrap();
        symlink(rig.directory.path().join("root"), rig.directory.path().join("proc/30/root"))
            .unwrap();
        rig
    }

    fn process(&self, pid: u32, parent: u32, group: &str) {
        let directory = self.process_directory(pid);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("status"), format!("PPid:\t{parent}\n")).unwrap();
        fs::write(directory.join("cgroup"), format!("0::/{group}\n")).unwrap();
    }

    fn process_directory(&self, pid: u32) -> PathBuf {
        self.directory.path().join("proc").join(pid.to_string())
    }

    /// A nested container with a process, whose file in the outer container has this text.
    fn group(&self, digit: char) -> NestedGroup {
        let path = PathBuf::from(OUTER).join("docker").join(id(digit).as_str());
        let directory = self.directory.path().join("cgroup").join(&path);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("cgroup.procs"), "40\n").unwrap();
        self.process(40, 30, path.to_str().unwrap());
        let group = NestedGroup {
            key: id(digit),
            pod: pod(),
            outer: id('a'),
            outer_path: OUTER.into(),
            path,
            engine: Engine::Docker,
            id: id(digit).as_str().into(),
            beside: false,
            engines_directory: None,
            from_birth: false,
        };
        self.inventory.nested_created(&group, SystemTime::now());
        group
    }

    fn file(&self, digit: char) -> PathBuf {
        let path = format!("root/var/lib/docker/containers/{}/config.v2.json", id(digit));
        let file = self.directory.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        file
    }

    /// Asks, and waits for the name that its engine gave it. A busy machine may need longer than its id is
    /// kept back.
    fn name(&self, group: NestedGroup) -> String {
        let id = by_id(&group.key);
        self.name_unless(group, |name| name == id && self.began.elapsed() > NAMES_TIMEOUT)
    }

    /// Asks, and waits until it has a name that is not refused.
    fn name_unless(&self, group: NestedGroup, is_refused: impl Fn(&str) -> bool) -> String {
        let key = group.key.clone();
        self.names.ask(group);
        let start = Instant::now();
        loop {
            if let Some(facts) = self.inventory.container(&pod(), &key) {
                assert_eq!(facts.container_type, ContainerType::Nested);
                if !is_refused(&facts.name) || start.elapsed() > PATIENCE {
                    return facts.name.to_string();
                }
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn a_nested_container_has_the_name_that_its_engine_gave_it() {
    let rig = Rig::new();
    let group = rig.group('b');
    fs::write(rig.file('b'), r#"{"Name":"/redis","Config":{"Image":"redis:7"}}"#).unwrap();
    assert_eq!(rig.name(group), "dind/redis");
    let facts = rig.inventory.container(&pod(), &id('b')).unwrap();
    assert_eq!(facts.image.as_deref(), Some("redis:7"));
    assert_eq!(facts.engine_id.as_deref(), Some(id('b').as_str()));
}

/// An engine in a container does not see the v2 hierarchy that is mounted beside v1: there its
/// containers' processes stay in the outer container's group, and are not the engine for that.
#[test]
fn a_process_of_the_nested_container_is_never_taken_for_its_engine() {
    let rig = Rig::new();
    let group = rig.group('b');
    fs::write(rig.file('b'), r#"{"Name":"/redis","Config":{"Image":"redis:7"}}"#).unwrap();
    let path = group.path.display();
    let hybrid = format!("9:name=systemd:/{path}\n2:cpuacct:/{path}\n0::/{OUTER}\n");
    fs::write(rig.process_directory(40).join("cgroup"), hybrid).unwrap();
    let own = rig.directory.path().join("own");
    fs::create_dir(&own).unwrap();
    symlink(own, rig.process_directory(40).join("root")).unwrap();
    assert_eq!(rig.name(group), "dind/redis");
}

/// A runtime's process makes the group and ends; the shim is the parent then.
#[test]
fn a_parent_that_ends_meanwhile_costs_no_name() {
    let rig = Rig::new();
    let group = rig.group('b');
    fs::write(rig.file('b'), r#"{"Name":"/redis","Config":{"Image":"redis:7"}}"#).unwrap();
    rig.process(35, 30, OUTER);
    rig.process(40, 35, group.path.to_str().unwrap());
    let (key, names) = (group.key.clone(), rig.names.clone());
    names.ask(group.clone());
    let is_tried = || names.shared.work().requests.iter().any(|request| request.tries > 0);
    while !is_tried() && rig.inventory.container(&pod(), &key).is_none() {
        std::thread::yield_now();
    }
    rig.process(40, 30, group.path.to_str().unwrap());
    assert_eq!(rig.name(group), "dind/redis");
}

#[test]
fn hostile_files_leave_the_id_and_hold_nobody_up() {
    let rig = Rig::new();
    let secret = rig.directory.path().join("secret.json");
    fs::write(&secret, r#"{"Name":"/stolen","Config":{"Image":"x"}}"#).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    for digit in ['b', 'c', 'd', 'e'] {
        let (group, file) = (rig.group(digit), rig.file(digit));
        match digit {
            'b' => symlink(&secret, file).unwrap(),
            'c' => rustix::fs::mknodat(CWD, &file, fifo, 0o600.into(), 0).unwrap(),
            'd' => fs::write(file, "{".repeat(1_000_000)).unwrap(),
            _ => {}
        }
        assert_eq!(rig.name_unless(group, |_| false), by_id(&id(digit)), "{digit}");
    }
}

#[test]
fn two_of_one_name_at_once_are_told_apart() {
    let rig = Rig::new();
    for digit in ['b', 'c'] {
        fs::write(rig.file(digit), r#"{"Name":"/web","Config":{"Image":"x"}}"#).unwrap();
    }
    assert_eq!(rig.name(rig.group('b')), "dind/web");
    assert_eq!(rig.name(rig.group('c')), format!("dind/web-{}", id('c').short()));
    rig.inventory.ended(&id('b'));
    fs::write(rig.file('d'), r#"{"Name":"/web","Config":{"Image":"x"}}"#).unwrap();
    assert_eq!(rig.name(rig.group('d')), "dind/web", "the first is over");
}

#[test]
fn a_pod_whose_files_hang_takes_the_turn_once() {
    let rig = Rig::new();
    let other = PodUid::parse("1e269fa4-f505-4963-9096-958063077203").unwrap();
    let request = |pod: PodUid, digit| {
        let group = NestedGroup { pod, ..rig.group(digit) };
        Request { group, due: Instant::now(), tries: 0 }
    };
    let start = Instant::now();
    let mut work = Work { threads: 1, is_running: true, ..Work::default() };
    work.asking = Some((pod(), start));
    work.requests = [request(pod(), 'b'), request(other.clone(), 'c')].into();
    assert!(work.give_up_hanging(start).is_empty());
    let unanswered = work.give_up_hanging(start + HANGS_AFTER);
    assert_eq!(unanswered.iter().map(|group| &group.key).collect::<Vec<_>>(), [&id('b')]);
    assert_eq!((work.requests.len(), work.turn, work.is_running), (1, 1, false));
    assert!(work.hanging.contains(&pod()));
    // Nobody is left to ask.
    work.threads = MAX_THREADS;
    work.asking = Some((other, start));
    assert_eq!(work.give_up_hanging(start + HANGS_AFTER).len(), 1);
    assert!(work.requests.is_empty());
}
