//! What an engine's directory has used beside its containers.

use super::*;

struct Rig {
    root: tempfile::TempDir,
    engines: EnginesDirectories,
}

impl Rig {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), engines: EnginesDirectories::default() }
    }

    fn hierarchy(&self) -> Hierarchy {
        Hierarchy::V2 { root: self.root.path().to_owned() }
    }

    fn uses(&self, path: &str, usec: u64) {
        let directory = self.root.path().join(path);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("cpu.stat"), format!("usage_usec {usec}\n")).unwrap();
    }

    fn open(&mut self, path: &str, from_birth: bool, living: u64) {
        let hierarchy = self.hierarchy();
        let path = Path::new(path);
        if self.engines.add(path, from_birth, &hierarchy, &mut Vec::new()) {
            self.engines.open(path, &cpu(living), &hierarchy, &mut Vec::new());
        }
    }

    fn residual(&mut self, path: &str, living: u64) -> Option<u64> {
        let (hierarchy, living) = (self.hierarchy(), cpu(living));
        let path = Path::new(path);
        self.engines.residual(path, &living, &hierarchy, &mut Vec::new())?.cpu_ns()
    }
}

fn cpu(usec: u64) -> Additive {
    let mut usage = Usage::default();
    usage.cpu.usage_ns = Some(usec * 1000);
    Additive::of(&usage)
}

#[test]
fn what_is_left_in_an_engines_directory_is_the_missed_ones() {
    let mut rig = Rig::new();
    rig.uses("c/docker", 500);
    rig.open("c/docker", true, 0);
    assert_eq!(rig.residual("c/docker", 100), Some(400_000), "of its birth on");
    rig.engines.settle(Path::new("c/docker/buildkit"), &cpu(300));
    assert_eq!(rig.residual("c/docker", 100), Some(100_000));
    rig.uses("d/docker", 500);
    rig.open("d/docker", false, 20);
    rig.uses("d/docker", 700);
    assert_eq!(rig.residual("d/docker", 20), Some(200_000), "what was before is nobody's");
    assert_eq!(rig.residual("e/docker", 0), None);
}

#[test]
fn what_others_in_the_directory_use_is_taken_off() {
    let mut rig = Rig::new();
    rig.uses("docker", 500);
    rig.open("docker", true, 0);
    rig.uses("docker/x", 70);
    rig.uses("docker/buildkit/y", 30);
    rig.engines.set_pending(vec![PathBuf::from("docker/x")]);
    rig.engines.is_foreign(PathBuf::from("docker/buildkit/y"));
    assert_eq!(rig.residual("docker", 100), Some(300_000));
    rig.engines.is_captured(Path::new("docker/x"));
    assert_eq!(rig.residual("docker", 170), Some(300_000), "it is one of the living now");
    rig.uses("c/docker", 500);
    rig.open("c/docker", true, 0);
    assert_eq!(rig.residual("c/docker", 0), Some(500_000), "in another directory");
    fs::remove_dir_all(rig.root.path().join("docker/buildkit")).unwrap();
    assert_eq!(rig.residual("docker", 170), None, "nobody says what it has used");
}

#[test]
fn once_the_last_other_is_gone_the_directory_is_its_containers_again() {
    let mut rig = Rig::new();
    let hierarchy = rig.hierarchy();
    rig.uses("docker", 500);
    rig.open("docker", true, 0);
    // One of which an event was seen, and one of which none was.
    for is_seen in [true, false] {
        let group = PathBuf::from("docker/x");
        rig.uses("docker/x", 70);
        rig.engines.is_foreign(group.clone());
        fs::remove_dir_all(rig.root.path().join(&group)).unwrap();
        if is_seen {
            rig.engines.is_gone(&group);
        }
        assert_eq!(rig.engines.disturbed(&hierarchy, &HashSet::new()), [PathBuf::from("docker")]);
        assert_eq!(rig.residual("docker", 100), None, "its use is in the directory's counter");
        rig.uses("docker", 700);
        let living = cpu(150);
        rig.engines.open(Path::new("docker"), &living, &hierarchy, &mut Vec::new());
        assert!(rig.engines.disturbed(&hierarchy, &HashSet::new()).is_empty());
        rig.uses("docker", 900);
        assert_eq!(rig.residual("docker", 160), Some(190_000));
    }
}

#[test]
fn without_room_for_names_nothing_follows_in_that_directory_until_all_are_known() {
    let mut rig = Rig::new();
    let hierarchy = rig.hierarchy();
    for path in ["docker", "c/docker"] {
        rig.uses(path, 500);
        rig.open(path, true, 0);
    }
    let group = |number: usize| PathBuf::from(format!("docker/{number:064x}"));
    (0..MAX_OTHERS).for_each(|number| rig.engines.is_foreign(format!("x/{number}").into()));
    for number in 0..3 {
        rig.uses(group(number).to_str().unwrap(), 10);
        // Each listing reports them again.
        (0..2).for_each(|_| rig.engines.is_foreign(group(number)));
    }
    assert_eq!(rig.residual("docker", 0), None);
    assert_eq!(rig.residual("c/docker", 0), Some(500_000), "in another directory");
    // The named are gone, of which no event is seen; one of the further ones is held.
    let held = group(0);
    let disturbed = rig.engines.disturbed(&hierarchy, &HashSet::from([&*held]));
    assert_eq!(disturbed, [PathBuf::from("docker")]);
    rig.engines.open(Path::new("docker"), &cpu(10), &hierarchy, &mut Vec::new());
    rig.uses("docker", 600);
    assert_eq!(rig.residual("docker", 10), Some(100_000));
    for number in 0..=MAX_OTHERS_READ {
        rig.uses(&format!("docker/{number}"), 1);
        rig.engines.is_foreign(PathBuf::from(format!("docker/{number}")));
    }
    assert_eq!(rig.residual("docker", 0), None, "too many to be read for one");
}

#[test]
fn an_overfull_directory_that_is_removed_is_forgotten() {
    let mut rig = Rig::new();
    let hierarchy = rig.hierarchy();
    (0..=MAX_OTHERS).for_each(|number| rig.engines.is_foreign(format!("docker/{number}").into()));
    rig.engines.disturbed(&hierarchy, &HashSet::new());
    assert!(rig.engines.overfull.is_empty());
}
