//! Makes text from other programs safe for one line of a log.

use std::fmt::Write as _;

/// Longest text of other programs in a log line, approximately, in bytes.
const MAX_TEXT: usize = 400;

/// Escapes and truncates text of other programs.
pub(super) fn clean(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars() {
        if out.len() >= MAX_TEXT {
            out.push('…');
            break;
        }
        if char.is_control() {
            // Writing to a String cannot fail.
            write!(out, "{}", char.escape_default()).unwrap_or_default();
        } else {
            out.push(char);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_on_one_line_and_short() {
        assert_eq!(clean("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        assert!(clean(&"x".repeat(100_000)).len() < MAX_TEXT + 8);
    }
}
