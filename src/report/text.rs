//! Hostile text, made visible and kept text. Pure.

use std::fmt::Write as _;

/// Most characters of a name.
const MOST_NAME_CHARS: usize = 200;
/// Most characters of a line.
const MOST_LINE_CHARS: usize = 4000;

/// A name: one visible line.
pub(crate) fn name(text: &str) -> String {
    visible(text, MOST_NAME_CHARS)
}

/// A log line: the same, longer, with tabs.
pub(crate) fn line(text: &str) -> String {
    let lines: Vec<String> = text.split('\t').map(|part| visible(part, MOST_LINE_CHARS)).collect();
    lines.join("\t")
}

/// Control characters as their pictures, and what changes the direction of text or has no width as
/// its number.
fn visible(text: &str, most: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(most * 4));
    let mut letters = text.chars();
    for letter in letters.by_ref().take(most) {
        let number = u32::from(letter);
        match number {
            0..=0x1f => shown.extend(char::from_u32(0x2400 + number)),
            0x7f => shown.push('␡'),
            0x80..=0x9f
            | 0xad
            | 0x61c
            | 0x180e
            | 0x200b..=0x200f
            | 0x2028..=0x202e
            | 0x2060..=0x206f
            | 0xfeff
            | 0xfff9..=0xfffb
            | 0xe0000..=0xe0fff => {
                write!(shown, "‹U+{number:04X}›").ok();
            }
            _ => shown.push(letter),
        }
    }
    if letters.next().is_some() {
        shown.push('…');
    }
    shown
}

/// The first characters of a text that is visible already.
pub(crate) fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
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

/// For a cell of a table in Markdown: no character is markup.
pub(crate) fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        // GitHub makes links of what begins like this, too.
        let is_host = letter == '.' && has_end(&escaped, "www");
        let is_plain = !letter.is_ascii_punctuation()
            || (!is_host && matches!(letter, '.' | ',' | '/' | '-' | '(' | ')' | '=' | '%' | '?'));
        if is_plain {
            escaped.push(letter);
        } else {
            write!(escaped, "&#{};", u32::from(letter)).ok();
        }
    }
    escaped
}

fn has_end(text: &str, end: &str) -> bool {
    let from = text.len().checked_sub(end.len());
    from.and_then(|from| text.get(from..)).is_some_and(|last| last.eq_ignore_ascii_case(end))
}

/// For a name in a mermaid diagram, which has no escapes there: a colon or a semicolon ends a name, `#`
/// begins a reference, `%%` a comment. Letters, digits and a few marks stay.
pub(crate) fn mermaid(text: &str) -> String {
    let plain = |letter: char| {
        let is_kept = letter.is_alphanumeric()
            || matches!(letter, ' ' | '.' | '-' | '_' | '/' | '(' | ')' | '+');
        if is_kept { letter } else { '·' }
    };
    let kept: String = short(text, 60).chars().map(plain).collect();
    // A line that begins with a word of the language would be that word.
    format!("› {}", kept.trim())
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
    }

    #[test]
    fn no_text_is_markup() {
        assert_eq!(html("<a b='c' d=\"e\">&"), "&lt;a b=&#39;c&#39; d=&quot;e&quot;&gt;&amp;");
        assert_eq!(markdown("|`*_[x](y)<b>"), "&#124;&#96;&#42;&#95;&#91;x&#93;(y)&#60;b&#62;");
        assert_eq!(markdown("WwW.evil.example v1.2"), "WwW&#46;evil.example v1.2");
        assert_eq!(mermaid("title: x; %%{init}%% #35;"), "› title· x· ···init··· ·35·");
        assert!(!mermaid("```\nsection").contains(['`', '\n']));
    }

    #[test]
    fn a_link_leads_to_the_web_only() {
        assert_eq!(address("https://x/y"), Some("https://x/y"));
        for bad in ["javascript:alert(1)", "data:text/html,x", " https://x", "https://x\n", ""] {
            assert_eq!(address(bad), None, "{bad}");
        }
    }
}
