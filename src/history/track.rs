//! Some values of one container over time: the last minutes finely, its whole life coarsely. Pure.

use super::ring::{Merge, Overflow, Ring, Slot};

/// Length of a coarse slot at first; it doubles each time the coarse ring is full.
const COARSE_STEP_MS: u64 = 10_000;

/// Two rings that are fed with the same values.
#[derive(Debug, Clone)]
pub(crate) struct Track<const N: usize> {
    fine: Ring<N>,
    coarse: Ring<N>,
}

// === impl Track ===

impl<const N: usize> Track<N> {
    /// From `origin_ms` on, with at most so many fine and coarse slots.
    pub(crate) fn new(origin_ms: u64, fine: usize, coarse: usize, merges: [Merge; N]) -> Self {
        Self {
            fine: Ring::new(origin_ms, 0, fine, Overflow::DropOldest, merges),
            coarse: Ring::new(origin_ms, COARSE_STEP_MS, coarse, Overflow::Halve, merges),
        }
    }

    /// Adds what happened since the last call; a fine slot that begins now has this length.
    pub(crate) fn push(&mut self, at_ms: u64, step_ms: u64, values: [u32; N]) {
        self.fine.set_step(step_ms);
        self.fine.push(at_ms, values);
        self.coarse.push(at_ms, values);
    }

    /// Each slot with its beginning, oldest first: coarse ones up to where the fine ones begin. Only
    /// those that end after `since_ms`.
    pub(crate) fn slots(&self, since_ms: u64) -> impl Iterator<Item = (u64, Slot<N>)> + '_ {
        let fine_from = self.fine.origin_ms();
        // A coarse slot that reaches into the fine part would show the same time twice.
        let coarse = self.coarse.slots().filter(move |(_, slot)| slot.end_ms <= fine_from);
        let all = coarse.chain(self.fine.slots());
        all.filter(move |(_, slot)| slot.end_ms > since_ms)
    }

    /// Memory in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.fine.bytes().saturating_add(self.coarse.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_minutes_are_fine_and_the_rest_is_coarse_without_overlap() {
        let mut track = Track::new(0, 300, 60, [Merge::Add]);
        for second in 1..=3600_u64 {
            track.push(second * 1000, 900, [1]);
        }
        let slots: Vec<_> = track.slots(0).collect();
        let (fine, coarse): (Vec<_>, Vec<_>) =
            slots.iter().copied().partition(|(from, slot)| slot.end_ms - from <= 1000);
        assert_eq!(fine.len(), 300);
        assert!(coarse.len() >= 27 && coarse.len() <= 60, "{}", coarse.len());
        assert!(slots.is_sorted_by(|one, other| one.1.end_ms <= other.0), "no overlap");
        assert_eq!(slots.last().unwrap().1.end_ms, 3_600_000);
        assert!(track.slots(3_595_000).all(|(_, slot)| slot.end_ms > 3_595_000));
        assert_eq!(track.slots(3_595_000).count(), 5);
    }
}
