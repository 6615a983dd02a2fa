//! Text that is possible in JSON but not in a Rust string: bytes that are not UTF-8, and single
//! surrogates. The runner passes them to processes as U+FFFD (.NET's UTF-8 encoding), and so does
//! the hook, so that a step does not fail because of them. Pure.

use std::borrow::Cow;

/// Replaces invalid text.
const REPLACEMENT: &[u8] = b"\\ufffd";
/// Length of an escape: `\uXXXX`.
const ESCAPE: usize = 6;

/// The same document with replacement characters in those places.
pub(super) fn repaired(input: &[u8]) -> Cow<'_, [u8]> {
    let input = match String::from_utf8_lossy(input) {
        Cow::Borrowed(_) => Cow::Borrowed(input),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    };
    let halves = halves(&input);
    if halves.is_empty() {
        return input;
    }
    let mut output = Vec::with_capacity(input.len());
    let mut from = 0;
    for at in halves {
        output.extend_from_slice(input.get(from..at).unwrap_or_default());
        output.extend_from_slice(REPLACEMENT);
        from = at + ESCAPE;
    }
    output.extend_from_slice(input.get(from..).unwrap_or_default());
    Cow::Owned(output)
}

/// The positions of escapes of single surrogates.
fn halves(input: &[u8]) -> Vec<usize> {
    let mut halves = Vec::new();
    let mut rest = 0;
    while let Some(found) = memchr::memchr(b'\\', input.get(rest..).unwrap_or_default()) {
        let at = rest + found;
        rest = match unit(input, at) {
            // A pair is one character.
            Some(0xd800..=0xdbff) if matches!(unit(input, at + ESCAPE), Some(0xdc00..=0xdfff)) => {
                at + 2 * ESCAPE
            }
            Some(0xd800..=0xdfff) => {
                halves.push(at);
                at + ESCAPE
            }
            // Any other escape, such as `\\`, has two bytes.
            _ => at + 2,
        };
    }
    halves
}

/// The UTF-16 unit of an escape at this position.
fn unit(input: &[u8], at: usize) -> Option<u16> {
    let digits = input.get(at..at + ESCAPE)?.strip_prefix(b"\\u")?;
    let digits = std::str::from_utf8(digits).ok()?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u16::from_str_radix(digits, 16).ok().filter(|_| is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &[u8]) -> String {
        serde_json::from_slice(&repaired(json)).unwrap()
    }

    #[test]
    fn halves_of_pairs_and_bytes_that_are_no_text_become_replacement_characters() {
        assert_eq!(read(br#""a\ud800b""#), "a\u{fffd}b");
        assert_eq!(read(br#""\udc00\ud83d\ude00\ud83d""#), "\u{fffd}\u{1f600}\u{fffd}");
        assert_eq!(read(br#""\ud800\u0041""#), "\u{fffd}A");
        assert_eq!(read(b"\"a\xffb\""), "a\u{fffd}b");
    }

    #[test]
    fn all_other_text_is_left_as_it_is() {
        for json in
            [&br#""\\ud800""#[..], br#""\n\u00fc \u2028 x""#, "\"ü 😀\"".as_bytes(), b"\"\\u"]
        {
            assert_eq!(repaired(json), Cow::Borrowed(json));
        }
    }
}
