//! Text of jobs as it may be shown: characters that are not seen become signs. The job page's script
//! has the same rule.

use std::fmt::Write as _;

/// The text in which control characters, marks that change the direction of text, and characters
/// without a width are seen: `\u{7}` as `␇`, `\u{202e}` as `‹U+202E›`. A tab stays.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match u32::from(letter) {
            0x09 => shown.push(letter),
            code @ 0..0x20 => shown.push(char::from_u32(0x2400 + code).unwrap_or('?')),
            0x7f => shown.push('\u{2421}'),
            // Writing to a string does not fail.
            code if is_hidden(letter) => write!(shown, "‹U+{code:04X}›").unwrap_or_default(),
            _ => shown.push(letter),
        }
    }
    shown
}

/// The same as one line, tabs included, and of so many characters at most; `…` follows if there is more.
/// A sign counts with all of its characters.
pub fn one_line(text: &str, most_chars: usize) -> String {
    let mut shown = String::new();
    let mut left = most_chars;
    for letter in text.chars() {
        let sign = if letter == '\t' {
            "␉".to_owned()
        } else {
            visible(letter.encode_utf8(&mut [0; 4]))
        };
        let Some(rest) = left.checked_sub(sign.chars().count()) else {
            shown.push('…');
            break;
        };
        left = rest;
        shown.push_str(&sign);
    }
    shown
}

/// Whether a character is not seen, or moves others. Not the two that choose between the forms of an
/// emoji (U+FE0E, U+FE0F).
pub fn is_hidden(letter: char) -> bool {
    matches!(
        u32::from(letter),
        0x00..=0x08
            | 0x0a..=0x1f
            | 0x7f..=0x9f
            | 0xad
            | 0x34f
            | 0x61c
            | 0x115f
            | 0x1160
            | 0x17b4
            | 0x17b5
            | 0x180e
            | 0x200b..=0x200f
            | 0x2028..=0x202e
            | 0x2060..=0x206f
            | 0x2800
            | 0x3164
            | 0xfe00..=0xfe0d
            | 0xfeff
            | 0xffa0
            | 0xfff9..=0xfffb
            | 0xe0000..=0xe007f
            | 0xe0100..=0xe01ef
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_shown_as_a_sign() {
        for (text, shown) in [
            ("plain text, ünï, 漢字, ✈\u{fe0f}\tx", "plain text, ünï, 漢字, ✈\u{fe0f}\tx"),
            ("\u{7}\u{1b}[31m\n", "␇␛[31m␊"),
            ("\u{7f}\u{9b}2J", "␡‹U+009B›2J"),
            ("a\u{202e}b\u{200b}", "a‹U+202E›b‹U+200B›"),
            ("\u{e0041}", "‹U+E0041›"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn one_line_has_no_tabs_and_an_end() {
        assert_eq!(one_line("a\tb\n", 9), "a␉b␊");
        assert_eq!(one_line(&"x".repeat(99), 5), "xxxxx…");
        assert_eq!(one_line("abc\u{202e}d", 8), "abc…", "no part of a sign");
        assert_eq!(
            (one_line("ab", 2), one_line("", 0), one_line("a", 0)),
            ("ab".into(), String::new(), "…".into())
        );
    }
}
