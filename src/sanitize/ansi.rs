//! Removes colours and other terminal controls from a line (ECMA-48): CSI, OSC and similar, and
//! escapes of two bytes. Text that is not a complete sequence is kept.

use memchr::{memchr, memchr2};

const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;
/// Longest text of an OSC, such as the target of a link.
const STRING_BYTES_MAX: usize = 4096;
/// Longest parameters of a CSI.
const CSI_BYTES_MAX: usize = 256;

/// Whether there may be anything to remove.
pub(super) fn has_escape(text: &[u8]) -> bool {
    memchr(ESC, text).is_some()
}

/// The text without escape sequences.
pub(super) fn strip(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    // Length of the rest that is known to contain no end of a string, so that it is not searched
    // again.
    let mut endless = 0;
    while let Some(at) = memchr(ESC, rest) {
        let (before, sequence) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        out.extend_from_slice(before);
        endless = usize::saturating_sub(endless, at);
        let length = length(sequence, &mut endless);
        rest = sequence.get(length..).unwrap_or_default();
        endless = endless.saturating_sub(length);
    }
    out.extend_from_slice(rest);
    out
}

/// The length of the sequence with which `text` begins.
fn length(text: &[u8], endless: &mut usize) -> usize {
    match text.get(1) {
        Some(b'[') => {
            let body = text.get(2..).unwrap_or_default();
            let body = body.get(..CSI_BYTES_MAX).unwrap_or(body);
            let end = body.iter().position(|byte| !(0x20..0x40).contains(byte));
            match end.and_then(|end| Some((end, body.get(end)?))) {
                Some((end, 0x40..=0x7e)) => end + 3,
                // The sequence is incomplete: what follows is text.
                Some((end, _)) => end + 2,
                None => body.len() + 2,
            }
        }
        Some(b']' | b'P' | b'X' | b'^' | b'_') => string(text, endless),
        Some(0x20..=0x2f) => {
            let tail = text.get(1..).unwrap_or_default();
            let tail = tail.get(..CSI_BYTES_MAX).unwrap_or(tail);
            match tail.iter().position(|byte| !(0x20..0x30).contains(byte)) {
                Some(end) => end + 1 + usize::from(matches!(tail.get(end), Some(0x30..=0x7e))),
                None => tail.len() + 1,
            }
        }
        Some(0x30..=0x7e) => 2,
        _ => 1,
    }
}

/// The length of a string, up to BEL or ESC `\`. Without an end only its beginning is removed,
/// because removing the rest of the line would hide text.
fn string(text: &[u8], endless: &mut usize) -> usize {
    let window = text.get(..STRING_BYTES_MAX).unwrap_or(text);
    let mut at = (*endless).max(2);
    while let Some(found) = window.get(at..).and_then(|rest| memchr2(BEL, ESC, rest)) {
        at += found;
        match (window.get(at), window.get(at + 1)) {
            (Some(&BEL), _) => return at + 1,
            (_, Some(b'\\')) => return at + 2,
            _ => at += 1,
        }
    }
    *endless = window.len().saturating_sub(1);
    2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(String::from_utf8(strip(text.as_bytes())).expect("utf-8"), expected, "{text:?}");
    }

    #[test]
    fn sequences_go_and_text_stays() {
        check("plain", "plain");
        check("\x1b[31;1mred\x1b[0m \x1b[K\x1b[?25lx", "red x");
        check("\x1b]8;;https://a/b\x1b\\link\x1b]8;;\x07 \x1b]0;title\x07x", "link x");
        check("\x1bPdata\x1b\\x\x1b(By\x1bMz\x1b=", "xyz");
        check("\x1b[31\x1b[1mx", "x");
        check("\x1b]0;no end", "0;no end");
        check("a\x1b", "a");
        check("a\x1b[", "a");
        check("a\x1b[1\u{e9}b", "a\u{e9}b");
    }

    #[test]
    fn strings_without_end_are_looked_through_once() {
        let text = b"\x1b]".repeat(500_000);
        assert!(strip(&text).is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            assert!(strip(&bytes).len() <= bytes.len());
        }

        #[test]
        fn no_escape_is_left(text in "([a-z]|\x1b|\\[|\\]|;|[0-9]|\x07|\\\\){0,40}") {
            prop_assert!(!has_escape(&strip(text.as_bytes())));
        }
    }
}
