//! Values that are told in a volume, and what is not to be had of them.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use ephemon_mask::shared::SharedMasks;
use tempfile::TempDir;

use super::*;

struct Rig {
    _root: TempDir,
    uid: PodUid,
    directory: PathBuf,
    masks: JobMasks,
    volume: VolumeMasks,
    start: Instant,
}

impl Rig {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let node = NodeRoot::new(root.path());
        let kubelet = Path::new("/var/lib/kubelet");
        let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
        let volume = node.empty_dir(kubelet, &uid, VOLUME);
        fs::create_dir_all(&volume).unwrap();
        let directory = volume.join(MASKS);
        let (masks, start) = (JobMasks::new(Mode::Masked), Instant::now());
        let volume = VolumeMasks::new(node, kubelet);
        Self { _root: root, uid, directory, masks, volume, start }
    }

    fn tell(&self, container: &str, value: &str) {
        let path = self.directory.join(format!("{container}.jsonl"));
        SharedMasks::open(&path).unwrap().tell(Some(value.as_bytes()));
    }

    /// How many values are known when a line of `at_ns` comes, at `clock_ns`.
    fn line(&mut self, at_ns: u64, clock_ns: u64) -> usize {
        self.volume.look(&self.uid, &self.masks, at_ns, self.start, || clock_ns);
        self.masks.count()
    }
}

#[test]
fn what_is_told_in_any_container_is_known_before_a_later_line() {
    let mut rig = Rig::new();
    assert_eq!(rig.line(1, 2), 0, "nobody has told anything");
    rig.tell("job", "hunter2");
    assert_eq!(rig.line(3, 4), 1);
    rig.tell("job", "opensesame");
    rig.tell("_hook", "kaffeeklatsch");
    assert_eq!(rig.line(2, 5), 1, "a line of before needs no look");
    assert_eq!(rig.line(6, 7), 3);
    assert!(rig.masks.is_proven());
}

#[test]
fn a_value_that_was_masked_where_it_was_told_is_known_from_the_volume_or_not_at_all() {
    let stars = [b"***".as_slice()];
    let mut with = Rig::new();
    with.tell("job", "hunter2");
    with.masks.add(stars).unwrap();
    assert_eq!(with.line(1, 2), 1);
    assert!(with.masks.is_proven());
    let mut without = Rig::new();
    without.line(1, 2);
    without.masks.add(stars).unwrap();
    assert!(without.masks.is_proven());
    without.line(1, 2);
    assert!(!without.masks.is_proven(), "also before a line that needs no look");
}

#[test]
fn a_line_comes_in_parts() {
    let mut rig = Rig::new();
    fs::create_dir(&rig.directory).unwrap();
    let path = rig.directory.join("job.jsonl");
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(b"\"6875").unwrap();
    assert_eq!(rig.line(1, 2), 0);
    file.write_all(b"6e74\"\n").unwrap();
    assert_eq!(rig.line(3, 4), 1);
    assert!(rig.masks.is_proven());
}

#[test]
fn what_cannot_be_read_is_a_value_that_is_not_known() {
    let garbage = |rig: &Rig| {
        fs::create_dir(&rig.directory).unwrap();
        fs::write(rig.directory.join("job.jsonl"), "garbage\n").unwrap();
    };
    let link = |rig: &Rig| {
        fs::create_dir(&rig.directory).unwrap();
        std::os::unix::fs::symlink("/dev/zero", rig.directory.join("job.jsonl")).unwrap();
    };
    let endless = |rig: &Rig| {
        fs::create_dir(&rig.directory).unwrap();
        let file = File::create(rig.directory.join("job.jsonl")).unwrap();
        file.set_len(MAX_FILE_BYTES * 4).unwrap();
    };
    let lost = |rig: &Rig| {
        fs::create_dir(&rig.directory).unwrap();
        SharedMasks::open(&rig.directory.join("job.jsonl")).unwrap().tell(None);
    };
    // Lines without an end in many files: nothing of them is kept.
    let unended = |rig: &Rig| {
        fs::create_dir(&rig.directory).unwrap();
        for number in 0..20 {
            let file = File::create(rig.directory.join(format!("a{number}.jsonl"))).unwrap();
            file.set_len(700 * 1024).unwrap();
        }
    };
    let crowded = |rig: &Rig| {
        fs::create_dir(&rig.directory).unwrap();
        for number in 0..5000 {
            File::create(rig.directory.join(format!("{number}.junk"))).unwrap();
        }
    };
    let faults: [fn(&Rig); 6] = [garbage, link, endless, lost, unended, crowded];
    for (at, fault) in faults.into_iter().enumerate() {
        let mut rig = Rig::new();
        fault(&rig);
        rig.line(1, 2);
        assert!(!rig.masks.is_proven(), "{at}");
        let pod = rig.volume.pods.get(&rig.uid).unwrap();
        assert!(pod.files.is_empty() && pod.directory.is_none(), "{at}: nothing stays open");
    }
}

#[test]
fn lines_that_come_after_the_kubelet_has_removed_the_volume_are_masked_by_what_was_told() {
    let mut rig = Rig::new();
    rig.tell("job", "hunter2");
    assert_eq!(rig.line(1, 2), 1);
    fs::remove_dir_all(rig.directory.parent().unwrap()).unwrap();
    assert_eq!(rig.line(3, 4), 1);
    assert!(rig.masks.is_proven());
}

#[test]
fn what_was_read_and_is_no_longer_there_may_hide_what_comes_after_it() {
    let cut = |rig: &Rig| fs::write(rig.directory.join("job.jsonl"), "").unwrap();
    let moved = |rig: &Rig| {
        fs::rename(&rig.directory, rig.directory.with_extension("old")).unwrap();
        fs::create_dir(&rig.directory).unwrap();
    };
    let faults: [fn(&Rig); 2] = [cut, moved];
    for (at, fault) in faults.into_iter().enumerate() {
        let mut rig = Rig::new();
        rig.tell("job", "hunter2");
        assert_eq!(rig.line(1, 2), 1);
        assert!(rig.masks.is_proven());
        fault(&rig);
        rig.line(3, 4);
        assert!(!rig.masks.is_proven(), "{at}");
    }
}
