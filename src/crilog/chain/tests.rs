//! Whether files may be gone, by what the directory has.

use super::*;

/// A file in the directory. A settled one was met before, whether or not it is read here.
fn candidate(is_rotated: bool, is_settled: bool, number: Option<u32>) -> Candidate {
    let entry = is_rotated.then(|| Entry { name: "0.log.20261123-121910".into(), inode: 1 });
    let file = (!is_settled).then(|| File::open("/dev/null").unwrap());
    Candidate { entry, packed: false, file, dev: 1, ino: 1, number }
}

#[test]
fn files_may_be_gone_where_others_are_new_and_the_newest_that_was_met_is_not_there() {
    let live = |number| candidate(false, false, number);
    let rotated = |number| candidate(true, false, number);
    let settled = |number| candidate(true, true, number);
    // A log that is met for the first time.
    let first = [
        (vec![], false),
        (vec![live(None)], false),
        (vec![rotated(None)], true),
        (vec![rotated(None), live(None)], true),
    ];
    for (candidates, missed) in first {
        assert_eq!(may_have_missed(&candidates, None), missed, "{candidates:?}");
    }
    // One whose newest file so far is the third.
    let later = [
        (vec![], false),
        (vec![live(Some(3))], false),
        (vec![rotated(None), live(None)], true),
        // Put in its place, perhaps not for the first time.
        (vec![live(None)], true),
        // What is newer than the third is there, and what is older has been read.
        (vec![rotated(Some(3)), rotated(None), live(None)], false),
        (vec![rotated(None), live(Some(3))], false),
        (vec![settled(Some(3)), rotated(None), live(None)], false),
        // The second is there, under whose name and inode another may be by now; the third is not.
        (vec![settled(Some(2)), live(None)], true),
        (vec![rotated(None), settled(Some(2)), live(None)], true),
        (vec![settled(None), rotated(None), live(None)], true),
        // It was renamed, and nothing is in its place yet.
        (vec![settled(None), settled(Some(2))], false),
    ];
    for (candidates, missed) in later {
        assert_eq!(may_have_missed(&candidates, Some(3)), missed, "{candidates:?}");
    }
}
