//! Journals of a pod in the kubelet's directories.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;

use ephemon_contract::{JOURNAL_MAX_BYTES, Record};
use tempfile::TempDir;

use super::*;

const UID: &str = "0e269fa4-f505-4963-9096-958063077203";

struct Node {
    root: TempDir,
    uid: PodUid,
}

impl Node {
    fn new() -> Self {
        let node = Self { root: tempfile::tempdir().unwrap(), uid: PodUid::parse(UID).unwrap() };
        fs::create_dir_all(node.journal()).unwrap();
        node
    }

    fn volume(&self) -> PathBuf {
        self.volume_of(&self.uid)
    }

    fn volume_of(&self, uid: &PodUid) -> PathBuf {
        let volumes = format!("var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~empty-dir");
        self.root.path().join(volumes).join("ephemon")
    }

    fn journal(&self) -> PathBuf {
        self.volume().join("journal")
    }

    fn append(&self, name: &str, bytes: &[u8]) {
        self.append_to(&self.uid, name, bytes);
    }

    fn append_to(&self, uid: &PodUid, name: &str, bytes: &[u8]) {
        let journal = self.volume_of(uid).join("journal");
        fs::create_dir_all(&journal).unwrap();
        let path = journal.join(format!("{name}.jsonl"));
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(bytes).unwrap();
    }

    fn reader(&self) -> Reader {
        self.reader_counting(SelfMetrics::new().unwrap())
    }

    fn reader_counting(&self, self_metrics: SelfMetrics) -> Reader {
        Reader::new(NodeRoot::new(self.root.path()), "/var/lib/kubelet", self_metrics)
    }
}

/// The result of a look at these pods.
fn look(reader: &mut Reader, wanted: &[PodUid]) -> Vec<Entry> {
    let mut entries = Vec::new();
    reader.look(wanted, |entry| entries.push(entry));
    entries
}

fn look_at(reader: &mut Reader, pod: &PodUid) -> Vec<Entry> {
    let mut entries = Vec::new();
    reader.look_at(pod, |entry| entries.push(entry));
    entries
}

fn line(at_ns: u64) -> Vec<u8> {
    Record::ContainerEnded { at_ns, exit_code: 0, dropped: 0 }.to_line().unwrap()
}

fn times(entries: &[Entry]) -> Vec<u64> {
    let time = |entry: &Entry| match entry.record {
        Record::ContainerEnded { at_ns, .. } => at_ns,
        _ => 0,
    };
    entries.iter().map(time).collect()
}

#[test]
fn what_is_added_is_read_once_and_to_the_end_after_the_pods_deletion() {
    let node = Node::new();
    let mut reader = node.reader();
    let wanted = [node.uid.clone()];
    assert_eq!(look(&mut reader, &wanted), []);
    node.append("job", &line(1));
    node.append("_hook", &line(2));
    assert_eq!(times(&look(&mut reader, &wanted)), [2, 1]);
    let record = line(3);
    node.append("job", &record[..4]);
    assert_eq!(look(&mut reader, &wanted), []);
    let file = node.journal().join("job.jsonl");
    let mut held = OpenOptions::new().append(true).open(file).unwrap();
    fs::remove_dir_all(node.volume()).unwrap();
    held.write_all(&record[4..]).unwrap();
    let last = look(&mut reader, &wanted);
    assert_eq!((times(&last), last[0].at), (vec![3], line(1).len() as u64));
    assert_eq!(look(&mut reader, &[]), []);
    assert!(reader.shared().pods.is_empty());
}

#[test]
fn a_journal_that_is_cut_short_or_too_long_is_left_at_that() {
    let node = Node::new();
    let mut reader = node.reader();
    let wanted = [node.uid.clone()];
    node.append("job", &line(1));
    assert_eq!(times(&look(&mut reader, &wanted)), [1]);
    fs::write(node.journal().join("job.jsonl"), b"").unwrap();
    assert_eq!(look(&mut reader, &wanted), []);
    node.append("job", &[line(7), line(8), line(9)].concat());
    assert_eq!(look(&mut reader, &wanted), []);
    let most = usize::try_from(JOURNAL_MAX_BYTES).unwrap() / line(1).len();
    node.append("loud", &line(1).repeat(2 * most));
    let mut read = 0;
    for _ in 0..100 {
        read += look(&mut reader, &wanted).len();
    }
    assert!(read > most / 2 && read <= most + 16 * 1024 / line(1).len() + 1, "{read}");
}

#[test]
fn a_pod_with_endless_files_gives_a_bounded_number_of_them() {
    let node = Node::new();
    for n in 0..MAX_FILES_PER_POD + 100 {
        node.append(&format!("c{n}"), &line(1));
    }
    let mut reader = node.reader();
    assert_eq!(look(&mut reader, std::slice::from_ref(&node.uid)).len(), MAX_FILES_PER_POD);
}

#[test]
fn one_pods_loud_journal_does_not_hold_up_anothers() {
    let node = Node::new();
    node.append("job", &line(1).repeat(10_000));
    let mut reader = node.reader();
    let entries = look(&mut reader, std::slice::from_ref(&node.uid));
    let bytes = entries.len() * line(1).len();
    assert!(bytes <= MAX_LOOK_BYTES + 16 * 1024 && bytes > MAX_LOOK_BYTES / 2, "{bytes}");
}

#[test]
fn a_look_at_one_pod_lets_no_other_go() {
    let node = Node::new();
    let mut reader = node.reader();
    node.append("job", &line(1));
    assert_eq!(times(&look_at(&mut reader, &node.uid)), [1]);
    let other = PodUid::parse("0e269fa4-f505-4963-9096-958063077204").unwrap();
    assert_eq!(look_at(&mut reader, &other), []);
    node.append("job", &line(2));
    assert_eq!(times(&look_at(&mut reader, &node.uid)), [2]);
    reader.forget(&node.uid);
    assert_eq!(times(&look_at(&mut reader, &node.uid)), [1, 2], "known anew");
}

#[test]
fn of_many_loud_pods_each_has_its_turn_and_a_quiet_one_its_own() {
    let node = Node::new();
    let pods: Vec<PodUid> = (0..40)
        .map(|number| PodUid::parse(&format!("0e269fa4-f505-4963-9096-{number:012}")).unwrap())
        .collect();
    let (quiet, loud) = pods.split_last().unwrap();
    let most = usize::try_from(JOURNAL_MAX_BYTES).unwrap();
    let whole = line(1).repeat(most / line(1).len());
    for pod in loud {
        node.append_to(pod, "job", &whole);
    }
    let mut reader = node.reader();
    let mut read = HashMap::new();
    let mut looks = 0;
    while read.values().sum::<usize>() < loud.len() * whole.len() {
        node.append_to(quiet, "job", &line(2));
        let entries = look(&mut reader, &pods);
        let bytes = entries.len() * line(1).len();
        assert!(bytes <= MAX_TOTAL_LOOK_BYTES + TURN_BYTES, "{bytes}");
        assert_eq!(entries.iter().filter(|entry| entry.pod == *quiet).count(), 1, "every time");
        for entry in entries.iter().filter(|entry| entry.pod != *quiet) {
            *read.entry(entry.pod.clone()).or_default() += line(1).len();
        }
        let (least, most) = (read.values().min().unwrap(), read.values().max().unwrap());
        assert!(read.len() == loud.len() && most - least <= 2 * TURN_BYTES, "{least} {most}");
        looks += 1;
    }
    assert!(looks > 2);
}

#[test]
fn of_a_pods_journals_each_has_its_turn() {
    let node = Node::new();
    for name in ["a", "b", "c"] {
        node.append(name, &line(1).repeat(20_000));
    }
    let mut reader = node.reader();
    let entries = look(&mut reader, std::slice::from_ref(&node.uid));
    for name in ["a", "b", "c"] {
        let count = entries.iter().filter(|entry| &*entry.file == name).count();
        assert!(count * line(1).len() > MAX_LOOK_BYTES / 4, "{name}: {count}");
    }
}

#[test]
fn half_a_record_is_read_when_the_rest_is_there() {
    let node = Node::new();
    let mut reader = node.reader();
    let wanted = [node.uid.clone()];
    let whole = [line(1), line(2)].concat();
    let mut read = Vec::new();
    for byte in whole.chunks(3) {
        node.append("job", byte);
        read.extend(times(&look(&mut reader, &wanted)));
        assert_eq!(look(&mut reader, &wanted), [], "nothing twice");
    }
    assert_eq!(read, [1, 2]);
}

#[test]
fn a_directory_with_a_time_of_the_future_is_not_listed_at_every_look() {
    let node = Node::new();
    node.append("job", &line(1));
    let future = std::time::SystemTime::now() + std::time::Duration::from_hours(24);
    File::open(node.journal()).unwrap().set_modified(future).unwrap();
    let mut reader = node.reader();
    let wanted = [node.uid.clone()];
    assert_eq!(times(&look(&mut reader, &wanted)), [1]);
    let start = std::time::Instant::now();
    while reader.shared().pods[&node.uid].listed.is_none() {
        assert!(start.elapsed().as_secs() < 120, "it is listed at every look");
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(look(&mut reader, &wanted), []);
    }
    node.append("late", &line(2));
    assert_eq!(times(&look(&mut reader, &wanted)), [2], "a name that comes is seen all the same");
}

#[test]
fn two_readers_read_all_each_at_its_own_pace_and_what_is_no_record_is_counted_once() {
    let node = Node::new();
    let self_metrics = SelfMetrics::new().unwrap();
    let mut jobs = node.reader_counting(self_metrics.clone());
    let mut steps = jobs.another();
    let wanted = [node.uid.clone()];
    node.append("job", &[line(1), b"nonsense\n".to_vec(), line(2)].concat());
    assert_eq!(times(&look(&mut jobs, &wanted)), [1, 2]);
    node.append("job", b"more nonsense\n");
    assert_eq!(times(&look_at(&mut steps, &node.uid)), [1, 2]);
    node.append("job", &line(3));
    assert_eq!(times(&look_at(&mut steps, &node.uid)), [3]);
    assert_eq!(times(&look(&mut jobs, &wanted)), [3]);
    let bad = self_metrics.dropped_so_far(
        ephemon_self_metrics::Signal::Journal,
        ephemon_self_metrics::Reason::Unreadable,
    );
    assert_eq!(bad, 2);
    // One reader drops the pod: the other one continues, and the first starts again if it returns.
    assert_eq!(look(&mut jobs, &[]), []);
    node.append("job", &line(4));
    assert_eq!(times(&look_at(&mut steps, &node.uid)), [4]);
    assert_eq!(times(&look(&mut jobs, &wanted)), [1, 2, 3, 4]);
    steps.forget(&node.uid);
    assert_eq!(look(&mut jobs, &wanted), []);
    look(&mut jobs, &[]);
    assert!(jobs.shared().pods.is_empty());
}

#[test]
fn a_pod_without_the_hooks_volume_is_looked_for_when_it_has_changed() {
    let node = Node::new();
    fs::remove_dir_all(node.volume()).unwrap();
    let mut reader = node.reader();
    let wanted = [node.uid.clone()];
    look(&mut reader, &wanted);
    assert!(!reader.has_open());
    fs::create_dir_all(node.volume()).unwrap();
    look(&mut reader, &wanted);
    assert!(!reader.has_open(), "nothing has said that it has changed");
    reader.changed(wanted.iter());
    look(&mut reader, &wanted);
    assert!(reader.has_open());
    // Later journals are detected by the change of the volume.
    node.append("job", &line(1));
    assert_eq!(times(&look(&mut reader, &wanted)), [1]);
}
