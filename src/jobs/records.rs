//! The records of one pod's journals, within bounds. Pure.
//!
//! They are the job's own word: at the bound the journal that has most loses its last ones, so that a
//! flood in one leaves the others as they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use ephemon_contract::Record;

use super::evidence::{Heard, weight};

/// Most records of journals held of one pod, however small they are.
pub const MAX_RECORDS: usize = 4096;
/// Most memory of one pod's records, and of what the runner's log says of steps, bytes: some 900 steps.
pub const MAX_RECORD_BYTES: usize = 3 * 512 * 1024;

/// The records.
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    /// By file and place, which is the order in which they were written: when each was read.
    held: BTreeMap<(Arc<str>, u64), (u64, Record)>,
    /// Memory of each journal's records.
    files: BTreeMap<Arc<str>, usize>,
    bytes: usize,
    left_out: u64,
}

// === impl Records ===

impl Records {
    /// Whether this record is here already. The earlier of both readings counts.
    pub(super) fn knows(&mut self, heard: &Heard) -> bool {
        let known = self.held.get_mut(&(Arc::clone(&heard.file), heard.at));
        known.is_some_and(|(known_ns, _)| {
            *known_ns = heard.heard_ns.min(*known_ns);
            true
        })
    }

    /// Takes in a record that is new, where there is room for it or a larger journal makes room; whether
    /// it did.
    pub(super) fn take(&mut self, heard: Heard) -> bool {
        let Heard { file, at, heard_ns, record } = heard;
        let bytes = weight::record(&record);
        while self.held.len() >= MAX_RECORDS || self.bytes.saturating_add(bytes) > MAX_RECORD_BYTES
        {
            let own = self.files.get(&file).copied().unwrap_or_default();
            let largest = self.files.values().copied().max().unwrap_or_default();
            if largest <= own.saturating_add(bytes) {
                self.left_out += 1;
                return false;
            }
            self.shed();
        }
        self.bytes = self.bytes.saturating_add(bytes);
        let of_file = self.files.entry(Arc::clone(&file)).or_default();
        *of_file = of_file.saturating_add(bytes);
        self.held.insert((file, at), (heard_ns, record));
        true
    }

    /// Gives up the last record of the journal that has most of them, by bytes; whether there was one.
    pub(super) fn shed(&mut self) -> bool {
        let largest = self.files.iter().max_by_key(|(_, bytes)| **bytes);
        let Some(file) = largest.map(|(file, _)| Arc::clone(file)) else { return false };
        let range = (Arc::clone(&file), 0)..=(Arc::clone(&file), u64::MAX);
        let last = self.held.range(range).next_back().map(|(key, _)| key.clone());
        let record = last.and_then(|key| self.held.remove(&key));
        let freed = record.map_or(0, |(_, record)| weight::record(&record));
        self.bytes = self.bytes.saturating_sub(freed);
        let left = self.files.get_mut(&file).map_or(0, |bytes| {
            *bytes = bytes.saturating_sub(freed);
            *bytes
        });
        if left == 0 {
            self.files.remove(&file);
        }
        self.left_out += 1;
        true
    }

    /// Memory, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Records that found no room or were given up so far.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Whether any is of this file.
    pub(super) fn has_file(&self, file: &str) -> bool {
        self.files.contains_key(file)
    }

    /// Where records stand: the file, and the place in it.
    pub(super) fn places(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        self.held.keys().map(|(file, at)| (file, *at))
    }

    /// The record at a place.
    pub(super) fn get(&self, file: &Arc<str>, at: u64) -> Option<Heard> {
        let (heard_ns, record) = self.held.get(&(Arc::clone(file), at))?.clone();
        Some(Heard { file: Arc::clone(file), at, heard_ns, record })
    }

    /// All records, file by file: when each was read.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, u64, &Record)> {
        self.held.iter().map(|((file, _), (heard_ns, record))| (file, *heard_ns, record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(file: &str, at: u64, heard_ns: u64) -> Heard {
        let record = Record::ContainerEnded { at_ns: at, exit_code: 0, dropped: 0 };
        Heard { file: file.into(), at, heard_ns, record }
    }

    #[test]
    fn a_record_that_comes_again_is_one_record_with_its_first_reading() {
        let mut records = Records::default();
        assert!(!records.knows(&heard("job", 1, 9)));
        assert!(records.take(heard("job", 1, 9)));
        let bytes = records.bytes();
        assert!(records.knows(&heard("job", 1, 30)) && records.knows(&heard("job", 1, 7)));
        assert_eq!(records.get(&"job".into(), 1), Some(heard("job", 1, 7)));
        assert_eq!((records.iter().count(), records.bytes()), (1, bytes));
        assert!(records.has_file("job") && !records.has_file("jo"));
    }

    #[test]
    fn the_largest_journal_makes_room_for_others_and_never_for_itself() {
        let mut records = Records::default();
        let offered = 2 * MAX_RECORDS as u64;
        let taken = (0..offered).filter(|at| records.take(heard("evil", *at, 1))).count() as u64;
        assert!(taken > 1000 && records.bytes() <= MAX_RECORD_BYTES, "{taken}");
        assert!((0..10).all(|at| records.take(heard("job", at, 1))));
        let of = |name: &str| records.places().filter(|(file, _)| &***file == name).count() as u64;
        let (evil, job) = (of("evil"), of("job"));
        assert!(job == 10 && evil + job <= taken + 1, "{evil} and {job} of {taken}");
        assert_eq!(records.left_out(), offered - evil);
        let places = records.places().filter(|(file, _)| &***file == "evil").map(|(_, at)| at);
        assert!(places.eq(0..evil), "the last ones go");
        while records.shed() {}
        assert_eq!((records.bytes(), records.iter().count()), (0, 0));
        assert!(!records.has_file("evil"));
    }
}
