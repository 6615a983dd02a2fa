//! Logs that are put aside, and taken up again where they were left.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use ephemon_model::{LogLoss, PodUid};

use super::{Choice, Known, home_of};
use crate::births::Home;
use crate::chain::{Chain, missing};
use crate::checkpoint::{MAX_LOGS, Saved, SavedFile};
use crate::log::Log;
use crate::place::{LogId, LogRef};

// === impl Known ===

impl Known {
    /// Where all places are taken, the pod with the most logs puts one aside for a pod that has
    /// `fewer`: it waits on the disk, from where it was read to. Whether there is room.
    pub(super) fn make_room(&mut self, fewer: usize) -> bool {
        if self.crowd.is_some_and(|most| most <= fewer + 1) || self.resting.len() >= MAX_LOGS {
            return false;
        }
        let mut pods: HashMap<&PodUid, usize> = HashMap::new();
        for live in self.live.values() {
            *pods.entry(&live.log.name.pod.uid).or_default() += 1;
        }
        let Some((uid, most)) = pods.into_iter().max_by_key(|(_, logs)| *logs) else {
            return false;
        };
        self.crowd = Some(most);
        if most <= fewer + 1 {
            return false;
        }
        // First one of which nothing waits, then the newest.
        let own =
            self.live.iter().filter(|(_, live)| live.log.name.pod.uid == *uid && !live.log.gone);
        let least = own.min_by_key(|(id, live)| (live.log.lag_bytes() > 0, Reverse(**id)));
        let Some(live) = least.map(|(id, _)| *id).and_then(|id| self.remove(id)) else {
            return false;
        };
        if live.choice == Choice::Take || live.restored {
            self.resting.insert((*live.log.name).clone(), save(&live.log));
        }
        true
    }

    /// In a container's directory there are files of these starts only: the kubelet removes those of
    /// older ones while the pod lives.
    pub(super) fn miss(&mut self, home: &Home, there: &BTreeSet<u32>, now: Instant) {
        let of_home = self.resting.keys().filter(|log| {
            log.pod == *home.pod && log.container == home.container && !there.contains(&log.attempt)
        });
        for name in of_home.cloned().collect::<Vec<_>>() {
            self.take_up_gone(name, now);
        }
    }

    /// None of the log's files is there any more. What was not read of them is lost, which is told as
    /// of any log that is over.
    pub(super) fn take_up_gone(&mut self, name: LogRef, now: Instant) {
        let Some(saved) = self.resting.remove(&name).filter(|saved| !saved.finished) else {
            return;
        };
        let home = home_of(&name);
        let mut log = restore(LogId(self.next), name, &saved, now);
        log.give_up_missing(LogLoss::Removed);
        (log.ended, log.gone) = (true, true);
        self.add(log, Choice::Take, true, home);
    }
}

pub(super) fn save(log: &Log) -> Saved {
    let files = log.chain.segments().map(|file| SavedFile {
        number: file.number,
        dev: file.dev,
        ino: file.ino,
        head: file.head,
        size: file.size,
        passed: file.passed,
        broken: file.broken,
    });
    Saved {
        mark: log.acked(),
        files: files.collect(),
        lost_bytes: log.lost_bytes,
        lost_unknown: log.lost_unknown,
        told_bytes: log.told_bytes,
        holes_to: log.holes_to,
        spoilt: log.spoilt,
        finished: log.finished(),
    }
}

pub(super) fn restore(id: LogId, name: LogRef, saved: &Saved, now: Instant) -> Log {
    let resume = saved.mark.resume();
    let files = saved.files.iter().map(|file| {
        let mut segment = missing(file.number, file.dev, file.ino, file.head, now);
        segment.size = file.size;
        (segment.sized, segment.broken) = (file.passed, file.broken);
        // An empty file with a successor has nothing to read, and no first line to know it by: its
        // inode may be another's by now.
        let last = saved.files.last().is_some_and(|last| last.number == file.number);
        let empty = file.head.is_none() && file.size == 0 && !last;
        segment.passed = empty || file.number < resume.file;
        if file.number == resume.file {
            segment.read = resume.offset;
        }
        segment
    });
    let lost = Some((saved.lost_bytes, saved.lost_unknown));
    let mut log = Log::resume(id, name, Chain::resume(files.collect()), saved.mark, lost);
    (log.told_bytes, log.spoilt) = (saved.told_bytes, saved.spoilt);
    log.holes_to = saved.holes_to;
    log
}
