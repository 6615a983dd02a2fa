//! Logs that somebody empties and writes anew in the same file, as `copytruncate` does.

use super::*;

fn lines(word: &str, count: usize) -> String {
    let line = |n| format!("2026-11-23T12:30:{n:02}.000000001Z stdout F {word} {n}\n");
    (0..count).map(line).collect()
}

/// The same file, with other contents.
fn rewrite(node: &Node, text: &str) {
    let path = node.path("job").join("0.log");
    let before = fs::metadata(&path).unwrap();
    // The kernel's clock ticks in milliseconds: until it does, nothing tells the two apart.
    until_later(&path, &before, || fs::write(&path, text).unwrap());
}

pub(super) fn until_later(path: &Path, before: &fs::Metadata, mut act: impl FnMut()) {
    use std::os::unix::fs::MetadataExt as _;
    loop {
        act();
        let now = fs::metadata(path).unwrap();
        if (now.ctime(), now.ctime_nsec()) != (before.ctime(), before.ctime_nsec()) {
            return;
        }
    }
}

#[test]
fn a_log_written_anew_is_read_from_its_beginning_however_long_it_is() {
    // Shorter than before, as long, and longer.
    for count in [1, 3, 20] {
        let mut node = Node::new(true);
        node.read();
        node.write("job", "0.log", lines("old", 3));
        node.read();
        node.ack_all();
        let new = lines("new", count);
        rewrite(&node, &new);
        node.read();
        let texts: Vec<String> = (0..count).map(|n| format!("new {n}")).collect();
        assert_eq!(node.texts()[3..], texts, "{count}");
        assert!(node.told.iter().all(|told| !told.malformed), "{count}");
        node.end("job");
        node.read();
        node.ack_all();
        // What was written between the last look and the emptying, nobody knows.
        let [log] = node.follower.finished().try_into().unwrap();
        assert!(!log.complete && log.accounting.lost_unknown, "{count}: {log:?}");
    }
}

#[test]
fn a_log_that_grows_or_whose_owner_changes_is_the_same_log() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut node = Node::new(true);
    node.read();
    node.write("job", "0.log", lines("one", 2));
    node.read();
    let path = node.path("job").join("0.log");
    let before = fs::metadata(&path).unwrap();
    let mut mode = 0o600;
    until_later(&path, &before, || {
        mode ^= 0o040;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    });
    node.read();
    node.write("job", "0.log", full("two"));
    node.read();
    assert_eq!(node.texts(), ["one 0", "one 1", "two"]);
    node.end("job");
    node.read();
    node.ack_all();
    let [log] = node.follower.finished().try_into().unwrap();
    assert!(log.complete, "{log:?}");
}

/// What is left when the container of a log has ended.
pub(super) fn ended(node: &mut Node) -> ContainerLog {
    node.end("job");
    node.read();
    node.ack_all();
    let [log] = node.follower.finished().try_into().unwrap();
    log
}

#[test]
fn a_log_written_anew_before_it_was_read_is_not_complete() {
    for count in [1, 3, 20] {
        let mut node = Node::new(true);
        node.read();
        node.write("job", "0.log", lines("old", 3));
        // Opened and looked at, and not read yet.
        node.read_if(Choice::Unsure);
        node.follower.about_to_be_lost();
        let path = node.path("job").join("0.log");
        let before = fs::metadata(&path).unwrap();
        until_later(&path, &before, || fs::write(&path, lines("new", count)).unwrap());
        node.read();
        let texts: Vec<String> = (0..count).map(|n| format!("new {n}")).collect();
        assert_eq!(node.texts(), texts, "{count}");
        let log = ended(&mut node);
        assert!(!log.complete && log.accounting.lost_unknown, "{count}: {log:?}");
    }
}

#[test]
fn a_writer_that_goes_on_at_its_old_place_leaves_a_hole() {
    use std::os::unix::fs::FileExt as _;
    let mut node = Node::new(true);
    node.read();
    let old = lines("old", 30);
    node.write("job", "0.log", &old);
    node.read();
    let path = node.path("job").join("0.log");
    let before = fs::metadata(&path).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    until_later(&path, &before, || {
        file.set_len(0).unwrap();
        file.write_all_at(lines("new", 2).as_bytes(), old.len() as u64).unwrap();
    });
    node.read();
    assert_eq!(node.texts()[30..], ["new 0", "new 1"]);
    assert!(node.told.iter().all(|told| !told.malformed));
    let log = ended(&mut node);
    assert!(!log.complete && log.accounting.lost_unknown, "{log:?}");
}

#[test]
fn a_log_written_anew_in_the_tick_of_the_last_look_is_never_complete() {
    for (count, is_longer) in [(3, false), (20, true)] {
        let mut node = Node::new(true);
        node.read();
        node.write("job", "0.log", lines("old", 3));
        node.read();
        fs::write(node.path("job").join("0.log"), lines("new", count)).unwrap();
        // As if the kernel's clock had not moved.
        for live in node.follower.known.live.values_mut() {
            live.log.chain.segments_mut().for_each(|file| file.changed = None);
        }
        let log = ended(&mut node);
        assert!(!log.complete && log.accounting.lost_unknown, "longer {is_longer}: {log:?}");
        let texts: Vec<String> = (0..count).map(|n| format!("new {n}")).collect();
        assert_eq!(node.texts()[3..], texts, "longer {is_longer}");
    }
}

/// A crash, or a full disk, leaves a record without its end.
#[test]
fn a_file_that_is_written_anew_over_a_long_record_without_its_end_is_seen_to_be() {
    let mut node = Node::new(true);
    let path = node.path("job").join("0.log");
    let text = |letter: &str| format!("{{\"log\":\"{}", letter.repeat(3000));
    node.write("job", "0.log", text("a"));
    node.read();
    let before = fs::metadata(&path).unwrap();
    let end = "\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-23T12:16:41.5Z\"}\n";
    until_later(&path, &before, || fs::write(&path, text("b") + end).unwrap());
    node.read();
    node.end("job");
    node.read();
    node.ack_all();
    assert_eq!(node.texts(), ["b".repeat(3000)]);
    let [log] = node.follower.finished().try_into().unwrap();
    assert!(!log.complete && log.accounting.lost_unknown, "{log:?}");
}

#[test]
fn a_file_whose_long_first_record_came_in_pieces_is_known_by_all_of_it() {
    let mut node = Node::new(true);
    let path = node.path("job").join("0.log");
    let line = |second: u32| {
        let (text, time) = ("a".repeat(3000), format!("2026-11-23T12:16:{second}.5Z"));
        format!("{{\"log\":\"{text}\\n\",\"stream\":\"stdout\",\"time\":\"{time}\"}}\n")
    };
    let first = line(41);
    for piece in first.as_bytes().chunks(2000) {
        node.write("job", "0.log", piece);
        node.read();
        node.restart();
    }
    node.read();
    let ids = node.told.iter().map(|told| told.uid);
    assert_eq!(ids.collect::<BTreeSet<_>>().len(), 1, "read again, it has its id");
    let before = fs::metadata(&path).unwrap();
    until_later(&path, &before, || fs::write(&path, line(42)).unwrap());
    node.read();
    let ids = node.told.iter().map(|told| told.uid);
    assert_eq!(ids.collect::<BTreeSet<_>>().len(), 2);
}
