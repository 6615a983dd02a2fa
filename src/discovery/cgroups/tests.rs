//! The tree, on directories of a temporary file system: inotify is the same there.

use super::*;

const UID: &str = "0e269fa4-f505-4963-9096-958063077203";

fn id(digit: char) -> ContainerId {
    ContainerId::parse(&digit.to_string().repeat(64)).unwrap()
}

struct Rig {
    root: tempfile::TempDir,
    tree: CgroupTree,
}

impl Rig {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let tree = CgroupTree::new(root.path().to_owned(), None, true);
        Self { root, tree }
    }

    fn pod(&self) -> PathBuf {
        self.root.path().join("kubepods/burstable").join(format!("pod{UID}"))
    }

    fn make(&self, digit: char) {
        let path = self.pod().join(id(digit).as_str());
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("cgroup.events"), "populated 0\n").unwrap();
    }

    fn remove(&self, digit: char) {
        std::fs::remove_dir_all(self.pod().join(id(digit).as_str())).unwrap();
    }

    fn read(&mut self) -> Vec<CgroupEvent> {
        let mut events = Vec::new();
        self.tree.read(&mut events);
        events
    }

    fn walk(&mut self) -> Vec<CgroupEvent> {
        let mut events = Vec::new();
        self.tree.walk(&mut events);
        events
    }

    fn created(digit: char) -> CgroupEvent {
        let path = Path::new("kubepods/burstable").join(format!("pod{UID}"));
        CgroupEvent::Created(id(digit), PodUid::parse(UID).unwrap(), path.join(id(digit).as_str()))
    }
}

#[test]
fn a_tree_made_after_the_start_is_found_by_the_walk_then_by_events() {
    let mut rig = Rig::new();
    assert_eq!(rig.walk(), []);
    rig.make('a');
    let found = rig.walk();
    assert!(found.contains(&Rig::created('a')), "{found:?}");
    rig.read();
    rig.make('b');
    assert!(rig.read().contains(&Rig::created('b')));
    assert_eq!(rig.walk(), [], "a walk tells nothing twice");
}

#[test]
fn a_change_of_the_events_file_and_a_death_are_told() {
    let mut rig = Rig::new();
    rig.make('a');
    rig.walk();
    rig.read();
    let events = rig.pod().join(id('a').as_str()).join("cgroup.events");
    std::fs::write(events, "populated 1\n").unwrap();
    assert!(rig.read().contains(&CgroupEvent::Changed(id('a'))));
    rig.remove('a');
    assert!(rig.read().contains(&CgroupEvent::Removed(id('a'))));
    assert_eq!(rig.walk(), []);
}

#[test]
fn a_container_gone_before_its_birth_was_read_is_told_of_all_the_same() {
    let mut rig = Rig::new();
    rig.make('a');
    rig.walk();
    rig.make('b');
    rig.remove('b');
    let events = rig.read();
    assert!(events.contains(&Rig::created('b')), "{events:?}");
    assert!(events.contains(&CgroupEvent::Removed(id('b'))), "{events:?}");
}

#[test]
fn a_pods_end_is_the_end_of_all_in_it() {
    let mut rig = Rig::new();
    rig.make('a');
    rig.make('b');
    rig.walk();
    std::fs::remove_dir_all(rig.pod()).unwrap();
    let events = rig.read();
    let pod = CgroupEvent::PodRemoved(PodUid::parse(UID).unwrap());
    assert_eq!(events.iter().filter(|event| **event == pod).count(), 1, "{events:?}");
    for digit in ['a', 'b'] {
        let died = CgroupEvent::Removed(id(digit));
        assert_eq!(events.iter().filter(|event| **event == died).count(), 1, "{events:?}");
    }
}

#[test]
fn a_walk_repairs_what_no_event_told() {
    let mut rig = Rig::new();
    rig.make('a');
    rig.walk();
    rig.tree.inotify = None;
    assert!(!rig.tree.is_whole());
    rig.make('b');
    rig.remove('a');
    let events = rig.walk();
    assert_eq!(events, [Rig::created('b'), CgroupEvent::Removed(id('a'))]);
}

#[test]
fn names_that_only_look_like_containers_are_left_alone() {
    let mut rig = Rig::new();
    rig.make('a');
    rig.walk();
    rig.read();
    for name in ["crio-conmon-aaaa.scope", "not-a-container", &"G".repeat(64)] {
        std::fs::create_dir(rig.pod().join(name)).unwrap();
    }
    std::fs::create_dir(rig.root.path().join("kubepods/podcast")).unwrap();
    assert_eq!(rig.read(), []);
    assert_eq!(rig.walk(), []);
}

#[test]
fn ten_thousand_groups_are_each_told_once() {
    let mut rig = Rig::new();
    let burstable = rig.root.path().join("kubepods/burstable");
    for pod in 0..100 {
        let uid = format!("{pod:08}-0000-4000-8000-000000000000");
        for container in 0..100 {
            let id = format!("{pod:032x}{container:032x}");
            std::fs::create_dir_all(burstable.join(format!("pod{uid}/{id}"))).unwrap();
        }
    }
    let found = rig.walk();
    assert_eq!(
        found.iter().filter(|event| matches!(event, CgroupEvent::Created(..))).count(),
        10_000
    );
    assert_eq!(rig.walk(), []);
    std::fs::remove_dir_all(&burstable).unwrap();
    let mut told = rig.read();
    told.extend(rig.walk());
    assert_eq!(
        told.iter().filter(|event| matches!(event, CgroupEvent::Removed(_))).count(),
        10_000
    );
}

mod nested;
