//! What the agent's next life knows of a log: its counts go on, and what was removed meanwhile is told.

use super::*;

#[test]
fn the_log_of_an_older_start_that_was_removed_while_the_agent_was_down_is_told_of() {
    let mut node = Node::new(true);
    node.write("job", "0.log", full("one"));
    node.read();
    node.write("job", "0.log", full("two"));
    node.ack_all();
    node.follower.about_to_be_lost();
    node.follower.checkpoints().save(node.root.path()).unwrap();
    // The kubelet starts the container anew and removes the older log: their directory stays.
    node.write("job", "1.log", full("three"));
    fs::remove_file(node.path("job").join("0.log")).unwrap();
    node.follower = follower(node.root.path(), true, Checkpoints::load(node.root.path()));
    node.read();
    node.ack_all();
    let [log] = node.follower.finished().try_into().unwrap();
    assert_eq!((log.log.attempt, log.complete), (0, false), "{log:?}");
    assert_eq!(log.accounting.all_lost_bytes(), full("two").len() as u64);
    assert_eq!(node.texts(), ["one", "three"]);
    // It is told of once.
    node.restart();
    node.read();
    assert_eq!(node.follower.finished(), []);
}

#[test]
fn what_was_counted_of_a_log_is_counted_on_after_a_restart() {
    let mut node = Node::new(true);
    node.write("job", "0.log", full("one") + &full("two"));
    node.read();
    // The second line is not acknowledged: it comes again, and is counted once.
    let first = node.told[0].position;
    node.follower.ack(&first);
    node.restart();
    node.write("job", "0.log", full("three"));
    node.read();
    assert_eq!(node.texts(), ["one", "two", "two", "three"]);
    let [log] = node.follower.accounting().collect::<Vec<_>>().try_into().unwrap();
    let accounting = log.accounting;
    assert_eq!((accounting.lines, accounting.stream_lines), (3, [3, 0, 0]));
    assert_eq!(accounting.stream_bytes, ["onetwothree".len() as u64, 0, 0]);
}
