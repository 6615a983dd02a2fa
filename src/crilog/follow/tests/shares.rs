//! Pods that have much to read, or what costs much: others do not wait for them.

use std::cell::Cell;

use super::*;

/// Nanoseconds.
const LINE: u64 = 1000;

thread_local! {
    /// The thread's time, as far as the tests have used it.
    static WORKED: Cell<u64> = const { Cell::new(0) };
}

fn other(number: usize) -> String {
    format!("1e269fa4-f505-4963-9096-{number:012}")
}

/// Fills the logs of these containers in a pod.
fn fill(node: &Node, uid: &str, containers: usize, lines: usize) {
    for container in 0..containers {
        let directory = node.root.path().join(format!("pods/ci_{uid}_{uid}/c{container}"));
        fs::create_dir_all(&directory).unwrap();
        let text = full(&"x".repeat(100)).repeat(lines);
        fs::write(directory.join("0.log"), text).unwrap();
    }
}

/// Reads until all of the pod is read. `cost`: of a line of any other. Lines of the pod and of all
/// others, and the bytes of one buffer in lines.
fn read_all_of(node: &mut Node, uid: &str, lines: usize, cost: u64) -> (usize, usize) {
    node.follower.worked = || WORKED.get();
    let (mut own, mut others) = (0, 0);
    while own < lines {
        let before = own + others;
        let turn = node.follower.turn(&mut |_| Choice::Take, 256 * 1024, &mut |line| {
            let is_own = line.log.pod.uid.as_str() == uid;
            *(if is_own { &mut own } else { &mut others }) += 1;
            WORKED.set(WORKED.get() + if is_own { LINE } else { cost });
        });
        assert!(own + others > before && (turn.more || own == lines), "each turn reads on");
    }
    (own, others)
}

/// Lines that a buffer holds, and one more.
const BUFFER_LINES: usize = BUFFER_BYTES / 100;

#[test]
fn a_pod_with_many_logs_has_no_more_than_one_with_few() {
    let mut node = Node::new(false);
    fill(&node, UID, 1, 10_000);
    fill(&node, &other(1), 30, 2_000);
    let began = Instant::now();
    let (own, others) = read_all_of(&mut node, UID, 10_000, LINE);
    assert!(others <= own + 2 * BUFFER_LINES, "{own} and {others}");
    // A pod that has waited for 10 s is named.
    let is_slow = began.elapsed() >= Duration::from_secs(10);
    assert!(is_slow || node.follower.slowed().pods.is_empty(), "it did not wait for long");
}

#[test]
fn a_pod_whose_lines_cost_much_is_read_less() {
    let mut node = Node::new(false);
    fill(&node, UID, 1, 30_000);
    for number in 1..=3 {
        fill(&node, &other(number), 3, 10_000);
    }
    let (own, others) = read_all_of(&mut node, UID, 30_000, 100 * LINE);
    let share = own * 3 / 100;
    assert!(others <= share + 2 * 3 * BUFFER_LINES, "{own} and {others}");
    let slowed = node.follower.slowed();
    assert!(slowed.waited > Duration::ZERO, "it is counted");
    // What is left is read when nobody else waits.
    node.read();
    assert_eq!(node.told.len() + others, 3 * 3 * 10_000);
}

#[test]
fn a_pod_is_read_though_another_has_more() {
    let mut node = Node::new(false);
    fill(&node, UID, 1, 10);
    fill(&node, &other(1), 1, 50_000);
    let uid = |text: &str| PodUid::parse(text).unwrap();
    let mut reads = 0;
    while node.follower.is_unread(&uid(UID)) || reads == 0 {
        node.follower.turn(&mut |_| Choice::Take, 256 * 1024, &mut |_| {});
        reads += 1;
        assert!(reads <= 3, "it waits for another");
    }
    assert!(node.follower.is_unread(&uid(&other(1))));
    node.follower.leave(&uid(&other(1)));
    let turn = node.follower.turn(&mut |_| Choice::Take, 256 * 1024, &mut |_| {});
    assert_eq!((turn.more, turn.lines), (false, 0), "nothing is wanted of it");
}

#[test]
fn compressed_logs_of_a_pod_take_one_place_only() {
    use flate2::{Compression, write::GzEncoder};
    let mut node = Node::new(false);
    fill(&node, UID, 1, 1);
    fill(&node, &other(1), 4, 1);
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(full(&"x".repeat(100)).repeat(20_000).as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    for (pod, container) in [(UID.to_owned(), 0), (other(1), 0), (other(1), 1), (other(1), 2)] {
        let directory = node.root.path().join(format!("pods/ci_{pod}_{pod}/c{container}"));
        fs::write(directory.join("0.log.20261123-121641.gz"), &packed).unwrap();
    }
    let mut own = 0;
    for _ in 0..100 {
        node.follower.turn(&mut |_| Choice::Take, 64 * 1024, &mut |line| {
            own += usize::from(line.log.pod.uid.as_str() == UID);
        });
        let unpacking = node.follower.unpacking.values();
        let of_other = unpacking.filter(|pod| pod.as_str() == other(1)).count();
        assert!(of_other <= 1, "{of_other}");
    }
    assert!(own > 10_000, "{own}");
}
