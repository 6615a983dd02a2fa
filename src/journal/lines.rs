//! From bytes as they come to records: whole lines only, the last one kept until its newline.
//! Pure.

use crate::contract::{JOURNAL_RECORD_MAX_BYTES, Record};

/// What has been read of one journal.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Where the next byte to come stands in the file.
    offset: u64,
    /// A line without its newline so far.
    partial: Vec<u8>,
    /// The line under way is too long: its rest is passed over.
    overlong: bool,
}

/// What some bytes came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Records and where each line began.
    pub(super) records: Vec<(u64, Record)>,
    /// Lines that are none.
    pub(super) bad: u64,
}

// === impl Lines ===

impl Lines {
    /// Where to read on.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes the bytes that follow those before.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Found {
        let mut found = Found::default();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let began = self.offset.saturating_sub(self.partial.len() as u64);
            self.offset = self.offset.saturating_add(piece.len() as u64);
            let whole = piece.ends_with(b"\n");
            let fits = self.partial.len() + piece.len() <= JOURNAL_RECORD_MAX_BYTES;
            if self.overlong || !fits {
                // Counted once, where it began to be too long.
                found.bad += u64::from(!self.overlong);
                self.overlong = !whole;
                self.partial.clear();
                continue;
            }
            self.partial.extend_from_slice(piece);
            if whole {
                match Record::from_line(&self.partial) {
                    Some(record) => found.records.push((began, record)),
                    None => found.bad += 1,
                }
                self.partial.clear();
            }
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

    fn take_all(bytes: &[u8], size: usize) -> Found {
        let mut lines = Lines::default();
        let mut all = Found::default();
        for chunk in bytes.chunks(size.max(1)) {
            let found = lines.take(chunk);
            all.records.extend(found.records);
            all.bad += found.bad;
        }
        assert_eq!(lines.offset(), bytes.len() as u64);
        all
    }

    #[test]
    fn a_line_counts_when_its_newline_is_there() {
        let line = record(1).to_line().unwrap();
        let mut lines = Lines::default();
        let (head, tail) = line.split_at(5);
        assert_eq!(lines.take(head), Found::default());
        assert_eq!(lines.take(tail).records, [(0, record(1))]);
        assert_eq!(lines.take(&line).records, [(line.len() as u64, record(1))]);
    }

    #[test]
    fn what_is_no_record_is_counted_and_the_next_line_is_read() {
        let good = record(7).to_line().unwrap();
        let mut bytes = b"{}\nnot json\n\xff\xfe\n".to_vec();
        bytes.extend(vec![b'x'; 3 * JOURNAL_RECORD_MAX_BYTES]);
        bytes.push(b'\n');
        bytes.extend(&good);
        for size in [1, 1000, 100_000] {
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
