//! A container's log file in CRI's format: `TIME STREAM TAG TEXT`.
//!
//! Source: containerd 1.6/1.7, `pkg/cri/io/logger.go`: lines longer than 16 KiB are cut into parts
//! tagged `P` with an `F` at the end; a last line without newline is a `P`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Mutex;

use ephemon_base::lock;

/// The longest part of a line in one record.
const MAX_PIECE: usize = 16 * 1024;

/// The output stream of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// Whether a record ends its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Full,
    Partial,
}

/// Splits a stream of bytes into records. Pure.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    piece: Vec<u8>,
}

// === impl Splitter ===

impl Splitter {
    /// Takes more bytes; passes every record that they complete to `record`.
    pub(super) fn push(&mut self, bytes: &[u8], mut record: impl FnMut(Tag, &[u8])) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            let mut rest = text;
            while !rest.is_empty() {
                if self.piece.len() == MAX_PIECE {
                    record(Tag::Partial, &self.piece);
                    self.piece.clear();
                }
                let room = MAX_PIECE.saturating_sub(self.piece.len()).min(rest.len());
                let (now, later) = rest.split_at(room);
                self.piece.extend_from_slice(now);
                rest = later;
            }
            if ends {
                let line = self.piece.strip_suffix(b"\r").unwrap_or(&self.piece);
                record(Tag::Full, line);
                self.piece.clear();
            }
        }
    }

    /// Ends the stream: the rest has no newline.
    pub(super) fn finish(&mut self, mut record: impl FnMut(Tag, &[u8])) {
        if !self.piece.is_empty() {
            record(Tag::Partial, &self.piece);
            self.piece.clear();
        }
    }
}

/// Copies a stream into the log until it ends. Returns the number of lines.
pub(super) fn copy(mut from: impl Read, stream: Stream, log: &Mutex<File>) -> u64 {
    let mut splitter = Splitter::default();
    let mut buffer = vec![0; MAX_PIECE];
    let mut lines = 0_u64;
    let mut out = Vec::new();
    loop {
        let read = match from.read(&mut buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        let bytes = buffer.get(..read).unwrap_or_default();
        splitter.push(bytes, |tag, text| {
            lines = lines.saturating_add(u64::from(tag == Tag::Full));
            format_record(&mut out, stream, tag, text);
        });
        flush(log, &mut out);
    }
    splitter.finish(|tag, text| {
        lines = lines.saturating_add(1);
        format_record(&mut out, stream, tag, text);
    });
    flush(log, &mut out);
    lines
}

fn format_record(out: &mut Vec<u8>, stream: Stream, tag: Tag, text: &[u8]) {
    let stream = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    let tag = match tag {
        Tag::Full => 'F',
        Tag::Partial => 'P',
    };
    // Go's RFC3339Nano: trailing zeros of the fraction are omitted.
    let now = jiff::Timestamp::now();
    out.extend_from_slice(format!("{now} {stream} {tag} ").as_bytes());
    out.extend_from_slice(text);
    out.push(b'\n');
}

fn flush(log: &Mutex<File>, out: &mut Vec<u8>) {
    let mut file = lock(log);
    // If the disk is full, log lines are lost, but the container continues.
    drop(file.write_all(out));
    out.clear();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records(chunks: &[&[u8]]) -> Vec<(Tag, Vec<u8>)> {
        let mut all = Vec::new();
        let mut splitter = Splitter::default();
        for chunk in chunks {
            splitter.push(chunk, |tag, text| all.push((tag, text.to_vec())));
        }
        splitter.finish(|tag, text| all.push((tag, text.to_vec())));
        all
    }

    #[test]
    fn lines_end_with_f_and_a_rest_with_p() {
        assert_eq!(
            records(&[b"one\ntw", b"o\n\nrest"]),
            [
                (Tag::Full, b"one".to_vec()),
                (Tag::Full, b"two".to_vec()),
                (Tag::Full, b"".to_vec()),
                (Tag::Partial, b"rest".to_vec()),
            ]
        );
    }

    #[test]
    fn a_line_of_20000_bytes_is_one_part_and_an_end_as_recorded() {
        let mut line = vec![b'x'; 20_000];
        line.push(b'\n');
        let lengths: Vec<_> = records(&[&line]).iter().map(|(t, l)| (*t, l.len())).collect();
        assert_eq!(lengths, [(Tag::Partial, 16_384), (Tag::Full, 3_616)]);
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_whole() {
        let mut line = vec![b'x'; MAX_PIECE];
        line.push(b'\n');
        let lengths: Vec<_> = records(&[&line]).iter().map(|(t, l)| (*t, l.len())).collect();
        assert_eq!(lengths, [(Tag::Full, MAX_PIECE)]);
    }

    proptest! {
        #[test]
        fn joining_the_records_gives_the_stream_however_it_was_chunked(
            lines in prop::collection::vec((0..40_000_usize, any::<bool>()), 0..6),
            cut in 1..20_000_usize,
        ) {
            let mut stream = Vec::new();
            for (length, newline) in lines {
                stream.extend(std::iter::repeat_n(b'x', length));
                if newline { stream.push(b'\n'); }
            }
            let chunks: Vec<_> = stream.chunks(cut).collect();
            let mut joined = Vec::new();
            for (tag, text) in records(&chunks) {
                prop_assert!(text.len() <= MAX_PIECE);
                joined.extend(text);
                if tag == Tag::Full { joined.push(b'\n'); }
            }
            prop_assert_eq!(joined, stream);
        }
    }
}
