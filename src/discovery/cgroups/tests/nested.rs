//! Nested containers, on directories of a temporary file system.

use super::*;
use crate::cgroups::nested::{MAX_FOLLOWED_PER_POD, MAX_NAMES};

const OF_POD: usize = MAX_FOLLOWED_PER_POD;

fn nested_id(number: usize) -> String {
    format!("{number:064x}")
}

impl Rig {
    fn outer(&self, digit: char) -> PathBuf {
        self.pod().join(id(digit).as_str())
    }

    fn nest(&self, digit: char, path: &str) {
        std::fs::create_dir_all(self.outer(digit).join(path)).unwrap();
    }

    fn beside(&self, path: &str, pids: &str) {
        let path = self.root.path().join(path);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("cgroup.procs"), pids).unwrap();
    }

    /// Reads events until the tree reports nothing more: a new directory is watched, then read.
    fn groups(&mut self) -> Vec<NestedGroup> {
        let events = self.read();
        groups(events)
    }

    fn process(proc: &Path, pid: u32, parent: u32, group: &str) {
        let directory = proc.join(pid.to_string());
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("status"), format!("PPid:\t{parent}\n")).unwrap();
        std::fs::write(directory.join("cgroup"), format!("0::/{group}\n")).unwrap();
    }

    /// Looks at groups beside the tree until none is waiting.
    fn check(&mut self, proc: &Path) -> Vec<CgroupEvent> {
        let mut events = Vec::new();
        while let Some(due) = self.tree.next_check() {
            self.tree.check(proc, due, &mut events);
        }
        events
    }
}

fn groups(events: Vec<CgroupEvent>) -> Vec<NestedGroup> {
    let nested = |event| match event {
        CgroupEvent::Nested(group) => Some(*group),
        _ => None,
    };
    events.into_iter().filter_map(nested).collect()
}

/// How many groups of the pod are said to be left out.
fn left_out(events: &[CgroupEvent]) -> u64 {
    let of_pod = events.iter().filter_map(|event| match event {
        CgroupEvent::LeftOut { pod, count, beside: false } if pod.as_str() == UID => Some(*count),
        _ => None,
    });
    of_pod.sum()
}

fn removed(events: &[CgroupEvent], key: &ContainerId) -> bool {
    events.contains(&CgroupEvent::Removed(key.clone()))
}

#[test]
fn a_group_below_a_container_is_that_containers_from_its_birth_to_its_end() {
    let mut rig = Rig::new();
    rig.make('a');
    rig.walk();
    rig.read();
    rig.nest('a', "init");
    rig.nest('a', &format!("docker/{}", nested_id(1)));
    let found = rig.groups();
    assert_eq!(found.len(), 1, "{found:?}");
    let group = &found[0];
    assert_eq!((&group.outer, group.beside), (&id('a'), false));
    assert_eq!(&*group.id, nested_id(1));
    assert!(group.path.ends_with(format!("docker/{}", nested_id(1))));
    assert!(group.engines_directory.as_ref().unwrap().ends_with("docker") && group.from_birth);
    assert_eq!(rig.walk(), [], "nothing is told twice");
    std::fs::remove_dir_all(rig.outer('a').join(format!("docker/{}", nested_id(1)))).unwrap();
    assert!(removed(&rig.read(), &group.key));
    // The same name again is another container.
    rig.nest('a', &format!("docker/{}", nested_id(1)));
    let again = rig.groups();
    assert_eq!(again.len(), 1);
    let events = {
        rig.remove('a');
        rig.read()
    };
    assert!(removed(&events, &again[0].key) && removed(&events, &id('a')), "{events:?}");
}

#[test]
fn groups_that_were_there_before_are_found_at_any_depth_but_not_those_in_nested_ones() {
    let mut rig = Rig::new();
    rig.make('a');
    let kubelet = "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/\
                   kubelet-kubepods-burstable-pod1.slice";
    rig.nest('a', &format!("{kubelet}/cri-containerd-{}.scope", nested_id(1)));
    rig.nest('a', &format!("system.slice/docker-{}.scope/system.slice", nested_id(2)));
    rig.nest('a', &format!("{}/docker/{}", nested_id(3), nested_id(4)));
    rig.nest('a', "system.slice/containerd.service/x");
    let mut ids: Vec<_> =
        groups(rig.walk()).into_iter().map(|group| group.id.to_string()).collect();
    ids.sort();
    assert_eq!(ids, [nested_id(1), nested_id(2), nested_id(3)]);
}

#[test]
fn a_nested_group_with_the_id_of_a_container_is_not_that_container() {
    let mut rig = Rig::new();
    rig.make('a');
    rig.make('b');
    rig.nest('a', &format!("docker/{}", id('b')));
    let found = groups(rig.walk());
    assert_eq!(found.len(), 1);
    assert_ne!(found[0].key, id('b'));
    rig.read();
    std::fs::remove_dir_all(rig.outer('a').join(format!("docker/{}", id('b')))).unwrap();
    assert!(!removed(&rig.read(), &id('b')));
}

#[test]
fn a_thousand_groups_cost_little_and_are_counted() {
    let mut rig = Rig::new();
    rig.make('a');
    rig.walk();
    rig.read();
    for number in 0..1000 {
        rig.nest('a', &nested_id(number));
    }
    assert!(rig.groups().len() <= OF_POD);
    assert!(rig.tree.take_dropped() > 0, "not all changes are followed");
    let watched =
        |rig: &Rig| rig.tree.nested.directories.values().filter(|d| d.watch.is_some()).count();
    let before = watched(&rig);
    rig.nest('a', &nested_id(5000));
    assert_eq!(rig.read(), [], "a container that makes so many is not watched");
    let events = rig.walk();
    assert_eq!(left_out(&events), 1001 - OF_POD as u64, "each is counted");
    assert!(watched(&rig) > before, "until the next walk");
    rig.tree.nested.list_again();
    assert_eq!(left_out(&rig.walk()), 0, "once");
    for number in 0..1000 {
        std::fs::remove_dir(rig.outer('a').join(nested_id(number))).unwrap();
    }
    rig.read();
    rig.walk();
    assert!(rig.tree.nested.by_path.len() <= 1, "{:?}", rig.tree.nested.by_path);
    rig.nest('a', &nested_id(0));
    assert_eq!(rig.groups().len(), 1, "there is room again");
}

#[test]
fn a_pod_has_a_quarter_of_the_places_however_many_containers_it_has() {
    let mut rig = Rig::new();
    for digit in ['a', 'b'] {
        rig.make(digit);
        let ids = (0..OF_POD / 2 + 10).map(nested_id);
        ids.for_each(|nested| rig.nest(digit, &format!("docker/{nested}")));
    }
    let events = rig.walk();
    assert_eq!(left_out(&events), 20);
    assert_eq!(groups(events).len(), OF_POD);
}

/// A flood in a directory costs as much as the first names of it.
#[test]
fn a_listing_is_bounded_and_counts_what_it_leaves_out() {
    let mut rig = Rig::new();
    rig.make('a');
    (0..MAX_NAMES + 300).for_each(|number| rig.nest('a', &format!("docker/{}", nested_id(number))));
    let events = rig.walk();
    let foreign = |event: &&CgroupEvent| matches!(event, CgroupEvent::Foreign(_));
    let of_listing = MAX_NAMES - OF_POD;
    assert_eq!(events.iter().filter(foreign).count(), of_listing);
    assert_eq!(left_out(&events), 300 + of_listing as u64);
    assert_eq!(groups(events).len(), OF_POD);
    // Where events were lost it is listed again, and only what is more is counted.
    for more in [0, 7] {
        (0..more).for_each(|number| rig.nest('a', &format!("docker/{}", nested_id(9000 + number))));
        rig.tree.nested.list_again();
        let unread =
            |event: &&CgroupEvent| matches!(event, CgroupEvent::LeftOut { count: 2.., .. });
        let events = rig.walk();
        let counted: u64 =
            events.iter().filter(unread).map(|event| left_out(std::slice::from_ref(event))).sum();
        assert_eq!(counted, more as u64);
    }
    let names = some_directories(&rig.outer('a').join("docker"), 50);
    assert_eq!(names.len(), 50);
}

#[test]
fn a_group_beside_the_tree_belongs_to_the_container_whose_process_started_it() {
    let mut rig = Rig::new();
    let proc = tempfile::tempdir().unwrap();
    rig.make('a');
    rig.beside(&format!("docker/{}", nested_id(1)), "40\n");
    rig.beside(&format!("docker/{}", nested_id(2)), "50\n");
    rig.beside(&format!("system.slice/docker-{}.scope", nested_id(3)), "");
    let container = format!("kubepods/burstable/pod{UID}/{}", id('a'));
    Rig::process(proc.path(), 40, 30, &format!("docker/{}", nested_id(1)));
    Rig::process(proc.path(), 30, 1, &format!("{container}/init"));
    Rig::process(proc.path(), 50, 1, &format!("docker/{}", nested_id(2)));
    Rig::process(proc.path(), 1, 0, "init.scope");
    assert_eq!(groups(rig.walk()), []);
    let events = rig.check(proc.path());
    let node_owned = PathBuf::from(format!("docker/{}", nested_id(2)));
    let foreign = CgroupEvent::Foreign(node_owned.clone());
    assert!(events.contains(&foreign), "the node's own is in it: {events:?}");
    let found = groups(events);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&found[0].outer, &*found[0].id, found[0].beside), (&id('a'), &*nested_id(1), true));
    assert_eq!(groups(rig.walk()), []);
    assert_eq!(rig.check(proc.path()), []);
    std::fs::remove_dir_all(rig.root.path().join(format!("docker/{}", nested_id(1)))).unwrap();
    assert!(removed(&rig.read(), &found[0].key));
    rig.beside(&format!("docker/{}", nested_id(4)), "");
    rig.read();
    let brief = PathBuf::from(format!("docker/{}", nested_id(4)));
    std::fs::remove_dir_all(rig.root.path().join(&brief)).unwrap();
    let events = rig.read();
    assert!(events.contains(&CgroupEvent::ForeignGone(brief)), "{events:?}");
    assert_eq!(rig.tree.take_unattributed(), 1, "nobody knows whose it was");
    std::fs::remove_dir_all(rig.root.path().join(&node_owned)).unwrap();
    let gone = CgroupEvent::ForeignGone(node_owned);
    assert!(rig.read().contains(&gone), "the directory is the pod's alone again");
}

/// podman has the monitors of all its containers in one group beside theirs; they start and remove
/// them there.
#[test]
fn the_group_of_an_engines_own_processes_is_known_as_no_containers() {
    let mut rig = Rig::new();
    rig.make('a');
    rig.walk();
    rig.read();
    rig.nest('a', "libpod_parent/conmon");
    rig.nest('a', "conmon");
    let events = rig.read();
    let monitors = rig.outer('a').join("libpod_parent/conmon");
    let below = monitors.strip_prefix(rig.root.path()).unwrap().to_owned();
    assert_eq!(events, [CgroupEvent::Foreign(below.clone())], "in the engine's directory alone");
    std::fs::remove_dir_all(&monitors).unwrap();
    assert_eq!(rig.read(), [CgroupEvent::ForeignGone(below)]);
}

/// Beside the pods they are in no container's values.
#[test]
fn the_group_of_podmans_monitors_beside_the_pods_is_known_as_theirs() {
    let mut rig = Rig::new();
    rig.make('a');
    rig.beside("libpod_parent/conmon", "");
    rig.beside("conmon", "");
    let events = rig.walk();
    let group = PathBuf::from("libpod_parent/conmon");
    let found = CgroupEvent::Monitors { group: group.clone(), from_birth: false };
    let is_theirs = |event: &&CgroupEvent| matches!(event, CgroupEvent::Monitors { .. });
    assert_eq!(events.iter().filter(is_theirs).collect::<Vec<_>>(), [&found]);
    assert!(events.contains(&CgroupEvent::Foreign(group.clone())));
    rig.read();
    std::fs::remove_dir_all(rig.root.path().join(&group)).unwrap();
    assert!(rig.read().contains(&CgroupEvent::ForeignGone(group.clone())));
    rig.beside("libpod_parent/conmon", "");
    let made = CgroupEvent::Monitors { group, from_birth: true };
    assert!(rig.read().contains(&made));
}

#[test]
fn lost_events_are_made_up_for_by_the_next_walk() {
    let mut rig = Rig::new();
    rig.make('a');
    rig.nest('a', &format!("docker/{}", nested_id(1)));
    let first = groups(rig.walk());
    rig.read();
    std::fs::remove_dir_all(rig.outer('a').join(format!("docker/{}", nested_id(1)))).unwrap();
    rig.nest('a', &format!("docker/{}", nested_id(2)));
    // The events are dropped, as an overflow of the queue does.
    rig.tree.read(&mut Vec::new());
    rig.tree.nested.by_path.clear();
    rig.tree.nested.list_again();
    let again = groups(rig.walk());
    assert_eq!(again.len(), 1, "{again:?}");
    assert_ne!(again[0].key, first[0].key);
}
