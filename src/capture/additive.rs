//! The values that add up: a pod's usage is the sum of that of its containers, including removed
//! ones, because the kernel keeps a removed group's counters in its parent.
//!
//! Measured for CPU time in both versions (at most 0.5 µs per child is lost in v2, none in v1) and
//! for v1 page faults; for I/O, and for v2 page faults and OOM kills, by the kernel's design
//! (`cgroup_rstat_exit`). Peaks, gauges, PSI and throttling do not add up, and are not included.

use std::collections::BTreeMap;

use ephemon_model::{IoUsage, Usage};

/// Counters in a fixed order, so that sums and differences need only one loop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Additive {
    counters: [Option<u64>; COUNTERS],
    io: BTreeMap<(u32, u32), [Option<u64>; IO_COUNTERS]>,
}

const COUNTERS: usize = 5;
const IO_COUNTERS: usize = 6;

// === impl Additive ===

impl Additive {
    /// The additive part of one reading.
    pub(crate) fn of(usage: &Usage) -> Self {
        let (cpu, faults) = (&usage.cpu, &usage.memory.faults);
        Self {
            counters: [cpu.usage_ns, cpu.user_ns, cpu.system_ns, faults.minor, faults.major],
            io: usage.io.iter().map(|io| ((io.major, io.minor), io_counters(io))).collect(),
        }
    }

    /// CPU time, and nothing else.
    pub(crate) fn of_cpu(cpu_ns: u64) -> Self {
        Self { counters: [Some(cpu_ns), None, None, None, None], io: BTreeMap::new() }
    }

    /// CPU time in nanoseconds.
    pub(crate) fn cpu_ns(&self) -> Option<u64> {
        self.counters.first().copied().flatten()
    }

    /// Without page faults and I/O.
    pub(crate) fn only_cpu(self) -> Self {
        let [usage_ns, user_ns, system_ns, ..] = self.counters;
        Self { counters: [usage_ns, user_ns, system_ns, None, None], io: BTreeMap::new() }
    }

    /// Adds value by value; a value that is missing here is copied.
    pub(crate) fn add(&mut self, other: &Self) {
        let plus = |mine: &mut Option<u64>, theirs: &Option<u64>| {
            if let Some(theirs) = theirs {
                *mine = Some(mine.unwrap_or(0).saturating_add(*theirs));
            }
        };
        self.counters.iter_mut().zip(&other.counters).for_each(|(mine, theirs)| plus(mine, theirs));
        for (device, theirs) in &other.io {
            let mine = self.io.entry(*device).or_default();
            mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| plus(mine, theirs));
        }
    }

    /// The rest of each value without `other`; never below 0, and missing where missing here.
    pub(crate) fn less(&self, other: &Self) -> Self {
        let minus = |mine: &Option<u64>, theirs: Option<&Option<u64>>| {
            mine.map(|mine| mine.saturating_sub(theirs.copied().flatten().unwrap_or(0)))
        };
        let mut left = Self::default();
        for (at, slot) in left.counters.iter_mut().enumerate() {
            let mine = self.counters.get(at).copied().flatten();
            *slot = minus(&mine, other.counters.get(at));
        }
        for (device, mine) in &self.io {
            let theirs = other.io.get(device);
            let mut figures = [None; IO_COUNTERS];
            for (at, (slot, mine)) in figures.iter_mut().zip(mine).enumerate() {
                *slot = minus(mine, theirs.and_then(|theirs| theirs.get(at)));
            }
            left.io.insert(*device, figures);
        }
        left
    }

    /// The share `part / whole` of each value, rounded down.
    pub(crate) fn share(&self, part: u64, whole: u64) -> Self {
        let of = |figure: &mut Option<u64>| {
            if let Some(value) = figure {
                let share = u128::from(*value) * u128::from(part) / u128::from(whole.max(1));
                *value = u64::try_from(share).unwrap_or(u64::MAX);
            }
        };
        let mut shared = self.clone();
        shared.counters.iter_mut().for_each(of);
        shared.io.values_mut().flatten().for_each(of);
        shared
    }

    /// Adds these values to a reading.
    pub(crate) fn add_to(&self, usage: &mut Usage) {
        let mut sum = Self::of(usage);
        sum.add(self);
        let [cpu, user, system, minor, major] = sum.counters;
        (usage.cpu.usage_ns, usage.cpu.user_ns, usage.cpu.system_ns) = (cpu, user, system);
        (usage.memory.faults.minor, usage.memory.faults.major) = (minor, major);
        usage.io = sum
            .io
            .into_iter()
            .filter(|(_, counters)| counters.iter().any(|counter| counter.is_some_and(|n| n > 0)))
            .map(|((major, minor), counters)| io_usage(major, minor, counters))
            .collect();
    }
}

fn io_counters(io: &IoUsage) -> [Option<u64>; IO_COUNTERS] {
    [io.read_bytes, io.write_bytes, io.discard_bytes, io.read_ops, io.write_ops, io.discard_ops]
}

fn io_usage(major: u32, minor: u32, counters: [Option<u64>; IO_COUNTERS]) -> IoUsage {
    let [read_bytes, write_bytes, discard_bytes, read_ops, write_ops, discard_ops] = counters;
    IoUsage {
        major,
        minor,
        read_bytes,
        write_bytes,
        discard_bytes,
        read_ops,
        write_ops,
        discard_ops,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn figures() -> impl Strategy<Value = Additive> {
        let counter = || prop::option::of(0..u64::from(u32::MAX));
        (
            prop::array::uniform5(counter()),
            prop::collection::btree_map((0..3u32, 0..3u32), prop::array::uniform6(counter()), 0..4),
        )
            .prop_map(|(counters, io)| Additive { counters, io })
    }

    proptest! {
        #[test]
        fn what_is_left_after_adding_is_what_was_there(a in figures(), b in figures()) {
            let mut sum = a.clone();
            sum.add(&b);
            let left = sum.less(&b);
            for (left, a) in left.counters.iter().zip(&a.counters) {
                prop_assert_eq!(left.unwrap_or(0), a.unwrap_or(0));
            }
        }

        #[test]
        fn shares_never_exceed_the_whole(a in figures(), parts in prop::collection::vec(0..1000u64, 1..6)) {
            let whole: u64 = parts.iter().sum();
            let mut sum = Additive::default();
            for part in parts {
                sum.add(&a.share(part, whole));
            }
            for (shared, all) in sum.counters.iter().zip(&a.counters) {
                prop_assert!(shared.unwrap_or(0) <= all.unwrap_or(0));
            }
        }
    }
}
