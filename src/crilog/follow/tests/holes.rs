//! Runs of NUL bytes: skipped, counted, and no log with them is called complete.

use super::*;
use crate::hole::HOLE_BYTES;
use ephemon_model::LogLoss;

fn nul(bytes: usize) -> String {
    "\0".repeat(bytes)
}

fn holes(log: &ContainerLog) -> u64 {
    let lost = LogLoss::ALL.into_iter().zip(log.accounting.lost_bytes);
    lost.filter(|(why, _)| *why == LogLoss::Nul).map(|(_, bytes)| bytes).sum()
}

/// What comes of a log with this text, which grows by so many bytes at once.
fn outcome(text: &str, step: usize) -> (Vec<(String, bool)>, ContainerLog) {
    let mut node = Node::new(true);
    node.read();
    for piece in text.as_bytes().chunks(step) {
        node.write("job", "0.log", piece);
        node.read();
    }
    node.end("job");
    node.read();
    node.ack_all();
    let [log] = node.follower.finished().try_into().unwrap();
    let size = fs::metadata(node.path("job").join("0.log")).unwrap().len();
    assert_eq!(log.accounting.seen_bytes, size, "{log:?}");
    assert_eq!(log.accounting.delivered_bytes + log.accounting.all_lost_bytes(), size, "{log:?}");
    let lines = node
        .told
        .iter()
        .map(|told| (String::from_utf8_lossy(&told.text).into_owned(), told.unended));
    (lines.collect(), log)
}

#[test]
fn a_hole_is_skipped_wherever_it_is() {
    let (one, two) = (full("one"), full("two"));
    let cut = one.strip_suffix("e\n").unwrap();
    let short = nul(HOLE_BYTES - 1);
    let line = |text: &str, unended| (text.to_owned(), unended);
    let cases = [
        // Between records, of any length.
        (format!("{one}{}{two}", nul(1)), 1, vec![line("one", false), line("two", false)]),
        (
            format!("{one}{}{two}", nul(700_000)),
            700_000,
            vec![line("one", false), line("two", false)],
        ),
        // At the beginning, and nothing else.
        (format!("{}{one}", nul(5000)), 5000, vec![line("one", false)]),
        (nul(300_000), 300_000, vec![]),
        // In a record, before the next one; at the end.
        (format!("{cut}{}{two}", nul(4000)), 4000, vec![line("on", true), line("two", false)]),
        (format!("{one}{}", nul(3)), 3, vec![line("one", false)]),
        (
            format!("{one}{}{}", two.strip_suffix("o\n").unwrap(), nul(10)),
            10,
            vec![line("one", false), line("tw", true)],
        ),
        // In a record, which goes on after it.
        (
            format!("{cut}{}wo\n{two}", nul(HOLE_BYTES)),
            HOLE_BYTES as u64,
            vec![line("on", true), line("wo", false), line("two", false)],
        ),
        // What a container may have written.
        (full(&format!("a{short}b")), 0, vec![line(&format!("a{short}b"), false)]),
    ];
    for (text, lost, lines) in cases {
        for step in [usize::MAX, 100_000] {
            let (got, log) = outcome(&text, step);
            assert_eq!(got, lines, "{:?} by {step}", text.get(..200));
            assert_eq!((holes(&log), log.complete), (lost, lost == 0), "{log:?}");
        }
    }
}

#[test]
fn a_hole_in_a_record_that_is_longer_than_any_buffer_ends_it() {
    let written = "x".repeat(600_000);
    let text = full(&format!("{written}{}", nul(5000)));
    let (got, log) = outcome(&text, usize::MAX);
    let [(first, unended)] = &got[..] else { panic!("{} lines", got.len()) };
    assert!(*first == written && *unended);
    assert_eq!((holes(&log), log.complete), (5001, false));
}

#[test]
fn a_hole_is_counted_once_over_a_restart() {
    let mut node = Node::new(true);
    node.read();
    node.write("job", "0.log", full("one") + &nul(5000) + &full("two"));
    node.read();
    node.follower.ack(&node.told[0].position);
    node.restart();
    node.read();
    assert_eq!(node.texts(), ["one", "two", "two"]);
    node.end("job");
    node.read();
    node.ack_all();
    let [log] = node.follower.finished().try_into().unwrap();
    assert_eq!((holes(&log), log.complete), (5000, false), "{log:?}");
}

#[test]
fn files_that_begin_with_holes_are_told_apart_and_known_again() {
    let mut node = Node::new(true);
    node.read();
    let rotated = "0.log.20261123-121910";
    node.write("job", "0.log", nul(5000) + &full("one"));
    node.read();
    fs::rename(node.path("job").join("0.log"), node.path("job").join(rotated)).unwrap();
    node.write("job", "0.log", nul(5000) + &full("two").replace("41.5", "41.6"));
    node.read();
    assert_eq!(node.texts(), ["one", "two"]);
    assert_ne!(node.told[0].uid, node.told[1].uid);
    node.restart();
    node.read();
    let ids: Vec<u128> = node.told.iter().map(|told| told.uid).collect();
    assert_eq!(ids[..2], ids[2..], "known again, and read again: nothing is acknowledged");
}

/// A container writes NUL bytes and behind them what looks like a record of another time.
#[test]
fn what_a_container_writes_behind_nul_bytes_has_no_time_that_it_could_not_have() {
    let hole = nul(HOLE_BYTES);
    let line = |stamp: &str| format!("{stamp} stdout F made up");
    let [past, future] = ["2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z"].map(line);
    let docker = r#"{"log":"made up\n","stream":"stderr","time":"2020-01-01T00:00:00Z"}"#;
    let later = "2026-11-23T12:16:42Z";
    let cases = [
        (format!("x{hole}{past}"), vec![(&*past, false)]),
        (format!("x{hole}{future}"), vec![(&*future, false)]),
        (format!("x{hole}{docker}"), vec![(docker, false)]),
        // What stands before the second hole says nothing of what is behind it.
        (format!("x{hole}{past}{hole}{past}"), vec![(&*past, false), (&*past, false)]),
        // A line that it could have written then.
        (format!("x{hole}{}", line(later)), vec![("made up", true)]),
        (format!("x{hole}{}{hole}{past}", line(later)), vec![("made up", true), (&*past, false)]),
    ];
    for (text, behind) in cases {
        // By pieces the agent meets the hole, and what is behind it, at different times.
        for step in [usize::MAX, 40] {
            let mut node = Node::new(true);
            node.read();
            for piece in (full(&text) + &full("real")).as_bytes().chunks(step) {
                node.write("job", "0.log", piece);
                node.read();
            }
            let got = node.told.iter().map(|told| (&*told.text, told.time_unix_ns.is_some()));
            let mut expected = vec![(&b"x"[..], true)];
            expected.extend(behind.iter().map(|(text, has_time)| (text.as_bytes(), *has_time)));
            expected.push((b"real", true));
            assert_eq!(got.collect::<Vec<_>>(), expected, "{text:?} by {step}");
        }
    }
}

/// What was read before a restart says nothing of what stands behind the hole after it.
#[test]
fn what_a_container_writes_behind_nul_bytes_has_no_time_after_a_restart() {
    let hole = nul(HOLE_BYTES);
    for stamp in ["2020-01-01T00:00:00Z", "2026-11-23T12:16:42Z", "2100-01-01T00:00:00Z"] {
        let forged = format!("{stamp} stdout F made up");
        for acked in [1, 2] {
            let mut node = Node::new(true);
            let text = full(&format!("x{hole}{forged}{hole}{forged}")) + &full("real");
            node.write("job", "0.log", text);
            node.read();
            let last = node.told[acked - 1].position;
            node.follower.ack(&last);
            node.restart();
            let told = node.told.len();
            node.read();
            let again = node.told[told..].iter();
            let again = again.map(|told| (&*told.text, told.time_unix_ns.is_some()));
            let mut expected = vec![(forged.as_bytes(), false); 3 - acked];
            expected.push((b"real", true));
            assert_eq!(again.collect::<Vec<_>>(), expected, "{stamp}, {acked}");
        }
    }
}

#[test]
fn a_record_behind_a_hole_that_begins_with_a_line_has_its_time_after_a_restart() {
    let mut node = Node::new(true);
    node.read();
    let begun = full("begun").replace(" F ", " P ");
    node.write("job", "0.log", begun + &nul(5000) + &full("one") + &full("two"));
    node.read();
    // What was begun is told at the hole, which is where the next life goes on.
    let first = node.told[0].position;
    node.follower.ack(&first);
    node.restart();
    node.read();
    assert_eq!(node.texts(), ["begun", "one", "two", "one", "two"]);
    assert!(node.told.iter().all(|told| told.flaw.is_none()), "{:?}", node.told);
}
