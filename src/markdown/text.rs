//! Text in Markdown.

use std::fmt::Write as _;

/// Text of which no character is markup, also in a cell of a table: marks become character references,
/// but for those of dates, paths and figures. Takes one line.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        // GitHub makes links of what begins like this, too.
        let is_host = letter == '.' && has_end(&escaped, "www");
        let is_plain = !letter.is_ascii_punctuation()
            || (!is_host && matches!(letter, '.' | ',' | '/' | '-' | '(' | ')' | '=' | '%' | '?'));
        if is_plain {
            escaped.push(letter);
        } else {
            // Writing to a string does not fail.
            write!(escaped, "&#{};", u32::from(letter)).ok();
        }
    }
    escaped
}

fn has_end(text: &str, end: &str) -> bool {
    let from = text.len().checked_sub(end.len());
    from.and_then(|from| text.get(from..)).is_some_and(|last| last.eq_ignore_ascii_case(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_markup() {
        assert_eq!(escaped("|`*_[x](y)<b>"), "&#124;&#96;&#42;&#95;&#91;x&#93;(y)&#60;b&#62;");
        assert_eq!(escaped("WwW.evil.example v1.2"), "WwW&#46;evil.example v1.2");
        assert_eq!(escaped("https://evil"), "https&#58;//evil");
    }
}
