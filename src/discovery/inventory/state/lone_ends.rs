//! Ends of containers of which the runtime has told nothing else yet: each event is told by a thread of its
//! own, so the start may come after the end. Bounded per pod and in all.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use ephemon_model::{ContainerId, Exit, PodUid};

/// Most ends of one pod. Those of pods that are not known count as of one pod.
const MAX_LONE_ENDS_PER_POD: usize = 16;
/// Most ends of all pods.
const MAX_LONE_ENDS: usize = 128;
/// How long the start may come after the end. Most ends are those of containers that could not be created,
/// and for these no start comes.
const START_TIMEOUT: Duration = Duration::from_mins(2);

/// Memory of all of them, in bytes: each with an id, a UID, and a reason of at most 63 bytes.
pub const LONE_ENDS_BYTES: usize = MAX_LONE_ENDS * 512;

/// How and when a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoneEnd {
    pub(super) finished: Option<SystemTime>,
    pub(super) exit: Option<Exit>,
}

/// The ends, the oldest first.
#[derive(Debug, Default)]
pub(super) struct LoneEnds(VecDeque<Entry>);

#[derive(Debug)]
struct Entry {
    id: ContainerId,
    pod: Option<PodUid>,
    end: LoneEnd,
    told: Instant,
}

// === impl LoneEnds ===

impl LoneEnds {
    /// Keeps an end. Returns whether another is dropped for it whose start may still come.
    pub(super) fn push(
        &mut self,
        id: ContainerId,
        pod: Option<PodUid>,
        end: LoneEnd,
        told: Instant,
    ) -> bool {
        self.0.retain(|entry| {
            entry.id != id && told.saturating_duration_since(entry.told) < START_TIMEOUT
        });
        let of_pod = self.0.iter().filter(|entry| entry.pod == pod).count();
        let dropped = if of_pod >= MAX_LONE_ENDS_PER_POD {
            self.0.iter().position(|entry| entry.pod == pod)
        } else {
            (self.0.len() >= MAX_LONE_ENDS).then_some(0)
        };
        let is_dropped = dropped.and_then(|at| self.0.remove(at)).is_some();
        self.0.push_back(Entry { id, pod, end, told });
        is_dropped
    }

    /// Removes the end of a container.
    pub(super) fn take(&mut self, id: &ContainerId) -> Option<LoneEnd> {
        let at = self.0.iter().position(|entry| &entry.id == id)?;
        self.0.remove(at).map(|entry| entry.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> ContainerId {
        ContainerId::parse(&format!("{n:064x}")).unwrap()
    }

    fn uid(n: usize) -> PodUid {
        PodUid::parse(&format!("{n:08x}-f505-4963-9096-958063077203")).unwrap()
    }

    const END: LoneEnd = LoneEnd { finished: None, exit: None };

    #[test]
    fn a_pod_with_many_ends_takes_no_room_from_others_and_all_are_bounded() {
        let (mut ends, now) = (LoneEnds::default(), Instant::now());
        assert!(!ends.push(id(0), Some(uid(0)), END, now));
        let dropped = (1..1000).filter(|n| ends.push(id(*n), Some(uid(1)), END, now)).count();
        assert_eq!(dropped, 999 - MAX_LONE_ENDS_PER_POD);
        assert_eq!((ends.take(&id(0)), ends.take(&id(0))), (Some(END), None));
        assert_eq!((ends.take(&id(1)), ends.take(&id(999))), (None, Some(END)));
        for n in 1000..3000 {
            ends.push(id(n), Some(uid(n)), END, now);
        }
        assert_eq!(ends.0.len(), MAX_LONE_ENDS);
    }

    #[test]
    fn one_whose_start_never_comes_is_forgotten() {
        let (mut ends, now) = (LoneEnds::default(), Instant::now());
        ends.push(id(1), None, END, now);
        ends.push(id(2), None, END, now + START_TIMEOUT);
        assert_eq!((ends.take(&id(1)), ends.take(&id(2))), (None, Some(END)));
    }
}
