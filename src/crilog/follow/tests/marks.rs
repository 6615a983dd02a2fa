//! What is said of lines and of whole logs: their number, their flaws, whether all of it came through.

use super::*;

#[test]
fn a_record_with_a_broken_stamp_is_a_line_of_its_stream_without_a_time() {
    let mut node = Node::new(true);
    node.write(
        "job",
        "0.log",
        full("one") + "0001-01-01T00:00:00Z stderr F two\nwhat stdout F three\n",
    );
    node.read();
    let got: Vec<_> =
        node.told.iter().map(|told| (told.flaw, told.time_unix_ns.is_some())).collect();
    let stamp = Some(LogFlaw::Stamp);
    assert_eq!(
        (node.texts(), got),
        (
            vec!["one".to_owned(), "two".to_owned(), "three".to_owned()],
            vec![(None, true), (stamp, false), (stamp, false)]
        )
    );
}

#[test]
fn lines_are_numbered_over_restarts_so_that_equal_times_have_an_order() {
    let mut node = Node::new(true);
    node.write("job", "0.log", full("one") + &full("two") + &full("three"));
    node.read();
    node.follower.ack(&node.told[0].position);
    node.restart();
    node.write("job", "0.log", full("four"));
    node.read();
    let got: Vec<_> = node.told.iter().map(|told| told.number).collect();
    assert_eq!(got, [1, 2, 3, 2, 3, 4]);
    assert_eq!(node.texts()[3..], ["two", "three", "four"]);
}

#[test]
fn a_record_without_a_newline_at_the_end_is_sent_and_marked() {
    let mut node = Node::new(true);
    node.write("job", "0.log", full("one") + full("two").trim_end());
    node.read();
    node.end("job");
    node.read();
    let got: Vec<_> = node.told.iter().map(|told| told.unended).collect();
    assert_eq!((node.texts(), got), (vec!["one".to_owned(), "two".to_owned()], vec![false, true]));
    node.ack_all();
    let [log] = node.follower.finished().try_into().unwrap();
    assert!(log.complete, "every byte of the file is delivered: {log:?}");
    let size = fs::metadata(node.path("job").join("0.log")).unwrap().len();
    assert_eq!(log.accounting.seen_bytes, size);
}

#[test]
fn a_log_of_which_files_may_have_gone_before_is_never_called_complete() {
    let mut node = Node::new(true);
    node.write("job", "0.log.20261123-121910", full("one"));
    node.write("job", "0.log", full("two"));
    node.write("all", "0.log", full("three"));
    for container in ["job", "all"] {
        node.end(container);
    }
    node.read();
    node.ack_all();
    let logs = node.follower.finished();
    let complete =
        |name: &str| logs.iter().find(|log| &*log.log.container == name).unwrap().complete;
    assert_eq!((complete("job"), complete("all")), (false, true));
}

#[test]
fn what_is_written_to_a_rotated_file_after_it_was_read_is_no_complete_log() {
    let mut node = Node::new(false);
    node.read();
    node.write("job", "0.log", full("one"));
    node.read();
    let rotated = "0.log.20261123-121910";
    fs::rename(node.path("job").join("0.log"), node.path("job").join(rotated)).unwrap();
    node.write("job", "0.log", full("two"));
    node.read();
    node.write("job", rotated, full("late"));
    node.read();
    node.end("job");
    node.read();
    node.ack_all();
    assert_eq!(node.texts(), ["one", "two"]);
    let [log] = node.follower.finished().try_into().unwrap();
    assert!(!log.complete && log.accounting.lost_unknown, "{log:?}");
}
