//! Files that may have gone before the agent met them: what is left is read, and the log is not called
//! complete.

use std::os::unix::fs::MetadataExt as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::anew::ended;
use super::*;

fn packed(text: &str) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

#[test]
fn a_log_of_which_no_known_file_is_left_beside_a_rotated_one_is_not_complete() {
    for (tag, unended) in [(" F ", false), (" P ", true)] {
        let mut node = Node::new(false);
        node.write("job", "0.log", full("one").replace(" F ", tag));
        node.read();
        // Rotated three times before the agent looks again: what was second is gone, too.
        fs::remove_file(node.path("job").join("0.log")).unwrap();
        node.write("job", "0.log.20261123-121910.gz", packed(&full("three")));
        node.write("job", "0.log", full("four"));
        node.read();
        let log = ended(&mut node);
        assert_eq!(node.texts(), ["one", "three", "four"], "no line goes on over what is gone");
        assert_eq!(node.told[0].unended, unended, "{:?}", node.told);
        assert!(!log.complete && log.accounting.lost_unknown, "{log:?}");
    }
}

#[test]
fn a_log_that_is_met_between_its_renaming_and_its_reopening_is_not_complete() {
    let mut node = Node::new(false);
    node.write("job", "0.log.20261123-121910", full("one"));
    node.read();
    node.write("job", "0.log", full("two"));
    node.read();
    let log = ended(&mut node);
    assert_eq!(node.texts(), ["one", "two"]);
    assert!(!log.complete && log.accounting.lost_unknown, "{log:?}");
}

#[test]
fn an_empty_file_whose_inode_another_has_after_a_restart_hides_no_file() {
    let mut node = Node::new(false);
    node.write("job", "0.log", "");
    node.read();
    let mut saved = node.follower.checkpoints();
    // It is down: nothing holds the file.
    node.follower = follower(node.root.path(), false, Checkpoints::none());
    let live = node.path("job").join("0.log");
    fs::remove_file(&live).unwrap();
    node.write("job", "0.log.20261123-121910.gz", packed(&full("one")));
    node.write("job", "0.log.20261123-122910", full("two"));
    node.write("job", "0.log", full("three"));
    // As ext4 does: a new file has the inode that was freed last.
    let ino = fs::metadata(&live).unwrap().ino();
    for saved in saved.logs.values_mut() {
        saved.files[0].ino = ino;
    }
    node.follower = follower(node.root.path(), false, saved);
    node.read();
    let log = ended(&mut node);
    assert_eq!(node.texts(), ["one", "two", "three"]);
    assert!(!log.complete && log.accounting.lost_unknown, "{log:?}");
}

#[test]
fn an_empty_file_that_is_not_rotated_before_a_restart_is_known_after_it() {
    for has_rotated in [false, true] {
        let mut node = Node::new(false);
        if has_rotated {
            node.write("job", "0.log", full("one"));
            node.read();
            let directory = node.path("job");
            fs::rename(directory.join("0.log"), directory.join("0.log.20261123-121910")).unwrap();
        }
        node.write("job", "0.log", "");
        node.read();
        node.ack_all();
        node.restart();
        node.write("job", "0.log", full("two"));
        node.read();
        let log = ended(&mut node);
        assert!(log.complete, "{has_rotated}: {log:?}");
        assert_eq!(node.texts().last().unwrap(), "two");
    }
}
