//! Lines and files without end: what they take of memory has a bound.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

/// A record that does not end its line.
fn part(text: &str) -> String {
    format!("2026-11-23T12:16:41.5Z stdout P {text}\n")
}

#[test]
fn lines_that_never_end_are_held_within_a_bound_and_come_whole_in_the_end() {
    const CONTAINERS: usize = 64;
    let mut node = Node::new(false);
    node.follower.options.max_held_bytes = 1024 * 1024;
    let most = node.follower.options.max_held_bytes;
    for round in 0..4 {
        for container in 0..CONTAINERS {
            node.write(&format!("c{container}"), "0.log", part(&"x".repeat(16 * 1024)));
        }
        node.write("quiet", "0.log", full(&format!("line {round}")));
        node.read();
        // The bound is held before more is read: that is a turn's text and a buffer.
        let held: usize = node.follower.logs().map(Log::held).sum();
        assert!(held <= most + 2 * CONTAINERS * 16 * 1024, "{held}");
    }
    node.read();
    let held: usize = node.follower.logs().map(Log::held).sum();
    assert!(held <= most, "{held}");
    for container in 0..CONTAINERS {
        node.write(&format!("c{container}"), "0.log", full("end"));
    }
    node.read();
    for container in 0..CONTAINERS {
        let name = format!("c{container}");
        let own: Vec<_> = node.told.iter().filter(|told| told.container == name).collect();
        let bytes: usize = own.iter().map(|told| told.text.len()).sum();
        assert_eq!(bytes, 4 * 16 * 1024 + 3, "{name}");
        let (last, before) = own.split_last().unwrap();
        assert!(!last.continues && before.iter().all(|told| told.continues), "{name}");
        let parts: Vec<_> = own.iter().map(|told| told.part as usize).collect();
        assert_eq!(parts, (0..own.len()).collect::<Vec<_>>(), "{name}");
    }
    let quiet = node.told.iter().filter(|told| told.container == "quiet");
    assert!(quiet.clone().all(|told| told.part == 0 && !told.continues));
    assert_eq!(quiet.count(), 4);
}

#[test]
fn few_compressed_files_are_open_at_a_time_and_all_are_read() {
    let mut node = Node::new(false);
    for container in 0..20 {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        for line in 0..2000 {
            packed.write_all(full(&format!("{line} {}", "x".repeat(200))).as_bytes()).unwrap();
        }
        let name = format!("c{container}");
        node.write(&name, "0.log.20261123-121641.gz", packed.finish().unwrap());
        node.write(&name, "0.log", full("last"));
    }
    let (mut lines, mut turns) = (0, 0);
    node.follower.rescan_at = Instant::now();
    while lines < 20 * 2001 {
        let before = lines;
        let turn = node.follower.turn(&mut |_| Choice::Take, 64 * 1024, &mut |_| lines += 1);
        let unpacked = node.follower.logs().filter(|log| log.unpacks()).count();
        assert!(unpacked <= MAX_UNPACKED, "{unpacked}");
        assert!(lines > before && (turn.more || lines == 20 * 2001), "each turn reads on: {lines}");
        turns += 1;
    }
    assert!(turns > 10, "{turns}");
}
