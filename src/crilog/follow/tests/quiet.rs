//! Logs that have not grown for a while: looked at rarely, and all of a pod together.

use super::*;

const MINUTE: Duration = Duration::from_mins(1);

/// As if all logs had been quiet for a minute; those of `due` were not looked at since, and the others are
/// not due however long the test takes.
fn pretend(node: &mut Node, due: &[&str]) {
    let now = Instant::now();
    let (long_ago, ahead) = (now.checked_sub(MINUTE).unwrap(), now + MINUTE);
    for live in node.follower.known.live.values_mut() {
        let is_due = due.contains(&&*live.log.name.container);
        live.pretend(long_ago, if is_due { long_ago } else { ahead });
    }
}

#[test]
fn a_rescan_wakes_no_quiet_log() {
    let mut node = Node::new(true);
    node.read();
    node.write("job", "0.log", full("one"));
    node.read();
    pretend(&mut node, &[]);
    node.write("job", "0.log", full("two"));
    node.follower.rescan_at = Instant::now();
    node.read();
    assert_eq!(node.texts(), ["one"]);
    pretend(&mut node, &["job"]);
    node.read();
    assert_eq!(node.texts(), ["one", "two"]);
}

#[test]
fn a_file_more_wakes_a_quiet_log() {
    let mut node = Node::new(true);
    node.read();
    node.write("job", "0.log", full("one"));
    node.read();
    pretend(&mut node, &[]);
    let directory = node.path("job");
    fs::rename(directory.join("0.log"), directory.join("0.log.20261123-121641")).unwrap();
    node.write("job", "0.log", full("two"));
    node.follower.rescan_at = Instant::now();
    node.read();
    assert_eq!(node.texts(), ["one", "two"]);
}

/// A value that one container tells to mask is known when another prints it.
#[test]
fn the_logs_of_a_pod_are_looked_at_together() {
    let mut node = Node::new(true);
    node.read();
    for container in ["first", "second"] {
        node.write(container, "0.log", full("one"));
    }
    node.read();
    pretend(&mut node, &["second"]);
    for container in ["first", "second"] {
        node.write(container, "0.log", full("two"));
    }
    node.read();
    assert_eq!(node.texts(), ["one", "one", "two", "two"]);
}
