//! One turn of reading: whose log is read next, and for how long.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Instant;

use ephemon_model::{PodRef, PodUid};
use rustix::time::{ClockId, clock_gettime};

use super::{Follower, MAX_UNPACKED, Turn};
use crate::known::{Choice, Live};
use crate::log::{Line, Rules};
use crate::place::{LogId, LogRef};

/// A turn takes no more of the thread's time than this and a buffer of one log: nanoseconds.
const TURN_NS: u64 = 20_000_000;

/// So many logs of a pod are looked at without asking how long it took, where nothing is to be read.
const MAX_UNMEASURED: usize = 8;

// === impl Follower ===

impl Follower {
    /// Hands over lines, about `max_bytes` of them (at most a buffer of 256 KiB more). Each pod has an
    /// equal share of the thread's time, and each log of a pod a buffer in turn: none waits for
    /// another's flood. A log's lines come in order.
    pub fn turn(
        &mut self,
        choose: &mut dyn FnMut(&LogRef) -> Choice,
        max_bytes: u64,
        sink: &mut dyn FnMut(Line<'_>),
    ) -> Turn {
        self.hear();
        self.known.choose(choose);
        let now = Instant::now();
        self.hold_lines(sink);
        let rules = self.rules();
        let Self { known, unpacking, .. } = self;
        unpacking.retain(|id, _| known.live.get_mut(id).is_some_and(|live| live.log.is_packed()));
        let mut queues = self.queues(now);
        let mut turn = Turn::default();
        let begun = (self.worked)();
        let mut before = begun;
        while self.shares.is_waited_for() {
            if turn.read_bytes >= max_bytes || before.saturating_sub(begun) >= TURN_NS {
                self.shares.end(now);
                turn.more = true;
                break;
            }
            let Some(uid) = self.shares.next(now) else { break };
            let Some(logs) = queues.get_mut(&uid) else { continue };
            let (polled, bytes) = (logs.len(), turn.read_bytes);
            let waits = self.read_some(&uid, logs, &rules, &mut turn, sink);
            turn.more |= waits;
            // A look at a few files that have not grown costs less than to ask what it has cost.
            let is_cheap = turn.read_bytes == bytes && polled <= MAX_UNMEASURED;
            let after = if is_cheap { before } else { (self.worked)() };
            let next = logs.front().copied();
            let took = after.saturating_sub(before);
            self.shares.charge(&uid, took, next, next.is_some() || waits);
            before = after;
        }
        turn
    }

    /// The logs that may have something to read, by pod, first those whose turn it is.
    fn queues(&mut self, now: Instant) -> HashMap<PodUid, VecDeque<LogId>> {
        let mut queues: HashMap<PodUid, VecDeque<LogId>> = HashMap::new();
        let mut pods: Vec<&PodRef> = Vec::new();
        // A pod's logs are looked at together: what one of them tells to mask counts for the others.
        let mut due: HashSet<PodUid> = HashSet::new();
        for live in self.known.live.values_mut() {
            let uid = &live.log.name.pod.uid;
            if is_open(live) && !due.contains(uid) {
                let uid = uid.clone();
                if live.is_due(now) {
                    due.insert(uid);
                }
            }
        }
        for (id, live) in &self.known.live {
            if is_open(live) && due.contains(&live.log.name.pod.uid) {
                let pod = &live.log.name.pod;
                let Some(logs) = queues.get_mut(&pod.uid) else {
                    pods.push(pod);
                    queues.insert(pod.uid.clone(), VecDeque::from([*id]));
                    continue;
                };
                logs.push_back(*id);
            }
        }
        self.shares.begin(pods);
        for (uid, logs) in &mut queues {
            let first = self.shares.first(uid);
            let before = logs.partition_point(|id| *id < first);
            logs.rotate_left(before % logs.len().max(1));
        }
        queues
    }

    /// Reads a buffer of the first of a pod's logs that has something. Those that have nothing more are
    /// taken out. Says whether one is left out until others let go of memory.
    fn read_some(
        &mut self,
        uid: &PodUid,
        logs: &mut VecDeque<LogId>,
        rules: &Rules,
        turn: &mut Turn,
        sink: &mut dyn FnMut(Line<'_>),
    ) -> bool {
        let now = Instant::now();
        let mut waits = false;
        while let Some(id) = logs.pop_front() {
            let Some(live) = self.known.live.get_mut(&id) else { continue };
            if live.log.is_packed() && !self.unpacking.contains_key(&id) {
                // A pod has one at most: it may keep it for long.
                let has_one = self.unpacking.values().any(|other| other == uid);
                if has_one || self.unpacking.len() >= MAX_UNPACKED {
                    waits = true;
                    continue;
                }
                self.unpacking.insert(id, uid.clone());
            }
            let done = live.log.read(&mut self.buffer, rules, now, sink);
            live.looked(now, done.bytes > 0 || done.more);
            turn.read_bytes += done.bytes;
            turn.lines += done.lines;
            if done.more {
                logs.push_back(id);
                break;
            }
            if self.unpacking.remove(&id).is_some() {
                live.log.rest();
            }
        }
        waits
    }
}

fn is_open(live: &Live) -> bool {
    live.choice == Choice::Take && !live.log.drained
}

/// CPU time of the calling thread: what others do on the core meanwhile is not counted.
pub(super) fn thread_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    part(time.tv_sec).saturating_mul(1_000_000_000).saturating_add(part(time.tv_nsec))
}
