//! Splits the bytes of a journal into records, complete lines only. Pure.
//!
//! Bytes of an incomplete line are not stored: they stay in the file and are read again. So
//! thousands of journals with incomplete records use no memory.

use super::{JOURNAL_RECORD_MAX_BYTES, Record};

/// The state of reading one journal.
#[derive(Debug, Default)]
pub struct Lines {
    /// Position of the next byte in the file.
    offset: u64,
    /// The present line is too long: the rest of it is skipped.
    overlong: bool,
}

/// The result of reading some bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Records, with the start of each line.
    pub records: Vec<(u64, Record)>,
    /// Number of invalid lines.
    pub bad: u64,
}

// === impl Lines ===

impl Lines {
    /// The position to continue at.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes the bytes at [`Self::offset`], which then moves to the end of the last complete line.
    /// The beginning of an incomplete record is read again together with what follows.
    pub fn take(&mut self, bytes: &[u8]) -> Found {
        let mut found = Found::default();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let whole = piece.ends_with(b"\n");
            let fits = piece.len() <= JOURNAL_RECORD_MAX_BYTES;
            if self.overlong || !fits {
                // Counted once, where it became too long.
                found.bad += u64::from(!self.overlong);
                self.overlong = !whole;
            } else if whole {
                match Record::from_line(piece) {
                    Some(record) => found.records.push((self.offset, record)),
                    None => found.bad += 1,
                }
            } else {
                break;
            }
            self.offset = self.offset.saturating_add(piece.len() as u64);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(at_ns: u64) -> Record {
        Record::ContainerEnded { at_ns, exit_code: 0, dropped: 0 }
    }

    /// The result for a file that grows by `size` bytes at a time.
    fn take_all(bytes: &[u8], size: usize) -> Found {
        let mut lines = Lines::default();
        let mut all = Found::default();
        let mut length = 0;
        while length < bytes.len() {
            length = length.saturating_add(size.max(1)).min(bytes.len());
            let from = usize::try_from(lines.offset()).unwrap();
            let found = lines.take(&bytes[from..length]);
            all.records.extend(found.records);
            all.bad += found.bad;
        }
        let left = bytes.len() - usize::try_from(lines.offset()).unwrap();
        assert!(left <= JOURNAL_RECORD_MAX_BYTES, "{left}");
        all
    }

    #[test]
    fn a_line_counts_when_its_newline_is_there() {
        let line = record(1).to_line().unwrap();
        let mut lines = Lines::default();
        let (head, tail) = line.split_at(5);
        assert_eq!(lines.take(head), Found::default());
        assert_eq!(lines.take(&[head, tail].concat()).records, [(0, record(1))]);
        assert_eq!(lines.take(&line).records, [(line.len() as u64, record(1))]);
    }

    #[test]
    fn what_is_no_record_is_counted_and_the_next_line_is_read() {
        let good = record(7).to_line().unwrap();
        let mut bytes = b"{}\nnot json\n\xff\xfe\n".to_vec();
        bytes.extend(vec![b'x'; 3 * JOURNAL_RECORD_MAX_BYTES]);
        bytes.push(b'\n');
        bytes.extend(&good);
        for size in [7, 1000, 100_000] {
            let found = take_all(&bytes, size);
            assert_eq!(found.bad, 4);
            let began = (bytes.len() - good.len()) as u64;
            assert_eq!(found.records, [(began, record(7))]);
        }
    }

    proptest! {
        #[test]
        fn how_bytes_are_cut_makes_no_difference(
            bytes in proptest::collection::vec(
                prop_oneof![Just(b'\n'), Just(b'{'), any::<u8>()], 0..400),
            size in 1_usize..50,
        ) {
            prop_assert_eq!(take_all(&bytes, size), take_all(&bytes, usize::MAX));
        }
    }
}
