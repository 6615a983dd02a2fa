//! What the runner's log has said of one job's steps, in the order in which it was written, within
//! bounds. Pure.

use std::collections::BTreeMap;

use super::evidence::{StepLine, StepReading, weight};
use super::runner_step::StepEvent;

/// Most lines held of one pod, however short they are: two for each step.
pub const MAX_STEP_LINES: usize = 2048;
/// Most memory of one pod's lines, bytes: some 450 steps.
pub const MAX_STEP_BYTES: usize = 512 * 1024;

/// A line's place: when it was written, and its number in the log.
pub(super) type StepPlace = (u64, u64);

/// The lines.
#[derive(Debug, Clone, Default)]
pub(super) struct StepLog {
    lines: BTreeMap<StepPlace, (StepEvent, Option<StepReading>)>,
    bytes: usize,
}

/// What came of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It says something new.
    News,
    /// It was there.
    Known,
    /// There is no room.
    LeftOut,
}

// === impl StepLog ===

impl StepLog {
    /// Takes in a line where there are `room` bytes for all of them. One that is read again, after a restart of the agent, is the same one, and its
    /// first reading counts: the later one is of another moment.
    pub(super) fn take(&mut self, line: StepLine, room: usize) -> Taken {
        let weight = weight::step(&line);
        let StepLine { at_ns, number, event, reading } = line;
        if let Some((_, known)) = self.lines.get_mut(&(at_ns, number)) {
            let first = [*known, reading].into_iter().flatten().min_by_key(|one| one.at_ns);
            return if std::mem::replace(known, first) == first {
                Taken::Known
            } else {
                Taken::News
            };
        }
        let held = self.bytes.saturating_add(weight);
        if self.lines.len() >= MAX_STEP_LINES || held > room.min(MAX_STEP_BYTES) {
            return Taken::LeftOut;
        }
        self.bytes = held;
        self.lines.insert((at_ns, number), (event, reading));
        Taken::News
    }

    /// Gives up the last line; whether there was one.
    pub(super) fn shed(&mut self) -> bool {
        let Some(((at_ns, number), (event, reading))) = self.lines.pop_last() else {
            return false;
        };
        let weight = weight::step(&StepLine { at_ns, number, event, reading });
        self.bytes = self.bytes.saturating_sub(weight);
        true
    }

    /// Memory, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where lines stand.
    pub(super) fn places(&self) -> impl Iterator<Item = StepPlace> {
        self.lines.keys().copied()
    }

    /// The line at a place.
    pub(super) fn line(&self, place: StepPlace) -> Option<StepLine> {
        let (event, reading) = self.lines.get(&place)?.clone();
        Some(StepLine { at_ns: place.0, number: place.1, event, reading })
    }

    /// What the last line says.
    pub(super) fn last(&self) -> Option<&StepEvent> {
        self.lines.last_key_value().map(|(_, (event, _))| event)
    }

    /// All lines: when, what, and what the runner's container had used by then.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &StepEvent, Option<StepReading>)> {
        self.lines.iter().map(|((at_ns, _), (event, reading))| (*at_ns, event, *reading))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Figures;

    fn line(number: u64, name: &str, read_ns: Option<u64>) -> StepLine {
        let reading = read_ns.map(|at_ns| StepReading { at_ns, figures: Figures::default() });
        StepLine { at_ns: 7, number, event: StepEvent::Began { name: name.into() }, reading }
    }

    #[test]
    fn a_line_that_comes_again_is_one_line_with_its_first_reading() {
        let mut log = StepLog::default();
        assert_eq!(log.take(line(1, "a", None), usize::MAX), Taken::News);
        assert_eq!(log.take(line(1, "a", None), usize::MAX), Taken::Known);
        assert_eq!(log.take(line(1, "a", Some(9)), usize::MAX), Taken::News);
        assert_eq!(log.take(line(1, "a", Some(30)), usize::MAX), Taken::Known);
        assert_eq!(log.take(line(1, "a", None), usize::MAX), Taken::Known);
        let held: Vec<_> = log.iter().map(|(_, _, reading)| reading.unwrap().at_ns).collect();
        assert_eq!(held, [9]);
        assert_eq!(log.line((7, 1)), Some(line(1, "a", Some(9))));
    }

    #[test]
    fn lines_without_end_are_bounded_by_number_and_by_bytes() {
        for name in ["x".to_owned(), "\u{10ffff}".repeat(256)] {
            let mut log = StepLog::default();
            let taken =
                (0..4000).filter(|at| log.take(line(*at, &name, None), usize::MAX) == Taken::News);
            let taken = taken.count();
            assert!(taken > 250 && taken <= MAX_STEP_LINES, "{taken}");
            assert!(log.bytes() <= MAX_STEP_BYTES, "{}", log.bytes());
            assert_eq!(log.take(line(9999, &name, None), 0), Taken::LeftOut);
            while log.shed() {}
            assert_eq!((log.bytes(), log.iter().count()), (0, 0));
        }
    }
}
