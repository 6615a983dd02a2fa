//! When a container's timer goes off next.

use std::time::{Duration, Instant};

use super::Reader;
use crate::cadence::Cadence;
use crate::living::Phase;

/// A sleeping container's pod is asked about at this interval.
const ASLEEP_EVERY: Duration = Duration::from_secs(5);
/// Without events a group that has had no process yet is looked at this often, while it is young.
const LOOK_FRESH: Duration = Duration::from_millis(2);
/// And this often later, or where no process can be waited for.
const LOOK_BLIND: Duration = Duration::from_millis(10);
/// After an alarm rang the group is looked at every millisecond for this long.
const RUNG_FOR: Duration = Duration::from_millis(50);
/// A container is young for this long.
const YOUNG: Duration = Duration::from_secs(1);

impl Reader {
    /// Sets the timer to the next thing there is to do.
    pub(super) fn reset_timer(&mut self, key: u64, now: Instant) {
        let Some(container) = self.living.get(&key) else {
            return;
        };
        let age = now.duration_since(container.born_at);
        let blind = container.alarm.is_none();
        let events = self.hierarchy.has_events();
        let pause = if container.asleep() {
            ASLEEP_EVERY
        } else {
            match container.phase {
                Phase::Empty { since, rechecks, .. } => {
                    Cadence::recheck(now.duration_since(since), rechecks).unwrap_or(ASLEEP_EVERY)
                }
                Phase::Fresh | Phase::Running => {
                    let due = container.sampled_at + self.cadence.interval(age);
                    let next = due.saturating_duration_since(now).max(self.budget.wait());
                    let next = next.max(Duration::from_millis(1));
                    let rung = container.rung_at.is_some_and(|at| now < at + RUNG_FOR);
                    match (events, blind, age < YOUNG) {
                        _ if rung && blind => Duration::from_millis(1),
                        (false, true, true) => next.min(LOOK_FRESH),
                        (false, true, false) => next.min(LOOK_BLIND),
                        _ => next,
                    }
                }
            }
        };
        let due = (now + pause).duration_since(self.epoch);
        self.set_timer(key, self.epoch + Cadence::on_grid(due, pause));
    }
}
