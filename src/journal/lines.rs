//! From bytes as they come to records: whole lines only. Pure.
//!
//! Nothing of a line is kept until its newline is there: its bytes stand in the file and are read
//! once more. Thousands of journals, each with half a record, then take no memory.

use ephemon_contract::{JOURNAL_RECORD_MAX_BYTES, Record};

/// What has been read of one journal.
#[derive(Debug, Default)]
pub struct Lines {
    /// Where the next byte to come stands in the file.
    offset: u64,
    /// The line under way is too long: its rest is passed over.
    overlong: bool,
}

/// What some bytes came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Records and where each line began.
    pub records: Vec<(u64, Record)>,
    /// Lines that are none.
    pub bad: u64,
}

// === impl Lines ===

impl Lines {
    /// Where to read on.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes the bytes that stand at [`Self::offset`], which moves behind what was made use of. The
    /// beginning of a record is not: it is shown again with what follows.
    pub fn take(&mut self, bytes: &[u8]) -> Found {
        let mut found = Found::default();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let whole = piece.ends_with(b"\n");
            let fits = piece.len() <= JOURNAL_RECORD_MAX_BYTES;
            if self.overlong || !fits {
                // Counted once, where it began to be too long.
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

    /// What comes of a file that grows by so many bytes at a time.
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
