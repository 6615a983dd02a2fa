//! Ended containers that wait until their names are known. Pure: the caller passes the time and
//! looks up names.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ephemon_capture::readings::End;
use ephemon_discovery::feed::Changed;
use ephemon_model::PodUid;

use super::names::{Answer, Known};

/// Most ended containers that wait at once.
const WAITING_LIMIT: usize = 4096;
/// Containers without a name after this time are dropped: the API server is unavailable, and it is
/// unknown whether the pod matches the selector.
const WAITING_TIMEOUT: Duration = Duration::from_mins(5);

/// A bounded queue.
#[derive(Debug, Default)]
pub(super) struct Waiting(VecDeque<One>);

#[derive(Debug)]
struct One {
    end: End,
    since: Instant,
    /// Its name was looked up once.
    asked: bool,
}

/// The result of one pass over all waiting containers.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Containers whose names are known, to be sent.
    pub(super) known: Vec<(End, Known)>,
    /// Number of containers that were dropped.
    pub(super) expired: u64,
}

// === impl Waiting ===

impl Waiting {
    /// Adds a container; returns false if the queue is full.
    pub(super) fn push(&mut self, end: End, now: Instant) -> bool {
        let room = self.0.len() < WAITING_LIMIT;
        if room {
            self.0.push_back(One { end, since: now, asked: false });
        }
        room
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ids of all that wait.
    pub(super) fn owners(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|one| match &one.end {
            End::Container(record) => record.id.as_str(),
            End::Pod(record) => record.pod.as_str(),
        })
    }

    pub(super) fn has_pod(&self, uid: &PodUid) -> bool {
        self.0.iter().any(|one| pod_of(&one.end) == uid)
    }

    /// Removes the containers whose names are known, in order, and those that need none. Only new
    /// containers and those of changed pods are looked up. `who` gets the time that the container
    /// has waited.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        changed: &Changed,
        mut who: impl FnMut(&End, Duration) -> Answer,
    ) -> Settled {
        let mut settled = Settled::default();
        for one in std::mem::take(&mut self.0) {
            if one.asked && !changed.has(pod_of(&one.end)) {
                self.0.push_back(one);
                continue;
            }
            let waited = now.saturating_duration_since(one.since);
            match who(&one.end, waited) {
                Answer::Known(known) => settled.known.push((one.end, known)),
                Answer::Nobody => {}
                Answer::NotYet if waited >= WAITING_TIMEOUT => settled.expired += 1,
                Answer::NotYet => self.0.push_back(One { asked: true, ..one }),
            }
        }
        settled
    }
}

fn pod_of(end: &End) -> &PodUid {
    match end {
        End::Container(record) => &record.pod,
        End::Pod(record) => &record.pod,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ephemon_capture::readings::PodRecord;
    use ephemon_otlp::metric::Owner;

    use super::*;

    fn end(number: usize) -> End {
        let pod = PodUid::parse(&format!("{number:032x}")).unwrap();
        End::Pod(Arc::new(PodRecord {
            pod,
            net: Vec::new(),
            accounting_error: None,
            beside_cpu_ns: None,
            nested_left_out: 0,
            gone: true,
        }))
    }

    fn known() -> Answer {
        Answer::Known((Arc::new(Owner::default()), None))
    }

    #[test]
    fn an_end_waits_until_it_has_a_name_or_nobody_can_tell() {
        let start = Instant::now();
        let mut waiting = Waiting::default();
        assert!(waiting.push(end(1), start));
        assert!(waiting.settle(start, &Changed::All, |_, _| Answer::NotYet).known.is_empty());
        assert!(!waiting.is_empty());
        let later = start + Duration::from_secs(3);
        let settled = waiting.settle(later, &Changed::All, |_, waited| {
            assert_eq!(waited, Duration::from_secs(3));
            known()
        });
        assert_eq!((settled.known.len(), settled.expired), (1, 0));
        assert!(waiting.is_empty());

        waiting.push(end(2), later);
        waiting.settle(later, &Changed::All, |_, _| Answer::Nobody);
        assert!(waiting.is_empty(), "one of nobody's pods is let go");
        waiting.push(end(3), later);
        assert_eq!(
            waiting.settle(later + WAITING_TIMEOUT, &Changed::All, |_, _| Answer::NotYet).expired,
            1
        );
        assert!(waiting.is_empty());
    }

    #[test]
    fn only_so_many_wait() {
        let now = Instant::now();
        let mut waiting = Waiting::default();
        assert!((0..WAITING_LIMIT).all(|number| waiting.push(end(number), now)));
        assert!(!waiting.push(end(WAITING_LIMIT), now));
        assert_eq!(waiting.settle(now, &Changed::All, |_, _| known()).known.len(), WAITING_LIMIT);
    }

    #[test]
    fn whoever_was_asked_for_is_asked_for_again_when_its_pod_has_changed() {
        let now = Instant::now();
        let mut waiting = Waiting::default();
        waiting.push(end(1), now);
        let pods = |pods: Vec<PodUid>| Changed::Pods(pods.into_iter().collect());
        let mut asked = |changed: &Changed| {
            let mut count = 0;
            waiting.settle(now, changed, |_, _| {
                count += 1;
                Answer::NotYet
            });
            count
        };
        assert_eq!(asked(&pods(Vec::new())), 1, "it is new");
        assert_eq!(asked(&pods(Vec::new())), 0);
        assert_eq!(asked(&pods(vec![pod_of(&end(1)).clone()])), 1);
        assert_eq!(asked(&Changed::All), 1);
    }
}
