//! The limits of one container from its first detection to its end: when to check, and how often to
//! try. Pure: the time is a parameter.

use std::time::{Duration, Instant};

use ephemon_base::Backoff;
use ephemon_discovery::inventory::Limited;

/// How often the cgroup is checked while the runtime creates the container.
const STARTING_LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// After this time it is checked less often, because no process may ever run in it.
const SLOW_START_AFTER: Duration = Duration::from_secs(2);
/// Interval of these checks.
const SLOW_START_LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Checks after the limits were first in force, because a runtime that is not finished yet sets its
/// own.
const YOUNG_LOOKS_MS: [u64; 8] = [5, 10, 20, 50, 100, 300, 500, 1000];
/// Interval of all later checks.
const SETTLED_LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The first pause after the kernel reported the cgroup as busy; it doubles each time.
const BUSY_FIRST: Duration = Duration::from_millis(200);
/// The longest.
const BUSY_RETRY_INTERVAL_MAX: Duration = Duration::from_secs(5);
/// How often a busy cgroup is tried: for half a minute in total.
const BUSY_RETRY_LIMIT: u32 = 10;

/// How often limits are set again that another process removed.
const RESTORE_LIMIT: u32 = 10;

/// A container and the state of its limits.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) limited: Limited,
    since: Instant,
    /// When to check next; `None` if there is nothing left to do.
    next: Option<Instant>,
    stage: Stage,
    busy: Backoff,
    restored: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not in force yet.
    Pending,
    /// In force, with the number of checks since.
    Young(usize),
    /// In force for a while.
    Settled,
}

/// Why limits had to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SetReason {
    /// They were set for the first time.
    First,
    /// The runtime that created the container had set its own.
    Young,
    /// Another process removed them.
    Restored,
    /// Another process removed them too often: they are not set any more.
    TooOften,
}

// === impl Case ===

impl Case {
    pub(super) fn new(limited: Limited, now: Instant) -> Self {
        Self {
            limited,
            since: now,
            next: Some(now),
            stage: Stage::Pending,
            busy: Backoff::new(BUSY_FIRST, BUSY_RETRY_INTERVAL_MAX),
            restored: 0,
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|next| next <= now)
    }

    /// Whether the limits have not been in force yet.
    pub(super) fn is_pending(&self) -> bool {
        self.stage == Stage::Pending
    }

    /// How long the container has been known with its limits.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.duration_since(self.since)
    }

    /// No process of the container itself runs yet.
    pub(super) fn is_starting(&mut self, now: Instant) {
        let pause = if self.age(now) < SLOW_START_AFTER {
            STARTING_LOOK_INTERVAL
        } else {
            SLOW_START_LOOK_INTERVAL
        };
        self.next = Some(now + pause);
    }

    /// The limits are in force, and nothing had to be set.
    pub(super) fn holds(&mut self, now: Instant) {
        self.busy.reset();
        let looks = match self.stage {
            Stage::Pending => 0,
            Stage::Young(looks) => looks + 1,
            Stage::Settled => YOUNG_LOOKS_MS.len(),
        };
        self.later(looks, now);
    }

    /// The limits were set.
    pub(super) fn set(&mut self, now: Instant) -> SetReason {
        self.busy.reset();
        match self.stage {
            Stage::Pending => {
                self.later(0, now);
                SetReason::First
            }
            Stage::Young(looks) => {
                self.later(looks + 1, now);
                SetReason::Young
            }
            Stage::Settled if self.restored < RESTORE_LIMIT => {
                self.restored += 1;
                self.later(YOUNG_LOOKS_MS.len(), now);
                SetReason::Restored
            }
            Stage::Settled => {
                self.give_up();
                SetReason::TooOften
            }
        }
    }

    /// The kernel cannot reclaim enough memory now. `None`: tried often enough.
    pub(super) fn is_busy(&mut self, now: Instant) -> Option<u32> {
        // Without jitter: no other process sets this cgroup's limits at the same time.
        let pause = self.busy.next_pause(1.0);
        let tries = self.busy.failures();
        if tries >= BUSY_RETRY_LIMIT {
            self.give_up();
            return None;
        }
        self.next = Some(now + pause);
        Some(tries)
    }

    /// The cgroup was removed, but its end is not known yet.
    pub(super) fn is_gone(&mut self, now: Instant) {
        self.next = Some(now + SETTLED_LOOK_INTERVAL);
    }

    /// Nothing more is tried.
    pub(super) fn give_up(&mut self) {
        self.next = None;
    }

    fn later(&mut self, looks: usize, now: Instant) {
        let (stage, pause) = match YOUNG_LOOKS_MS.get(looks) {
            Some(millis) => (Stage::Young(looks), Duration::from_millis(*millis)),
            None => (Stage::Settled, SETTLED_LOOK_INTERVAL),
        };
        self.stage = stage;
        self.next = Some(now + pause);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::SystemTime;

    use ephemon_contract::Limits;
    use ephemon_model::{ContainerId, PodRef, PodUid};

    use super::*;

    fn case(now: Instant) -> Case {
        let uid = PodUid::parse("0e269fa4-f505-4963-9096-958063077203").unwrap();
        let limited = Limited {
            id: ContainerId::parse(&"a".repeat(64)).unwrap(),
            pod: Arc::new(PodRef { namespace: "ci".into(), name: "runner".into(), uid }),
            name: "job".into(),
            cgroup: Path::new("kubepods").into(),
            created: SystemTime::now(),
            started: false,
            limits: Ok(Limits::default()),
        };
        Case::new(limited, now)
    }

    /// Advances to the next check.
    fn step(case: &Case, now: &mut Instant) {
        *now = case.next().unwrap();
        assert!(case.is_due(*now));
    }

    #[test]
    fn looks_are_close_after_the_start_and_far_apart_for_ever_after() {
        let start = Instant::now();
        let (mut now, mut case) = (start, case(start));
        assert_eq!(case.set(now), SetReason::First);
        for _ in YOUNG_LOOKS_MS {
            step(&case, &mut now);
            case.holds(now);
        }
        let young = now - start;
        assert!(young >= Duration::from_secs(1) && young < Duration::from_secs(5), "{young:?}");
        for _ in 0..100 {
            let before = now;
            step(&case, &mut now);
            assert_eq!(now - before, SETTLED_LOOK_INTERVAL);
            case.holds(now);
        }
    }

    #[test]
    fn a_runtime_that_sets_its_own_at_the_start_is_no_quarrel() {
        let (mut now, mut case) = (Instant::now(), case(Instant::now()));
        case.set(now);
        for _ in YOUNG_LOOKS_MS {
            step(&case, &mut now);
            assert_eq!(case.set(now), SetReason::Young);
        }
        step(&case, &mut now);
        assert_eq!(case.set(now), SetReason::Restored);
    }

    #[test]
    fn a_quarrel_ends() {
        let (mut now, mut case) = (Instant::now(), case(Instant::now()));
        let mut restored = 0;
        loop {
            match case.set(now) {
                SetReason::Restored => restored += 1,
                SetReason::TooOften => break,
                SetReason::First | SetReason::Young => {}
            }
            step(&case, &mut now);
        }
        assert_eq!((restored, case.next()), (RESTORE_LIMIT, None));
    }

    #[test]
    fn a_busy_cgroup_is_tried_for_half_a_minute_and_then_no_more() {
        let start = Instant::now();
        let (mut now, mut case) = (start, case(start));
        while case.is_busy(now).is_some() {
            step(&case, &mut now);
        }
        let took = (now - start).as_secs();
        assert!((20..40).contains(&took), "{took} s");
        assert_eq!(case.next(), None);
    }
}
