//! Private keys in PEM format: in one line, with escaped line breaks, or over many lines of a
//! stream.

use std::ops::Range;

/// Text that both markers contain.
pub(super) const PRIVATE_KEY: &str = "PRIVATE KEY";
/// Most lines of a key: an RSA key with 16384 bits has 200.
const MAX_LINES: u32 = 256;
/// Length of the longest text of a marker before [`PRIVATE_KEY`]: `BEGIN OPENSSH `, `END ENCRYPTED
/// `.
const LABEL_BYTES_MAX: usize = 32;
/// A run of so many base64 characters is a part of the key, whatever is around it.
const KEY_RUN: usize = 24;

/// Whether a stream is inside a key.
#[derive(Debug, Clone, Default)]
pub struct Pem {
    /// Number of further lines that may belong to the key; 0 outside of one.
    left: u32,
    /// Where in this line a key began that has not ended yet.
    open: Option<usize>,
    /// The parts of this line that are keys.
    whole: Vec<Range<usize>>,
}

// === impl Pem ===

impl Pem {
    /// Handles `PRIVATE KEY` at `mark`: it is a marker if the other text of a marker is around it.
    pub(super) fn marker(&mut self, text: &[u8], mark: Range<usize>) {
        let from = mark.start.saturating_sub(LABEL_BYTES_MAX);
        let head = text.get(from..mark.start).unwrap_or_default();
        let label =
            |byte: &u8| !(byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ');
        let label_at = head.iter().rposition(label).map_or(0, |last| last + 1);
        let (dashes, label) = head.split_at_checked(label_at).unwrap_or_default();
        if !dashes.ends_with(b"-----") {
            return;
        }
        let inside = self.open.is_some() || self.left > 0;
        if label.starts_with(b"BEGIN ") && self.open.is_none() {
            self.open = Some(from + dashes.len() - 5);
        } else if label.starts_with(b"END ") && inside {
            let rest = text.get(mark.end..).unwrap_or_default();
            let tail = [b" BLOCK-----".as_slice(), b"-----"];
            let tail = tail.iter().find(|tail| rest.starts_with(tail)).map_or(0, |tail| tail.len());
            self.whole.push(self.open.take().unwrap_or(0)..mark.end + tail);
            self.left = 0;
        }
    }

    /// Ends the line, after all its markers were handled.
    pub(super) fn end_line(&mut self, text: &[u8], found: &mut Vec<Range<usize>>) {
        if let Some(open) = self.open.take() {
            found.push(open..text.len());
            self.left = MAX_LINES;
        } else if self.left > 0 {
            self.left -= 1;
            key_parts(text, found);
        }
        found.append(&mut self.whole);
    }
}

/// The parts of a line inside a key that belong to it: the whole line, or the runs of base64 if
/// each line has a prefix.
fn key_parts(text: &[u8], found: &mut Vec<Range<usize>>) {
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let trimmed = text.trim_ascii();
    if !trimmed.is_empty() && trimmed.iter().all(base64) {
        found.push(0..text.len());
        return;
    }
    let mut at = 0;
    for run in text.split(|byte| !base64(byte)) {
        if run.len() >= KEY_RUN {
            found.push(at..at + run.len());
        }
        at += run.len() + 1;
    }
}
