//! Moments with who told them, and spans of time that never end before they begin. Pure.

/// Who told a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// The kernel: a cgroup's birth, its last process gone.
    Kernel,
    /// The runtime or the API.
    Runtime,
    /// Init's or the hook's journal.
    Journal,
    /// The runner's log.
    Runner,
    /// The CI system's own record in the pod's status.
    System,
    /// Nobody: it is where something else began or ended.
    Derived,
}

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Nanoseconds since 1970.
    pub ns: u64,
    /// Who told.
    pub source: Source,
}

/// From one moment to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The beginning.
    pub start: Stamp,
    /// The end, of what is over.
    pub end: Option<Stamp>,
    /// Whether a moment was moved because it made no sense where it was told.
    pub skewed: bool,
}

// === impl Source ===

impl Source {
    /// For an attribute.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Runtime => "runtime",
            Self::Journal => "journal",
            Self::Runner => "runner",
            Self::System => "system",
            Self::Derived => "derived",
        }
    }
}

// === impl Window ===

impl Window {
    /// The end is not before the start: what was told the other way round is of no length.
    pub fn new(start: Stamp, end: Option<Stamp>) -> Self {
        let early = end.filter(|end| end.ns < start.ns);
        match early {
            Some(end) => Self { start, end: Some(Stamp { ns: start.ns, ..end }), skewed: true },
            None => Self { start, end, skewed: false },
        }
    }

    /// How long, of what is over; nanoseconds.
    pub fn duration_ns(&self) -> Option<u64> {
        Some(self.end?.ns.saturating_sub(self.start.ns))
    }

    /// Whether a moment lies in it; what is not over holds all that follow.
    pub fn holds(&self, ns: u64) -> bool {
        ns >= self.start.ns && self.end.is_none_or(|end| ns <= end.ns)
    }

    /// Whether they have a moment in common.
    pub fn meets(&self, other: &Self) -> bool {
        let end = |window: &Self| window.end.map_or(u64::MAX, |end| end.ns);
        self.start.ns <= end(other) && other.start.ns <= end(self)
    }

    /// The moment in it that is nearest to this one.
    pub fn nearest(&self, ns: u64) -> u64 {
        let to = self.end.map_or(u64::MAX, |end| end.ns).max(self.start.ns);
        ns.clamp(self.start.ns, to)
    }

    /// Moved to lie within another.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        let from = outer.start.ns;
        let to = outer.end.map_or(u64::MAX, |end| end.ns).max(from);
        let start = Stamp { ns: self.start.ns.clamp(from, to), ..self.start };
        let end = self.end.map(|end| Stamp { ns: end.ns.clamp(start.ns, to), ..end });
        let moved = start != self.start || end != self.end;
        Self { start, end, skewed: self.skewed || moved }
    }

    /// The least that holds both.
    #[must_use]
    pub fn hull(self, other: Self) -> Self {
        let end = self.end.zip(other.end).map(|(a, b)| if b.ns > a.ns { b } else { a });
        let start = if other.start.ns < self.start.ns { other.start } else { self.start };
        Self { start, end, skewed: self.skewed || other.skewed }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stamp(ns: u64) -> Stamp {
        Stamp { ns, source: Source::Journal }
    }

    #[test]
    fn what_ends_before_it_starts_is_of_no_length_and_flagged() {
        let window = Window::new(stamp(9), Some(stamp(3)));
        assert_eq!((window.duration_ns(), window.skewed), (Some(0), true));
        assert!(!Window::new(stamp(3), Some(stamp(3))).skewed);
    }

    proptest! {
        #[test]
        fn what_is_moved_lies_within(
            inner in (any::<u64>(), any::<Option<u64>>()),
            outer in (any::<u64>(), any::<Option<u64>>()),
        ) {
            let window = |(start, end): (u64, Option<u64>)| {
                Window::new(stamp(start), end.map(stamp))
            };
            let (inner, outer) = (window(inner), window(outer));
            let moved = inner.within(&outer);
            prop_assert!(moved.start.ns >= outer.start.ns);
            prop_assert!(moved.end.is_none_or(|end| end.ns >= moved.start.ns));
            if let Some(end) = outer.end {
                prop_assert!(moved.start.ns <= end.ns);
                prop_assert!(moved.end.is_none_or(|inner| inner.ns <= end.ns));
            }
            prop_assert_eq!(moved.skewed, inner.skewed || moved.start != inner.start || moved.end != inner.end);
            prop_assert_eq!(moved.within(&outer).start, moved.start);
        }
    }
}
