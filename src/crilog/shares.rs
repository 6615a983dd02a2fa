//! How pods share the time of the thread that reads their logs: start-time fair queueing, each pod
//! with the same weight. Pure: times are handed in.
//!
//! A pod is served by the time it took, not by its logs or bytes: many logs, or text that is slow to
//! mask, do not give it more. What a pod does not ask for others have, and nobody saves it up.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use ephemon_model::{PodRef, PodUid};

use super::place::LogId;

/// A pod that has waited for so long in all, because its share was used up, is named.
const NAME_INTERVAL: Duration = Duration::from_secs(10);

/// Pods that had to wait because they had used their share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slowed {
    /// How long, all of them together.
    pub waited: Duration,
    /// Those to be named, each once.
    pub pods: Vec<PodRef>,
}

/// Every pod with a log that is read.
#[derive(Debug, Default)]
pub(super) struct Shares {
    pods: HashMap<PodUid, Share>,
    /// Who is to be served in this turn, first those with the earliest place.
    queue: BTreeSet<(u64, PodUid)>,
    /// The place of the pod that was served last. Who comes anew begins there.
    clock: u64,
    slowed: Slowed,
}

#[derive(Debug)]
struct Share {
    pod: PodRef,
    /// Its place in the order: nanoseconds of the thread's time, counted from where it came in.
    place: u64,
    /// The log to read first at its next turn.
    log: LogId,
    /// It may have more to read.
    unread: bool,
    /// Since when it waits for others, its share being used up.
    waits: Option<Instant>,
    waited: Duration,
    named: bool,
}

// === impl Shares ===

impl Shares {
    /// Begins a turn in which these pods, and no others, may have something to read.
    pub(super) fn begin<'a>(&mut self, pods: impl IntoIterator<Item = &'a PodRef>) {
        self.queue.clear();
        self.pods.values_mut().for_each(|share| share.unread = false);
        for pod in pods {
            let share = self.pods.entry(pod.uid.clone()).or_insert_with(|| Share::new(pod));
            share.unread = true;
            share.place = share.place.max(self.clock);
            self.queue.insert((share.place, pod.uid.clone()));
        }
        // One that is ahead is not let go of: it would come back without what it has used.
        self.pods.retain(|_, share| share.unread || share.place > self.clock);
    }

    /// Whether somebody waits for the rest of this turn.
    pub(super) fn is_waited_for(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The pod's log to begin with.
    pub(super) fn first(&self, pod: &PodUid) -> LogId {
        self.pods.get(pod).map_or(LogId(0), |share| share.log)
    }

    /// The pod that has used least.
    pub(super) fn next(&mut self, now: Instant) -> Option<PodUid> {
        let (place, uid) = self.queue.pop_first()?;
        self.clock = self.clock.max(place);
        let share = self.pods.get_mut(&uid)?;
        if let Some(since) = share.waits.take() {
            let waited = now.saturating_duration_since(since);
            share.waited = share.waited.saturating_add(waited);
            self.slowed.waited = self.slowed.waited.saturating_add(waited);
            if share.waited >= NAME_INTERVAL && !std::mem::replace(&mut share.named, true) {
                self.slowed.pods.push(share.pod.clone());
            }
        }
        Some(uid)
    }

    /// The pod took so much time, in nanoseconds. `log`: the one to go on with in this turn.
    pub(super) fn charge(&mut self, uid: &PodUid, took_ns: u64, log: Option<LogId>, unread: bool) {
        let Some(share) = self.pods.get_mut(uid) else { return };
        share.place = share.place.saturating_add(took_ns.max(1));
        share.unread = unread;
        share.log = log.unwrap_or(share.log);
        if log.is_some() {
            self.queue.insert((share.place, uid.clone()));
        }
    }

    /// The turn is over though some have more to read. Those that have used more than the one that was
    /// served last wait for the first of them.
    pub(super) fn end(&mut self, now: Instant) {
        for (_, uid) in self.queue.iter().skip(1).filter(|(place, _)| *place > self.clock) {
            if let Some(share) = self.pods.get_mut(uid) {
                share.waits.get_or_insert(now);
            }
        }
    }

    /// Whether the pod may have more to read.
    pub(super) fn is_unread(&self, pod: &PodUid) -> bool {
        self.pods.get(pod).is_some_and(|share| share.unread)
    }

    /// Who had to wait since the last call.
    pub(super) fn slowed(&mut self) -> Slowed {
        std::mem::take(&mut self.slowed)
    }
}

impl Share {
    fn new(pod: &PodRef) -> Self {
        Self {
            pod: pod.clone(),
            place: 0,
            log: LogId(0),
            unread: true,
            waits: None,
            waited: Duration::ZERO,
            named: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn pod(number: u32) -> PodRef {
        let uid = PodUid::parse(&format!("0e269fa4-f505-4963-9096-{number:012}")).unwrap();
        PodRef { namespace: "ci".into(), name: format!("r{number}").into(), uid }
    }

    /// Serves one piece in each turn, 10 ms apart: how often each pod was served.
    fn play(
        shares: &mut Shares,
        costs: &[(PodRef, u64)],
        turns: u32,
        now: &mut Instant,
    ) -> Vec<u32> {
        let mut served = vec![0; costs.len()];
        for _ in 0..turns {
            shares.begin(costs.iter().map(|(pod, _)| pod));
            let uid = shares.next(*now).unwrap();
            let at = costs.iter().position(|(pod, _)| pod.uid == uid).unwrap();
            served[at] += 1;
            shares.charge(&uid, costs[at].1, Some(LogId(0)), true);
            shares.end(*now);
            *now += Duration::from_millis(10);
        }
        served
    }

    /// Half of 100 for each of two, but for who came first.
    fn assert_even(served: &[u32]) {
        assert!(served.iter().all(|served| served.abs_diff(50) <= 1), "{served:?}");
    }

    #[test]
    fn each_pod_has_the_same_time_whatever_a_piece_of_it_costs() {
        let (mut shares, mut now) = (Shares::default(), Instant::now());
        let costs = [(pod(1), MS), (pod(2), 10 * MS), (pod(3), MS)];
        let served = play(&mut shares, &costs, 2100, &mut now);
        assert!(served[1].abs_diff(100) <= 1, "{served:?}");
        assert!(served[0].abs_diff(served[2]) <= 1, "{served:?}");
    }

    #[test]
    fn one_pod_alone_has_all_and_owes_nothing_for_it() {
        let (mut shares, mut now) = (Shares::default(), Instant::now());
        play(&mut shares, &[(pod(1), MS)], 1000, &mut now);
        assert_eq!(shares.slowed(), Slowed::default());
        let both = [(pod(1), MS), (pod(2), MS)];
        assert_even(&play(&mut shares, &both, 100, &mut now));
    }

    #[test]
    fn nobody_saves_up_time_and_nobody_gets_rid_of_what_it_used() {
        let (mut shares, mut now) = (Shares::default(), Instant::now());
        let (quiet, busy) = ((pod(1), MS), (pod(2), MS));
        play(&mut shares, &[quiet.clone(), busy.clone()], 2, &mut now);
        play(&mut shares, std::slice::from_ref(&busy), 1000, &mut now);
        let both = [quiet, busy];
        assert_even(&play(&mut shares, &both, 100, &mut now));
        // It goes and comes back.
        let heavy = (pod(3), 100 * MS);
        let all = [both[0].clone(), both[1].clone(), heavy];
        let served = play(&mut shares, &all, 4, &mut now);
        assert_eq!(served[2], 1);
        play(&mut shares, &both, 10, &mut now);
        assert_eq!(play(&mut shares, &all, 100, &mut now)[2], 0);
    }

    #[test]
    fn who_has_used_its_share_is_counted_and_named_once_and_nobody_else() {
        let (mut shares, mut now) = (Shares::default(), Instant::now());
        let costs = [(pod(1), MS), (pod(2), 1000 * MS)];
        play(&mut shares, &costs, 3000, &mut now);
        let slowed = shares.slowed();
        assert_eq!(slowed.pods, [pod(2)]);
        assert!(slowed.waited > Duration::from_secs(19), "{slowed:?}");
        play(&mut shares, &costs, 3000, &mut now);
        assert_eq!(shares.slowed().pods, []);
    }

    #[test]
    fn a_pod_is_read_when_it_has_no_more_and_forgotten_when_it_is_gone() {
        let (mut shares, now) = (Shares::default(), Instant::now());
        shares.begin([pod(1), pod(2)].iter());
        let uid = shares.next(now).unwrap();
        shares.charge(&uid, MS, None, false);
        assert!(!shares.is_unread(&uid) && shares.is_unread(&pod(2).uid));
        assert!(shares.is_waited_for());
        for _ in 0..2 {
            shares.begin([pod(2)].iter());
            let uid = shares.next(now).unwrap();
            shares.charge(&uid, 2 * MS, Some(LogId(0)), true);
        }
        shares.begin([pod(2)].iter());
        shares.next(now);
        shares.begin([pod(2)].iter());
        assert_eq!(shares.pods.len(), 1, "{shares:?}");
    }
}
