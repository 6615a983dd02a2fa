//! Scenarios: what comes of a log, whatever happens to it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;
use crate::accounting::LostBytes;
use ephemon_model::LogFlaw;
use ephemon_model::node::NodeRoot;

pub(super) const UID: &str = "0e269fa4-f505-4963-9096-958063077203";

mod anew;
mod bounds;
mod holes;
mod links;
mod marks;
mod missed;
mod model;
mod quiet;
mod restarted;
mod shares;

/// A node's log directory with a follower on it.
pub(super) struct Node {
    root: tempfile::TempDir,
    pub(super) follower: Follower,
    pub(super) told: Vec<Told>,
    use_inotify: bool,
}

/// A line as handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) container: String,
    pub(super) text: Vec<u8>,
    pub(super) unended: bool,
    pub(super) part: u32,
    pub(super) continues: bool,
    pub(super) malformed: bool,
    pub(super) flaw: Option<LogFlaw>,
    pub(super) time_unix_ns: Option<i64>,
    pub(super) number: u64,
    pub(super) uid: u128,
    pub(super) position: Position,
}

impl Node {
    pub(super) fn new(use_inotify: bool) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("pods")).unwrap();
        let follower = follower(root.path(), use_inotify, Checkpoints::none());
        Self { root, follower, told: Vec::new(), use_inotify }
    }

    pub(super) fn path(&self, container: &str) -> PathBuf {
        self.root.path().join(format!("pods/ci_runner_{UID}/{container}"))
    }

    pub(super) fn write(&self, container: &str, file: &str, text: impl AsRef<[u8]>) {
        let directory = self.path(container);
        fs::create_dir_all(&directory).unwrap();
        let mut file =
            fs::File::options().create(true).append(true).open(directory.join(file)).unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    pub(super) fn read(&mut self) {
        self.read_if(Choice::Take);
    }

    pub(super) fn read_if(&mut self, choice: Choice) {
        let Self { follower, told, use_inotify, .. } = self;
        if !*use_inotify {
            follower.rescan_at = Instant::now();
        }
        for _ in 0..1000 {
            let turn = follower.turn(&mut |_| choice, u64::MAX, &mut |line| {
                told.push(Told {
                    container: line.log.container.to_string(),
                    text: line.text.to_vec(),
                    unended: line.unended,
                    part: line.part,
                    continues: line.continues,
                    malformed: line.flaw == Some(LogFlaw::Record),
                    flaw: line.flaw,
                    time_unix_ns: line.time_unix_ns,
                    number: line.number,
                    uid: line.uid.0,
                    position: line.position,
                });
            });
            if !turn.more && turn.read_bytes == 0 {
                return;
            }
        }
        panic!("there is always more");
    }

    pub(super) fn ack_all(&mut self) {
        for told in self.told.iter().rev() {
            self.follower.ack(&told.position);
        }
    }

    pub(super) fn restart(&mut self) {
        let state = self.root.path();
        self.follower.checkpoints().save(state).unwrap();
        self.follower = follower(state, self.use_inotify, Checkpoints::load(state));
    }

    pub(super) fn end(&mut self, container: &str) {
        self.follower.ended(&PodUid::parse(UID).unwrap(), container);
    }

    pub(super) fn texts(&self) -> Vec<String> {
        texts(&self.told)
    }
}

pub(super) fn texts(told: &[Told]) -> Vec<String> {
    told.iter().map(|told| String::from_utf8(told.text.clone()).unwrap()).collect()
}

fn follower(root: &Path, use_inotify: bool, checkpoints: Checkpoints) -> Follower {
    let options = Options {
        settle: Duration::ZERO,
        orphaned: Duration::ZERO,
        use_inotify,
        links: LinkDirectories::new(&NodeRoot::new(root), &["/docker".into()]),
        ..Options::new(root.join("pods"))
    };
    let mut follower = Follower::new(options, checkpoints);
    // How long a turn takes is no part of these scenarios.
    follower.worked = || 0;
    // A day after what they write.
    follower.now_ns = || 1_795_522_601_000_000_000;
    follower
}

pub(super) fn full(text: &str) -> String {
    format!("2026-11-23T12:16:41.5Z stdout F {text}\n")
}

#[test]
fn a_log_that_goes_on_after_its_end_ends_again_and_its_losses_are_new_once() {
    let mut node = Node::new(false);
    node.write("job", "0.log", full("one") + &full("two"));
    node.read();
    node.ack_all();
    // Cut short before all of it was read: 5 bytes, and perhaps more.
    node.write("job", "0.log", "12345");
    node.follower.about_to_be_lost();
    node.read();
    let path = node.path("job").join("0.log");
    fs::write(&path, full("three")).unwrap();
    node.read();
    node.end("job");
    node.read();
    node.ack_all();
    let [first] = node.follower.finished().try_into().unwrap();
    let lost = first.accounting.all_lost_bytes();
    assert!(lost > 0 && !first.complete, "{first:?}");
    assert_eq!(first.newly_lost_bytes, first.accounting.lost_bytes);
    assert!(node.follower.finished().is_empty());

    for restart in [false, true] {
        let before = node.told.len();
        node.write("job", "0.log", full("late"));
        if restart {
            node.restart();
        }
        node.read();
        assert_eq!(node.texts()[before..], ["late"]);
        node.end("job");
        node.read();
        node.ack_all();
        let [again] = node.follower.finished().try_into().unwrap();
        assert_eq!(again.newly_lost_bytes, LostBytes::default(), "told before");
        assert_eq!(again.accounting.all_lost_bytes(), lost, "and still lost");
        assert_eq!(again.accounting.lines, node.told.len() as u64, "of the whole log");
        assert!(!again.complete);
    }
}

#[test]
fn a_log_of_which_something_was_given_up_on_its_way_is_not_complete_after_a_restart_either() {
    let mut node = Node::new(true);
    node.write("job", "0.log", full("one"));
    node.read();
    let log = node.told[0].position.log();
    node.follower.spoil(log);
    node.ack_all();
    node.restart();
    node.read();
    node.end("job");
    node.read();
    let [log] = node.follower.finished().try_into().unwrap();
    assert!(log.ended && !log.complete, "{log:?}");
}

#[test]
fn a_log_is_complete_when_it_ended_and_all_is_acknowledged() {
    let mut node = Node::new(true);
    node.read();
    node.write("job", "0.log", full("one"));
    node.read();
    node.write("job", "0.log", "2026-11-23T12:16:41.6Z stderr P no newline\n");
    node.read();
    assert_eq!(node.texts(), ["one"]);
    assert!(node.follower.lag_bytes() > 0);
    node.end("job");
    node.read();
    assert_eq!(node.texts(), ["one", "no newline"]);
    assert!(node.told[1].unended);
    assert!(node.follower.finished().is_empty(), "not acknowledged yet");
    node.ack_all();
    let [log] = node.follower.finished().try_into().unwrap();
    assert!(log.complete, "{log:?}");
    assert_eq!(
        log.accounting.seen_bytes,
        fs::metadata(node.path("job").join("0.log")).unwrap().len()
    );
    assert_eq!((log.accounting.delivered_lines, node.follower.lag_bytes()), (2, 0));
    // It stays where it is until its pod goes, and is not read twice, by the next agent either.
    node.restart();
    node.read();
    assert_eq!(node.told.len(), 2);
}

#[test]
fn a_recorded_log_is_read_as_its_container_wrote_it() {
    let fixtures =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/it/fixtures/kubernetes-1.36");
    let mut node = Node::new(true);
    for container in ["partial", "step-1"] {
        let log = fixtures.join("pod-logs").join(container).join("0.log");
        node.write(container, "0.log", fs::read(log).unwrap());
        node.end(container);
    }
    node.read();
    let of = |container: &str| -> Vec<(String, bool)> {
        let told = node.told.iter().filter(|told| told.container == container);
        told.map(|told| (String::from_utf8(told.text.clone()).unwrap(), told.unended)).collect()
    };
    let digits = "0123456789".repeat(2000);
    assert_eq!(of("partial"), [(digits, false), ("no-newline-at-end".to_owned(), true)]);
    assert_eq!(of("step-1"), [("one".to_owned(), false), ("two".to_owned(), false)]);
    node.ack_all();
    assert!(node.follower.finished().iter().all(|log| log.complete));
}

#[test]
fn a_log_deleted_before_it_was_decided_upon_is_read_from_the_kept_descriptor() {
    let mut node = Node::new(true);
    node.read();
    node.write("job", "0.log", full("one"));
    node.read_if(Choice::Unsure);
    fs::remove_dir_all(node.root.path().join("pods").join(format!("ci_runner_{UID}"))).unwrap();
    let at_risk = node.follower.about_to_be_lost();
    assert_eq!(at_risk.iter().map(|risk| risk.bytes).sum::<u64>(), full("one").len() as u64);
    node.read();
    node.ack_all();
    assert_eq!(node.texts(), ["one"]);
    assert!(node.follower.finished()[0].complete);
}

#[test]
fn what_lies_in_deleted_files_beyond_the_bound_is_given_up_and_counted() {
    let mut node = Node::new(true);
    node.follower.options.max_unlinked_files = 1;
    node.write("first", "0.log", full("one"));
    node.write("second", "0.log", full("two"));
    node.read_if(Choice::Unsure);
    for container in ["first", "second"] {
        fs::remove_dir_all(node.path(container)).unwrap();
        node.follower.about_to_be_lost();
    }
    node.read();
    node.ack_all();
    assert_eq!(node.texts(), ["two"]);
    let lost: u64 =
        node.follower.finished().iter().map(|log| log.accounting.all_lost_bytes()).sum();
    assert_eq!(lost, full("one").len() as u64);
}

#[test]
fn links_pipes_and_devices_are_not_followed() {
    let mut node = Node::new(false);
    let outside = node.root.path().join("outside");
    fs::create_dir_all(outside.join("job")).unwrap();
    fs::write(outside.join("job/0.log"), full("secret")).unwrap();
    let pods = node.root.path().join("pods");
    symlink(&outside, pods.join(format!("ci_other_{UID}"))).unwrap();
    node.write("job", "0.log", full("one"));
    symlink(outside.join("job"), node.path("linked")).unwrap();
    symlink(outside.join("job/0.log"), node.path("job").join("1.log")).unwrap();
    let name = node.path("job").join("2.log");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, name, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    node.read();
    assert_eq!(node.texts(), ["one"]);
}

#[test]
fn what_is_no_record_comes_whole_and_flagged() {
    let mut node = Node::new(true);
    node.write("job", "0.log", "panic: no runtime wrote this\n");
    node.write("job", "0.log", full("one"));
    node.write("job", "0.log", "cut off");
    node.read();
    node.end("job");
    node.read();
    let got: Vec<_> = node.told.iter().map(|told| told.malformed).collect();
    assert_eq!(node.texts(), ["panic: no runtime wrote this", "one", "cut off"]);
    assert_eq!(got, [true, false, true]);
    let unended: Vec<_> = node.told.iter().map(|told| told.unended).collect();
    assert_eq!(unended, [false, false, true]);
    node.ack_all();
    assert!(node.follower.finished()[0].complete);
}

#[test]
fn a_record_longer_than_any_buffer_comes_in_parts_also_over_a_restart() {
    let mut node = Node::new(true);
    let text: String = "0123456789 ".repeat(272_727);
    node.write("job", "0.log", full("before"));
    node.write("job", "0.log", full(&text));
    node.write("job", "0.log", full("after"));
    node.read();
    let whole = std::mem::take(&mut node.told);
    assert!(whole.iter().all(|told| told.text.len() <= 1024 * 1024));
    let joined: Vec<u8> = whole[1..4].iter().flat_map(|told| told.text.clone()).collect();
    assert!(joined == text.as_bytes());
    assert_eq!(whole.iter().map(|told| told.part).collect::<Vec<_>>(), [0, 0, 1, 2, 0]);
    let continues: Vec<_> = whole.iter().map(|told| told.continues).collect();
    assert_eq!(continues, [false, true, true, false, false]);
    node.follower.ack(&whole[2].position);
    node.restart();
    node.read();
    let ids = |told: &[Told]| told.iter().map(|told| told.uid).collect::<Vec<_>>();
    assert_eq!(ids(&node.told), ids(&whole[3..]));
    assert!(node.told[0].text == whole[3].text);
}

#[test]
fn a_flood_does_not_starve_the_others() {
    let mut node = Node::new(true);
    node.write("flood", "0.log", full(&"x".repeat(90)).repeat(20_000));
    node.write("quiet", "0.log", full("one"));
    let mut seen = false;
    let turn = node.follower.turn(&mut |_| Choice::Take, 600_000, &mut |line| {
        seen |= &*line.log.container == "quiet";
    });
    assert!(turn.more && turn.read_bytes <= 600_000 + BUFFER_BYTES as u64);
    assert!(seen);
}

#[test]
fn a_log_removed_while_the_agent_was_down_is_reported_as_incomplete() {
    let mut node = Node::new(true);
    node.write("job", "0.log", full("one"));
    node.read();
    node.write("job", "0.log", full("two"));
    node.ack_all();
    node.follower.about_to_be_lost();
    let state = node.root.path().to_owned();
    node.follower.checkpoints().save(&state).unwrap();
    fs::remove_dir_all(node.path("job")).unwrap();
    node.follower = follower(&state, true, Checkpoints::load(&state));
    node.read();
    let [log] = node.follower.finished().try_into().unwrap();
    assert!(!log.complete && log.accounting.lost_unknown);
    assert_eq!(log.accounting.all_lost_bytes(), full("two").len() as u64);
}

#[test]
fn unwanted_logs_are_closed_and_not_opened_again() {
    let mut node = Node::new(false);
    node.write("job", "0.log", full("one"));
    node.read_if(Choice::Leave);
    node.read();
    assert!(node.told.is_empty() && node.follower.known.live.is_empty());
}
