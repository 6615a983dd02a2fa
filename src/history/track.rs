//! Some values of one container over time: the last minutes finely, its whole life coarsely. Pure.

use super::ring::{ABSENT, Merge, Overflow, Ring};

/// Length of a coarse slot at first; it doubles each time the coarse ring is full.
const COARSE_STEP_MS: u64 = 10_000;

/// Two rings that are fed with the same values.
#[derive(Debug, Clone)]
pub(crate) struct Track<const N: usize> {
    fine: Ring<N>,
    coarse: Ring<N>,
    /// How many units of a value are one in the coarse ring: an amount of hours must fit.
    units: [u32; N],
    /// What is not yet a whole unit there.
    rest: [u32; N],
}

/// What happened between two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch<const N: usize> {
    /// The beginning, milliseconds since 1970.
    pub(crate) from_ms: u64,
    /// The end.
    pub(crate) to_ms: u64,
    /// The values; `None` where one was not read.
    pub(crate) values: [Option<u64>; N],
}

// === impl Track ===

impl<const N: usize> Track<N> {
    /// From `origin_ms` on, with at most so many fine and coarse slots. The coarse ones count each
    /// value in so many `units`.
    pub(crate) fn new(
        origin_ms: u64,
        (fine, coarse): (usize, usize),
        merges: [Merge; N],
        units: [u32; N],
    ) -> Self {
        Self {
            fine: Ring::new(origin_ms, 0, fine, Overflow::DropOldest, merges),
            coarse: Ring::new(origin_ms, COARSE_STEP_MS, coarse, Overflow::Halve, merges),
            units,
            rest: [0; N],
        }
    }

    /// Adds what happened since the last call; a fine slot that begins now has this length.
    pub(crate) fn push(&mut self, at_ms: u64, step_ms: u64, values: [u32; N]) {
        self.fine.set_step(step_ms);
        self.fine.push(at_ms, values);
        let mut coarse = values;
        for ((value, rest), unit) in coarse.iter_mut().zip(&mut self.rest).zip(self.units) {
            if *value != ABSENT && unit > 1 {
                let all = value.saturating_add(*rest);
                (*value, *rest) = (all / unit, all % unit);
            }
        }
        self.coarse.push(at_ms, coarse);
    }

    /// All stretches, oldest first: coarse ones up to where the fine ones begin. Only those that end
    /// after `since_ms`.
    pub(crate) fn stretches(&self, since_ms: u64) -> impl Iterator<Item = Stretch<N>> + '_ {
        let fine_from = self.fine.origin_ms();
        let merges = self.coarse.merges();
        let coarse = self.coarse.slots().filter(move |(from, _)| *from < fine_from);
        let coarse = coarse.map(move |(from_ms, slot)| {
            let all = Stretch::new(from_ms, slot.end_ms, slot.values, self.units);
            // The part that the fine ones show is cut off.
            all.up_to(fine_from, merges)
        });
        let fine = self.fine.slots();
        let fine = fine.map(|(from, slot)| Stretch::new(from, slot.end_ms, slot.values, [1; N]));
        coarse.chain(fine).filter(move |stretch| stretch.to_ms > since_ms)
    }

    /// Memory in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.fine.bytes().saturating_add(self.coarse.bytes())
    }
}

// === impl Stretch ===

impl<const N: usize> Stretch<N> {
    fn new(from_ms: u64, to_ms: u64, values: [u32; N], units: [u32; N]) -> Self {
        let mut all = values.into_iter().zip(units).map(|(value, unit)| {
            (value != ABSENT).then(|| u64::from(value).saturating_mul(u64::from(unit)))
        });
        Self { from_ms, to_ms, values: std::array::from_fn(|_| all.next().flatten()) }
    }

    /// Its part before a moment, with a share of its amounts.
    fn up_to(mut self, end_ms: u64, merges: [Merge; N]) -> Self {
        let length = u128::from(self.to_ms.saturating_sub(self.from_ms));
        if self.to_ms <= end_ms || length == 0 {
            return self;
        }
        let part = u128::from(end_ms.saturating_sub(self.from_ms));
        for (value, merge) in self.values.iter_mut().zip(merges) {
            if let (Some(amount), Merge::Add) = (value, merge) {
                *amount = u64::try_from(u128::from(*amount) * part / length).unwrap_or(u64::MAX);
            }
        }
        self.to_ms = end_ms;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_minutes_are_fine_and_the_rest_is_coarse_without_overlap_or_gap() {
        let mut track = Track::new(0, (300, 60), [Merge::Add], [1]);
        for second in 1..=3607_u64 {
            track.push(second * 1000, 900, [1000]);
        }
        let all: Vec<_> = track.stretches(0).collect();
        let is_fine = |one: &&Stretch<1>| one.to_ms - one.from_ms <= 1000;
        assert_eq!(all.iter().filter(is_fine).count(), 300);
        let coarse = all.len() - 300;
        assert!((27..=60).contains(&coarse), "{coarse}");
        assert_eq!(all.first().unwrap().from_ms, 0);
        assert!(all.is_sorted_by(|one, other| one.to_ms == other.from_ms), "one after another");
        for one in &all {
            assert_eq!(one.values, [Some(one.to_ms - one.from_ms)], "the same rate everywhere");
        }
        assert_eq!(all.last().unwrap().to_ms, 3_607_000);
        assert!(track.stretches(3_602_000).all(|one| one.to_ms > 3_602_000));
        assert_eq!(track.stretches(3_602_000).count(), 5);
    }

    /// 64 CPUs for four days.
    #[test]
    fn amounts_of_days_fit() {
        let mut track = Track::new(0, (300, 180), [Merge::Add], [1000]);
        for second in (5..=4 * 86_400_u64).step_by(5) {
            track.push(second * 1000, 900, [5 * 64 * 1_000_000 + 7]);
        }
        for one in track.stretches(0) {
            let cpus = one.values[0].unwrap() / (one.to_ms - one.from_ms);
            assert!((63_999..=64_000).contains(&cpus), "{one:?}");
        }
    }
}
