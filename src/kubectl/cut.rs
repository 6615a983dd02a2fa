//! Texts by the room that they take on a terminal. Pure.

use unicode_width::UnicodeWidthChar as _;

/// Columns that a text takes on a terminal.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(|letter| letter.width().unwrap_or(0)).fold(0, usize::saturating_add)
}

/// The text, or its beginning with a sign that it goes on.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let (mut short, mut used) = (String::new(), 1_usize);
    for letter in text.chars() {
        used = used.saturating_add(letter.width().unwrap_or(0));
        if used > most {
            break;
        }
        short.push(letter);
    }
    if most > 0 { short + "…" } else { short }
}

/// The same of a line that has colours: they take no room, and end where it is cut.
pub(crate) fn cut_painted(line: &str, most: usize) -> String {
    let (mut plain, mut is_code) = (String::new(), false);
    let is_shown = |letter: &char| {
        let is_of_code = is_code || *letter == '\u{1b}';
        is_code = is_of_code && *letter != 'm';
        !is_of_code
    };
    plain.extend(line.chars().filter(is_shown));
    if width(&plain) <= most {
        return line.to_owned();
    }
    let mut left = cut(&plain, most).chars().count().saturating_sub(1);
    let (mut short, mut is_code) = (String::new(), false);
    for letter in line.chars() {
        let is_of_code = is_code || letter == '\u{1b}';
        is_code = is_of_code && letter != 'm';
        if !is_of_code && left == 0 {
            break;
        }
        left = left.saturating_sub(usize::from(!is_of_code));
        short.push(letter);
    }
    let end = if line.contains('\u{1b}') { "\u{1b}[0m" } else { "" };
    if most > 0 { short + "…" + end } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_painted_line_is_cut_by_what_is_seen_of_it() {
        let line = "a\u{1b}[1mbcd\u{1b}[0mef";
        assert_eq!(cut_painted(line, 6), line);
        assert_eq!(cut_painted(line, 3), "a\u{1b}[1mb…\u{1b}[0m");
        assert_eq!(cut_painted("abc", 2), "a…");
        assert_eq!(cut_painted(line, 0), "");
    }
}
