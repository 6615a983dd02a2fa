//! A bounded sequence of slots, each the sum of what happened from the end of the slot before to its
//! own end. Pure.

use std::collections::VecDeque;

/// Values of a slot that were not read.
pub(crate) const ABSENT: u32 = u32::MAX;
/// Slots for which memory is taken at once.
const GROWTH: usize = 24;

/// What becomes of the slots when there is no room for one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overflow {
    /// The oldest is dropped.
    DropOldest,
    /// Neighbours are merged, and from then on slots are twice as long.
    Halve,
}

/// How the values of two slots become those of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Amounts: the sum, unknown if one of them is.
    Add,
    /// Levels: the higher, unknown only if both are.
    Max,
}

/// A slot of `N` values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot<const N: usize> {
    /// Its end, milliseconds since 1970.
    pub(crate) end_ms: u64,
    /// Its values; [`ABSENT`] where one was not read.
    pub(crate) values: [u32; N],
}

/// The slots, oldest first.
#[derive(Debug, Clone)]
pub(crate) struct Ring<const N: usize> {
    slots: VecDeque<Slot<N>>,
    /// Where the first slot begins.
    origin_ms: u64,
    /// Where the last slot begins.
    last_from_ms: u64,
    /// The clock was set back, and is not yet where the last slot ends.
    is_behind: bool,
    step_ms: u64,
    most: usize,
    overflow: Overflow,
    merges: [Merge; N],
}

// === impl Ring ===

impl<const N: usize> Ring<N> {
    /// At most `most` slots of at least `step_ms`, the first of which begins at `origin_ms`.
    pub(crate) fn new(
        origin_ms: u64,
        step_ms: u64,
        most: usize,
        overflow: Overflow,
        merges: [Merge; N],
    ) -> Self {
        Self {
            slots: VecDeque::new(),
            origin_ms,
            last_from_ms: origin_ms,
            is_behind: false,
            step_ms,
            most,
            overflow,
            merges,
        }
    }

    /// Slots that begin from now on are at least this long.
    pub(crate) fn set_step(&mut self, step_ms: u64) {
        self.step_ms = step_ms;
    }

    /// Adds what happened since the last call. While the clock is behind the last slot, because it
    /// was set back, nothing is added: how long that took is not known, and the amounts up to the
    /// first end after it are unknown.
    pub(crate) fn push(&mut self, end_ms: u64, mut values: [u32; N]) {
        let merges = self.merges;
        if self.slots.back().is_some_and(|last| end_ms < last.end_ms) {
            self.is_behind = true;
            return;
        }
        if std::mem::take(&mut self.is_behind) {
            let amounts = values.iter_mut().zip(merges).filter(|(_, merge)| *merge == Merge::Add);
            amounts.for_each(|(value, _)| *value = ABSENT);
        }
        let (from_ms, step_ms) = (self.last_from_ms, self.step_ms);
        if let Some(last) = self.slots.back_mut() {
            if end_ms.saturating_sub(from_ms) <= step_ms {
                *last = Slot { end_ms, values: merged(last.values, values, merges) };
                return;
            }
            self.last_from_ms = last.end_ms;
        }
        self.make_room();
        if self.slots.len() == self.slots.capacity() {
            let room = GROWTH.min(self.most.saturating_sub(self.slots.len()));
            self.slots.reserve_exact(room);
        }
        let end_ms = end_ms.max(self.last_from_ms);
        self.slots.push_back(Slot { end_ms, values });
    }

    /// How two slots become one.
    pub(crate) fn merges(&self) -> [Merge; N] {
        self.merges
    }

    /// Each slot with its beginning, oldest first.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (u64, Slot<N>)> + '_ {
        let ends = self.slots.iter().map(|slot| slot.end_ms);
        std::iter::once(self.origin_ms).chain(ends).zip(self.slots.iter().copied())
    }

    /// Where the first slot begins.
    pub(crate) fn origin_ms(&self) -> u64 {
        self.origin_ms
    }

    /// Memory in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.slots.capacity().saturating_mul(size_of::<Slot<N>>())
    }

    fn make_room(&mut self) {
        if self.slots.len() < self.most {
            return;
        }
        match self.overflow {
            Overflow::DropOldest => {
                if let Some(oldest) = self.slots.pop_front() {
                    self.origin_ms = oldest.end_ms;
                }
            }
            Overflow::Halve => {
                let merges = self.merges;
                let mut all = std::mem::take(&mut self.slots).into_iter();
                self.slots.reserve_exact(self.most);
                while let Some(first) = all.next() {
                    let pair = match all.next() {
                        Some(second) => Slot {
                            end_ms: second.end_ms,
                            values: merged(first.values, second.values, merges),
                        },
                        None => first,
                    };
                    self.slots.push_back(pair);
                }
                self.step_ms = self.step_ms.saturating_mul(2);
            }
        }
    }
}

fn merged<const N: usize>(one: [u32; N], other: [u32; N], merges: [Merge; N]) -> [u32; N] {
    let mut all = one.into_iter().zip(other).zip(merges).map(|((one, other), merge)| {
        let absent = [one, other].map(|value| value == ABSENT);
        match (merge, absent) {
            // A sum that does not fit is ABSENT, too.
            (Merge::Add, [false, false]) => one.saturating_add(other),
            (Merge::Add, _) => ABSENT,
            (Merge::Max, [true, _]) => other,
            (Merge::Max, [_, true]) => one,
            (Merge::Max, _) => one.max(other),
        }
    });
    std::array::from_fn(|_| all.next().unwrap_or(ABSENT))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ring(step_ms: u64, most: usize, overflow: Overflow) -> Ring<2> {
        Ring::new(1000, step_ms, most, overflow, [Merge::Add, Merge::Max])
    }

    fn slots(ring: &Ring<2>) -> Vec<(u64, u64, [u32; 2])> {
        ring.slots().map(|(from, slot)| (from, slot.end_ms, slot.values)).collect()
    }

    #[test]
    fn what_is_within_a_step_is_one_slot_of_sums_and_highest_levels() {
        let mut ring = ring(1000, 8, Overflow::DropOldest);
        for (end, values) in [(1400, [1, 9]), (2000, [2, 7]), (2100, [4, 1])] {
            ring.push(end, values);
        }
        assert_eq!(slots(&ring), [(1000, 2000, [3, 9]), (2000, 2100, [4, 1])]);
        ring.push(2200, [ABSENT, ABSENT]);
        ring.push(2300, [1, 2]);
        assert_eq!(slots(&ring)[1], (2000, 2300, [ABSENT, 2]), "an unknown amount stays unknown");
    }

    #[test]
    fn a_full_ring_drops_its_oldest_or_doubles_its_steps() {
        let mut dropping = ring(10, 3, Overflow::DropOldest);
        let mut halving = ring(10, 4, Overflow::Halve);
        for n in 1..=5_u32 {
            dropping.push(1000 + u64::from(n) * 11, [n, n]);
            halving.push(1000 + u64::from(n) * 11, [n, n]);
        }
        assert_eq!(
            slots(&dropping),
            [(1022, 1033, [3, 3]), (1033, 1044, [4, 4]), (1044, 1055, [5, 5])]
        );
        assert_eq!(
            slots(&halving),
            [(1000, 1022, [3, 2]), (1022, 1044, [7, 4]), (1044, 1055, [5, 5])]
        );
        halving.push(1060, [1, 1]);
        assert_eq!(slots(&halving).len(), 3, "the step is twice as long now");
    }

    #[test]
    fn a_clock_that_was_set_back_is_a_gap_and_no_peak() {
        for step_ms in [900, 10_000] {
            let mut ring = ring(step_ms, 100, Overflow::DropOldest);
            for at in (2..=10).chain(5..=30) {
                ring.push(at * 1000 + at, [1000, 7]);
            }
            let slots = slots(&ring);
            assert!(slots.iter().any(|slot| slot.2[0] == ABSENT));
            for (from, end, [amount, level]) in slots {
                let most = (end - from) + 2;
                assert!(amount == ABSENT || u64::from(amount) <= most, "{amount} in {from}..{end}");
                assert_eq!(level, 7);
            }
        }
    }

    #[test]
    fn a_sum_that_does_not_fit_is_unknown() {
        let mut ring = ring(1000, 4, Overflow::Halve);
        ring.push(1100, [ABSENT - 5, 1]);
        ring.push(1200, [9, 1]);
        assert_eq!(slots(&ring), [(1000, 1200, [ABSENT, 1])]);
    }

    proptest! {
        #[test]
        fn slots_are_in_order_bounded_and_lose_no_amount(
            steps in proptest::collection::vec((0_u64..40, 0_u32..100), 1..200),
            most in 2_usize..20,
        ) {
            let mut ring = ring(10, most, Overflow::Halve);
            let (mut at, mut sum) = (1000, 0);
            for (after, amount) in steps {
                at += after;
                sum += amount;
                ring.push(at, [amount, amount]);
            }
            let slots = slots(&ring);
            prop_assert!(slots.len() <= most);
            prop_assert!(slots.iter().all(|(from, end, _)| from <= end));
            prop_assert_eq!(slots.first().map(|slot| slot.0), Some(1000));
            prop_assert_eq!(slots.last().map(|slot| slot.1), Some(at));
            prop_assert_eq!(slots.iter().map(|slot| slot.2[0]).sum::<u32>(), sum);
            prop_assert!(ring.bytes() <= most * size_of::<Slot<2>>());
        }

        #[test]
        fn no_clock_makes_it_panic(ends in proptest::collection::vec(any::<u64>(), 0..60)) {
            for overflow in [Overflow::Halve, Overflow::DropOldest] {
                let mut ring = ring(10, 5, overflow);
                for end in &ends {
                    ring.push(*end, [1, ABSENT]);
                }
                prop_assert!(slots(&ring).iter().skip(1).all(|(from, end, _)| from <= end));
            }
        }
    }
}
