//! Runs of NUL bytes in a log file: what a crash of the node leaves of text that was not on the disk
//! yet, and what a writer leaves that goes on at its old place in a file that was emptied. Pure.

use memchr::memchr;

/// A shorter run inside a record is text: containers may write NUL bytes. Where a record would begin,
/// any run is a hole.
pub(super) const HOLE_BYTES: usize = 64;

/// How many NUL bytes it begins with.
pub(super) fn leading(text: &[u8]) -> usize {
    text.iter().position(|byte| *byte != 0).unwrap_or(text.len())
}

/// The text without the NUL bytes that it ends with.
pub(super) fn trim_end(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
    text.get(..end).unwrap_or_default()
}

/// Where the first hole inside a record begins.
pub(super) fn find(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        let start = memchr(0, rest)?;
        let run = leading(rest.get(start..)?);
        if run >= HOLE_BYTES {
            return Some(at.saturating_add(start));
        }
        at = at.saturating_add(start).saturating_add(run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_is_a_hole_and_a_short_one_is_text() {
        let (short, long) = (vec![0; HOLE_BYTES - 1], vec![0; HOLE_BYTES]);
        let text = |parts: &[&[u8]]| parts.concat();
        assert_eq!(find(b"no run"), None);
        assert_eq!(find(&text(&[b"a", &short, b"b", &short])), None);
        assert_eq!(find(&text(&[b"a", &short, b"b", &long, b"c"])), Some(2 + short.len()));
        assert_eq!(find(&long), Some(0));
        assert_eq!((leading(b""), leading(b"\0\0a\0")), (0, 2));
        assert_eq!(
            (trim_end(b"a\0b\0\0"), trim_end(b"\0"), trim_end(b"")),
            (&b"a\0b"[..], &b""[..], &b""[..])
        );
    }
}
