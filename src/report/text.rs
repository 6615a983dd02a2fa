//! Hostile text, made visible and kept text. Pure.

use ephemon_base::visible::{one_line, visible};

/// Most characters of a name.
const MOST_NAME_CHARS: usize = 200;
/// Most characters of a line.
const MOST_LINE_CHARS: usize = 4000;

/// A name: one visible line.
pub(crate) fn name(text: &str) -> String {
    one_line(text, MOST_NAME_CHARS)
}

/// A log line: longer, with tabs.
pub(crate) fn line(text: &str) -> String {
    let end = text.char_indices().nth(MOST_LINE_CHARS);
    match end.and_then(|(at, _)| text.get(..at)) {
        Some(beginning) => visible(beginning) + "…",
        None => visible(text),
    }
}

/// For the text or a quoted attribute of HTML.
pub(crate) fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// A link's address if a browser may follow it.
pub(crate) fn address(href: &str) -> Option<&str> {
    let is_web = href.starts_with("https://") || href.starts_with("http://");
    (is_web && href.len() <= 4096 && !href.contains(char::is_control)).then_some(href)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_made_visible() {
        assert_eq!(name("a\u{202e}b\u{7}\u{200b}\n"), "a‹U+202E›b␇‹U+200B›␊");
        assert_eq!(line("a\tb\u{1b}"), "a\tb␛");
        assert_eq!(name(&"x".repeat(999)).chars().count(), MOST_NAME_CHARS + 1);
        assert_eq!(line(&"x".repeat(9999)).chars().count(), MOST_LINE_CHARS + 1);
    }

    #[test]
    fn no_text_is_markup() {
        assert_eq!(html("<a b='c' d=\"e\">&"), "&lt;a b=&#39;c&#39; d=&quot;e&quot;&gt;&amp;");
    }

    #[test]
    fn a_link_leads_to_the_web_only() {
        assert_eq!(address("https://x/y"), Some("https://x/y"));
        for bad in ["javascript:alert(1)", "data:text/html,x", " https://x", "https://x\n", ""] {
            assert_eq!(address(bad), None, "{bad}");
        }
    }
}
